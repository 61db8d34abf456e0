//! A plan worked off: which targets of a response context are tried now, and which later (RFC 3261 16.6, 16.7 step 6).
//!
//! Shares the Max-Breadth of the request among the branches (RFC 5393 5.3.3). Must not judge responses.

use std::time::Duration;

use crate::clock::Instant;
use crate::context::Context;
use crate::event::Event;
use crate::forward::{Branch as ViaBranch, BranchId, Forwarding, write_request};
use crate::route::{Group, Target, Way};

use super::Fork;
use super::branch::Branch;

impl Fork {
    /// Goes on if the group that rings is through: to the next one, or to the final response.
    pub(super) fn advance(&mut self, context: &mut Context<'_>) {
        while self.upstream.is_waiting() && !self.branches.iter().any(Branch::is_pending) {
            if self.waiting.is_empty() {
                return self.answer_with_best(context);
            }
            self.start_group(context);
        }
    }

    pub(super) fn start_group(&mut self, context: &mut Context<'_>) {
        let Some(mut group) = self.waiting.pop() else { return };
        let free = self.free_breadth();
        let at_once = group.targets.len().min(usize::try_from(free).unwrap_or(usize::MAX));
        // RFC 5393 5.3.3: what the breadth does not allow at once goes one after another.
        if at_once < group.targets.len() {
            self.waiting.push(Group { targets: group.targets.drain(at_once..).collect() });
        }
        let Ok(parts @ 1..) = u32::try_from(at_once) else { return };
        self.ring_until = self.ring_time(context.now.mono).map(|time| context.now.mono + time);
        // One is kept for each target to come: it may start while these are still being told to stop.
        let to_come = self.waiting.iter().map(|group| group.targets.len()).sum::<usize>();
        let kept = u32::try_from(to_come).unwrap_or(u32::MAX).min(free - parts);
        let usable = free - kept;
        for (target, number) in group.targets.iter().zip(0..) {
            let share = usable / parts + u32::from(number < usable % parts);
            self.start_branch(target, share, context);
        }
    }

    /// The Max-Breadth that no branch holds now.
    fn free_breadth(&self) -> u32 {
        let held = self.branches.iter().map(Branch::breadth).sum();
        self.breadth.saturating_sub(held)
    }

    /// How long the group that starts now may take; none if nothing but its own transactions bounds it.
    fn ring_time(&self, now: Instant) -> Option<Duration> {
        if self.upstream.is_invite() {
            return Some(self.settings.forking.ring_time);
        }
        // RFC 4321 1.3: the sender gives up after 64·T1, so the groups have to share what of it is left.
        let groups = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX).saturating_add(1);
        let left = (self.began + self.settings.timers.give_up()).since(now);
        (groups > 1).then(|| left.checked_div(groups).unwrap_or_default())
    }

    fn start_branch(&mut self, target: &Target, breadth: u32, context: &mut Context<'_>) {
        let (Way::Hop(hop), Some(request)) = (&target.way, &self.request) else { return };
        let hop = *hop;
        let Ok(index) = u8::try_from(self.branches.len()) else { return };
        let id = BranchId { fork: self.id, index };
        let branch = ViaBranch::Transaction { worker: context.worker, id, loop_mark: self.loop_mark };
        let forwarding = Forwarding { request, target, hop: &hop, branch, breadth };
        let Context { outbox, rewrite, mac, .. } = context;
        let method = self.upstream.method;
        outbox.tell(Event::RequestForwarded { method, transport: hop.transport });
        let text = outbox.send(hop, true, |out| write_request(&forwarding, &self.settings, mac, rewrite, out));
        // What we wrote is SIP; if it were not, there would be no branch to wait for.
        if let Ok(branch) = Branch::start(hop, text, breadth, &self.settings.timers, context.now.mono) {
            self.branches.push(branch);
        }
    }
}
