//! Where a redirection leads, and whether we follow it (RFC 3261 16.7 step 4, 21.3).
//!
//! All of it or nothing: a 3xx with one Contact that is not for us (another scheme, a place where the caller may not go)
//! goes up whole, and the caller decides.

use std::cmp::Reverse;
use std::net::IpAddr;

use parser::headers::Contact;
use parser::{Message, SipUri, Uri};

use crate::reach;
use crate::request::Request;
use crate::settings::Settings;

use super::{AuthRequirement, Destination, Target, TargetUri, admission, admits_hop, destination, way_to};

/// One Contact of a redirection.
#[derive(Debug)]
pub(crate) struct Redirect {
    /// In thousandths; 1000 if it does not say.
    pub(crate) q: u16,
    pub(crate) uri: Box<[u8]>,
    /// Never the server itself, nor a GRUU.
    pub(crate) destination: Destination,
}

/// The Contacts of a redirection by a phone at `from`, the best one first; none if it is not to be followed.
pub(crate) fn redirects(
    response: &Message,
    from: IpAddr,
    request: &Request,
    settings: &Settings,
) -> Option<Vec<Redirect>> {
    // 305 and 380 are for the caller (RFC 3261 21.3.4, 21.3.5), and a request in a dialog has one target only.
    let followed = matches!(response.status(), Some(300..=302)) && settings.forking.recurse && !request.in_dialog;
    if !followed {
        return None;
    }
    let contacts = response.headers::<Contact<'_>>().map(|contact| {
        let contact = contact.ok()?;
        let uri = contact.address()?.uri;
        let destination = admitted(uri.sip()?, request, settings)?;
        // A user of ours is looked up; anything else is sent to, by a phone's word.
        if destination == Destination::Elsewhere {
            reach::check_host(uri.sip()?, from, settings, reach::check_phone_address).ok()?;
        }
        Some(Redirect { q: contact.q().ok()?.unwrap_or(1000), uri: uri.as_bytes().into(), destination })
    });
    let mut contacts: Vec<Redirect> = contacts.collect::<Option<_>>()?;
    contacts.sort_by_key(|contact| Reverse(contact.q));
    Some(contacts).filter(|contacts| !contacts.is_empty())
}

impl Redirect {
    /// The target outside our domains that it names; none if it cannot be reached.
    pub(crate) fn target(self, settings: &Settings) -> Option<Target> {
        let Ok(Uri::Sip(uri)) = Uri::parse(&self.uri) else { return None };
        let next_hop = way_to(&uri, settings).ok()?;
        admits_hop(&self.uri, &self.uri, &next_hop).ok()?;
        Some(Target { uri: TargetUri::Redirect(self.uri), next_hop, over_flow: false })
    }
}

/// Where a URI leads, if the caller might have called it: a redirection gives nobody further rights.
fn admitted(uri: &SipUri<'_>, request: &Request, settings: &Settings) -> Option<Destination> {
    // RFC 3261 16.7 step 4: what was to be secure stays so.
    let Ok(Uri::Sip(asked)) = request.typed_uri() else { return None };
    // RFC 5630 5.3: and what was not is not made so here.
    if asked.secure != uri.secure {
        return None;
    }
    let to = destination(&Uri::Sip(*uri), request.method(), settings).ok()?;
    // Whom a GRUU means is for its caller to find out.
    if matches!(to, Destination::Server | Destination::Gruu(_)) {
        return None;
    }
    let came_to = destination(&Uri::Sip(asked), request.method(), settings).ok()?;
    match (admission(request, &to, settings), admission(request, &came_to, settings)) {
        (Ok(AuthRequirement::None), _) => Some(to),
        // The sender was authenticated when the request came.
        (Ok(AuthRequirement::Credentials(_)), Ok(AuthRequirement::Credentials(_))) => Some(to),
        _ => None,
    }
}
