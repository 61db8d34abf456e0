//! The response context: one request, the phones it was sent to, and the one answer its sender gets
//! (RFC 3261 16.2, 16.7 to 16.10).
//!
//! Takes a `Plan` and works it off, group by group. Two clocks bound it: the ring time of a group, which nothing
//! extends, and Timer C of a branch, which a ringing phone does. Every 2xx goes up, whatever has happened before.

mod best;
mod branch;
mod table;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use parser::{HeaderName, Message, Method, reason_phrase};
use smallvec::SmallVec;

use crate::clock::Instant;
use crate::context::Context;
use crate::event::{self, Event};
use crate::forward::{Branch as ViaBranch, BranchId, Forwarding, merge_challenges, write_request, write_response};
use crate::request::Request;
use crate::route::{Group, Plan, Target, Way};
use crate::settings::Settings;
use crate::transaction::{Heard, is_due, sooner};

use branch::{Branch, Outcome};
use upstream::Upstream;

pub(crate) use table::{Forks, loop_mark, went_by_before};

/// What a phone is told that rang in vain because another was picked up (RFC 3326 2).
const COMPLETED_ELSEWHERE: &[u8] = b"SIP;cause=200;text=\"Call completed elsewhere\"";

/// A forked request.
#[derive(Debug)]
pub(crate) struct Fork {
    id: u64,
    /// The request, until its final has been sent.
    request: Option<Box<Request>>,
    /// Its Max-Breadth.
    breadth: u32,
    upstream: Upstream,
    branches: SmallVec<[Branch; 3]>,
    /// Groups to come, the next one last.
    waiting: SmallVec<[Group; 1]>,
    /// When the group that rings now has rung long enough.
    ring_until: Option<Instant>,
    caller_hung_up: bool,
    loop_mark: u64,
    began: Instant,
    /// The settings it began with: a reload does not change a call in progress.
    settings: Arc<Settings>,
}

impl Fork {
    /// Answers an INVITE with 100, and tries the first group.
    pub(crate) fn start(
        id: u64,
        mut request: Request,
        plan: Plan,
        loop_mark: u64,
        settings: Arc<Settings>,
        context: &mut Context<'_>,
    ) -> Self {
        let upstream = Upstream::new(&request, &settings.timers, context.now.mono);
        let mut waiting = plan.groups;
        waiting.reverse();
        let breadth = request.max_breadth();
        request.message.detach();
        let mut fork = Self {
            id,
            request: Some(Box::new(request)),
            breadth,
            upstream,
            branches: SmallVec::new(),
            waiting,
            ring_until: None,
            caller_hung_up: false,
            loop_mark,
            began: context.now.mono,
            settings,
        };
        if fork.upstream.is_invite() {
            // RFC 3261 17.2.1: within 200 ms; at once, then.
            fork.reply(100, context);
        }
        fork.advance(context);
        fork
    }

    /// The request came again.
    pub(crate) fn retransmitted(&self, context: &mut Context<'_>) {
        self.upstream.retransmitted(context);
    }

    /// The ACK of a non-2xx final came.
    pub(crate) fn acknowledged(&mut self, context: &Context<'_>) {
        self.upstream.acknowledged(&self.settings.timers, context.now.mono);
    }

    /// The caller hung up (RFC 3261 16.10). His own Reason goes with it, and nothing is invented (RFC 3326).
    pub(crate) fn cancelled(&mut self, cancel: &Message, context: &mut Context<'_>) {
        if !self.upstream.is_waiting() {
            return;
        }
        self.caller_hung_up = true;
        self.waiting.clear();
        let reasons = cancel.values(HeaderName::Reason).collect::<Vec<_>>().join(&b", "[..]);
        self.cancel_pending(Some(&*reasons).filter(|reasons| !reasons.is_empty()), 487, context);
        self.advance(context);
    }

    /// A response came on a branch.
    pub(crate) fn receive(&mut self, id: BranchId, response: &Message, context: &mut Context<'_>) {
        let settings = Arc::clone(&self.settings);
        let Some(branch) = self.branches.get_mut(usize::from(id.index)) else { return };
        let status = response.status().unwrap_or(500);
        // RFC 3261 16.7 step 3: without a Via below ours there is nobody to pass it on to. A refusal still ends its
        // branch: some phones answer an INVITE that was cancelled with the one Via of the CANCEL.
        if status < 300 && response.method() != Method::Cancel && !names_a_hop_below(response) {
            return context.outbox.tell(Event::Dropped(event::Drop::StrayResponse));
        }
        let heard = branch.receive(response, &settings.timers, context);
        match heard {
            // RFC 3261 16.7 step 5, RFC 4320 4.1: 100 stays here, and so does any 1xx of another method.
            Heard::Provisional if status > 100 && self.upstream.is_invite() => self.pass_up(response, context),
            Heard::Success => {
                let first = self.upstream.is_waiting();
                self.pass_up(response, context);
                if first {
                    self.end(event::Fork::Answered, context);
                }
                // step 10
                self.waiting.clear();
                self.cancel_pending(Some(COMPLETED_ELSEWHERE), 487, context);
            }
            Heard::Failure => {
                if status >= 600 {
                    // step 5: no new branch, and the others stop ringing, by the cause of this one.
                    self.waiting.clear();
                    let reason = format!("SIP;cause={status};text=\"{}\"", reason_phrase(status));
                    self.cancel_pending(Some(reason.as_bytes()), 487, context);
                }
                self.advance(context);
            }
            Heard::Stray => context.outbox.tell(Event::Dropped(event::Drop::StrayResponse)),
            Heard::Provisional | Heard::FailureAgain | Heard::Nothing => {}
        }
    }

