//! A phone registers while its user is being called: it rings too, whichever worker it registered at.

use location::{Aor, Record};

use super::Core;
use crate::ask::{Continuation, Question, Resume};
use crate::clock::Now;
use crate::outbox::{CoreMessage, Handover, Outbox};
use crate::registrar::PendingRegister;

impl Core {
    /// A registration is safe: tells who watches its user, and everybody if it brings a phone, or a phone a new way.
    pub(super) fn announce(&mut self, now: Now, pending: &PendingRegister, outbox: &mut Outbox) {
        self.notify_subscribers(now, &pending.aor, outbox);
        if pending.brings_phone && self.settings.forking.late_registration {
            outbox
                .handovers
                .push(Handover { worker: None, core_message: CoreMessage::PhoneRegistered(pending.aor.clone()) });
            self.phone_came(pending.aor.clone(), outbox);
        }
    }

    /// Loads the bindings of a user again if a call to that user rings here.
    pub(super) fn phone_came(&self, aor: Aor, outbox: &mut Outbox) {
        if self.forks.to(&aor).next().is_some() {
            outbox.ask(Question::Load(aor.clone()), Continuation(Resume::LateRegistration(aor)));
        }
    }

    /// What is new in a record joins the calls to its user.
    pub(super) fn join(&mut self, now: Now, aor: &Aor, record: Option<&Record>, outbox: &mut Outbox) {
        let calls: Vec<u64> = self.forks.to(aor).collect();
        let (forks, mut context) = self.split(now, outbox);
        for id in calls {
            forks.with(id, |fork| fork.join(aor, record, &mut context));
        }
    }
}
