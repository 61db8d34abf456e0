//! The response context: one request, the branches that it is forwarded on, and the responses that its sender gets
//! (RFC 3261 16.2, 16.7 to 16.10).
//!
//! Tries the groups of a `Plan` in order. Two timers limit how long phones ring: the ring time of a group, which no
//! response extends, and Timer C of a branch, which a provisional response restarts. Every 2xx to an INVITE is
//! forwarded. Must not choose targets: `route` does.

mod answer;
mod best;
mod branch;
mod calls;
mod client;
mod course;
mod early;
mod groups;
mod join;
mod outcome;
mod report;
mod table;
mod template;
mod trunk;
mod upstream;

use std::sync::Arc;

use location::Flow;
use parser::{HeaderName, Message, Method};
use smallvec::SmallVec;

use crate::calls::{CallRef, DialogEnd};
use crate::clock::Instant;
use crate::connections::Connections;
use crate::context::Context;
use crate::event::{self, Event};
use crate::forward::BranchId;
use crate::hop::Hop;
use crate::request::{Request, RequestSource};
use crate::route::{Disposition, Group, Plan, may_respond};
use crate::settings::Settings;
use crate::target::Target;
use crate::transaction::{ClientEvent, is_due, sooner};

use branch::ClientBranch;
use course::Attempt;
use outcome::{CancelCause, RefusalScope, has_upstream_via, reason_of};
use template::Template;
use upstream::Upstream;

pub(crate) use best::status_for_caller;
pub(crate) use table::ResponseContexts;
pub(crate) use trunk::{bye_frees_line_later, call_setup};

/// The Reason in the CANCEL to a phone that rings after another phone has accepted the call (RFC 3326 2).
const COMPLETED_ELSEWHERE: &[u8] = b"SIP;cause=200;text=\"Call completed elsewhere\"";

/// The final response that the caller of a forked INVITE got.
#[derive(Clone, Debug)]
pub(crate) enum Final {
    /// A failure, or none yet.
    NoSuccess,
    /// A 2xx, and the hop of the phone that sent the one that an ACK acknowledges, if that is known.
    Success(Option<Hop>),
}

/// The state of a request that is forwarded with a transaction.
#[derive(Debug)]
pub(crate) struct ResponseContext {
    template: Template,
    /// The Max-Breadth of the request.
    breadth: u32,
    upstream: Upstream,
    branches: SmallVec<[ClientBranch; 3]>,
    phase: Phase,
    /// When the ring time of the current group ends.
    ring_until: Option<Instant>,
    disposition: Disposition,
    /// The course of a call by the rules of the office, and the current attempt.
    course: Option<Box<Attempt>>,
    /// So many names of the course have been reported, see [`report_left_groups`](Self::report_left_groups).
    reported: u8,
    /// The number of searches that it waits for: redirections, and the next parties of a course.
    searching: u8,
    /// Whether the caller gets a 199 for each early dialog that has ended.
    wants_199: bool,
    /// The call that its request begins.
    call: Option<CallRef>,
    began: Instant,
}

/// Whether further branches may start.
#[derive(Debug)]
enum Phase {
    /// They may. The caller has no final response yet.
    Open(Open),
    /// They may not: a 2xx, a 6xx, the CANCEL of the caller or the final response came (RFC 3261 16.7 steps 5 and 10,
    /// 16.10). Branches may still be pending.
    Closed { caller_cancelled: bool },
}

/// The targets that are still to be tried.
#[derive(Debug)]
struct Open {
    /// The index in `branches` where the current group begins.
    group_from: usize,
    /// The preference of the current group.
    group_q: u16,
    /// The groups to come, the next one last.
    waiting: SmallVec<[Group; 1]>,
    /// Other contacts of the same phones, for a branch whose flow fails.
    spares: Vec<Target>,
    /// Whether groups of an INVITE have a ring time.
    has_ring_time: bool,
    /// Whether phones that register now may join.
    is_joinable: bool,
}

