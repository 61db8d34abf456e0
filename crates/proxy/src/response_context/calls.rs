//! What a response context reports to the table of calls.
//!
//! Must not decide anything about the call.

use parser::{HeaderName, Message};

use crate::calls::{CallResponse, DialogEnd, Reached, RequestAnswer};
use crate::context::Context;
use crate::event::{DiversionReason, Event, TriedPhones};
use crate::request::tag_of;

use super::ResponseContext;
use super::branch::ClientBranch;
use super::trunk::has_ended_dialog;

impl ResponseContext {
    /// A response that creates or confirms a dialog was forwarded.
    pub(super) fn note_dialog(&self, index: u8, response: &Message, context: &mut Context<'_>) {
        let (call, branch) = (self.call, self.branches.get(usize::from(index)));
        if let Some((call, branch)) = call.zip(branch) {
            let callee_tag = tag_of(response, HeaderName::To).unwrap_or_default();
            let (status, user) = (response.status().unwrap_or_default(), branch.target().uri.aor());
            let response = CallResponse { branch: index, status, callee_tag, user };
            context.calls.responded(call, &response, context.now.wall, context.outbox);
        }
    }

    /// A branch has ended: no early dialog of it goes on.
    pub(super) fn note_branch_end(&self, index: u8, end: DialogEnd, context: &mut Context<'_>) {
        if let Some(call) = self.call {
            context.calls.branch_ended(call, (index, Some(end)), context.now.wall, context.outbox);
        }
    }

    /// The setup of the call has ended with this status.
    pub(super) fn note_setup_end(&self, status: u16, result: (TriedPhones, Reached), context: &mut Context<'_>) {
        if let Some(call) = self.call {
            context.calls.set_up(call, (Some(status), None), result, context.now.wall, context.outbox);
        }
    }

    /// The call goes to another party, by the rules of the office.
    pub(super) fn note_diversion(&self, reason: DiversionReason, context: &mut Context<'_>) {
        context.outbox.emit(Event::Diverted { reason });
        if let Some(call) = self.call {
            context.calls.diverted(call, reason, context.now.wall);
        }
    }

    /// A request within a dialog has its final response. If no branch has one, the other side has not got the request.
    pub(super) fn note_answer_in_dialog(&self, status: u16, context: &mut Context<'_>) {
        let Some(request) = &self.template.request else { return };
        let is_answered = status < 300 || !self.branches.iter().all(has_ended_dialog);
        let answer = if is_answered { RequestAnswer::Final(status) } else { RequestAnswer::Nothing };
        let answer =
            if self.branches.iter().any(ClientBranch::has_responded) { answer } else { RequestAnswer::Nothing };
        context.calls.request_answered(request.key.0, answer, context.now.wall, context.outbox);
    }
}
