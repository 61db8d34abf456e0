//! Who may send a request to whom, before anybody is looked up.
//!
//! Nothing is relayed for strangers: a request goes to a user of ours, or on in a dialog that we record-routed, or
//! anywhere if its sender proved to be a user of ours and the configuration lets users call out.

use location::Aor;

use crate::auth;
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::{Authentication, Foreign, Settings, Strangers};

use super::Destination;

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
    let outbound = matches!(destination, Destination::Elsewhere) || request.routes().next().is_some();
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
