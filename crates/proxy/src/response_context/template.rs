//! The template from which the requests of all branches are written.
//!
//! A branch keeps no copy of its request: each retransmission is written again with the same octets (RFC 3261
//! 17.1.1.2), and so are the parts that an ACK or a CANCEL repeats. So a call to many phones keeps its request in
//! memory once. Must not choose targets.

use std::sync::Arc;

use bytes::Bytes;
use parser::SentInvite;

use crate::context::Context;
use crate::forward::{BranchId, Forwarding, History, Origin, ViaBranch, as_sent, write_request};
use crate::node_link::Link;
use crate::request::Request;
use crate::settings::{Settings, Timers};

use super::branch::ClientBranch;

/// A request, and what else each branch writes into it.
#[derive(Debug)]
pub(super) struct Template {
    /// The id of its response context.
    pub(super) context_id: u64,
    /// The request as received; `None` when no branch needs it any more.
    pub(super) request: Option<Box<Request>>,
    pub(super) loop_mark: u64,
    /// How the call came to the targets of each attempt, with the number of its first branch.
    pub(super) histories: Vec<(u8, History)>,
    /// The settings that the context started with: a reload does not change a call in progress.
    pub(super) settings: Arc<Settings>,
}

impl Template {
    pub(super) fn timers(&self) -> &Timers {
        &self.settings.timers
    }

    /// Sends the request of a branch.
    pub(super) fn send(&self, branch: &ClientBranch, context: &mut Context<'_>) {
        let Some(forwarding) = self.forwarding(branch, context) else { return };
        let Context { outbox, rewrite, mac, now, .. } = context;
        let link = Link { settings: &self.settings, mac, now: now.wall };
        outbox.send_over(branch.hop(), true, link, |out| write_request(&forwarding, &self.settings, mac, rewrite, out));
    }

    /// Sends the ACK or CANCEL that `write` writes from the request of a branch. Returns it, for retransmissions.
    pub(super) fn follow_up(
        &self,
        branch: &ClientBranch,
        context: &mut Context<'_>,
        write: impl FnOnce(&SentInvite<'_>, &mut Vec<u8>),
    ) -> Bytes {
        let Some(forwarding) = self.forwarding(branch, context) else { return Bytes::new() };
        let mut text = Vec::new();
        as_sent(&forwarding, &self.settings, context.mac, |sent| write(sent, &mut text));
        let text = Bytes::from(text);
        context.resend(branch.hop(), &self.settings, &text);
        text
    }

    /// Calls `read` with the values that the request of a branch was sent with.
    pub(super) fn read_sent(&self, branch: &ClientBranch, context: &Context<'_>, read: impl FnOnce(&SentInvite<'_>)) {
        if let Some(forwarding) = self.forwarding(branch, context) {
            as_sent(&forwarding, &self.settings, context.mac, read);
        }
    }

    fn forwarding<'a>(&'a self, branch: &'a ClientBranch, context: &Context<'_>) -> Option<Forwarding<'a>> {
        let (worker, loop_mark, request) = (context.worker, self.loop_mark, self.request.as_deref()?);
        let id = BranchId { context: self.context_id, index: branch.number() };
        let to = branch.sent_to();
        let origin = Origin::new(request, to, Some((worker, self.context_id)), &self.settings, context.mac);
        Some(Forwarding {
            request,
            to,
            branch: ViaBranch::Transaction { worker, id, loop_mark, origin },
            breadth: branch.share(),
            history: self.histories.iter().rfind(|(first, _)| *first <= branch.number()).map(|(_, history)| history),
        })
    }
}
