//! How one core writes the table: with each change come the events and the users that have to be told of it.

use std::sync::Arc;

use location::{Aor, Wall};

use super::call::{CallResponse, RequestAnswer};
use super::record::Reached;
use super::table::{CallKey, CallRef, CallTable, Effect};
use crate::event::{DiversionReason, Event, TriedPhones};
use crate::outbox::Outbox;
use crate::pin::{Pin, Unanswered};

/// The table of calls, as one core uses it.
#[derive(Debug)]
pub(crate) struct Calls {
    table: Arc<CallTable>,
    /// The users whose calls have changed during this call of the driver.
    changed: Vec<Aor>,
}

impl Default for Calls {
    /// No call is known.
    fn default() -> Self {
        Self::of(Arc::new(CallTable::new(0, 0)))
    }
}

impl Calls {
    pub(crate) const fn of(table: Arc<CallTable>) -> Self {
        Self { table, changed: Vec::new() }
    }

    pub(crate) fn table(&self) -> &CallTable {
        &self.table
    }

    /// The users whose calls have changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> Vec<Aor> {
        std::mem::take(&mut self.changed)
    }

    /// A response to the INVITE of a pin was forwarded.
    pub(crate) fn pin_responded(&mut self, pin: &Pin, (status, to_tag): (u16, &[u8]), now: Wall, outbox: &mut Outbox) {
        if let Some(call) = pin.call.filter(|_| matches!(status, 101..=299)) {
            let response = CallResponse { branch: 0, status, callee_tag: to_tag, user: pin.target.uri.aor() };
            self.responded(call, &response, now, outbox);
        }
    }

    /// The setup of the call of a pin has ended. `is_own`: this server has sent the response itself.
    pub(crate) fn pin_answered(&mut self, pin: &Pin, (status, is_own): (u16, bool), now: Wall, outbox: &mut Outbox) {
        if let Some(call) = pin.call {
            let phones = pin.phones();
            // A response of this server is not one of the phone, which may have responded before.
            let is_of_phone = !is_own || phones.responded == 0;
            let reached = if is_of_phone { pin.target.uri.reached() } else { Reached::Nobody };
            self.set_up(call, Some(status), (phones, reached), now, outbox);
        }
    }

    /// The setup of a call has ended without a final response.
    pub(crate) fn unanswered(&mut self, ended: Unanswered, now: Wall, outbox: &mut Outbox) {
        let Unanswered { call, status, phones, silent } = ended;
        if let Some(call) = call {
            let reached = silent.map_or(Reached::Nobody, Reached::Phone);
            self.set_up(call, status, (phones, reached), now, outbox);
        }
    }

    pub(crate) fn responded(&mut self, call: CallRef, response: &CallResponse<'_>, now: Wall, outbox: &mut Outbox) {
        let effect = self.table.respond(call, response, now);
        self.apply(effect, outbox);
    }

    /// As [`Self::responded`], for the only call with this key.
    pub(crate) fn responded_early(
        &mut self,
        key: CallKey,
        response: &CallResponse<'_>,
        now: Wall,
        outbox: &mut Outbox,
    ) {
        if let Some(call) = self.table.only_one(key) {
            self.responded(call, response, now, outbox);
        }
    }

    pub(crate) fn branch_ended(&mut self, call: CallRef, branch: u8, now: Wall, outbox: &mut Outbox) {
        let effect = self.table.end_branch(call, branch, now);
        self.apply(effect, outbox);
    }

    pub(crate) fn diverted(&self, call: CallRef, reason: DiversionReason, now: Wall) {
        self.table.forward(call, reason, now);
    }

    /// The setup of a call has ended with this status; `None` if no final response came.
    pub(crate) fn set_up(
        &mut self,
        call: CallRef,
        status: Option<u16>,
        result: (TriedPhones, Reached),
        now: Wall,
        outbox: &mut Outbox,
    ) {
        let (effect, source) = self.table.set_up(call, status, result, now);
        if let Some(source) = source.filter(|_| matches!(status, Some(200..=299))) {
            outbox.emit(Event::CallAnswered { source });
        }
        self.apply(effect, outbox);
    }

    /// A request within a dialog has its final response, or gets none.
    pub(crate) fn request_answered(&mut self, transaction: u64, answer: RequestAnswer, now: Wall, outbox: &mut Outbox) {
        let effect = self.table.request_answered(transaction, answer, now);
        self.apply(effect, outbox);
    }

    pub(crate) fn apply(&mut self, Effect { record, mut changed }: Effect, outbox: &mut Outbox) {
        if let Some(record) = record {
            outbox.emit(Event::CallEnded(record));
        }
        self.changed.append(&mut changed);
    }

    pub(crate) fn note_changed(&mut self, mut changed: Vec<Aor>) {
        self.changed.append(&mut changed);
    }
}
