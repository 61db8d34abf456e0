//! Forwarding by the rules of the office: when the parties of one attempt have failed, the next ones are further groups of
//! the same response context (RFC 3261 16.7 step 5), and the caller gets 181.
//!
//! Decides when an attempt has failed, and why. Must not decide who is called next: `route::office` does.

use location::Aor;
use smallvec::SmallVec;

use crate::clock::{Instant, Now};
use crate::context::Context;
use crate::event::{DiversionReason, GroupCallOutcome};
use crate::route::{
    Course, NoTarget, Plan, Purpose, Search, TargetSearch, Turn, members_in_place_of, next_leg, next_party, turn_of,
};
use crate::transaction::{is_due, sooner};

use super::branch::ClientBranch;
use super::outcome::{CancelCause, Outcome, RefusalScope};
use super::{Open, Phase, ResponseContext};

/// The parties that ring now, and how the call came to them.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) course: Course,
    /// The index of its first branch.
    first_branch: usize,
    /// When the call is forwarded because nobody has accepted it.
    until: Option<Instant>,
    /// When the phones of a member stop ringing, because its own forwarding applies.
    followers_until: Vec<(Instant, Aor)>,
}

impl Attempt {
    /// When its next timer fires.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.followers_until.iter().fold(self.until, |soonest, (at, _)| sooner(soonest, Some(*at)))
    }

    /// The turn of the parties that ring now.
    pub(super) fn turn(&self, open: Option<&Open>) -> Turn {
        open.map_or_else(Turn::default, |open| self.course.turn(turn_of(open.group_q)))
    }
}

impl ResponseContext {
    /// The call is for the parties of this course from now on.
    pub(super) fn follow_course(&mut self, course: Course, context: &mut Context<'_>) {
        if let Some(reason) = course.reason {
            self.note_diversion(reason, context);
        }
        let first_branch = self.branches.len();
        let history = self.template.request.as_ref().and_then(|it| course.history(it, &self.template.settings));
        let number = u8::try_from(first_branch).unwrap_or(u8::MAX);
        self.template.histories.extend(history.map(|history| (number, history)));
        let until = course.no_answer.map(|time| context.now.mono + time);
        self.course = Some(Box::new(Attempt { course, first_branch, until, followers_until: Vec::new() }));
        self.report_left_groups(context);
    }

    /// The index of the first branch to the current party.
    pub(super) fn first_branch_of_party(&self) -> usize {
        self.course.as_ref().map_or(0, |attempt| attempt.first_branch)
    }

    /// A phone of this user begins to ring. If the user is a member of a group whose own forwarding applies, its time
    /// begins now, which may be long after the first member has begun to ring.
    pub(super) fn time_follower(&mut self, user: &[u8], context: &Context<'_>) {
        let Some(Attempt { course, followers_until, .. }) = self.course.as_deref_mut() else { return };
        let Some(user) = course.followers.iter().find(|follower| follower.as_bytes() == user) else { return };
        let forward = self.template.settings.rules(user).map(|rules| &rules.forward);
        let is_timed = followers_until.iter().any(|(_, other)| other == user);
        if let Some(forward) = forward.filter(|forward| forward.no_answer.is_some() && !is_timed) {
            followers_until.push((context.now.mono + forward.after, user.clone()));
        }
    }

    /// Fires the timers of the course that are due; whether one was.
    pub(super) fn course_timeout(&mut self, context: &mut Context<'_>) -> bool {
        let now = context.now.mono;
        let Some(attempt) = self.course.as_mut().filter(|attempt| is_due(attempt.deadline(), now)) else {
            return false;
        };
        let is_over = is_due(attempt.until, now);
        let due = attempt.followers_until.extract_if(.., |(at, _)| *at <= now).map(|(_, user)| user);
        let due: SmallVec<[Aor; 1]> = due.collect();
        if is_over {
            self.nobody_answered(context);
        }
        for user in due {
            self.follow_user(&user, DiversionReason::NoAnswer, context);
        }
        true
    }

    /// A branch has failed. If it was the last one of a member whose own forwarding applies, another party rings in its
    /// place.
    pub(super) fn follow_member(&mut self, index: usize, context: &mut Context<'_>) {
        let Some(attempt) = self.course.as_ref().filter(|attempt| !attempt.course.followers.is_empty()) else { return };
        let Some(branch) = self.branches.get(index).filter(|_| index >= attempt.first_branch) else { return };
        let user = branch.target().uri.aor();
        let Some(user) = attempt.course.followers.iter().find(|follower| follower.as_bytes() == user).cloned() else {
            return;
        };
        let own = |branch: &&ClientBranch| branch.target().uri.aor() == user.as_bytes();
        let branches = || self.branches.iter().skip(attempt.first_branch).filter(own);
        if branches().any(ClientBranch::is_pending) {
            return;
        }
        if let Some(reason) = reason_of(branches()) {
            self.follow_user(&user, reason, context);
        }
    }