impl ResponseContext {
    /// Answers an INVITE with 100 and tries the first group. `is_joinable`: whether phones that register later may
    /// join.
    pub(crate) fn start(
        id: u64,
        request: Box<Request>,
        mut plan: Plan,
        is_joinable: bool,
        loop_mark: u64,
        settings: Arc<Settings>,
        context: &mut Context<'_>,
    ) -> Box<Self> {
        let (phones, course) = (plan.phones(), plan.course.take());
        let mut this = Box::new(Self::new(id, request, plan, is_joinable, loop_mark, settings, context.now.mono));
        if let Some(course) = course {
            this.follow_course(*course, context);
        }
        this.limit_ring_time(phones);
        if this.upstream.is_invite() {
            // RFC 3261 17.2.1: within 200 ms. It is sent at once, which needs no timer.
            this.reply(100, context);
        }
        this.advance(context);
        this
    }

    /// For an INVITE that was cancelled before any target was known: answers it with 487.
    pub(crate) fn cancelled_before_start(
        id: u64,
        request: Box<Request>,
        call: Option<CallRef>,
        settings: Arc<Settings>,
        context: &mut Context<'_>,
    ) -> Box<Self> {
        let plan = Plan { call, ..Plan::default() };
        let mut this = Box::new(Self::new(id, request, plan, false, 0, settings, context.now.mono));
        this.phase = Phase::Closed { caller_cancelled: true };
        this.answer_cancelled(context);
        this
    }

    fn new(
        id: u64,
        mut request: Box<Request>,
        plan: Plan,
        is_joinable: bool,
        loop_mark: u64,
        settings: Arc<Settings>,
        now: Instant,
    ) -> Self {
        let upstream = Upstream::new(&request, &settings, now);
        let mut waiting = plan.groups;
        waiting.reverse();
        let breadth = request.max_breadth();
        let wants_199 = upstream.is_invite() && early::wants_199(&request);
        request.message.detach();
        let open = Open { group_from: 0, group_q: 0, waiting, spares: plan.spares, has_ring_time: false, is_joinable };
        Self {
            template: Template { context_id: id, request: Some(request), loop_mark, histories: Vec::new(), settings },
            breadth,
            upstream,
            branches: SmallVec::new(),
            phase: Phase::Open(open),
            ring_until: None,
            disposition: plan.disposition,
            course: None,
            reported: 0,
            searching: 0,
            wants_199,
            call: plan.call,
            began: now,
        }
    }

    /// Whether its request came from this source.
    pub(crate) fn is_from(&self, source: &RequestSource, connections: &Connections) -> bool {
        self.upstream.source.is_same_as(source, connections)
    }

    /// A retransmission of the request came.
    pub(crate) fn retransmitted(&mut self, context: &mut Context<'_>) {
        self.upstream.retransmitted(context);
    }

    /// An ACK came, whose To tag has this [`tag_checksum`](crate::pin::tag_checksum). The ACK of a failure ends here.
    /// The ACK of a 2xx has to be forwarded (RFC 6026 7.1).
    pub(crate) fn acknowledged(&mut self, to_tag: u64, context: &Context<'_>) -> Final {
        let answered_by = self.branches.iter().find(|branch| branch.has_accepted(to_tag));
        // A phone may have accepted the call after the caller got a failure (RFC 3261 16.7 step 5). Within a dialog both
        // have the same To tag, and the ACK is that of the failure, since it has the branch of the INVITE.
        let accepted_later = answered_by.is_some() && !self.upstream.in_dialog;
        if accepted_later || self.upstream.is_accepted() {
            return Final::Success(answered_by.map(|branch| branch.hop().clone()));
        }
        self.upstream.acknowledged(self.template.timers(), context.now.mono);
        Final::NoSuccess
    }