    /// A request of a branch could not be sent.
    pub(crate) fn undelivered(&mut self, id: BranchId, context: &mut Context<'_>) {
        if let Some(branch) = self.branches.get_mut(usize::from(id.index)) {
            branch.undelivered();
            self.advance(context);
        }
    }

    pub(crate) fn timeout(&mut self, context: &mut Context<'_>) {
        let settings = Arc::clone(&self.settings);
        self.upstream.timeout(context);
        let mut ended = false;
        for branch in &mut self.branches {
            ended |= branch.timeout(&settings.timers, context);
        }
        if self.upstream.trying_is_due(context.now.mono) {
            self.reply(100, context);
        }
        if is_due(self.ring_until, context.now.mono) {
            self.ring_until = None;
            self.cancel_pending(None, 408, context);
            // The next group does not wait for this one's 487s; the last one's final does, for a phone that is picked
            // up at this very moment.
            if !self.waiting.is_empty() {
                self.start_group(context);
            }
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
        if self.request.take().is_some() {
            self.waiting.clear();
            self.upstream.forget();
        }
        self.branches.iter_mut().for_each(Branch::forget);
    }

    pub(crate) fn is_terminated(&self) -> bool {
        self.upstream.is_terminated() && self.branches.iter().all(Branch::is_terminated)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let own = sooner(self.upstream.deadline(), self.ring_until);
        self.branches.iter().fold(own, |soonest, branch| sooner(soonest, branch.deadline()))
    }

    /// Goes on if the group that rings is through: to the next one, or to the final response.
    fn advance(&mut self, context: &mut Context<'_>) {
        while self.upstream.is_waiting() && !self.branches.iter().any(Branch::is_pending) {
            if self.waiting.is_empty() {
                return self.answer_with_best(context);
            }
            self.start_group(context);
        }
    }

    fn start_group(&mut self, context: &mut Context<'_>) {
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

    fn cancel_pending(&mut self, reason: Option<&[u8]>, counts_as: u16, context: &mut Context<'_>) {
        for branch in &mut self.branches {
            branch.cancel(reason, counts_as, &self.settings.timers, context);
        }
    }

    /// RFC 3261 16.7 steps 6 to 9.
    fn answer_with_best(&mut self, context: &mut Context<'_>) {
        let rank = |outcome: &&Outcome| best::rank(outcome.status(), self.caller_hung_up);
        let best = self.branches.iter().filter_map(|branch| branch.outcome.as_ref()).max_by_key(rank).cloned();
        let status = best.as_ref().map_or(408, Outcome::status);
        self.end(
            match status {
                487 if self.caller_hung_up => event::Fork::Cancelled,
                408 => event::Fork::TimedOut,
                _ => event::Fork::Refused,
            },
            context,
        );
        match best {
            // RFC 4320 4.2: nobody may be told 408 to another method than INVITE.
            _ if status == 408 && !self.upstream.is_invite() => self.upstream.end_in_silence(),
            // A 503 would make the caller leave this server alone for one phone's trouble.
            Some(Outcome::Final(_)) if status == 503 => self.reply(500, context),
            Some(Outcome::Final(message)) => self.pass_up(&message, context),
            _ => self.reply(if status == 503 { 500 } else { status }, context),
        }
    }

    /// Forwards a response; the best of several challenges takes the others' along.
    fn pass_up(&mut self, response: &Message, context: &mut Context<'_>) {
        let status = response.status().unwrap_or(500);
        let allowed = self.upstream.may_send(status, &self.settings.timers, context.now.mono);
        let success = (200..300).contains(&status) && self.upstream.is_invite();
        // RFC 3261 16.7 step 5: once there was a final, a 2xx to an INVITE is all that still passes.
        if !allowed && !success {
            return;
        }
        let challenges = matches!(status, 401 | 407);
        let others = self.branches.iter().filter_map(|branch| match &branch.outcome {
            Some(Outcome::Final(other)) if other.bytes() != response.bytes() => Some(&**other),
            _ => None,
        });
        let Context { outbox, rewrite, .. } = context;
        let Upstream { back, method, .. } = self.upstream;
        outbox.tell(Event::ResponseSent { method, status, transport: back.transport });
        let text = outbox.send(back, false, |out| {
            write_response(response, rewrite, out, |more| {
                if challenges {
                    merge_challenges(more, others);
                }
            });
        });
        if !success {
            self.upstream.keep(text);
        }
    }

    /// A response made here.
    fn reply(&mut self, status: u16, context: &mut Context<'_>) {
        let Some(request) = &self.request else { return };
        if self.upstream.may_send(status, &self.settings.timers, context.now.mono) {
            let text = context.reply(request, status, reason_phrase(status).as_bytes(), |_| {});
            self.upstream.keep(text);
        }
    }

    fn end(&mut self, outcome: event::Fork, context: &mut Context<'_>) {
        self.ring_until = None;
        context.outbox.tell(Event::Fork { outcome });
    }
}

/// Whether a response can be forwarded: there is a Via below ours.
fn names_a_hop_below(response: &Message) -> bool {
    response.values(HeaderName::Via).nth(1).is_some()
}
