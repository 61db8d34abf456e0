//! A Request-URI that is the Contact of one of our phones, and no name of a user: the target of a transfer (RFC 3515 2.1,
//! RFC 5589 7), or the request of a phone that keeps no route set. It goes to that phone over its way, as a call to the user would.
//!
//! No relay: only a live binding counts, and only for a sender who has proved to be a user of ours. A request without
//! credentials is challenged if it comes from where its user is registered; from elsewhere it is refused as every request to a
//! foreign address, so that a stranger does not find out who is registered where. A request with a To tag and without our
//! Record-Route goes nowhere (`route::outside_of_dialogs`), unless nobody has to prove anything; an ACK then passes from where
//! its user is registered. Must not decide which users may have that Contact: that is `route`'s.

use std::sync::Arc;

use parser::Method;

use super::Core;
use crate::ask::{Answer, Continuation, Question, RequestSlot, Resume};
use crate::clock::Now;
use crate::dialog::{InDialog, Next};
use crate::event::{Drop, Event};
use crate::outbox::Outbox;
use crate::reject::Reject;
use crate::request::Request;
use crate::route::{self, ContactSearch, Destination, Plan, Toward};

impl Core {
    /// Looks at the next user, or gives up.
    pub(super) fn find_contact(&mut self, now: Now, request: Request, search: Box<ContactSearch>, outbox: &mut Outbox) {
        match search.sender.as_ref().or_else(|| search.users.last()) {
            Some(user) => {
                let question = Question::Load(user.clone());
                outbox.ask(question, Continuation(Resume::Contact(self.slots.park(request), search)));
            }
            None => self.contact_not_found(now, request, outbox),
        }
    }

    /// The bindings of a user are here: of the sender, or of one who may have the Contact.
    pub(super) fn contact_looked_up(
        &mut self,
        now: Now,
        slot: RequestSlot,
        mut search: Box<ContactSearch>,
        answer: Answer,
        outbox: &mut Outbox,
    ) {
        let Some(mut request) = self.slots.take(slot) else { return };
        let Answer::Loaded(record) = answer else {
            return self.refuse_contact(now, &request, Reject::LocationDown, outbox);
        };
        if let Some(sender) = search.sender.take() {
            let is_at_home = record.is_some_and(|record| InDialog::is_flow_of(&record, &request.flow, now.wall));
            match self.admit_to_contact(now, &request, is_at_home, &sender, outbox) {
                Ok(proven) => request.proven = proven,
                Err(reject) => return self.refuse_contact(now, &request, reject, outbox),
            }
        } else if let Some(user) = search.users.pop()
            && let Some(plan) = route::plan_for_contact(&request, &user, record.as_ref(), &self.settings, now)
        {
            return self.send_plan(now, request, plan, outbox);
        }
        self.find_contact(now, request, search, outbox);
    }

    /// Then it is a foreign address.
    fn contact_not_found(&mut self, now: Now, mut request: Request, outbox: &mut Outbox) {
        request.is_no_contact = true;
        let settings = Arc::clone(&self.settings);
        let target = request.typed_uri().and_then(|uri| {
            // The rule for who may call out, once more: the search may have been for one who may not.
            route::admission(&request, &Destination::Elsewhere, &settings)?;
            route::target_for_next(&Next::of(&request, &uri)?, Toward::Anybody, &request, &settings)
        });
        match target {
            Ok(target) => self.send_plan(now, request, Plan::one(target), outbox),
            Err(reject) => self.refuse_contact(now, &request, reject, outbox),
        }
    }

    /// An ACK outside of the dialogs that are known here.
    pub(super) fn acknowledge_contact(&mut self, now: Now, request: Request, outbox: &mut Outbox) {
        let search = match request.typed_uri() {
            Ok(uri) if request.in_dialog && route::outside_of_dialogs(&request, &self.settings).is_ok() => {
                let destination = route::destination(&uri, request.method(), &self.settings);
                let is_elsewhere = destination.is_ok_and(|destination| destination == Destination::Elsewhere);
                if is_elsewhere { ContactSearch::of_unproven(&request, &uri, &self.settings) } else { None }
            }
            _ => None,
        };
        match search {
            Some(search) => self.find_contact(now, request, search, outbox),
            None => outbox.emit(Event::Dropped(Drop::StrayAck)),
        }
    }

    fn refuse_contact(&mut self, now: Now, request: &Request, reject: Reject, outbox: &mut Outbox) {
        match request.method() {
            Method::Ack => outbox.emit(Event::Dropped(Drop::StrayAck)),
            _ => self.refuse(now, request, reject, outbox),
        }
    }
}
