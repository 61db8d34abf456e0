//! Whether a redirection is followed, and where to (RFC 3261 16.7 step 4, 21.3).
//!
//! A 3xx is followed only if all of its Contacts can be: if one has another scheme, or the caller may not call it, the
//! whole response is forwarded and the caller decides.

use std::cmp::Reverse;
use std::net::IpAddr;

use parser::headers::Contact;
use parser::{Message, SipUri, Uri};

use crate::reach;
use crate::request::Request;
use crate::settings::Settings;

use super::{
    AuthRequirement, Destination, Target, TargetUri, auth_requirement, check_sips_hop, destination, next_hop_of,
};

/// One Contact of a redirection.
#[derive(Debug)]
pub(crate) struct Redirect {
    /// The q value in thousandths; 1000 if there is none.
    pub(crate) q: u16,
    pub(crate) uri: Box<[u8]>,
    /// Never [`Destination::Server`] or [`Destination::Gruu`].
    pub(crate) destination: Destination,
}

/// The Contacts of a redirection by the phone at `from`, by descending q value; `None` if it must not be followed.
pub(crate) fn contacts_to_follow(
    response: &Message,
    from: IpAddr,
    request: &Request,
    settings: &Settings,
) -> Option<Vec<Redirect>> {
    // RFC 3261 21.3.4, 21.3.5: 305 and 380 need a decision of the caller. A request in a dialog has one target only.
    let followed = matches!(response.status(), Some(300..=302)) && settings.forking.recurse && !request.in_dialog;
    if !followed {
        return None;
    }
    let contacts = response.headers::<Contact<'_>>().map(|contact| {
        let contact = contact.ok()?;
        let uri = contact.address()?.uri;
        let destination = allowed_destination(uri.sip()?, request, settings)?;
        // A phone could name any address here, so it is checked. A local user is looked up.
        if destination == Destination::Elsewhere {
            reach::check_host(uri.sip()?, from, settings, reach::check_phone_address).ok()?;
        }
        Some(Redirect { q: contact.binding().q().ok()?.unwrap_or(1000), uri: uri.as_bytes().into(), destination })
    });
    let mut contacts: Vec<Redirect> = contacts.collect::<Option<_>>()?;
    contacts.sort_by_key(|contact| Reverse(contact.q));
    Some(contacts).filter(|contacts| !contacts.is_empty())
}

impl Redirect {
    /// The target of a Contact outside of the local domains; `None` if it cannot be reached.
    pub(crate) fn target(self, settings: &Settings) -> Option<Target> {
        let Ok(Uri::Sip(uri)) = Uri::parse(&self.uri) else { return None };
        let next_hop = next_hop_of(&uri, settings).ok()?;
        check_sips_hop(&self.uri, &self.uri, &next_hop).ok()?;
        Some(Target { uri: TargetUri::Redirect(self.uri), next_hop, over_flow: false })
    }
}

/// Where a Contact leads, if the caller could have called it directly: a redirection must not extend its rights.
fn allowed_destination(uri: &SipUri<'_>, request: &Request, settings: &Settings) -> Option<Destination> {
    // RFC 3261 16.7 step 4: a `sips` request must stay `sips`.
    let Ok(Uri::Sip(request_uri)) = request.typed_uri() else { return None };
    // RFC 5630 5.3: and a `sip` request must not become one.
    if request_uri.secure != uri.secure {
        return None;
    }
    let to = destination(&Uri::Sip(*uri), request.method(), settings).ok()?;
    // Only the caller may use a GRUU that it was given.
    if matches!(to, Destination::Server | Destination::Gruu(_)) {
        return None;
    }
    match auth_requirement(request, &to, settings).ok()? {
        AuthRequirement::None => Some(to),
        AuthRequirement::Credentials(_) => request.proven.is_authenticated().then_some(to),
    }
}
