//! What the requests of all branches are made of.
//!
//! A branch keeps no copy of what it sent: when that is needed again, for a retransmission, an ACK or a CANCEL, it is
//! written anew, the same octets each time (RFC 3261 17.1.1.2). So a call that rings costs its request once, not once for
//! each phone.

use std::sync::Arc;

use parser::Message;

use crate::context::Context;
use crate::forward::{Branch as ViaBranch, BranchId, Forwarding, Origin, write_request};
use crate::request::Request;
use crate::settings::{Settings, Timers};

use super::branch::Branch;

/// A forked request, and what it is forwarded with.
#[derive(Debug)]
pub(super) struct Template {
    /// The id of its fork.
    pub(super) fork: u64,
    /// As it came; none when nobody needs it any more.
    pub(super) request: Option<Box<Request>>,
    pub(super) loop_mark: u64,
    /// Where responses go when the fork is gone.
    pub(super) origin: Origin,
    /// The settings it began with: a reload does not change a call in progress.
    pub(super) settings: Arc<Settings>,
}

impl Template {
    pub(super) fn timers(&self) -> &Timers {
        &self.settings.timers
    }

    /// Writes the request of a branch.
    pub(super) fn write(&self, branch: &Branch, context: &mut Context<'_>, out: &mut Vec<u8>) {
        let Some(request) = &self.request else { return };
        let id = BranchId { fork: self.fork, index: branch.number() };
        let forwarding = Forwarding {
            request,
            target: branch.target(),
            hop: branch.hop(),
            branch: ViaBranch::Transaction {
                worker: context.worker,
                id,
                loop_mark: self.loop_mark,
                origin: self.origin,
            },
            breadth: branch.share(),
        };
        write_request(&forwarding, &self.settings, context.mac, context.rewrite, out);
    }

    /// The request of a branch, to make its ACK or CANCEL of.
    pub(super) fn sent(&self, branch: &Branch, context: &mut Context<'_>) -> Option<Message> {
        let mut text = Vec::new();
        self.write(branch, context, &mut text);
        Message::parse(text.into()).ok()
    }
}
