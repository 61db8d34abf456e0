//! The way of a call through the rules of the office: from a name to the parties that ring, and from the end of one
//! attempt to the next one.
//!
//! Pure functions of a name, the settings and the time. The tables at the end show what they decide. A call stays one
//! request with one response context (RFC 3261 16.7): forwarding only adds further targets. Must not load bindings or
//! write messages.

mod course;
mod members;
mod outgoing;
mod rule;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use location::Aor;
use parser::{Method, Uri};

use crate::clock::Wall;
use crate::reject::Reject;
use crate::request::{Proven, Request};
use crate::settings::{CodeCommand, GroupStrategy, Meaning, Named, NumberRule, Party, Settings};

use super::{Destination, destination};
use crate::event::DiversionReason;
pub(crate) use course::{Course, Turn};
pub(crate) use members::{Leg, Member};
pub use rule::Rule;

use members::{UserStep, members_of, members_of_party, of_user};

/// A call may be forwarded this often; then it ends as if the last party had no forwarding.
const MAX_DIVERSIONS: u8 = 5;

/// A call, as far as the rules depend on it.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) settings: &'a Settings,
    /// The time by the clock of the machine, for office hours.
    pub(crate) at: Wall,
    /// The user who calls; it does not ring in its own groups.
    pub(crate) caller: Option<&'a Aor>,
    /// Whether that user has authenticated, so that it may dial numbers outside of the office.
    pub(crate) is_proven: bool,
    /// Whether the caller may change its own rules: it has authenticated, if that is required.
    pub(crate) may_change: bool,
    /// Only INVITEs are forwarded.
    pub(crate) is_invite: bool,
    /// Whether it may go to all members of a group ([`reaches_groups`]).
    pub(crate) reaches_groups: bool,
    /// Whether the call takes place, and is not only explained.
    pub(crate) is_real: bool,
}

impl<'a> Call<'a> {
    /// A call that goes to another party than the one that was called.
    const fn diverted(settings: &'a Settings, at: Wall, caller: Option<&'a Aor>) -> Self {
        let (is_invite, reaches_groups, is_real) = (true, true, true);
        Self { settings, at, caller, is_proven: false, may_change: false, is_invite, reaches_groups, is_real }
    }
}

/// What a name of this server means for a request.
#[derive(Debug)]
pub(crate) enum Begin<'a> {
    /// The bindings of this user, as without office rules.
    User(Cow<'a, Aor>),
    /// These parties.
    Leg(Box<Leg>),
    /// A change of the rules of this user, who calls.
    Code(Aor, CodeCommand),
}

/// The first step of a request to a name. Appends the rules that apply to `trail`.
pub(crate) fn begin<'a>(name: &'a Aor, call: Call<'a>, trail: &mut Vec<Rule>) -> Result<Begin<'a>, Reject> {
    let settings = call.settings;
    if let Some(trunks) = outgoing::dial(name, call.caller.filter(|_| call.is_proven), call, trail) {
        let mut course = Course::default();
        course.enter(name)?;
        return Ok(Begin::Leg(Box::new(Leg::to_trunks(course, trunks?))));
    }
    match settings.meaning(name) {
        None if settings.rules(name).is_none() => {
            let caller = call.caller.filter(|_| call.may_change && call.is_invite);
            let command = caller.zip(settings.office.codes.read(name));
            Ok(match command.filter(|_| settings.accounts.find(name).is_none()) {
                Some((caller, command)) => Begin::Code(caller.clone(), command),
                None => Begin::User(Cow::Borrowed(name)),
            })
        }
        Some(Meaning::User(user)) if settings.rules(user).is_none() => {
            trail.push(Rule::NumberOf(user.clone()));
            Ok(Begin::User(Cow::Borrowed(user)))
        }
        _ => {
            let leg = lead(Course::default(), Party::Name(name.clone()), None, call, trail)?;
            Ok(Begin::Leg(Box::new(leg)))
        }
    }
}

/// The user who calls, if it is one of this server.
pub(crate) fn caller_of(request: &Request, settings: &Settings) -> Option<Aor> {
    if let Proven::As(user) = &request.proven {
        return Some((**user).clone());
    }
    Named::of(request.text_of_from(), settings).filter(|named| named.is_ours).map(|named| named.address)
}

/// Whether the rules apply to a request: those to users, groups and numbers outside of dialogs.
pub(crate) fn applies(request: &Request, settings: &Settings) -> bool {
    !settings.has_no_office_rules() && !request.in_dialog && !matches!(request.method(), Method::Ack | Method::Cancel)
}

/// Whether a request with this method may go to all members of a group. A SUBSCRIBE would make a subscription at each
/// member (RFC 6665 4.4.1), a REFER would have each of them call, and a PUBLISH changes the state of one resource.
pub(crate) const fn reaches_groups(method: Method<'_>) -> bool {
    matches!(method, Method::Invite | Method::Message | Method::Options)
}

/// The party after all parties of the current attempt have failed for this reason.
pub(crate) fn next_party<'s>(
    request: &Request,
    course: &Course,
    reason: DiversionReason,
    settings: &'s Settings,
) -> Option<&'s Party> {
    (request.method() == Method::Invite).then(|| course.next_party(reason, settings)).flatten()
}

