//! The response context: one request, the phones it was sent to, and the one answer its sender gets
//! (RFC 3261 16.2, 16.7 to 16.10).
//!
//! Takes a `Plan` and works it off, group by group. Two clocks bound it: the ring time of a group, which nothing
//! extends, and Timer C of a branch, which a ringing phone does. Every 2xx goes up, whatever has happened before.

mod answer;
mod best;
mod branch;
mod early;
mod groups;
mod join;
mod outcome;
mod table;
mod template;
mod upstream;

use std::sync::Arc;

use location::{Aor, Flow};
use parser::{HeaderName, Message, Method, reason_phrase};
use smallvec::SmallVec;

use crate::clock::Instant;
use crate::connections::Connections;
use crate::context::Context;
use crate::event::{self, Event};
use crate::forward::BranchId;
use crate::hop::Hop;
use crate::request::{Request, RequestSource};
use crate::route::{Disposition, Group, Plan, Search, may_respond};
use crate::settings::{Settings, SingleTarget};
use crate::target::Target;
use crate::transaction::{ClientEvent, is_due, sooner};

use branch::ClientBranch;
use outcome::CancelCause;
use template::Template;
use upstream::Upstream;

pub(crate) use best::status_for_caller;
pub(crate) use table::ResponseContexts;

/// What a phone is told that rang in vain because another was picked up (RFC 3326 2).
const COMPLETED_ELSEWHERE: &[u8] = b"SIP;cause=200;text=\"Call completed elsewhere\"";

/// What the caller of a forked INVITE was sent.
#[derive(Clone, Debug)]
pub(crate) enum Final {
    /// A refusal, or nothing yet.
    NoSuccess,
    /// A 2xx; and where the one that is asked for came from, if it is known.
    Success(Option<Hop>),
}

/// A forked request.
#[derive(Debug)]
pub(crate) struct ResponseContext {
    template: Template,
    /// The Max-Breadth of the request.
    breadth: u32,
    upstream: Upstream,
    branches: SmallVec<[ClientBranch; 3]>,
    /// Where in `branches` the group that rings now begins.
    group_from: usize,
    /// Its preference.
    group_q: u16,
    /// Groups to come, the next one last.
    waiting: SmallVec<[Group; 1]>,
    /// Other contacts of the same phones.
    spares: Vec<Target>,
    /// Whether its groups are bounded in time. One phone with a spare is not, as if it had none.
    has_ring_time: bool,
    /// When the group that rings now has rung long enough.
    ring_until: Option<Instant>,
    disposition: Disposition,
    /// The user whose phones may still join.
    callee: Option<Aor>,
    /// Redirections that are being looked up.
    following: u8,
    /// No new branch from now on (RFC 3261 16.7 steps 5 and 10, 16.10).
    closed: bool,
    /// Whether the caller is told of early dialogs that have ended.
    wants_199: bool,
    caller_hung_up: bool,
    began: Instant,
}

impl ResponseContext {
    /// Answers an INVITE with 100, and tries the first group.
    pub(crate) fn start(
        id: u64,
        mut request: Request,
        plan: Plan,
        loop_mark: u64,
        settings: Arc<Settings>,
        context: &mut Context<'_>,
    ) -> Self {
        let upstream = Upstream::new(&request, &settings, context.now.mono);
        let has_ring_time = plan.phones() > 1 || settings.forking.single_target == SingleTarget::Stateful;
        let mut waiting = plan.groups;
        waiting.reverse();
        let breadth = request.max_breadth();
        let wants_199 = upstream.is_invite() && early::wants_199(&request);
        request.message.detach();
        let mut fork = Self {
            template: Template { fork: id, request: Some(Box::new(request)), loop_mark, settings },
            breadth,
            upstream,
            branches: SmallVec::new(),
            group_from: 0,
            group_q: 0,
            waiting,
            spares: plan.spares,
            has_ring_time,
            ring_until: None,
            disposition: plan.disposition,
            callee: plan.aor,
            following: 0,
            closed: false,
            wants_199,
            caller_hung_up: false,
            began: context.now.mono,
        };
        if fork.upstream.is_invite() {
            // RFC 3261 17.2.1: within 200 ms; at once, then.
            fork.reply(100, context);
        }
        fork.advance(context);
        fork
    }

