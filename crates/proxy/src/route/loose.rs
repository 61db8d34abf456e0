//! The Route values of this server: they are removed, and their token is read (RFC 3261 16.4, 16.12; RFC 5658).
//!
//! A Route value of ours without a token of this dialog comes from the configuration of the phone (outbound proxy). It
//! is removed too and permits nothing. `dialog` decides what a token permits.

use parser::{HeaderName, Host, Message, Route, SipUri, Uri};

use crate::dialog::{InDialog, own_user_part};
use crate::mac::{Mac, Purpose};
use crate::reject::Reject;
use crate::renumbering::{Renumbering, invite_of};
use crate::request::Request;
use crate::settings::Settings;

use super::{is_own_maddr, route_uri};

/// A double Record-Route has two values, and a request may pass this server twice on its way (a spiral), which makes
/// four. A Route with more values of ours in a row was made up, to send the request in circles.
const MAX_OWN_ROUTES: u8 = 4;

/// Records in the request which Route values are ours, and undoes the change of a strict router. Returns the dialog of
/// their tokens, if there is one.
pub(crate) fn accept_routes(request: &mut Request, settings: &Settings, mac: &Mac) -> Result<Option<InDialog>, Reject> {
    let mut dialog = None;
    // The request may have been here before, while it waited for a lookup.
    (request.own_routes, request.has_only_own_routes) = (0, true);
    // Both functions look for a parameter. Most Request-URIs have none.
    if request.message.request_uri().contains(&b';') {
        dialog = restore_from_strict_router(request, settings, mac);
        strip_own_maddr(request, settings);
    }
    if !request.message.has_any(&[HeaderName::Route]) {
        return Ok(None);
    }
    // RFC 3261 12.1.1: a caller of RFC 2543 has no tag, so that requests to it have none in To. The token shows that they are
    // in its dialog.
    let [from_tag, _] = request.tags();
    let may_be_in_dialog = request.in_dialog || !from_tag.is_empty();
    let mut last = if request.last_route_is_uri { user_of(request.message.request_uri()) } else { b"" };
    let (mut own, mut has_only_own) = (0, false);
    let mut routes = request.routes();
    while own < MAX_OWN_ROUTES {
        let Some(value) = routes.next() else {
            has_only_own = true;
            break;
        };
        // Fast path: the value is exactly what this server wrote into its Record-Route. Other values are parsed.
        let as_written = own_user_part(value, settings).filter(|token| may_be_in_dialog && *token != last);
        let mut read = as_written.and_then(|token| InDialog::read(token, request, mac));
        let token = match as_written.filter(|_| read.is_some()) {
            Some(token) => token,
            None => {
                let uri = route_uri(value).ok_or_else(|| defect_of_routes(&request.message))?;
                let token = uri.user.unwrap_or_default();
                read =
                    (may_be_in_dialog && token != last).then(|| InDialog::read_escaped(token, request, mac)).flatten();
                // A node takes what another node wrote as its own. That is no way through this server for others: the value
                // is removed, and the token permits what it would permit there.
                let is_of_node = settings.nodes.is_cluster() && (read.is_some() || (token == last && dialog.is_some()));
                if !is_of_node && !is_ours(&uri, settings) {
                    break;
                }
                token
            }
        };
        // RFC 5658: both values of a double Record-Route have the same token.
        if token != last {
            match (&dialog, read) {
                (_, None) => {}
                (None, next) => dialog = next,
                (Some(before), Some(next)) => match before.join(next) {
                    Some(both) => dialog = Some(both),
                    // The tokens are of two unrelated dialogs. To accept either would let its sender mix them.
                    None => return Err(Reject::ForeignRoute),
                },
            }
            last = token;
        }
        own += 1;
    }
    drop(routes);
    (request.own_routes, request.has_only_own_routes) = (own, has_only_own);
    request.in_dialog |= dialog.is_some();
    request.renumbering =
        dialog.as_ref().and_then(|dialog| renumbering_of(request, dialog, settings, mac)).map(Box::new);
    Ok(dialog)
}

/// How the numbers of a request in a dialog are changed.
fn renumbering_of(request: &Request, dialog: &InDialog, settings: &Settings, mac: &Mac) -> Option<Renumbering> {
    let renumbering = dialog.renumbering().filter(|_| Renumbering::fits(request.sequence))?;
    let invite = invite_of(&request.message);
    let answered = invite.and_then(|number| settings.trunks.numbers.answered(invite_key(request, number, mac)));
    let after = invite.zip(answered).map(|(number, answered)| renumbering.after(number, answered));
    Some(after.unwrap_or(renumbering))
}

/// Identifies the INVITE with this number that the sender of a request in a dialog has sent there, in
/// [`SentNumbers`](crate::settings::SentNumbers).
pub(crate) fn invite_key(request: &Request, number: u32, mac: &Mac) -> u64 {
    mac.sign(Purpose::Dialog, &[request.call_id(), request.tags()[0], &number.to_be_bytes()])
}

/// The refusal of a request with a Route value that is not a SIP URI.
fn defect_of_routes(message: &Message) -> Reject {
    let malformed = message.headers::<Route<'_>>().find_map(Result::err);
    malformed.map_or(Reject::Route, Reject::Malformed)
}

/// RFC 3261 16.4: a strict router has put our Record-Route value into the Request-URI, and the real Request-URI into
/// the last Route value.
fn restore_from_strict_router(request: &mut Request, settings: &Settings, mac: &Mac) -> Option<InDialog> {
    let Ok(Uri::Sip(uri)) = Uri::parse(request.message.request_uri()) else { return None };
    // RFC 3261 16.4 applies only to a value that this server wrote, which the token proves. A Request-URI that merely
    // has our address is a request to this server.
    if !request.in_dialog || !uri.is_loose() || !(settings.nodes.is_cluster() || is_ours(&uri, settings)) {
        return None;
    }
    let dialog = InDialog::read_escaped(uri.user?, request, mac)?;
    let last = request.message.values(HeaderName::Route).last().and_then(route_uri)?;
    let uri = last.as_bytes().into();
    request.set_effective_uri(uri);
    request.last_route_is_uri = true;
    Some(dialog)
}

/// RFC 3261 16.4: a maddr of this server is removed, with the port and transport that belong to it.
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
    let is_for_us = |name: &[u8]| name.eq_ignore_ascii_case(b"maddr") || name.eq_ignore_ascii_case(b"transport");
    uri.params.write_filtered(&mut stripped, |name| !is_for_us(name));
    request.set_effective_uri(stripped.into());
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
