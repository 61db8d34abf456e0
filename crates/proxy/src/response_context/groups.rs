//! The targets of a response context: which are tried now, and which later (RFC 3261 16.6, 16.7 step 6).
//!
//! Distributes the Max-Breadth of the request among the branches (RFC 5393 5.3.3). Must not judge responses.

use std::time::Duration;

use parser::Transport;

use crate::clock::Instant;
use crate::context::Context;
use crate::event::{DiversionReason, Event, LargeRequest, Limit};
use crate::hop::{Hop, Over};
use crate::large;
use crate::route::Group;
use crate::settings::{SingleTarget, Strategy};
use crate::target::{NextHop, Target};

use super::branch::ClientBranch;
use super::join::{are_one_phone, are_same};
use super::outcome::{CancelCause, Outcome};
use super::{Open, Phase, ResponseContext};

/// One part in so many of the free breadth, rounded up, is reserved for phones that register later. Each takes 1, as a
/// phone does not fork.
const LATE_PART: u32 = 4;

impl ResponseContext {
    /// Continues if the current group has ended: with the next group, or with the final response.
    pub(super) fn advance(&mut self, context: &mut Context<'_>) {
        if self.sender_is_gone(context.now.mono) {
            self.close();
        }
        while self.upstream.is_waiting() && self.searching == 0 {
            let (group_from, is_last) = match &self.phase {
                Phase::Open(open) => (open.group_from, open.waiting.is_empty()),
                Phase::Closed { .. } => (0, true),
            };
            if self.branches.iter().skip(group_from).any(ClientBranch::is_pending) {
                return;
            }
            if !is_last && self.is_outside() {
                self.keep_to_trunk(group_from);
            }
            let is_last = self.open().is_none_or(|open| open.waiting.is_empty());
            if is_last {
                if self.rings_beside() {
                    return;
                }
                if self.divert_by_outcomes(context) {
                    return;
                }
                // A phone of an earlier group may accept the call while its CANCEL is under way.
                if !self.branches.iter().any(ClientBranch::is_pending) {
                    self.answer_with_best(context);
                }
                return;
            }
            if !self.start_group(context) {
                return;
            }
        }
    }

    /// Starts the next group without waiting for the 487s of the current one. In a wave the current phones ring on
    /// beside it.
    pub(super) fn ring_time_is_over(&mut self, context: &mut Context<'_>) {
        self.ring_until = None;
        let is_last = self.open().is_none_or(|open| open.waiting.is_empty());
        let keeps_ringing = match &self.course {
            Some(attempt) => attempt.turn(self.open()).rings_on,
            None => self.disposition.strategy == Strategy::Wave,
        };
        let rings_on = keeps_ringing && !is_last && self.free_breadth() > 0;
        if !rings_on {
            self.cancel_pending(None, CancelCause::TimedOut, context);
        }
        if is_last {
            self.stop_following();
            self.divert(DiversionReason::NoAnswer, context);
        } else {
            self.start_group(context);
        }
    }

    /// The flow of a branch has failed: its phone is tried at its next contact (RFC 5626 7), its host name at the next
    /// address (RFC 3263 4.3), if there is one.
    pub(super) fn fail_over(&mut self, index: usize, context: &mut Context<'_>) {
        self.try_other_way(index, context);
        self.follow_member(index, context);
    }

    fn try_other_way(&mut self, index: usize, context: &mut Context<'_>) {
        let sender_is_gone = self.sender_is_gone(context.now.mono);
        let Phase::Open(Open { spares, .. }) = &mut self.phase else { return };
        if sender_is_gone {
            return;
        }
        if let Some(refused) = self.branches.get_mut(index).filter(|branch| branch.is_refused_over_tcp()) {
            refused.set_outcome(Outcome::OverUdpInstead);
            large::record_refusal(refused.hop(), &self.template.settings, context);
            let (target, share) = (refused.target().clone(), refused.share());
            return self.start_branch_over(Some(Transport::Udp), target, share, context);
        }
        if spares.is_empty() {
            return;
        }
        let (Some(lost), Some(request)) = (self.branches.get(index), self.template.request.as_deref()) else { return };
        let (failed, share) = (&lost.target().uri, lost.share());
        let next = if lost.is_replaced {
            None
        } else if lost.is_lost() {
            spares.iter().position(|spare| are_one_phone(&spare.uri, failed, request))
        } else if lost.is_unavailable() {
            spares.iter().position(|spare| are_same(&spare.uri, failed, request))
        } else {
            None
        };
        if let Some(at) = next {
            let (now, settings) = (context.now.mono, context.settings);
            let until = now + settings.unreachable_for;
            if !context.unreachable.add(lost.hop(), until, now, settings.limits.unreachable) {
                context.outbox.emit(Event::LimitReached(Limit::Unreachable));
            }
            let spare = spares.remove(at);
            if let Some(lost) = self.branches.get_mut(index) {
                lost.is_replaced = true;
            }
            self.start_branch(spare, share, context);
        }
    }

