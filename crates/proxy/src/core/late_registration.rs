//! Phones that register while their user is being called: they ring too, whichever worker they registered at.

use location::{Aor, Record};

use super::Core;
use crate::ask::{Continuation, Question, Resume};
use crate::clock::Now;
use crate::outbox::{CoreMessage, Handover, Outbox};
use crate::registrar::PendingRegister;

impl Core {
    /// Reports a durable registration: to the subscribers of its user and, if it adds a Contact or a flow, to the
    /// calls to the user at all workers.
    pub(super) fn announce_registration(&mut self, now: Now, pending: &PendingRegister, outbox: &mut Outbox) {
        self.notify_subscribers(now, &pending.aor, outbox);
        if pending.adds_target && self.settings.forking.late_registration {
            outbox
                .handovers
                .push(Handover { worker: None, core_message: CoreMessage::PhoneRegistered(pending.aor.clone()) });
            self.phone_registered(pending.aor.clone(), outbox);
        }
    }

    /// Loads the bindings of a user again if a call to the user is pending in this core.
    pub(super) fn phone_registered(&self, aor: Aor, outbox: &mut Outbox) {
        if self.settings.forking.late_registration && self.response_contexts.to(&aor).next().is_some() {
            outbox.ask(Question::Load(aor.clone()), Continuation(Resume::LateRegistration(aor)));
        }
    }

    /// Adds new targets of a record to the pending calls to its user.
    pub(super) fn join(&mut self, now: Now, aor: &Aor, record: Option<&Record>, outbox: &mut Outbox) {
        let calls: Vec<u64> = self.response_contexts.to(aor).collect();
        let (response_contexts, mut context) = self.split(now, outbox);
        for id in calls {
            response_contexts.with(id, &mut context, |it, context| it.join(aor, record, context));
        }
    }
}