    /// Another party rings in place of a member of the group, once.
    fn follow_user(&mut self, user: &Aor, reason: DiversionReason, context: &mut Context<'_>) {
        let is_open = self.is_open();
        let (Some(attempt), Some(request)) = (&mut self.course, self.template.request.as_deref()) else { return };
        let Some(at) = attempt.course.followers.iter().position(|follower| follower == user).filter(|_| is_open) else {
            return;
        };
        attempt.course.followers.swap_remove(at);
        let (settings, now) = (&self.template.settings, context.now);
        let members = members_in_place_of(request, user, reason, (settings, settings.civil_time(now)));
        let Some(members) = members else { return };
        if reason == DiversionReason::NoAnswer {
            for branch in &mut self.branches {
                if branch.target().uri.aor() == user.as_bytes() {
                    branch.cancel(None, CancelCause::TimedOut, &self.template, context);
                }
            }
        }
        self.searching += 1;
        self.note_diversion(reason, context);
        let targets = TargetSearch::for_members(request, members, settings, now);
        context.searches.push(Search { targets, purpose: Purpose::Member(self.template.context_id) });
    }

    /// The time of the group is over: nobody rings in place of a member any more.
    pub(super) fn stop_following(&mut self) {
        if let Some(attempt) = &mut self.course {
            attempt.course.followers.clear();
            attempt.followers_until.clear();
        }
    }

    /// The phones that ring in place of a member are known; `None` if there is none.
    pub(crate) fn member_followed(&mut self, plan: Option<Plan>, context: &mut Context<'_>) {
        self.searching = self.searching.saturating_sub(1);
        if let Some(plan) = plan.filter(|_| self.is_ringing()) {
            for target in plan.groups.into_iter().flat_map(|group| group.targets) {
                self.join_member(target, context);
            }
        }
        self.advance(context);
    }

    /// The time for the current parties is over.
    pub(super) fn nobody_answered(&mut self, context: &mut Context<'_>) {
        self.ring_until = None;
        if let Some(attempt) = &mut self.course {
            attempt.until = None;
        }
        if self.is_open() {
            self.stop_waiting(context);
            self.divert(DiversionReason::NoAnswer, context);
        }
    }

    /// Whether the time after which the call is forwarded is over now.
    pub(super) fn has_no_time_left(&self, now: Instant) -> bool {
        self.course.as_ref().is_some_and(|attempt| is_due(attempt.until, now))
    }

    /// Whether the time of `after` ended while the targets of a redirection were looked up. Then they are not called.
    pub(super) fn has_rung_long_enough(&self) -> bool {
        self.course.as_ref().is_some_and(|attempt| attempt.course.no_answer.is_some() && attempt.until.is_none())
    }

    /// Cancels the branches, and drops the targets that are still to be tried.
    pub(super) fn stop_waiting(&mut self, context: &mut Context<'_>) {
        if let Some(open) = self.open_mut() {
            open.waiting.clear();
            open.spares.clear();
        }
        self.ring_until = None;
        self.cancel_pending(None, CancelCause::TimedOut, context);
    }

    /// Forwards the call if the branches of the current attempt ended in a way that has a next party.
    pub(super) fn divert_by_outcomes(&mut self, context: &mut Context<'_>) -> bool {
        self.reason().is_some_and(|reason| self.divert(reason, context))
    }

    /// Forwards the call to the next party for this reason, if there is one.
    pub(super) fn divert(&mut self, reason: DiversionReason, context: &mut Context<'_>) -> bool {
        if !self.is_open() || self.searching > 0 {
            return false;
        }
        let Some(search) = self.search_for_next(reason, context.now) else { return false };
        self.searching += 1;
        // RFC 3261 21.1.3
        self.reply(181, context);
        context.searches.push(search);
        true
    }