    /// RFC 4321 1.3: the sender of another request than INVITE gives up after 64·T1, so no further phone may get it
    /// then.
    pub(super) fn sender_is_gone(&self, now: Instant) -> bool {
        !self.upstream.is_invite() && self.began + self.template.timers().give_up() <= now
    }

    /// Tries the next group. False if there is none, or no breadth is free: then it waits for a branch to end.
    pub(super) fn start_group(&mut self, context: &mut Context<'_>) -> bool {
        if self.free_breadth() == 0 {
            return false;
        }
        let Phase::Open(open) = &mut self.phase else { return false };
        let Some(group) = open.waiting.pop() else { return false };
        (open.group_from, open.group_q) = (self.branches.len(), group.q);
        self.try_group(group, context);
        self.ring_until = self.ring_time(context.now.mono).map(|time| context.now.mono + time);
        true
    }

    /// Tries all targets of a group at once, or as many as the breadth allows (RFC 5393 5.3.3). The others are the
    /// next group.
    fn try_group(&mut self, mut group: Group, context: &mut Context<'_>) {
        let free = self.free_breadth();
        let Phase::Open(open) = &mut self.phase else { return };
        let at_once = group.targets.len().min(usize::try_from(free).unwrap_or(usize::MAX));
        if at_once < group.targets.len() {
            open.waiting.push(Group { q: group.q, targets: group.targets.drain(at_once..).collect() });
        }
        let Ok(parts @ 1..) = u32::try_from(at_once) else { return };
        // 1 is reserved for each target to come, which may start before these branches have ended.
        let to_come = open.waiting.iter().map(|group| group.targets.len()).sum::<usize>();
        let kept = u32::try_from(to_come).unwrap_or(u32::MAX).min(free - parts);
        // The next party of a course starts while the phones of this one are being cancelled.
        let late = match (&self.course, open.is_joinable) {
            (Some(_), _) => (free - parts - kept).div_ceil(2),
            (None, true) => (free - parts - kept).div_ceil(LATE_PART),
            (None, false) => 0,
        };
        let usable = free - kept - late;
        for (target, number) in group.targets.into_iter().zip(0..) {
            let share = usable / parts + u32::from(number < usable % parts);
            self.start_branch(target, share, context);
        }
    }

    /// The Max-Breadth that no branch holds now.
    pub(super) fn free_breadth(&self) -> u32 {
        let held = self.branches.iter().map(ClientBranch::breadth).sum();
        self.breadth.saturating_sub(held)
    }

    /// Decides whether the targets that are tried from now on, so many phones, have a ring time. A single phone has none,
    /// with or without other contacts, unless `forking.single_target` or the rules of the office say so. A request in a
    /// dialog does not ring.
    pub(super) fn limit_ring_time(&mut self, phones: usize) {
        let is_in_dialog = self.template.request.as_ref().is_some_and(|request| request.in_dialog);
        let is_stateful = self.template.settings.forking.single_target == SingleTarget::Stateful && !is_in_dialog;
        let rings_in_turn = self.course.as_ref().is_some_and(|attempt| attempt.course.has_ring_time());
        if let Some(open) = self.open_mut() {
            open.has_ring_time = phones > 1 || is_stateful || rings_in_turn;
        }
    }

