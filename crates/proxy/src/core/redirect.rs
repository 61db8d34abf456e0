//! A redirection on its way to new targets of its fork: each Contact is looked up, best first (RFC 3261 16.7 step 4).

use super::Core;
use crate::ask::{Answer, Continuation, Question, Resume};
use crate::clock::Now;
use crate::outbox::Outbox;
use crate::route::Redirection;
use crate::route::{Destination, Plan};

impl Core {
    /// Goes on to the next Contact, and when there is none left gives the fork what was found.
    pub(super) fn follow(&mut self, now: Now, mut way: Box<Redirection>, outbox: &mut Outbox) {
        while let Some(contact) = way.contacts.pop() {
            let q = contact.q;
            if let Destination::User(aor) = &contact.destination {
                let question = Question::Load(aor.clone());
                way.contacts.push(contact);
                return outbox.ask(question, Continuation(Resume::Redirect(way)));
            }
            let found = contact.target(&self.settings).map(Plan::one);
            way.add(q, found.unwrap_or_default());
        }
        let names = way.plan.names();
        if !names.is_empty() {
            return outbox.ask(Question::Resolve(names), Continuation(Resume::Redirect(way)));
        }
        let (forks, mut context) = self.split(now, outbox);
        forks.with(way.branch.fork, |fork| fork.redirected(way.branch, way.plan, &mut context));
    }

    /// The bindings of the next Contact, or the addresses of all.
    pub(super) fn looked_up(&mut self, now: Now, mut way: Box<Redirection>, answer: Answer, outbox: &mut Outbox) {
        match (way.contacts.pop(), answer) {
            (Some(contact), Answer::Loaded(record)) => {
                if let Destination::User(aor) = contact.destination {
                    let found = self.forks.with(way.branch.fork, |fork| fork.plan_for(&aor, record.as_ref(), now));
                    way.add(contact.q, found.flatten().unwrap_or_default());
                }
            }
            (None, Answer::Resolved(addresses)) => {
                way.plan = way.plan.resolved(&addresses, true, Some(way.from), &self.settings).unwrap_or_default();
            }
            // What needs no name is still there.
            (None, _) => way.plan = way.plan.resolved(&[], true, Some(way.from), &self.settings).unwrap_or_default(),
            // The store does not answer: this one cannot be reached.
            (Some(_), _) => {}
        }
        self.follow(now, way, outbox);
    }
}
