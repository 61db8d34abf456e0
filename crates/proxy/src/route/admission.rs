//! Whether the sender of a request must authenticate to reach a destination. Decided before any lookup.
//!
//! A request without credentials may only go to a local user, or to the other side of a dialog with a Record-Route of
//! this server. A request to any other destination needs credentials of a local user, and the configuration must allow
//! calls to foreign domains.
//!
//! A local user may call with a foreign From: an anonymous one (RFC 3323 4.1.1.3), or a name in `may_call_as` of the
//! account. So every sender is challenged in the same way, whatever From and Request-URI are. A response that depended
//! on them would tell an attacker which users and names exist. Only the credentials tell who the sender is.

use location::Aor;
use parser::Method;

use crate::auth;
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::{Authentication, Foreign, Named, Settings, Strangers};

use super::{Destination, destination_of};

/// What the sender of a request has to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthRequirement<'s> {
    /// Nothing.
    None,
    /// Credentials of a user of this domain.
    Credentials(&'s str),
}

/// The requirement for a request outside of a dialog, other than REGISTER. It depends on source, From and destination.
pub(crate) fn auth_requirement<'s>(
    request: &Request,
    destination: &Destination,
    settings: &'s Settings,
) -> Result<AuthRequirement<'s>, Reject> {
    let caller = request.domain_of_from(settings);
    let outbound = matches!(destination, Destination::Elsewhere) || request.next_route().is_some();
    let may_prove = settings.authentication == Authentication::Required;
    if outbound {
        if settings.foreign == Foreign::Refuse || !may_prove {
            return Err(Reject::Relay);
        }
        let domain = caller.unwrap_or_else(|| auth::realm_of(request, settings));
        return require_credentials(request, domain).ok_or(Reject::Relay);
    }
    // Whatever the source, only an authenticated user dials numbers outside of the office.
    let dials_out = dials_out(destination, settings);
    let refusal = if dials_out { Reject::DialledByStranger } else { Reject::Stranger };
    if settings.trusts(request.flow.remote.ip()) && !dials_out {
        return Ok(AuthRequirement::None);
    }
    match caller {
        Some(_) if settings.authentication == Authentication::Off => Ok(AuthRequirement::None),
        Some(domain) => Ok(require_credentials(request, domain).unwrap_or(AuthRequirement::None)),
        None if settings.strangers == Strangers::Accept && !dials_out => Ok(AuthRequirement::None),
        None if may_prove => require_credentials(request, auth::realm_of(request, settings)).ok_or(refusal),
        None => Err(refusal),
    }
}

/// Refuses a request that claims to be part of a dialog but has no Route value of this server.
///
/// Every dialog is created through our Record-Route, so its requests have one. A request without it could be sent by
/// anybody who has read Call-ID and tags, and phones match a request to a call by these alone.
pub(crate) fn check_outside_of_dialogs(request: &Request, settings: &Settings) -> Result<(), Reject> {
    let is_checked = settings.authentication == Authentication::Required && !settings.trusts(request.flow.remote.ip());
    // RFC 3261 15, RFC 3262 4, RFC 3311 5.1: these methods exist only within a dialog, so one without a To tag is
    // refused too.
    let is_within = request.in_dialog || matches!(request.method(), Method::Bye | Method::Prack | Method::Update);
    if is_within && is_checked { Err(Reject::NoTransaction) } else { Ok(()) }
}

/// The final refusal of a sender whose From no local user may have; `None` if a local user may. Such a sender is
/// challenged first, like all others.
pub(crate) fn refusal_of_stranger(request: &Request, destination: &Destination, settings: &Settings) -> Option<Reject> {
    let named = Named::of(request.text_of_from(), settings);
    if named.as_ref().is_some_and(|named| named.is_ours || settings.accounts.is_caller(named)) {
        return None;
    }
    let outbound = matches!(destination, Destination::Elsewhere) || request.next_route().is_some();
    Some(match (outbound, dials_out(destination, settings)) {
        (true, _) => Reject::Relay,
        (false, true) => Reject::DialledByStranger,
        (false, false) => Reject::Stranger,
    })
}

/// Whether the destination is a number outside of the office.
fn dials_out(destination: &Destination, settings: &Settings) -> bool {
    matches!(destination, Destination::User(called) if settings.dialled(called).is_some())
}

/// The requirement for a request in a dialog that goes to the other side but does not come from the address of its
/// sender.
///
/// `strangers: accept` does not apply here: a caller without an account has no credentials to show that it is part of
/// the call.
pub(crate) fn auth_requirement_in_dialog<'s>(
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
    // The dialog belongs to no local user, so no credentials can show that the sender is a side of it.
    let domain = sender.and_then(|sender| settings.domains.iter().find(|it| it.as_bytes() == sender.domain()));
    domain.and_then(|domain| require_credentials(request, domain)).ok_or(Reject::NotThePeer)
}

/// The domain whose credentials a request outside of a dialog needed when it was forwarded; `None` if it needed none.
pub(crate) fn required_domain<'s>(request: &Request, settings: &'s Settings) -> Option<&'s str> {
    let to = destination_of(request, settings).ok()?;
    match auth_requirement(request, &to, settings) {
        Ok(AuthRequirement::Credentials(domain)) => Some(domain),
        // It was forwarded to the Contact of a user, although its sender may not call foreign addresses (`contacts.rs`).
        Err(Reject::Relay) => request.domain_of_from(settings),
        _ => None,
    }
}

/// The name that an authenticated user calls by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallerName {
    /// Its own address of record.
    Own,
    /// No name, or another name in `may_call_as` of its account.
    Listed,
}

/// The name that an authenticated user calls by; `None` if it must not use this From.
pub(crate) fn caller_name(request: &Request, proven: &Aor, settings: &Settings) -> Option<CallerName> {
    let named = Named::of(request.text_of_from(), settings)?;
    if named.is_ours && named.address == *proven {
        return Some(CallerName::Own);
    }
    settings.accounts.may_call_as(proven, &named).then_some(CallerName::Listed)
}

fn require_credentials<'s>(request: &Request, domain: &'s str) -> Option<AuthRequirement<'s>> {
    auth::can_be_challenged(request.method()).then_some(AuthRequirement::Credentials(domain))
}