    /// How long the group that starts now may take; `None` if only its transactions limit that.
    fn ring_time(&self, now: Instant) -> Option<Duration> {
        let open = self.open()?;
        if self.upstream.is_invite() {
            // The called party rings as long as the caller waits; another trunk would not change that.
            if self.is_outside() {
                return None;
            }
            let own = self.course.as_ref().and_then(|attempt| attempt.turn(Some(open)).ring_time);
            return open.has_ring_time.then(|| own.unwrap_or(self.template.settings.forking.ring_time));
        }
        // RFC 4321 1.3: the sender gives up after 64·T1, so the groups share the rest of that.
        let groups = u32::try_from(open.waiting.len()).unwrap_or(u32::MAX).saturating_add(1);
        let left = (self.began + self.template.timers().give_up()).since(now);
        (groups > 1).then(|| left.checked_div(groups).unwrap_or_default())
    }

    /// How long a branch may go without any response if its phone has other contacts: the caller waits for 64·T1, so
    /// the contacts of one phone share that.
    fn patience(&self, target: &Target, hop: &Hop) -> Option<Duration> {
        if hop.over == Over::InsteadOfUdp {
            // RFC 3261 17.2.1: an INVITE gets a provisional response within 200 ms. A peer that accepts the connection
            // and sends none may not support TCP.
            let timers = self.template.timers();
            return Some(if self.upstream.is_invite() { timers.t1 * 8 } else { timers.give_up() / 2 });
        }
        let (open, request) = (self.open()?, self.template.request.as_deref()?);
        let others = open.spares.iter().filter(|spare| are_one_phone(&spare.uri, &target.uri, request)).count();
        let trunks = if self.is_outside() { open.waiting.len() } else { 0 };
        let others = u32::try_from(others + trunks).ok().filter(|others| *others > 0)?;
        self.template.timers().give_up().checked_div(others + 1)
    }

    /// Forwards the request to a target that has an address.
    pub(super) fn start_branch(&mut self, target: Target, breadth: u32, context: &mut Context<'_>) {
        self.start_branch_over(None, target, breadth, context);
    }

    /// As [`start_branch`](Self::start_branch). Without `transport`, a request that is too long for UDP goes over TCP.
    fn start_branch_over(
        &mut self,
        transport: Option<Transport>,
        target: Target,
        breadth: u32,
        context: &mut Context<'_>,
    ) {
        let NextHop::Hop(hop) = &target.next_hop else { return };
        let hop = hop.now(context.connections);
        let Ok(number) = u8::try_from(self.branches.len()) else { return };
        if !self.takes_line(&target, context) {
            return self.branches.push(ClientBranch::without_line(number, (target, hop), &self.template, context));
        }
        let (patience, mark) = (self.patience(&target, &hop), context.outbox.mark());
        let mut branch = ClientBranch::start(number, (target, hop), breadth, patience, &self.template, context);
        let length = context.outbox.len_since(mark);
        if transport.is_none()
            && let Some(hop) = self.hop_over_tcp(&branch, length, context)
        {
            context.outbox.retract(mark);
            context.outbox.emit(Event::LargeRequest { outcome: LargeRequest::OverTcp });
            let (target, patience) = (branch.target().clone(), self.patience(branch.target(), &hop));
            branch = ClientBranch::start(number, (target, hop), breadth, patience, &self.template, context);
        }
        let (method, transport) = (self.upstream.method, branch.hop().transport);
        context.outbox.emit(Event::RequestForwarded { method, transport });
        if self.course.is_some() {
            self.time_follower(branch.target().uri.aor(), context);
            branch.refusal_scope = self.refusal_scope();
        }
        self.branches.push(branch);
    }

    /// The hop over TCP for the request of a branch that was written in so many octets, if it is too long for UDP.
    fn hop_over_tcp(&self, branch: &ClientBranch, length: usize, context: &Context<'_>) -> Option<Hop> {
        if length <= large::MAX_OVER_UDP {
            return None;
        }
        let way = (branch.hop(), branch.target().over_flow);
        large::hop_over_tcp(way, length, &self.template.settings, context.udp_only, context.now.mono)
    }

    /// The targets to come; `None` if no further branch may start.
    pub(super) const fn open(&self) -> Option<&Open> {
        match &self.phase {
            Phase::Open(open) => Some(open),
            Phase::Closed { .. } => None,
        }
    }

    pub(super) const fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.phase {
            Phase::Open(open) => Some(open),
            Phase::Closed { .. } => None,
        }
    }
}
