//! Forwarding by the rules of the office: when the parties of one attempt have failed, the next ones are further groups of
//! the same response context (RFC 3261 16.7 step 5), and the caller gets 181.
//!
//! Decides when an attempt has failed, and why. Must not decide who is called next: `route::office` does.

use crate::clock::{Instant, Now};
use crate::context::Context;
use crate::event::{DiversionReason, Event};
use crate::route::{Course, NoTarget, Plan, Purpose, Search, TargetSearch, Turn, next_leg, next_party, turn_of};

use super::outcome::{CancelCause, Outcome};
use super::{Open, Phase, ResponseContext};

/// The parties that ring now, and how the call came to them.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) course: Course,
    /// The index of its first branch.
    first_branch: usize,
    /// When the call is forwarded because nobody has accepted it.
    pub(super) until: Option<Instant>,
}

impl Attempt {
    /// The turn of the parties that ring now.
    pub(super) fn turn(&self, open: Option<&Open>) -> Turn {
        open.map_or_else(Turn::default, |open| self.course.turn(turn_of(open.group_q)))
    }
}

impl ResponseContext {
    /// The call is for the parties of this course from now on.
    pub(super) fn follow_course(&mut self, course: Course, context: &mut Context<'_>) {
        if let Some(reason) = course.reason {
            context.outbox.emit(Event::Diverted { reason });
        }
        let first_branch = self.branches.len();
        let history = self.template.request.as_ref().and_then(|it| course.history(it, &self.template.settings));
        let number = u8::try_from(first_branch).unwrap_or(u8::MAX);
        self.template.histories.extend(history.map(|history| (number, history)));
        let until = course.no_answer.map(|time| context.now.mono + time);
        self.course = Some(Box::new(Attempt { course, first_branch, until }));
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
        let mut reason = None;
        for branch in self.branches.iter().skip(attempt.first_branch) {
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
            self.course = None;
        }
        self.advance(context);
    }

    fn start_attempt(&mut self, plan: Plan, context: &mut Context<'_>) {
        let has_ring_time =
            plan.phones() > 1 || self.course.as_ref().is_some_and(|attempt| attempt.course.has_ring_time());
        let further = self.unknown(plan.spares);
        for group in plan.groups.into_iter().rev() {
            self.add_next_group(group, context);
        }
        if let Phase::Open(Open { spares, has_ring_time: has, group_from, .. }) = &mut self.phase {
            spares.extend(further);
            *has = has_ring_time;
            // The branches of the last attempt do not hold up this one.
            *group_from = self.branches.len();
        }
        self.start_group(context);
    }
}