    fn search_for_next(&self, reason: DiversionReason, now: Now) -> Option<Search> {
        let (attempt, settings) = (self.course.as_ref()?, &self.template.settings);
        let request = self.template.request.as_deref()?;
        let leg = next_leg(request, &attempt.course, reason, (settings, settings.civil_time(now)), &mut Vec::new())?;
        let targets = TargetSearch::for_leg(request, leg, settings, now);
        Some(Search { targets, purpose: Purpose::Diversion(self.template.context_id) })
    }

    /// Whether there is a next party for this reason.
    pub(super) fn has_next(&self, reason: DiversionReason) -> bool {
        let request = self.template.request.as_deref().filter(|_| self.is_open());
        let attempt = self.course.as_ref().zip(request);
        attempt.is_some_and(|(attempt, request)| {
            next_party(request, &attempt.course, reason, &self.template.settings).is_some()
        })
    }

    /// Why the branches of the current attempt failed; `None` if one of them failed in another way, which the caller is
    /// told.
    fn reason(&self) -> Option<DiversionReason> {
        let attempt = self.course.as_ref()?;
        let branches = || self.branches.iter().skip(attempt.first_branch);
        let reason = reason_of(branches());
        // The party after a group is for every call that no member accepts.
        let has_failed = || attempt.course.is_group && branches().any(|branch| branch.outcome().is_some());
        reason.or_else(|| has_failed().then_some(DiversionReason::Busy))
    }

    /// Whether phones of earlier turns ring on, so that the call is not forwarded yet.
    pub(super) fn rings_beside(&self) -> bool {
        let rings = |branch: &ClientBranch| branch.is_pending() && !branch.is_cancelled();
        let attempt = self.course.as_ref();
        attempt.is_some_and(|attempt| self.branches.iter().skip(attempt.first_branch).any(rings))
    }

    /// Which branches a 6xx of a branch ends that starts now.
    pub(super) fn refusal_scope(&self) -> RefusalScope {
        match &self.course {
            Some(attempt) if attempt.course.is_group => RefusalScope::Branch,
            Some(_) if self.has_next(DiversionReason::Busy) => RefusalScope::CallUnlessBusy,
            _ => RefusalScope::Call,
        }
    }

    /// A 600 has come, and calls are forwarded while this user is busy. The phones of the parties that ring now stop, unless
    /// the call has been forwarded since.
    pub(super) fn is_busy_everywhere(&mut self, index: usize, context: &mut Context<'_>) {
        if self.course.as_ref().is_some_and(|attempt| index >= attempt.first_branch) {
            self.stop_waiting(context);
        }
    }

    /// The next parties are known, or none of them has a phone.
    pub(crate) fn diverted(&mut self, plan: Result<Plan, NoTarget>, context: &mut Context<'_>) {
        self.searching = self.searching.saturating_sub(1);
        if !self.is_open() {
            return self.advance(context);
        }
        let (plan, course) = match plan {
            Ok(mut plan) => {
                let course = plan.course.take();
                (Some(plan), course)
            }
            Err(NoTarget { course, .. }) => (None, course),
        };
        if let Some(course) = course {
            self.follow_course(*course, context);
        }
        if let Some(plan) = plan {
            self.start_attempt(plan, context);
        } else if !self.divert(DiversionReason::Unavailable, context) {
            self.report_group(GroupCallOutcome::Unanswered, context);
            self.course = None;
        }
        self.advance(context);
    }

    fn start_attempt(&mut self, plan: Plan, context: &mut Context<'_>) {
        self.limit_ring_time(plan.phones());
        // The other contacts of the last party's phones are of no use any more, and would count as targets of this one.
        if let Some(open) = self.open_mut() {
            open.spares.clear();
        }
        let further = self.unknown(plan.spares);
        for group in plan.groups.into_iter().rev() {
            self.add_next_group(group, context);
        }
        if let Phase::Open(Open { spares, group_from, .. }) = &mut self.phase {
            spares.extend(further);
            // The branches of the last attempt do not hold up this one.
            *group_from = self.branches.len();
        }
        self.start_group(context);
    }
}

/// Why these branches failed.
fn reason_of<'a>(branches: impl Iterator<Item = &'a ClientBranch>) -> Option<DiversionReason> {
    let mut reason = None;
    for branch in branches {
        match branch.outcome().and_then(Outcome::status) {
            Some(486 | 600) => return Some(DiversionReason::Busy),
            // A phone that has rung can be reached.
            _ if branch.rang_out() => reason = Some(DiversionReason::NoAnswer),
            Some(404 | 408 | 410 | 430 | 480 | 503) => reason = reason.or(Some(DiversionReason::Unavailable)),
            _ => {}
        }
    }
    reason
}