    /// Whether its request came from this place.
    pub(crate) fn is_from(&self, source: &RequestSource, connections: &Connections) -> bool {
        self.upstream.source.is_same_as(source, connections)
    }

    /// The request came again.
    pub(crate) fn retransmitted(&mut self, context: &mut Context<'_>) {
        self.upstream.retransmitted(context);
    }

    /// An ACK came, with a To tag of this [`tag_checksum`](crate::pin::tag_checksum). That of a refusal ends here; that of a 2xx
    /// is passed on (RFC 6026 7.1).
    pub(crate) fn acknowledged(&mut self, to_tag: u64, context: &Context<'_>) -> Final {
        let answered_by = self.branches.iter().find(|branch| branch.accepted == Some(to_tag));
        // A phone may have been picked up after the caller was refused (RFC 3261 16.7 step 5).
        if answered_by.is_some() || self.upstream.is_accepted() {
            return Final::Success(answered_by.map(|branch| branch.hop().clone()));
        }
        self.upstream.acknowledged(self.template.timers(), context.now.mono);
        Final::NoSuccess
    }

    /// The caller sent CANCEL (RFC 3261 16.10). Its own Reason goes with the CANCEL of each branch; none is added (RFC 3326).
    pub(crate) fn cancelled(&mut self, cancel: &Message, context: &mut Context<'_>) {
        if !self.upstream.is_waiting() {
            return;
        }
        self.caller_hung_up = true;
        self.close();
        let reasons = cancel.values(HeaderName::Reason).collect::<Vec<_>>().join(&b", "[..]);
        self.cancel_pending(Some(&*reasons).filter(|reasons| !reasons.is_empty()), CancelCause::NotNeeded, context);
        self.advance(context);
    }

    /// A response came on a branch. Returns the redirection to follow, if it is one.
    pub(crate) fn receive(
        &mut self,
        id: BranchId,
        response: &Message,
        source: &Flow,
        context: &mut Context<'_>,
    ) -> Option<Box<Search>> {
        let branch = self.branches.get_mut(usize::from(id.index))?;
        if !may_respond(branch.hop(), branch.target(), source, &self.template.settings) {
            context.outbox.emit(Event::Dropped(event::Drop::StrayResponse));
            return None;
        }
        let (status, method) = (response.status().unwrap_or(500), response.method());
        // RFC 3261 16.7 step 3: without a Via below ours there is nobody to pass it on to. A refusal still ends its
        // branch: some phones answer an INVITE that was cancelled with the one Via of the CANCEL.
        if status < 300 && method != Method::Cancel && !has_upstream_via(response) {
            context.outbox.emit(Event::Dropped(event::Drop::StrayResponse));
            return None;
        }
        let heard = branch.receive(response, method, &self.template, context);
        let address = Some(branch.target().remote(branch.hop()));
        match heard {
            // RFC 3261 16.7 step 5, RFC 4320 4.1: 100 stays here, and so does any 1xx of another method.
            ClientEvent::Provisional if status > 100 && self.upstream.is_invite() => {
                self.note_early(usize::from(id.index), response);
                self.pass_up(response, address, context);
            }
            ClientEvent::Success => {
                let first = self.upstream.is_waiting();
                self.pass_up(response, address, context);
                if first {
                    let by = self.branches.get(usize::from(id.index)).and_then(|branch| branch.target().uri.phone());
                    self.emit_outcome(event::ForkOutcome::Answered, status, by, context);
                }
                self.close();
                // step 10; RFC 3841 9.1: unless the caller wants to hear them all.
                if self.disposition.cancel {
                    self.ring_until = None;
                    self.cancel_pending(Some(COMPLETED_ELSEWHERE), CancelCause::NotNeeded, context);
                }
            }
            ClientEvent::Failure => {
                let redirection = self.follow(id, response, context);
                if redirection.is_none() {
                    self.failed(usize::from(id.index), status, context);
                }
                self.send_199(usize::from(id.index), status, context);
                return redirection;
            }
            ClientEvent::Stray => context.outbox.emit(Event::Dropped(event::Drop::StrayResponse)),
            ClientEvent::Provisional | ClientEvent::FailureAgain | ClientEvent::Nothing => {}
        }
        None
    }

