//! Who may send a request to whom, before anybody is looked up.
//!
//! Nothing is relayed for strangers: a request goes to a user of ours, or on in a dialog that we record-routed, or
//! anywhere if its sender proved to be a user of ours and the configuration lets users call out.

use location::Aor;

use crate::auth;
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::{Authentication, Foreign, Settings, Strangers};

use super::{Destination, destination_of};

/// What a request needs before it may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission<'s> {
    /// Nothing.
    Free,
    /// Credentials of a user of this domain.
    Credentials(&'s str),
}

/// Decides from source, From and destination. Requests in a dialog of ours and REGISTERs do not come here.
pub(crate) fn admission<'s>(
    request: &Request,
    destination: &Destination,
    settings: &'s Settings,
) -> Result<Admission<'s>, Reject> {
    let caller = request.caller().and_then(|caller| settings.domain_named_by(&caller));
    let outbound = matches!(destination, Destination::Elsewhere) || request.next_route().is_some();
    if outbound {
        let may = settings.foreign == Foreign::Authenticated && settings.authentication == Authentication::Required;
        let Some(domain) = caller.filter(|_| may) else { return Err(Reject::Relay) };
        return challengeable(request, domain).ok_or(Reject::Relay);
    }
    if settings.trusts(request.flow.remote.ip()) {
        return Ok(Admission::Free);
    }
    match caller {
        Some(_) if settings.authentication == Authentication::Off => Ok(Admission::Free),
        Some(domain) => Ok(challengeable(request, domain).unwrap_or(Admission::Free)),
        None if settings.strangers == Strangers::Accept => Ok(Admission::Free),
        None => Err(Reject::Stranger),
    }
}

/// A request of a dialog has our Record-Route, since every dialog is made through it. One that has none could be of any
/// call: a phone finds the call by its Call-ID and its tags, which everybody on the wire has read, and does not ask for
/// the From.
pub(crate) fn outside_of_dialogs(request: &Request, settings: &Settings) -> Result<(), Reject> {
    let judged = settings.authentication == Authentication::Required && !settings.trusts(request.flow.remote.ip());
    if request.in_dialog && judged { Err(Reject::NoTransaction) } else { Ok(()) }
}

/// What a request of a dialog needs that goes to the other side, but does not come from where its sender was: as for an
/// initial request, but that nobody is a stranger who is let in. A stranger has no credentials that could show that the
/// call is his.
pub(crate) fn admission_in_dialog<'s>(
    request: &Request,
    sender: Option<&Aor>,
    settings: &'s Settings,
) -> Result<Admission<'s>, Reject> {
    if settings.trusts(request.flow.remote.ip()) {
        return Ok(Admission::Free);
    }
    if settings.authentication == Authentication::Off {
        return Ok(Admission::Free);
    }
    // What no user of ours began is no user's to go on with.
    let domain = sender.and_then(|sender| settings.domains.iter().find(|it| it.as_bytes() == sender.domain()));
    domain.and_then(|domain| challengeable(request, domain)).ok_or(Reject::NotThePeer)
}

/// Whether a request outside of any dialog of ours, that was let through, had to prove who its sender is.
pub(crate) fn was_proven(request: &Request, settings: &Settings) -> bool {
    destination_of(request, settings)
        .is_ok_and(|to| matches!(admission(request, &to, settings), Ok(Admission::Credentials(_))))
}

/// A user can only call as himself.
pub(crate) fn calls_as_himself(request: &Request, proven: &Aor, settings: &Settings) -> bool {
    request.caller().is_some_and(|caller| {
        let domain = settings.domain_named_by(&caller);
        domain.is_some_and(|domain| Aor::new(&caller.user_unescaped(), domain.as_bytes()) == *proven)
    })
}

fn challengeable<'s>(request: &Request, domain: &'s str) -> Option<Admission<'s>> {
    auth::can_be_challenged(request.method()).then_some(Admission::Credentials(domain))
}
