//! Requests whose Request-URI is the Contact of a registered phone instead of the name of a user: from a transfer
//! (RFC 3515 2.1, RFC 5589 7), or from a phone that keeps no route set. Such a request reaches the phone as a call to
//! its user would.
//!
//! This is not a relay: only a live binding counts, and only for a sender that has authenticated as a local user. A
//! request without credentials is challenged if it comes over a flow that its user is registered over. From any other
//! source it is refused like a request to any foreign address, so that a stranger does not learn who is registered
//! where. A request with a To tag and without our Record-Route is refused (`route::check_outside_of_dialogs`), unless
//! authentication is off; then an ACK passes if it comes over a flow of its user. Must not decide which users may
//! have the Contact: that is done by `route`.

use std::sync::Arc;

use parser::Method;

use super::Core;
use crate::ask::{Answer, Continuation, Question, Resume};
use crate::clock::Now;
use crate::dialog::{InDialog, Next};
use crate::event::{Drop, Event};
use crate::outbox::Outbox;
use crate::reject::Reject;
use crate::request::Request;
use crate::route::{self, ContactSearch, Destination, Plan, Toward};

impl Core {
    /// Loads the bindings of the next user that may have the Contact; without a further one the address is foreign.
    pub(super) fn find_contact(
        &mut self,
        now: Now,
        request: Box<Request>,
        search: Box<ContactSearch>,
        outbox: &mut Outbox,
    ) {
        match search.sender.as_ref().or_else(|| search.users.last()) {
            Some(user) => {
                let question = Question::Load(user.clone());
                outbox.ask(question, Continuation(Resume::Contact(request, search)));
            }
            None => self.contact_not_found(now, request, outbox),
        }
    }

    /// Evaluates loaded bindings: first of the sender, then of each user that may have the Contact.
    pub(super) fn contact_user_loaded(
        &mut self,
        now: Now,
        mut request: Box<Request>,
        mut search: Box<ContactSearch>,
        answer: Answer,
        outbox: &mut Outbox,
    ) {
        let Answer::Loaded(record) = answer else {
            return self.refuse_contact(now, &request, Reject::LocationDown, outbox);
        };
        if let Some(sender) = search.sender.take() {
            let is_at_own_flow = record.is_some_and(|record| InDialog::is_flow_of(&record, &request.flow, now.wall));
            match self.admit_to_contact(now, &request, is_at_own_flow, &sender, outbox) {
                Ok(proven) => request.proven = proven,
                Err(reject) => return self.refuse_contact(now, &request, reject, outbox),
            }
        } else if let Some(user) = search.users.pop()
            && let Some(mut plan) = route::plan_for_contact(&request, &user, record.as_ref(), &self.settings, now)
        {
            return self.handle_plan(now, request, &mut plan, outbox);
        }
        self.find_contact(now, request, search, outbox);
    }

    /// Routes a request whose Request-URI is no Contact of a phone: it is a foreign address.
    fn contact_not_found(&mut self, now: Now, mut request: Box<Request>, outbox: &mut Outbox) {
        request.needs_pin = true;
        let settings = Arc::clone(&self.settings);
        let target = request.typed_uri().and_then(|uri| {
            // Checked again: the search is also made for senders that may not send to foreign addresses.
            route::auth_requirement(&request, &Destination::Elsewhere, &settings)?;
            route::target_for_next(&Next::of(&request, &uri)?, Toward::Anybody, &request, &settings)
        });
        match target {
            Ok(target) => self.handle_plan(now, request, &mut Plan::with_target(target), outbox),
            Err(reject) => self.refuse_contact(now, &request, reject, outbox),
        }
    }

    /// Forwards an ACK without a token of its dialog to the phone whose Contact it names, if authentication is off.
    pub(super) fn acknowledge_contact(&mut self, now: Now, request: Box<Request>, outbox: &mut Outbox) {
        let search = match request.typed_uri() {
            Ok(uri) if request.in_dialog && route::check_outside_of_dialogs(&request, &self.settings).is_ok() => {
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
