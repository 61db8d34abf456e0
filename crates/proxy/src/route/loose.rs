//! Our own Route values: taken off, and proof that a dialog went through here (RFC 3261 16.4, 16.12; RFC 5658).
//!
//! A Record-Route of ours carries a token in its user part: a keyed hash of the Call-ID, which no outsider can make. A
//! request with it may go where its dialog leads, without credentials; one with a wrong token goes nowhere. Where a
//! phone is reached over its own flow only, the token also says which (as RFC 5626 5.2 does for registrations): of our
//! two values the second one a request meets is about the phone ahead.

use parser::{HeaderName, Host, Message, Route, SipUri, Uri};

use crate::mac::{Mac, Purpose, read_hex, write_hex};
use crate::peer::Peer;
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::Settings;

use super::route_uri;

/// What the Route of a request says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has a Route of ours with a good token: it goes on in its dialog.
    Dialog,
    /// It stands for itself.
    Alone,
}

/// The double Record-Route has two values; more of ours in a row is a loop of somebody's making.
const MOST_OWN_ROUTES: usize = 2;

/// Notes in the request what of its Route is ours, and undoes what a strict router upstream did.
pub(crate) fn accept_routes(request: &mut Request, settings: &Settings, mac: &Mac) -> Result<Standing, Reject> {
    // Both look for a parameter, and most Request-URIs have none.
    if request.message.request_uri().contains(&b';') {
        restore_from_strict_router(request, settings, mac);
        strip_own_maddr(request, settings);
    }
    let mut signed = false;
    let mut ahead = None;
    let mut own = 0;
    for value in request.routes().take(MOST_OWN_ROUTES) {
        let uri = route_uri(value).ok_or_else(|| unusable(&request.message))?;
        if !is_ours(&uri, settings) {
            break;
        }
        own += 1;
        // A phone's preconfigured outbound proxy: ours, but without a token.
        if uri.user.is_some() {
            let peer = verify(&uri, request, mac)?;
            signed = true;
            ahead = peer.filter(|_| own == MOST_OWN_ROUTES || request.last_route_is_uri);
        }
    }
    request.own_routes = own;
    request.flow_ahead = ahead;
    signed |= request.last_route_is_uri;
    Ok(if signed && request.in_dialog { Standing::Dialog } else { Standing::Alone })
}

/// What is wrong with a Route that leads nowhere.
fn unusable(message: &Message) -> Reject {
    let malformed = message.headers::<Route<'_>>().find_map(Result::err);
    malformed.map_or(Reject::Route, Reject::Malformed)
}

/// The user part of our Record-Route for a request; `peer` is the phone on that side, if only its flow leads to it.
pub(crate) fn write_token(out: &mut Vec<u8>, request: &Request, peer: Option<Peer>, mac: &Mac) {
    write_hex(out, token(request, peer.as_ref(), mac), 16);
    if let Some(peer) = peer {
        peer.write(out);
    }
}

/// RFC 3261 16.4: a strict router put our Record-Route value into the Request-URI; the true one is the last Route.
fn restore_from_strict_router(request: &mut Request, settings: &Settings, mac: &Mac) {
    let Ok(Uri::Sip(uri)) = Uri::parse(request.message.request_uri()) else { return };
    // Only a value that we issued: a Request-URI with our address alone is a call to us.
    if uri.user.is_none() || !uri.is_loose() || !is_ours(&uri, settings) {
        return;
    }
    // RFC 3261 16.4 means the value that we put there; the token says whether we did.
    if verify(&uri, request, mac).is_err() {
        return;
    }
    let Some(last) = request.message.values(HeaderName::Route).last().and_then(route_uri) else { return };
    request.effective_uri = Some(last.as_bytes().into());
    request.last_route_is_uri = true;
}

/// RFC 3261 16.4: a maddr that is us has done its work, and goes, along with the port and transport that were for us.
fn strip_own_maddr(request: &mut Request, settings: &Settings) {
    let Ok(Uri::Sip(uri)) = Uri::parse(request.uri()) else { return };
    let Some(maddr) = uri.maddr().and_then(|maddr| Host::parse(maddr).ok()) else { return };
    if !settings.is_own(&maddr, uri.port) {
        return;
    }
    let mut stripped = if uri.secure { b"sips:".to_vec() } else { b"sip:".to_vec() };
    if let Some(user) = uri.user {
        stripped.extend_from_slice(user);
        if let Some(password) = uri.password() {
            stripped.push(b':');
            stripped.extend_from_slice(password);
        }
        stripped.push(b'@');
    }
    uri.host.write(&mut stripped);
    let was_for_us = |name: &[u8]| name.eq_ignore_ascii_case(b"maddr") || name.eq_ignore_ascii_case(b"transport");
    uri.params.write_those(&mut stripped, |name| !was_for_us(name));
    request.effective_uri = Some(stripped.into());
}

fn is_ours(uri: &SipUri<'_>, settings: &Settings) -> bool {
    settings.is_own(&uri.host, uri.port) || (uri.user.is_none() && settings.domain_of(uri).is_some())
}

fn verify(uri: &SipUri<'_>, request: &Request, mac: &Mac) -> Result<Option<Peer>, Reject> {
    let (given, peer) = uri.user.and_then(|user| user.split_at_checked(16)).ok_or(Reject::ForeignRoute)?;
    let peer = match peer {
        b"" => None,
        text => Some(Peer::parse(text).ok_or(Reject::ForeignRoute)?),
    };
    let good = read_hex(given) == Some(token(request, peer.as_ref(), mac));
    if good { Ok(peer) } else { Err(Reject::ForeignRoute) }
}

fn token(request: &Request, peer: Option<&Peer>, mac: &Mac) -> u64 {
    let call_id = request.message.value(HeaderName::CallId).unwrap_or_default();
    match peer {
        Some(peer) => mac.sign(Purpose::Route, &[call_id, &peer.octets()]),
        None => mac.sign(Purpose::Route, &[call_id]),
    }
}
