//! Contacts that name users of ours, on their way to phones: each user is looked up, one after another, and what is found is put
//! into the plan of the request (`route::Expansion`).

use location::{Aor, Record};
use parser::Method;

use super::Core;
use crate::ask::{Answer, Continuation, Question, RequestSlot, Resume};
use crate::clock::Now;
use crate::event::{Event, Limit};
use crate::outbox::Outbox;
use crate::reject::Reject;
use crate::request::Request;
use crate::route::{self, Callee, Expansion, Plan};

impl Core {
    /// What a user sends to itself does not come back to the phone that sent it.
    pub(super) fn route_to_itself(
        &mut self,
        now: Now,
        request: Request,
        callee: &Callee,
        record: Option<&Record>,
        outbox: &mut Outbox,
    ) {
        let plan = route::plan_for_callee(&request, callee, record, &self.settings, &self.gruus, now);
        match route::without_sender(plan, &request) {
            Ok(plan) => self.follow_users(now, request, plan, &callee.aor, outbox),
            Err(reject) => self.refuse(now, &request, reject, outbox),
        }
    }

    /// Looks up the users whom the Contacts of this user's plan name.
    pub(super) fn follow_users(&mut self, now: Now, request: Request, plan: Plan, callee: &Aor, outbox: &mut Outbox) {
        // RFC 3261 9.2, 16.10: the CANCEL of an INVITE that is not known goes to a phone, if there is one.
        if request.method() == Method::Cancel && plan.groups.is_empty() {
            return self.refuse(now, &request, Reject::NoTransaction, outbox);
        }
        if plan.users.is_none() || request.method() == Method::Cancel {
            return self.send_plan(now, request, plan, outbox);
        }
        let way = Expansion::new(plan, callee, &self.gruus);
        self.expand(now, request, Box::new(way), outbox);
    }

    /// Asks for the next user, or goes on with what was found.
    fn expand(&mut self, now: Now, request: Request, mut way: Box<Expansion>, outbox: &mut Outbox) {
        if let Some(callee) = way.next(&request, &self.settings) {
            let question = Question::Load(callee.aor.clone());
            return outbox.ask(question, Continuation(Resume::Users(self.slots.park(request), way)));
        }
        let (plan, is_cut) = way.into_plan();
        if is_cut {
            outbox.emit(Event::LimitReached(Limit::Targets));
        }
        if plan.groups.is_empty() {
            return self.refuse(now, &request, Reject::NotRegistered, outbox);
        }
        self.send_plan(now, request, plan, outbox);
    }

    /// The bindings of a user are here, or are not to be had.
    pub(super) fn user_looked_up(
        &mut self,
        now: Now,
        slot: RequestSlot,
        mut way: Box<Expansion>,
        answer: Answer,
        outbox: &mut Outbox,
    ) {
        let Some(request) = self.slots.take(slot) else { return };
        let record = if let Answer::Loaded(record) = answer { record } else { None };
        let found = way.current().and_then(|callee| {
            route::plan_for_callee(&request, callee, record.as_ref(), &self.settings, &self.gruus, now).ok()
        });
        way.found(found.unwrap_or_default(), &self.gruus, &self.settings);
        self.expand(now, request, way, outbox);
    }

    /// Where a request goes is known: it is told to its sender that asked for it, or the request is sent.
    pub(super) fn send_plan(&mut self, now: Now, request: Request, plan: Plan, outbox: &mut Outbox) {
        if plan.disposition.redirect {
            return self.redirect(now, &request, &plan, outbox);
        }
        self.launch(now, request, plan, outbox);
    }
}
