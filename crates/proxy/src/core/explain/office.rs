//! The steps of a call by the rules of the office: who rings, and who is called if they do not accept the call.

use location::{Aor, Record};

use crate::clock::{Now, Wall};
use crate::event::DiversionReason;
use crate::reject::Reject;
use crate::request::Request;
use crate::route::{self, Course, Gruus, Leg, NoTarget, TargetSearch};
use crate::settings::Settings;

use super::{Step, complete, goal};

/// Appends the steps from these parties on.
pub(super) fn follow(
    mut leg: Leg,
    request: &Request,
    load: &impl Fn(&Aor) -> Option<Record>,
    (settings, gruus): (&Settings, &Gruus),
    (now, at): (Now, Wall),
    steps: &mut Vec<Step>,
) -> Result<(), Reject> {
    loop {
        let search = TargetSearch::for_leg(request, leg, settings, now);
        let (reject, course) = match complete(search, request, load, (settings, gruus), (now, at)) {
            Ok(plan) => {
                let course = plan.course.as_deref();
                for group in &plan.groups {
                    let targets = group.targets.iter().map(|target| goal(target, request)).collect();
                    let turn = course.map(|course| (course.turn(route::turn_of(group.q)), course.no_answer));
                    let ring_time = turn.and_then(|(turn, no_answer)| turn.ring_time.or(no_answer));
                    let by_trunk = group.targets.iter().all(|target| target.uri.trunk().is_some());
                    let ring_time = (!by_trunk).then(|| ring_time.unwrap_or(settings.forking.ring_time));
                    steps.push(Step::Group { targets, ring_time });
                }
                steps.push(Step::Forked);
                steps.extend(course.into_iter().flat_map(|course| later(request, course, settings)));
                return Ok(());
            }
            Err(NoTarget { reject, course }) => (reject, course),
        };
        steps.push(Step::NoPhone);
        let mut trail = Vec::new();
        let next = course.and_then(|course| {
            route::next_leg(request, &course, DiversionReason::Unavailable, (settings, at), &mut trail)
        });
        steps.extend(trail.into_iter().map(Step::Rule));
        leg = next.ok_or(reject)?;
    }
}

/// Who is called if the phones that ring do not accept the call.
fn later<'s>(request: &Request, course: &Course, settings: &'s Settings) -> impl Iterator<Item = Step> + use<'s> {
    let then = |reason| Some(Step::Then(reason, route::next_party(request, course, reason, settings)?.clone()));
    let reasons = [DiversionReason::Busy, DiversionReason::NoAnswer, DiversionReason::Unavailable];
    reasons.map(then).into_iter().flatten()
}
