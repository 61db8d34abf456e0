//! The steps of a REGISTER between its questions: load, commit, and both again after a conflict (RFC 3261 10.3).
//!
//! The 200 is sent only after the store has made the change durable.

use location::Record;

use super::Core;
use crate::ask::{Continuation, Question, Resume};
use crate::clock::Now;
use crate::context::ToTag;
use crate::event::{Event, Limit};
use crate::outbox::Outbox;
use crate::registrar::{Decision, PendingRegister, Summary};
use crate::reject::Reject;

impl Core {
    /// Applies a REGISTER to the stored record of its AoR.
    pub(super) fn registered(
        &mut self,
        now: Now,
        mut pending: Box<PendingRegister>,
        stored: Option<Record>,
        outbox: &mut Outbox,
    ) {
        let tag = ToTag::new(&pending.request, &self.mac);
        let date = self.date.at(self.settings.registrar.date(now).secs());
        let text = (tag.as_bytes(), date);
        match pending.decide(stored, text, &self.settings, &self.gruus, &self.connections, now) {
            Ok(Decision::Answer) => Self::confirm(&pending, outbox),
            Ok(Decision::Commit { expected, record }) => {
                outbox.ask(Question::Commit { expected, record }, Continuation(Resume::RegisterCommit(pending)));
            }
            Err(reject) => self.refuse_register(now, &pending, reject, outbox),
        }
    }

    /// Sends the 200: the change is durable.
    pub(super) fn confirm(pending: &PendingRegister, outbox: &mut Outbox) {
        let back = &pending.request.response_hop;
        if outbox.emit_fitted(pending.fitted) {
            outbox.emit(Event::ResponseSent { method: "REGISTER", status: 200, transport: back.transport });
        }
        let Summary { outcome, before, bindings, expires, displaced } = pending.summary;
        if displaced {
            outbox.emit(Event::LimitReached(Limit::MaxContacts));
        }
        let (aor, flow) = (pending.aor.clone(), pending.request.flow);
        let (status, reason, record) = (200, "OK", pending.record.clone());
        outbox.emit(Event::Registration {
            outcome,
            status,
            reason,
            aor,
            before,
            bindings,
            expires,
            flow,
            record,
            offence: None,
            key: None,
        });
        outbox.send(back, false, |out| out.extend_from_slice(&pending.answer));
        outbox.set_flow_timeout(pending.flow_timeout);
    }

    pub(super) fn refuse_register(&mut self, now: Now, pending: &PendingRegister, reject: Reject, outbox: &mut Outbox) {
        match reject {
            Reject::TooManyContacts => outbox.emit(Event::LimitReached(Limit::MaxContacts)),
            Reject::ContactTooLong => outbox.emit(Event::LimitReached(Limit::ContactSize)),
            _ => {}
        }
        self.refuse(now, &pending.request, reject, outbox);
    }
}
