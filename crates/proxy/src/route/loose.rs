//! Our own Route values: taken off, and what they say of the dialog that went through here (RFC 3261 16.4, 16.12; RFC 5658).
//!
//! A value of ours without a token of the request's own dialog is what a phone was configured with as its outbound proxy:
//! it comes off too, and says nothing. What a token permits is decided in `dialog`.

use parser::{Host, Message, Route, SipUri, Uri};

use crate::dialog::{InDialog, own_user};
use crate::mac::Mac;
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::Settings;

use super::{is_own_maddr, route_uri};

/// A double Record-Route has two values, and a request that came by twice when its dialog was made meets both. More of ours
/// in a row is a loop of somebody's making.
const MOST_OWN_ROUTES: usize = 4;

/// Notes in the request what of its Route is ours, and undoes what a strict router upstream did. Returns the dialog that its
/// tokens are of, if it has any.
pub(crate) fn accept_routes(request: &mut Request, settings: &Settings, mac: &Mac) -> Result<Option<InDialog>, Reject> {
    let mut dialog = None;
    // It may have been here before.
    request.own_routes = 0;
    // Both look for a parameter, and most Request-URIs have none.
    if request.message.request_uri().contains(&b';') {
        dialog = restore_from_strict_router(request, settings, mac);
        strip_own_maddr(request, settings);
    }
    let mut last = if request.last_route_is_uri { user_of(request.message.request_uri()) } else { b"" };
    let (mut own, mut has_only_own) = (0, false);
    let mut routes = request.routes();
    while own < MOST_OWN_ROUTES {
        let Some(value) = routes.next() else {
            has_only_own = true;
            break;
        };
        // As nearly all phones send it back. A user that is no token of this dialog is checked as any URI is.
        let usual = own_user(value, settings).filter(|token| request.in_dialog && *token != last);
        let usual = usual.and_then(|token| Some((token, Some(InDialog::read(token, request, mac)?))));
        let (token, read) = match usual {
            Some(usual) => usual,
            None => {
                let uri = route_uri(value).ok_or_else(|| unusable(&request.message))?;
                if !is_ours(&uri, settings) {
                    break;
                }
                let token = uri.user.unwrap_or_default();
                (token, (request.in_dialog && token != last).then(|| InDialog::read(token, request, mac)).flatten())
            }
        };
        // RFC 5658: both values of a double Record-Route have the same token.
        if token != last {
            match (&dialog, read) {
                (_, None) => {}
                (None, next) => dialog = next,
                (Some(before), Some(next)) => match before.then(next) {
                    Some(both) => dialog = Some(both),
                    // Two dialogs that have nothing to do with each other: neither counts.
                    None => return Err(Reject::ForeignRoute),
                },
            }
            last = token;
        }
        own += 1;
    }
    drop(routes);
    (request.own_routes, request.has_only_own_routes) = (own, has_only_own);
    Ok(dialog)
}

/// What is wrong with a Route that leads nowhere.
fn unusable(message: &Message) -> Reject {
    let malformed = message.headers::<Route<'_>>().find_map(Result::err);
    malformed.map_or(Reject::Route, Reject::Malformed)
}

/// RFC 3261 16.4: a strict router put our Record-Route value into the Request-URI; the true one is the last Route.
fn restore_from_strict_router(request: &mut Request, settings: &Settings, mac: &Mac) -> Option<InDialog> {
    let Ok(Uri::Sip(uri)) = Uri::parse(request.message.request_uri()) else { return None };
    // RFC 3261 16.4 means the value that we put there, and the token says whether we did: a Request-URI with our address
    // alone is a call to us.
    if !request.in_dialog || !uri.is_loose() || !is_ours(&uri, settings) {
        return None;
    }
    let dialog = InDialog::read(uri.user?, request, mac)?;
    let last = request.message.values(parser::HeaderName::Route).last().and_then(route_uri)?;
    request.effective_uri = Some(last.as_bytes().into());
    request.last_route_is_uri = true;
    Some(dialog)
}

/// RFC 3261 16.4: a maddr that is us has done its work, and goes, along with the port and transport that were for us.
fn strip_own_maddr(request: &mut Request, settings: &Settings) {
    let Ok(Uri::Sip(uri)) = Uri::parse(request.uri()) else { return };
    let Some(maddr) = uri.maddr().and_then(|maddr| Host::parse(maddr).ok()) else { return };
    if !is_own_maddr(&maddr, uri.port, settings) {
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
    uri.params.write_filtered(&mut stripped, |name| !was_for_us(name));
    request.effective_uri = Some(stripped.into());
}

fn is_ours(uri: &SipUri<'_>, settings: &Settings) -> bool {
    settings.is_own(&uri.host, uri.port) || settings.domain_named_by(uri).is_some()
}

fn user_of(uri: &[u8]) -> &[u8] {
    match Uri::parse(uri) {
        Ok(Uri::Sip(uri)) => uri.user.unwrap_or_default(),
        _ => b"",
    }
}
