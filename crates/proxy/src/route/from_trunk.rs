//! Requests that come from a trunk: they reach the numbers of this server, and nothing else. So nobody can use a trunk to
//! call by another one at the expense of the office.
//!
//! The first step of a request from a trunk. What a phone does with such a call is decided later: it may redirect it to
//! another user, or its user may have it forwarded.

use std::sync::Arc;

use location::Aor;
use parser::{Method, Uri};

use super::{Destination, next_hop_of};
use crate::reject::Reject;
use crate::request::Request;
use crate::resolution::Resolution;
use crate::settings::{Named, Settings, Trunk};
use crate::target::NextHop;

/// Where a request outside of dialogs may go: for one from a trunk, only to the number that it calls.
pub(crate) fn called_by_trunk(
    request: &Request,
    destination: Destination,
    settings: &Settings,
) -> Result<Destination, Reject> {
    let trunk = if settings.trunks.all.is_empty() { None } else { settings.trunk_at(request.flow.remote.ip()) };
    let Some(trunk) = trunk else { return Ok(destination) };
    match destination {
        Destination::Server => Ok(Destination::Server),
        Destination::User(called) if request.next_route().is_none() => {
            // A trunk that this server is registered at puts our Contact into the Request-URI, and the number into To.
            let login = trunk.login.as_ref().filter(|login| *login.user.as_bytes() == *called.user());
            let in_to = || {
                let to = Named::of(request.text_of_to(), settings)?.address;
                settings.number_called_by_trunk(&Aor::new(to.user(), called.domain()))
            };
            let number = login.and_then(|_| in_to()).or_else(|| settings.number_called_by_trunk(&called));
            number.map(Destination::User).ok_or(Reject::NoNumber)
        }
        Destination::User(_) | Destination::Elsewhere => Err(Reject::FromTrunk),
        Destination::Gruu(_) => Err(Reject::NoNumber),
    }
}

/// Refuses a REFER of a trunk, in a dialog or not: many phones dial what it names, with their own credentials.
pub(crate) fn check_refer(request: &Request, settings: &Settings) -> Result<(), Reject> {
    let is_refer = request.method() == Method::Refer && !settings.trunks.all.is_empty();
    if is_refer && settings.trunk_at(request.flow.remote.ip()).is_some() { Err(Reject::FromTrunk) } else { Ok(()) }
}

/// The trunks whose servers have names: what to resolve, to know where their calls come from, and which addresses no
/// phone may name.
pub fn trunk_resolutions(settings: &Settings) -> Vec<(Box<str>, Resolution)> {
    let resolution = |trunk: &Arc<Trunk>| {
        let Ok(Uri::Sip(uri)) = Uri::parse(trunk.server.as_bytes()) else { return None };
        match next_hop_of(&uri, settings).ok()? {
            NextHop::Name(name) => Some((trunk.name.clone(), Resolution::new(&name, settings.senders(), 0))),
            NextHop::Hop(_) => None,
        }
    };
    settings.trunks.all.iter().filter_map(resolution).collect()
}