    /// A branch has ended with a refusal.
    fn failed(&mut self, index: usize, status: u16, context: &mut Context<'_>) {
        if status >= 600 {
            // RFC 3261 16.7 step 5: no new branch, and the others stop ringing, by the cause of this one.
            self.close();
            self.cancel_pending(Some(cause(status).as_bytes()), CancelCause::NotNeeded, context);
        }
        self.fail_over(index, context);
        self.advance(context);
    }

    /// A request of a branch could not be sent.
    pub(crate) fn undelivered(&mut self, id: BranchId, context: &mut Context<'_>) {
        if let Some(branch) = self.branches.get_mut(usize::from(id.index)) {
            branch.undelivered();
            self.fail_over(usize::from(id.index), context);
            self.advance(context);
        }
    }

    pub(crate) fn timeout(&mut self, context: &mut Context<'_>) {
        self.upstream.timeout(context);
        let mut ended = false;
        for index in 0..self.branches.len() {
            let branch = self.branches.get_mut(index);
            if branch.is_some_and(|branch| branch.timeout(&self.template, context)) {
                self.fail_over(index, context);
                ended = true;
            }
        }
        if self.upstream.trying_is_due(context.now.mono) {
            self.reply(100, context);
        }
        if is_due(self.ring_until, context.now.mono) {
            self.ring_time_is_over(context);
            ended = true;
        }
        if ended {
            self.advance(context);
        }
    }

    /// Lets go of what a finished request needs no more: for the 32 s that it stays, there can be many.
    pub(crate) fn forget(&mut self) {
        if self.upstream.is_waiting() {
            return;
        }
        if !self.closed {
            self.close();
        }
        if !self.branches.iter().any(ClientBranch::needs_request) {
            self.template.request = None;
        }
        self.upstream.forget();
        self.branches.iter_mut().for_each(ClientBranch::forget);
    }

    /// Bytes that it holds.
    pub(crate) fn held(&self) -> usize {
        let request =
            self.template.request.as_ref().map_or(0, |request| size_of::<Request>() + request.message.bytes().len());
        let branches: usize = self.branches.iter().map(ClientBranch::held).sum();
        let spilled = if self.branches.spilled() { self.branches.capacity() * size_of::<ClientBranch>() } else { 0 };
        size_of::<Self>() + request + branches + spilled + self.upstream.held()
    }

    pub(crate) fn is_terminated(&self) -> bool {
        self.upstream.is_terminated() && self.branches.iter().all(ClientBranch::is_terminated)
    }

    /// Whether it stays for copies only, of what came and of what was sent.
    pub(crate) fn is_over(&self) -> bool {
        self.upstream.is_over() && self.template.request.is_none()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let own = sooner(self.upstream.deadline(), self.ring_until);
        self.branches.iter().fold(own, |soonest, branch| sooner(soonest, branch.deadline()))
    }

    fn close(&mut self) {
        self.closed = true;
        self.waiting = SmallVec::new();
        self.spares = Vec::new();
    }

    fn cancel_pending(&mut self, reason: Option<&[u8]>, why: CancelCause, context: &mut Context<'_>) {
        for branch in &mut self.branches {
            branch.cancel(reason, why, &self.template, context);
        }
    }
}

/// The Reason for what happens because of this final (RFC 3326 2).
fn cause(status: u16) -> String {
    format!("SIP;cause={status};text=\"{}\"", reason_phrase(status))
}

/// Whether a response can be forwarded: there is a Via below ours.
fn has_upstream_via(response: &Message) -> bool {
    response.values(HeaderName::Via).nth(1).is_some()
}
