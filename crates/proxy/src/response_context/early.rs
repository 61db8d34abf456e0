//! Early dialogs that end while the caller still waits: the caller gets a 199 for each, if it supports that (RFC 6228
//! 6).
//!
//! Must not decide what ends a branch.

use parser::headers::{Require, To};
use parser::{HeaderName, Message, reason_phrase};

use crate::context::Context;
use crate::request::Request;

use super::{ResponseContext, reason_of};

/// The most early dialogs of one branch that are remembered. A phone has one, a downstream proxy that forks a few.
const MAX_DIALOGS: usize = 8;

/// The To tags of the early dialogs of a branch.
pub(super) type EarlyDialogs = Vec<Box<[u8]>>;

/// Whether the caller wants a 199. Not if it requires reliable provisional responses, which a proxy cannot send.
pub(super) fn wants_199(request: &Request) -> bool {
    let must_be_reliable = || request.message.headers::<Require<'_>>().flatten().any(|it| it.tag.is("100rel"));
    !request.in_dialog && request.supports("199") && !must_be_reliable()
}

impl ResponseContext {
    /// Notes the early dialog that a provisional response of a branch creates or ends.
    pub(super) fn note_early(&mut self, index: usize, response: &Message) {
        let tag = response.header::<To<'_>>().ok().flatten().and_then(|to| to.tag());
        let branch = self.branches.get_mut(index).filter(|_| self.wants_199);
        let (Some(branch), Some(tag)) = (branch, tag) else { return };
        let known = branch.early.iter().position(|known| **known == *tag);
        match known {
            Some(at) if response.status() == Some(199) => drop(branch.early.remove(at)),
            None if response.status() != Some(199) && branch.early.len() < MAX_DIALOGS => branch.early.push(tag.into()),
            _ => {}
        }
    }

    /// Sends a 199 for each early dialog of a branch that failed with this status, unless its final response was
    /// forwarded.
    pub(super) fn send_199(&mut self, index: usize, status: u16, context: &mut Context<'_>) {
        let tags = self.branches.get_mut(index).map(|branch| std::mem::take(&mut branch.early)).unwrap_or_default();
        for tag in tags {
            let Some(request) = &self.template.request else { return };
            if !self.upstream.is_waiting() || !self.upstream.may_send(199, self.template.timers(), context.now.mono) {
                return;
            }
            let text = context.reply_as(request, &tag, 199, reason_phrase(199).as_bytes(), |reply| {
                reply.header(HeaderName::Reason, |out| out.extend_from_slice(reason_of(status).as_bytes()));
            });
            self.upstream.keep_own(text);
        }
    }
}