    /// The caller sent CANCEL (RFC 3261 16.10). Its own Reason goes with the CANCEL of each branch; none is added
    /// (RFC 3326).
    pub(crate) fn cancelled(&mut self, cancel: &Message, context: &mut Context<'_>) {
        if !self.upstream.is_waiting() {
            return;
        }
        self.phase = Phase::Closed { caller_cancelled: true };
        let reasons = cancel.values(HeaderName::Reason).collect::<Vec<_>>().join(&b", "[..]);
        self.cancel_pending(Some(&*reasons).filter(|reasons| !reasons.is_empty()), CancelCause::NotNeeded, context);
        // What a search finds from now on is not called.
        self.searching = 0;
        let has_6xx = self.branches.iter().filter_map(|branch| branch.outcome()?.status()).any(|status| status >= 600);
        if has_6xx || self.branches.iter().any(ClientBranch::is_pending) {
            self.advance(context);
        } else {
            self.answer_cancelled(context);
        }
    }

    /// A response came on a branch.
    pub(crate) fn receive(&mut self, id: BranchId, response: &Message, source: &Flow, context: &mut Context<'_>) {
        let Some(branch) = self.branches.get_mut(usize::from(id.index)) else { return };
        if !may_respond(branch.sent_to(), source, &self.template.settings) {
            context.outbox.emit(Event::Dropped(event::Drop::StrayResponse));
            return;
        }
        let (status, method) = (response.status().unwrap_or(500), response.method());
        // RFC 3261 16.7 step 3: a response without a Via below ours cannot be forwarded. A failure still ends its
        // branch: some phones answer a cancelled INVITE with the single Via of the CANCEL.
        if status < 300 && method != Method::Cancel && !has_upstream_via(response) {
            context.outbox.emit(Event::Dropped(event::Drop::StrayResponse));
            return;
        }
        let address = Some(branch.sent_to().remote());
        self.extend_number(id, context);
        let Some(branch) = self.branches.get_mut(usize::from(id.index)) else { return };
        let event = branch.receive(response, method, &self.template, context);
        match event {
            // RFC 3261 16.7 step 5, RFC 4320 4.1: a 100 is not forwarded, nor is any 1xx to another method.
            ClientEvent::Provisional if status > 100 && self.upstream.is_invite() => {
                self.note_early(usize::from(id.index), response);
                self.forward(response, address, context);
                self.note_dialog(id.index, response, context);
            }
            ClientEvent::Success => {
                let first = self.upstream.is_waiting();
                self.forward(response, address, context);
                self.note_dialog(id.index, response, context);
                if first {
                    let by = self.branches.get(usize::from(id.index)).map(|branch| branch.target().uri.reached());
                    self.emit_outcome(event::ForkOutcome::Answered, status, by, context);
                }
                self.close();
                // RFC 3261 16.7 step 10; RFC 3841 9.1: unless the caller wants every 2xx.
                if self.disposition.cancel {
                    self.ring_until = None;
                    self.cancel_pending(Some(COMPLETED_ELSEWHERE), CancelCause::NotNeeded, context);
                }
            }
            ClientEvent::Failure => {
                self.note_branch_end(id.index, DialogEnd::Refused(status), context);
                if !self.follow(id, response, context) {
                    self.failed(usize::from(id.index), status, context);
                }
                self.send_199(usize::from(id.index), status, context);
            }
            ClientEvent::Stray => context.outbox.emit(Event::Dropped(event::Drop::StrayResponse)),
            ClientEvent::Provisional | ClientEvent::FailureAgain | ClientEvent::Nothing => {}
        }
    }

    /// A branch has ended with a failure.
    fn failed(&mut self, index: usize, status: u16, context: &mut Context<'_>) {
        let scope = self.branches.get(index).map(|branch| branch.refusal_scope).unwrap_or_default();
        match (status, scope) {
            (..600, _) | (_, RefusalScope::Branch) => {}
            (600, RefusalScope::CallUnlessBusy) => self.is_busy_everywhere(index, context),
            _ => {
                // RFC 3261 16.7 step 5: no new branch starts, and the others are cancelled with this status as Reason.
                self.close();
                self.cancel_pending(Some(reason_of(status).as_bytes()), CancelCause::NotNeeded, context);
            }
        }
        self.fail_over(index, context);
        self.advance(context);
    }