/// The next attempt of a request after all parties of the current one have failed for this reason; `None` if there is
/// none. Appends the rules that apply to `trail`.
pub(crate) fn next_leg(
    request: &Request,
    course: &Course,
    reason: DiversionReason,
    (settings, at): (&Settings, Wall),
    trail: &mut Vec<Rule>,
) -> Option<Leg> {
    let party = next_party(request, course, reason, settings)?.clone();
    let caller = caller_of(request, settings);
    let is_proven = request.proven.is_authenticated();
    let call = Call { is_proven, ..Call::diverted(settings, at, caller.as_ref()) };
    lead(course.clone(), party, Some(reason), call, trail).ok()
}

/// The parties that ring in place of a member of a group, whose phones have failed for this reason.
pub(crate) fn members_in_place_of(
    request: &Request,
    user: &Aor,
    reason: DiversionReason,
    (settings, at): (&Settings, Wall),
) -> Option<Vec<(u16, Member)>> {
    let party = settings.rules(user)?.forward.party(reason)?;
    let caller = caller_of(request, settings);
    let call = Call::diverted(settings, at, caller.as_ref());
    Some(members_of_party(party, Some(user), call)).filter(|members| !members.is_empty())
}

/// The parties that ring for a name to which a phone has redirected a call, as if the name were a member of a group.
/// `None` if no rule applies to the name.
pub(crate) fn members_of_name(
    request: &Request,
    name: &Aor,
    (settings, at): (&Settings, Wall),
) -> Option<Vec<(u16, Member)>> {
    let has_rules = settings.meaning(name).is_some() || settings.rules(name).is_some();
    if !has_rules || !applies(request, settings) {
        return None;
    }
    let caller = caller_of(request, settings);
    let method = request.method();
    let (is_invite, reaches_groups) = (method == Method::Invite, reaches_groups(method));
    let call = Call { is_invite, reaches_groups, ..Call::diverted(settings, at, caller.as_ref()) };
    // A redirection dials no number outside of the office.
    Some(members_of_party(&Party::Name(name.clone()), None, call))
}

/// The name that a URI of the configuration stands for, if it is one of this server.
fn local_name(uri: &str, settings: &Settings) -> Option<Aor> {
    match destination(&Uri::parse(uri.as_bytes()).ok()?, Method::Invite, settings).ok()? {
        Destination::User(name) => Some(name),
        _ => None,
    }
}

/// Follows the rules from a party to those that ring. `reason`: why the call is forwarded to it.
fn lead(
    mut course: Course,
    mut party: Party,
    mut reason: Option<DiversionReason>,
    call: Call<'_>,
    trail: &mut Vec<Rule>,
) -> Result<Leg, Reject> {
    let settings = call.settings;
    // A number outside of the office is dialled with the permission of the user who has calls forwarded there.
    let mut forwarded_by = reason.and_then(|_| course.last_called().cloned());
    loop {
        if let Some(reason) = reason.take() {
            trail.push(Rule::Forwarded(reason, party.clone()));
            course.forwarded(reason)?;
        }
        let name = match party {
            Party::Name(name) => name,
            Party::Uri(uri) => match local_name(&uri, settings) {
                Some(name) => name,
                None => return Ok(Leg::to_uri(course, uri)),
            },
            // The voicemail server may be registered here. Then History-Info names the mailbox.
            Party::Voicemail => {
                let uri = course.voicemail_uri(settings).ok_or(Reject::NotRegistered)?;
                match local_name(&uri, settings) {
                    Some(name) => name,
                    None => return Ok(Leg::to_uri(course, uri)),
                }
            }
        };
        course.enter(&name)?;
        if let Some(trunks) = outgoing::dial_by_rule(&name, forwarded_by.take().as_ref(), call, trail) {
            return Ok(Leg::to_trunks(course, trunks?));
        }
        (party, reason) = match settings.meaning(&name) {
            Some(Meaning::User(user)) => {
                trail.push(Rule::NumberOf(user.clone()));
                (Party::Name(user.clone()), None)
            }
            Some(Meaning::Number(number)) => match open_hours(number, call, trail) {
                true => (number.to.clone(), None),
                false => (number.closed.clone().ok_or(Reject::Closed)?, Some(DiversionReason::Closed)),
            },
            Some(Meaning::Group(_)) if !call.reaches_groups => return Err(Reject::Group),
            Some(Meaning::Group(group)) => {
                trail.push(Rule::Group(group.aor.clone(), group.label.clone(), group.strategy));
                let (members, followers) = members_of(group, call);
                if !members.is_empty() {
                    let rings_on = group.strategy == GroupStrategy::Wave;
                    course.ring([Turn { ring_time: Some(group.ring_time), rings_on }]);
                    (course.followers, course.is_group) = (followers, true);
                    return Ok(Leg { course, members });
                }
                let otherwise = group.otherwise.clone().filter(|_| call.is_invite).ok_or(Reject::NotRegistered)?;
                (otherwise, Some(DiversionReason::Unavailable))
            }
            None => match of_user(name.clone(), &mut course, call)? {
                UserStep::Ring(members) => return Ok(Leg { course, members }),
                UserStep::Forward(to, reason) => {
                    forwarded_by = Some(name);
                    (to, Some(reason))
                }
            },
        };
    }
}

/// Whether a number leads to its party now, and not to the one for closed hours.
fn open_hours(number: &NumberRule, call: Call<'_>, trail: &mut Vec<Rule>) -> bool {
    let Some((name, hours)) = &number.hours else { return true };
    let is_open = hours.is_open(call.at);
    trail.push(Rule::Hours(name.clone(), is_open));
    is_open
}
