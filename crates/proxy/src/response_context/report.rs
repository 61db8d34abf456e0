//! Events about the calls of ring groups and by trunks, for metrics.
//!
//! Decides how often each is counted: a call to a group once, when it leaves the group or ends; a call by trunks once for
//! each attempt, when the whole call ends. Must not decide anything about the call.

use crate::context::Context;
use crate::event::{Event, GroupCallOutcome, TrunkCallOutcome};

use super::ResponseContext;
use super::branch::ClientBranch;
use super::outcome::Outcome;

impl ResponseContext {
    /// Reports the groups that the call has left since the last report.
    pub(super) fn report_left_groups(&mut self, context: &mut Context<'_>) {
        if !self.upstream.is_invite() {
            return;
        }
        let reported = std::mem::take(&mut self.reported);
        let Some(attempt) = self.course.as_deref() else { return };
        let events = attempt.course.left_groups(reported.into(), &self.template.settings);
        events.for_each(|event| context.outbox.emit(event));
        self.reported = u8::try_from(attempt.course.length()).unwrap_or(u8::MAX);
    }

    /// Reports the end of a call to the group that rings now. The call has left the earlier ones.
    pub(super) fn report_group(&self, outcome: GroupCallOutcome, context: &mut Context<'_>) {
        if let Some(attempt) = self.course.as_deref().filter(|_| self.upstream.is_invite()) {
            let event = attempt.course.last_group(outcome, &self.template.settings);
            event.into_iter().for_each(|event| context.outbox.emit(event));
        }
    }

    /// Reports the attempts of a call that has ended at trunks.
    pub(super) fn report_trunks(&self, context: &mut Context<'_>) {
        if self.template.settings.trunks.all.is_empty() || !self.upstream.is_invite() {
            return;
        }
        for branch in &self.branches {
            let trunk = branch.target().uri.trunk();
            if let Some((to, outcome)) = trunk.zip(result_of(branch)) {
                context.outbox.emit(Event::TrunkCall { trunk: to.trunk.name.clone(), outcome });
            }
        }
    }
}

/// The result of an attempt; `None` if it was not sent, or another branch continues it.
fn result_of(branch: &ClientBranch) -> Option<TrunkCallOutcome> {
    if branch.is_without_line() {
        return None;
    }
    Some(match branch.outcome() {
        Some(Outcome::Success) => TrunkCallOutcome::Answered,
        Some(Outcome::Followed | Outcome::OverUdpInstead) => return None,
        _ if branch.is_cancelled() => TrunkCallOutcome::Cancelled,
        // The caller has its final response, and the CANCEL of this branch follows.
        None => TrunkCallOutcome::Cancelled,
        Some(Outcome::Final(message)) => match message.status() {
            Some(408 | 430 | 500..=599) | None => TrunkCallOutcome::Failed,
            Some(_) => TrunkCallOutcome::Refused,
        },
        Some(Outcome::FailedOver | Outcome::NoResponse(_)) => TrunkCallOutcome::Failed,
    })
}