    /// A request of a branch could not be sent.
    pub(crate) fn undelivered(&mut self, id: BranchId, context: &mut Context<'_>) {
        let branch = self.branches.get_mut(usize::from(id.index));
        if branch.is_some_and(ClientBranch::undelivered) {
            self.note_branch_end(id.index, DialogEnd::Silent, context);
            self.fail_over(usize::from(id.index), context);
            self.advance(context);
        }
    }

    /// Fires the timers that are due.
    pub(crate) fn timeout(&mut self, context: &mut Context<'_>) {
        self.upstream.timeout(context);
        let mut ended = false;
        for index in 0..self.branches.len() {
            let branch = self.branches.get_mut(index);
            if branch.is_some_and(|branch| branch.timeout(&self.template, context)) {
                self.note_branch_end(u8::try_from(index).unwrap_or(u8::MAX), DialogEnd::Silent, context);
                self.fail_over(index, context);
                ended = true;
            }
        }
        if self.upstream.trying_is_due(context.now.mono) {
            self.reply(100, context);
        }
        // If the whole time of the course ends now too, no further group begins.
        if is_due(self.ring_until, context.now.mono) && !self.has_no_time_left(context.now.mono) {
            self.ring_time_is_over(context);
            ended = true;
        }
        ended |= self.course_timeout(context);
        if ended {
            self.advance(context);
        }
    }

    /// Frees what is not needed after the final response: the context is kept for 32 s more, and there can be many.
    pub(crate) fn forget(&mut self) {
        if self.upstream.is_waiting() {
            return;
        }
        self.close();
        if !self.branches.iter().any(ClientBranch::needs_request) {
            self.template.request = None;
            self.template.histories = Vec::new();
        }
        self.upstream.forget();
        self.branches.iter_mut().for_each(ClientBranch::forget);
    }

    /// The octets that it holds.
    pub(crate) fn held(&self) -> usize {
        let request =
            self.template.request.as_ref().map_or(0, |request| size_of::<Request>() + request.message.bytes().len());
        let histories: usize = self.template.histories.iter().map(|(_, history)| history.held()).sum();
        let branches: usize = self.branches.iter().map(ClientBranch::held).sum();
        let spilled = if self.branches.spilled() { self.branches.capacity() * size_of::<ClientBranch>() } else { 0 };
        size_of::<Self>() + request + histories + branches + spilled + self.upstream.held()
    }

    /// Whether all its transactions have terminated.
    pub(crate) fn is_terminated(&self) -> bool {
        self.upstream.is_terminated() && self.branches.iter().all(ClientBranch::is_terminated)
    }

    /// Whether it is kept only to absorb and answer retransmissions.
    pub(crate) fn is_completed(&self) -> bool {
        self.upstream.is_completed() && self.template.request.is_none()
    }

    /// When [`ResponseContext::timeout`] has to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let of_course = self.course.as_ref().and_then(|attempt| attempt.deadline());
        let own = sooner(sooner(self.upstream.deadline(), self.ring_until), of_course);
        self.branches.iter().fold(own, |soonest, branch| sooner(soonest, branch.deadline()))
    }

    /// Whether new branches may start. Then the caller has no final response.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Lets no further branch start.
    fn close(&mut self) {
        if self.is_open() {
            self.phase = Phase::Closed { caller_cancelled: false };
        }
    }

    fn cancel_pending(&mut self, reason: Option<&[u8]>, cause: CancelCause, context: &mut Context<'_>) {
        for branch in &mut self.branches {
            branch.cancel(reason, cause, &self.template, context);
        }
    }
}
