//! The next step of a request that may go to its destination (RFC 3261 16.5, 16.6 step 6, 16.10): one decision for
//! initial requests, requests in a dialog, ACK, CANCEL and `explain`. Must not decide whether the request may go there.

use std::net::SocketAddr;

use location::Aor;
use parser::{Method, Uri};

use super::office::{self, Begin, Call, Leg, Rule};
use super::{Callee, ContactSearch, Destination, Gruus, Plan, Target, Toward, target_for_next};
use crate::clock::Wall;
use crate::dialog::Next;
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::{Authentication, CodeCommand, Settings};

/// The next step of a request.
#[derive(Debug)]
pub(crate) enum NextStep {
    /// To load the bindings of the callee.
    LookUp(Callee),
    /// To ring these parties, by the rules of the office.
    Ring(Box<Leg>),
    /// To change the rules of this user, who called a feature code.
    ChangeRules(Aor, CodeCommand),
    /// To find the user whose phone has the Request-URI as its Contact.
    FindContact(Box<ContactSearch>),
    /// To forward the request to this target, in a dialog with the address of its other side.
    Forward(Target, Option<SocketAddr>),
    /// To forward the request by this plan.
    ByPlan(Box<Plan>),
}

/// The next step of a request with this destination, from [`destination_and_uri`](super::destination_and_uri).
pub(crate) fn next_step(
    request: &Request,
    uri: Option<&Uri<'_>>,
    destination: Destination,
    toward: Toward,
    gruus: &Gruus,
    settings: &Settings,
) -> Result<NextStep, Reject> {
    match destination {
        Destination::User(aor) if request.next_route().is_none() => Ok(NextStep::LookUp(Callee::user(aor))),
        // RFC 5627 6.1: a GRUU is looked up even if there are Route values; these then replace the Path of the phone.
        Destination::Gruu(name) => gruus.read(request.uri(), name).map(NextStep::LookUp),
        Destination::Elsewhere
            if matches!(toward, Toward::Anybody)
                && let Some(search) = uri.and_then(|uri| ContactSearch::of_admitted(request, uri, settings)) =>
        {
            Ok(NextStep::FindContact(search))
        }
        _ => {
            let next = Next::of(request, uri.ok_or(Reject::RequestUri)?)?;
            let target = target_for_next(&next, toward, request, settings)?;
            Ok(NextStep::Forward(target, toward.other_side()))
        }
    }
}

/// Replaces a step, if the rules of the office say so. `at`: the time for office hours. `trail`: to append the rules that
/// apply, if the request is only explained.
pub(crate) fn office_step(
    step: &mut NextStep,
    request: &Request,
    settings: &Settings,
    at: Wall,
    trail: Option<&mut Vec<Rule>>,
) -> Result<(), Reject> {
    let NextStep::LookUp(Callee { aor, phone: None }) = step else { return Ok(()) };
    if !office::applies(request, settings) {
        return Ok(());
    }
    let caller = office::caller_of(request, settings);
    let (is_invite, is_real) = (request.method() == Method::Invite, trail.is_none());
    // An explained call has no credentials; its caller is assumed to send them.
    let is_proven = request.proven.is_authenticated() || !is_real;
    let may_change = is_proven || settings.authentication == Authentication::Off;
    let reaches_groups = office::reaches_groups(request.method());
    let caller = caller.as_ref();
    let call = Call { settings, at, caller, is_proven, may_change, is_invite, reaches_groups, is_real };
    *step = match office::begin(aor, call, trail.unwrap_or(&mut Vec::new()))? {
        Begin::User(user) => NextStep::LookUp(Callee::user(user.into_owned())),
        Begin::Leg(leg) => NextStep::Ring(leg),
        Begin::Code(user, command) => NextStep::ChangeRules(user, command),
    };
    Ok(())
}
