//! What the requests of all branches are made of.
//!
//! A branch keeps no copy of what it sent: a retransmission is written anew, the same octets each time (RFC 3261
//! 17.1.1.2), and so is what an ACK or a CANCEL repeats of it. So a call that rings costs its request once, not once for
//! each phone.

use std::sync::Arc;

use bytes::Bytes;
use parser::SentInvite;

use crate::context::Context;
use crate::forward::{BranchId, Forwarding, Origin, ViaBranch, as_sent, write_request};
use crate::request::Request;
use crate::settings::{Settings, Timers};

use super::branch::ClientBranch;

/// A forked request, and what it is forwarded with.
#[derive(Debug)]
pub(super) struct Template {
    /// The id of its fork.
    pub(super) fork: u64,
    /// As it came; none when nobody needs it any more.
    pub(super) request: Option<Box<Request>>,
    pub(super) loop_mark: u64,
    /// The settings it began with: a reload does not change a call in progress.
    pub(super) settings: Arc<Settings>,
}

impl Template {
    pub(super) fn timers(&self) -> &Timers {
        &self.settings.timers
    }

    /// Sends the request of a branch.
    pub(super) fn send(&self, branch: &ClientBranch, context: &mut Context<'_>) {
        let Some(forwarding) = self.forwarding(branch, context) else { return };
        let Context { outbox, rewrite, mac, .. } = context;
        outbox.send(branch.hop(), true, |out| write_request(&forwarding, &self.settings, mac, rewrite, out));
    }

    /// Sends what `write` makes of the request of a branch: its ACK or CANCEL. Returns it, to be sent again.
    pub(super) fn follow_up(
        &self,
        branch: &ClientBranch,
        context: &mut Context<'_>,
        write: impl FnOnce(&SentInvite<'_>, &mut Vec<u8>),
    ) -> Bytes {
        let Some(forwarding) = self.forwarding(branch, context) else { return Bytes::new() };
        let write = |out: &mut Vec<u8>| as_sent(&forwarding, &self.settings, |sent| write(sent, out));
        Bytes::copy_from_slice(context.outbox.send(branch.hop(), false, write))
    }

    fn forwarding<'a>(&'a self, branch: &'a ClientBranch, context: &Context<'_>) -> Option<Forwarding<'a>> {
        let (worker, loop_mark, request) = (context.worker, self.loop_mark, self.request.as_deref()?);
        let id = BranchId { fork: self.fork, index: branch.number() };
        let to = (branch.hop(), branch.target());
        let origin = Origin::new(request, to, Some((worker, self.fork)), &self.settings, context.mac);
        Some(Forwarding {
            request,
            target: branch.target(),
            hop: branch.hop(),
            branch: ViaBranch::Transaction { worker, id, loop_mark, origin },
            breadth: branch.share(),
        })
    }
}
