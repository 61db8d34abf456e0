//! How one core writes the table: with each change come the events and the users that have to be told of it.

use std::sync::Arc;
use std::time::Duration;

use location::Wall;

use crate::calls::{
    CallKey, CallRef, CallResponse, CallTable, CallsChange, DialogEnd, DiversionReason, Effect, Moment, PassingRequest,
    Reached, RequestAnswer, TriedPhones, before,
};
use crate::event::{Event, Limit};
use crate::outbox::Outbox;
use crate::subscriber_index::SubscriberIndex;

/// The table of calls, as one core uses it.
#[derive(Debug)]
pub(crate) struct Calls {
    table: Arc<CallTable>,
    /// Which workers have subscriptions to which users.
    watched: Arc<SubscriberIndex>,
    /// What has changed during this call of the driver.
    changes: Vec<CallsChange>,
    /// The requests in dialogs of calls of other nodes that were answered during this call of the driver.
    passed: Vec<(PassingRequest, RequestAnswer)>,
}

impl Calls {
    /// Without any call.
    pub(crate) fn new(watched: Arc<SubscriberIndex>) -> Self {
        Self { table: Arc::new(CallTable::new(0)), watched, changes: Vec::new(), passed: Vec::new() }
    }

    /// Uses this table from now on.
    pub(crate) fn set_table(&mut self, table: Arc<CallTable>) {
        self.table = table;
    }

    /// Which workers have subscriptions to which users.
    pub(crate) fn watched(&self) -> &SubscriberIndex {
        &self.watched
    }

    fn at(&self, now: Wall) -> Moment<'_> {
        Moment { now, subscriptions: self.watched.count() }
    }

    pub(crate) fn table(&self) -> &CallTable {
        &self.table
    }

    /// Whether there is anything to tell.
    pub(crate) const fn has_changed(&self) -> bool {
        !self.changes.is_empty() || !self.passed.is_empty()
    }

    /// The answered requests that have to be reported to the other nodes, since the last call of this method.
    pub(crate) fn take_passed(&mut self) -> Vec<(PassingRequest, RequestAnswer)> {
        std::mem::take(&mut self.passed)
    }

    /// What has changed since this was last asked.
    pub(crate) fn take_changes(&mut self) -> Vec<CallsChange> {
        std::mem::take(&mut self.changes)
    }

    /// A response to the INVITE of a call was forwarded, with a status from 101 to 299.
    pub(crate) fn responded(&mut self, call: CallRef, response: &CallResponse<'_>, now: Wall, outbox: &mut Outbox) {
        let effect = self.table.respond(call, response, self.at(now));
        apply(effect, &mut self.changes, outbox);
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

    /// A branch of a call has ended. `end`: how, if that is known.
    pub(crate) fn branch_ended(
        &mut self,
        call: CallRef,
        (branch, end): (u8, Option<DialogEnd>),
        now: Wall,
        outbox: &mut Outbox,
    ) {
        let effect = self.table.end_branch(call, branch, end, self.at(now));
        apply(effect, &mut self.changes, outbox);
    }

    pub(crate) fn diverted(&self, call: CallRef, reason: DiversionReason, now: Wall) {
        self.table.forward(call, reason, self.at(now));
    }

    /// The setup of a call has ended with this status; `None` if no final response came. `response`: the 2xx, if it was
    /// not reported yet.
    pub(crate) fn set_up(
        &mut self,
        call: CallRef,
        (status, response): (Option<u16>, Option<&CallResponse<'_>>),
        result: (TriedPhones, Reached),
        now: Wall,
        outbox: &mut Outbox,
    ) {
        let (effect, source) = self.table.set_up(call, (status, response), result, self.at(now));
        if let Some(source) = source.filter(|_| matches!(status, Some(200..=299))) {
            outbox.emit(Event::CallAnswered { source });
        }
        apply(effect, &mut self.changes, outbox);
    }

    /// A request within a dialog has its final response, or gets none.
    pub(crate) fn request_answered(&mut self, transaction: u64, answer: RequestAnswer, now: Wall, outbox: &mut Outbox) {
        if let Some(passed) = self.table.passing().end(transaction) {
            self.pass(passed, answer);
        } else {
            self.end_request(transaction, answer, now, outbox);
        }
    }

    fn end_request(&mut self, transaction: u64, answer: RequestAnswer, now: Wall, outbox: &mut Outbox) {
        let Self { table, watched, changes, .. } = self;
        let moment = Moment { now, subscriptions: watched.count() };
        table.request_answered(transaction, answer, moment, |effect| apply(effect, changes, outbox));
    }

    /// A request comes within the dialog of a call that is not here.
    pub(crate) fn passes(&self, request: PassingRequest, outbox: &mut Outbox) {
        if !self.table.passing().begin(request) {
            outbox.emit(Event::LimitReached(Limit::JournalCalls));
        }
    }

    fn pass(&mut self, request: PassingRequest, answer: RequestAnswer) {
        if answer.ends_dialog(request.is_bye) {
            self.passed.push((request, answer));
        }
    }

    /// Another node says that a request has passed it.
    pub(crate) fn request_passed(
        &mut self,
        request: &PassingRequest,
        answer: RequestAnswer,
        now: Wall,
        outbox: &mut Outbox,
    ) {
        self.table.request_passed(request);
        self.end_request(request.transaction, answer, now, outbox);
    }

    /// Ends the calls whose end no message reports ([`CallTable::sweep`]).
    pub(crate) fn sweep(&mut self, (lifetime, bye_timeout): (Duration, Duration), now: Wall, outbox: &mut Outbox) {
        let (records, changes) = self.table.sweep(self.at(now), lifetime, bye_timeout);
        records.into_iter().for_each(|record| outbox.emit(Event::CallEnded(Box::new(record))));
        changes.into_iter().for_each(|change| self.note(change));
        for unanswered in self.table.passing().end_unanswered(before(now, bye_timeout)) {
            self.pass(unanswered, RequestAnswer::Nothing);
        }
    }

    /// Keeps a change for those who watch calls.
    pub(crate) fn note(&mut self, change: CallsChange) {
        note(change, &mut self.changes);
    }
}

/// Reports the end of a call, and notes the change for those who watch calls.
fn apply(Effect { record, change }: Effect, changes: &mut Vec<CallsChange>, outbox: &mut Outbox) {
    if let Some(record) = record {
        outbox.emit(Event::CallEnded(record));
    }
    note(change, changes);
}

fn note(change: CallsChange, changes: &mut Vec<CallsChange>) {
    if !change.users.is_empty() {
        changes.push(change);
    }
}
