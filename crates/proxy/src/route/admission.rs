//! Whether a sender may send a request to a destination, before anything is looked up.
//!
//! Nothing is relayed for strangers: a request goes to a user of ours, or on in a dialog that we record-routed, or
//! anywhere if its sender proved to be a user of ours and the configuration lets users call out.
//!
//! A From that is not of ours may be a user's all the same: an anonymous one (RFC 3323 4.1.1.3), or one of the names in its
//! account's `may_call_as`. So its sender is challenged like anybody else, whatever the From and whoever is called: an answer
//! that depended on them would tell which names and users there are. Only valid credentials decide who it is.

use location::Aor;
use parser::Method;

use crate::auth;
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::{Authentication, Foreign, Named, Settings, Strangers};

use super::{Destination, destination_of};

/// What a request needs before it may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthRequirement<'s> {
    /// Nothing.
    None,
    /// Credentials of a user of this domain.
    Credentials(&'s str),
}

/// Decides from source, From and destination. Requests in a dialog of ours and REGISTERs do not come here.
pub(crate) fn admission<'s>(
    request: &Request,
    destination: &Destination,
    settings: &'s Settings,
) -> Result<AuthRequirement<'s>, Reject> {
    let caller = request.from_domain(settings);
    let outbound = matches!(destination, Destination::Elsewhere) || request.next_route().is_some();
    let may_prove = settings.authentication == Authentication::Required;
    if outbound {
        if settings.foreign == Foreign::Refuse || !may_prove {
            return Err(Reject::Relay);
        }
        let domain = caller.unwrap_or_else(|| auth::realm_of(request, settings));
        return challengeable(request, domain).ok_or(Reject::Relay);
    }
    if settings.trusts(request.flow.remote.ip()) {
        return Ok(AuthRequirement::None);
    }
    match caller {
        Some(_) if settings.authentication == Authentication::Off => Ok(AuthRequirement::None),
        Some(domain) => Ok(challengeable(request, domain).unwrap_or(AuthRequirement::None)),
        None if settings.strangers == Strangers::Accept => Ok(AuthRequirement::None),
        None if may_prove => challengeable(request, auth::realm_of(request, settings)).ok_or(Reject::Stranger),
        None => Err(Reject::Stranger),
    }
}

/// A request of a dialog has our Record-Route, since every dialog is made through it. One that has none could be of any
/// call: a phone finds the call by its Call-ID and its tags, which everybody on the wire has read, and does not ask for
/// the From.
pub(crate) fn outside_of_dialogs(request: &Request, settings: &Settings) -> Result<(), Reject> {
    let judged = settings.authentication == Authentication::Required && !settings.trusts(request.flow.remote.ip());
    // RFC 3261 15, RFC 3262 4, RFC 3311 5.1: without a To tag these are of no dialog at all.
    let is_within = request.in_dialog || matches!(request.method(), Method::Bye | Method::Prack | Method::Update);
    if is_within && judged { Err(Reject::NoTransaction) } else { Ok(()) }
}

/// Why a request is refused in the end whose sender has no name that any user may have, and brings no credentials: it is
/// challenged all the same. `None` if it may be a user's.
pub(crate) fn is_strangers(request: &Request, destination: &Destination, settings: &Settings) -> Option<Reject> {
    let named = Named::of(request.from_text(), settings);
    if named.as_ref().is_some_and(|named| named.is_ours || settings.accounts.is_caller(named)) {
        return None;
    }
    let outbound = matches!(destination, Destination::Elsewhere) || request.next_route().is_some();
    Some(if outbound { Reject::Relay } else { Reject::Stranger })
}

/// What a request of a dialog needs that goes to the other side, but does not come from where its sender was: as for an
/// initial request, but that `strangers: accept` does not apply: a stranger has no credentials that could show that it is a
/// side of the call.
pub(crate) fn admission_in_dialog<'s>(
    request: &Request,
    sender: Option<&Aor>,
    settings: &'s Settings,
) -> Result<AuthRequirement<'s>, Reject> {
    if settings.trusts(request.flow.remote.ip()) {
        return Ok(AuthRequirement::None);
    }
    if settings.authentication == Authentication::Off {
        return Ok(AuthRequirement::None);
    }
    // What no user of ours began is no user's to go on with.
    let domain = sender.and_then(|sender| settings.domains.iter().find(|it| it.as_bytes() == sender.domain()));
    domain.and_then(|domain| challengeable(request, domain)).ok_or(Reject::NotThePeer)
}

/// The domain of whose users the sender of a request had to prove to be one, that was let through outside of any dialog of
/// ours; `None` if nothing had to be proved.
pub(crate) fn was_proven<'s>(request: &Request, settings: &'s Settings) -> Option<&'s str> {
    let to = destination_of(request, settings).ok()?;
    match admission(request, &to, settings) {
        Ok(AuthRequirement::Credentials(domain)) => Some(domain),
        _ => None,
    }
}

/// As whom a user calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallsAs {
    /// By its own address of record.
    Itself,
    /// By no name, or another one that its account lists.
    Listed,
}

/// As whom a user calls; `None` if it is somebody else.
pub(crate) fn calls_as(request: &Request, proven: &Aor, settings: &Settings) -> Option<CallsAs> {
    let named = Named::of(request.from_text(), settings)?;
    if named.is_ours && named.address == *proven {
        return Some(CallsAs::Itself);
    }
    settings.accounts.may_call_as(proven, &named).then_some(CallsAs::Listed)
}

fn challengeable<'s>(request: &Request, domain: &'s str) -> Option<AuthRequirement<'s>> {
    auth::can_be_challenged(request.method()).then_some(AuthRequirement::Credentials(domain))
}
