//! A plan worked off: which targets of a response context are tried now, and which later (RFC 3261 16.6, 16.7 step 6).
//!
//! Shares the Max-Breadth of the request among the branches (RFC 5393 5.3.3). Must not judge responses.

use std::time::Duration;

use crate::clock::Instant;
use crate::context::Context;
use crate::event::Event;
use crate::route::Group;
use crate::settings::Strategy;
use crate::target::{NextHop, Target};

use super::ResponseContext;
use super::branch::ClientBranch;
use super::join::{are_one_phone, are_same};
use super::outcome::CancelCause;

/// The part of a breadth that is kept for late phones: each takes one, as a phone does not fork.
const LATE_PART: u32 = 4;

impl ResponseContext {
    /// Goes on if the group that rings is through: to the next one, or to the final response.
    pub(super) fn advance(&mut self, context: &mut Context<'_>) {
        if self.sender_is_gone(context.now.mono) {
            self.close();
        }
        while self.upstream.is_waiting() && self.following == 0 && !self.group_rings() {
            if self.waiting.is_empty() {
                // A phone that was sent a CANCEL may be answered at the same moment.
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

    /// The next group does not wait for the 487s of this one. In a wave the phones of this one ring on beside it.
    pub(super) fn ring_time_is_over(&mut self, context: &mut Context<'_>) {
        self.ring_until = None;
        let rings_on =
            self.disposition.strategy == Strategy::Wave && !self.waiting.is_empty() && self.free_breadth() > 0;
        if !rings_on {
            self.cancel_pending(None, CancelCause::TimedOut, context);
        }
        if !self.waiting.is_empty() {
            self.start_group(context);
        }
    }

    /// The flow of a branch has failed: its phone is tried at the next of its contacts (RFC 5626 7), its name at the next
    /// address (RFC 3263 4.3), if there is one.
    pub(super) fn fail_over(&mut self, index: usize, context: &mut Context<'_>) {
        if self.spares.is_empty() || !self.upstream.is_waiting() || self.sender_is_gone(context.now.mono) {
            return;
        }
        let (Some(lost), Some(request)) = (self.branches.get(index), self.template.request.as_deref()) else { return };
        let (was, share) = (&lost.target().uri, lost.share());
        let next = if lost.is_lost() {
            self.spares.iter().position(|spare| are_one_phone(&spare.uri, was, request))
        } else if lost.is_unavailable() {
            self.spares.iter().position(|spare| are_same(&spare.uri, was, request))
        } else {
            None
        };
        if let Some(at) = next {
            let spare = self.spares.remove(at);
            self.start_branch(spare, share, context);
        }
    }

    /// RFC 4321 1.3: who sent another method than INVITE waits for 64·T1, so nobody else is to get it then.
    fn sender_is_gone(&self, now: Instant) -> bool {
        !self.upstream.is_invite() && self.began + self.template.timers().give_up() <= now
    }

    fn group_rings(&self) -> bool {
        self.branches.iter().skip(self.group_from).any(ClientBranch::is_pending)
    }

    /// False if there is none, or no breadth left for any of it: then it waits for a branch to end.
    pub(super) fn start_group(&mut self, context: &mut Context<'_>) -> bool {
        if self.free_breadth() == 0 {
            return false;
        }
        let Some(group) = self.waiting.pop() else { return false };
        self.group_from = self.branches.len();
        self.group_q = group.q;
        self.try_group(group, context);
        self.ring_until = self.ring_time(context.now.mono).map(|time| context.now.mono + time);
        true
    }

    /// Tries these at once, or as many as the breadth allows (RFC 5393 5.3.3): the others are next.
    fn try_group(&mut self, mut group: Group, context: &mut Context<'_>) {
        let free = self.free_breadth();
        let at_once = group.targets.len().min(usize::try_from(free).unwrap_or(usize::MAX));
        if at_once < group.targets.len() {
            self.waiting.push(Group { q: group.q, targets: group.targets.drain(at_once..).collect() });
        }
        let Ok(parts @ 1..) = u32::try_from(at_once) else { return };
        // One is kept for each target to come: it may start while these are still being told to stop.
        let to_come = self.waiting.iter().map(|group| group.targets.len()).sum::<usize>();
        let kept = u32::try_from(to_come).unwrap_or(u32::MAX).min(free - parts);
        // And some for phones that come later.
        let spare = if self.callee.is_some() { (free - parts - kept) / LATE_PART } else { 0 };
        let usable = free - kept - spare;
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

    /// How long the group that starts now may take; none if nothing but its own transactions bounds it.
    fn ring_time(&self, now: Instant) -> Option<Duration> {
        if self.upstream.is_invite() {
            return self.has_ring_time.then_some(self.template.settings.forking.ring_time);
        }
        // RFC 4321 1.3: the sender gives up after 64·T1, so the groups have to share what of it is left.
        let groups = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX).saturating_add(1);
        let left = (self.began + self.template.timers().give_up()).since(now);
        (groups > 1).then(|| left.checked_div(groups).unwrap_or_default())
    }

    /// How long a place may say nothing at all: the caller waits for 64·T1, so all places of one phone share that.
    fn patience(&self, target: &Target) -> Option<Duration> {
        let request = self.template.request.as_deref()?;
        let others = self.spares.iter().filter(|spare| are_one_phone(&spare.uri, &target.uri, request)).count();
        let others = u32::try_from(others).ok().filter(|others| *others > 0)?;
        self.template.timers().give_up().checked_div(others + 1)
    }

    pub(super) fn start_branch(&mut self, target: Target, breadth: u32, context: &mut Context<'_>) {
        let NextHop::Hop(hop) = &target.next_hop else { return };
        let hop = hop.now(context.connections);
        let Ok(number) = u8::try_from(self.branches.len()) else { return };
        let patience = self.patience(&target);
        let method = self.upstream.method;
        context.outbox.emit(Event::RequestForwarded { method, transport: hop.transport });
        self.branches.push(ClientBranch::start(number, (target, hop), breadth, patience, &self.template, context));
    }
}
