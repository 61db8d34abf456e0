//! The Record-Route of a NOTIFY (RFC 6665 4.3, 4.4.1). The NOTIFY creates the dialog at the subscriber, whose route set
//! is the one in the NOTIFY and not the one in the 2xx to the SUBSCRIBE: if a SUBSCRIBE was forked, most of its 2xx do
//! not reach the subscriber.
//!
//! A NOTIFY with tokens in its Route belongs to a SUBSCRIBE, REFER or INVITE that got our Record-Route. So its
//! subscriber gets the same tokens, with the Contact of the notifier signed into them and with a mark, as in a
//! response. A NOTIFY without tokens must not get a Record-Route (RFC 6665 4.3).

use std::net::SocketAddr;

use parser::{HeaderName, write_decimal};
use smallvec::SmallVec;

use super::mark::{split_mark, write_mark};
use super::record_route::{contact, first_route, target_of, uri_of_route};
use super::token::{DialogId, DialogToken, MAX_TOKEN, Target, TokenText, UnverifiedToken};
use crate::mac::Mac;
use crate::request::Request;
use crate::settings::Settings;

/// Writes the Record-Route lines of a NOTIFY: the Route values of this server that have a valid token, in reverse
/// order, because the route set of the subscriber leads in the opposite direction.
pub(crate) fn write_record_routes_of_notify(out: &mut Vec<u8>, request: &Request, settings: &Settings, mac: &Mac) {
    let routes: SmallVec<[&[u8]; 4]> =
        request.message.values(HeaderName::Route).take(request.own_routes.into()).collect();
    // Only the value next to the notifier contains its Contact. The others lead from one value of ours to the next.
    let nearest = routes.first().and_then(|value| uri_of_route(value)?.user);
    for value in routes.iter().rev() {
        let Some(uri) = uri_of_route(value) else { continue };
        let text = uri.user.and_then(|user| for_subscriber(user, Some(user) == nearest, request, settings, mac));
        let Some((text, callee)) = text else { continue };
        out.extend_from_slice(b"Record-Route: <sip:");
        out.extend_from_slice(&text);
        if let Some(address) = callee {
            let [notifier, _] = request.tags();
            write_mark(out, &text, (notifier, address), mac);
        }
        out.push(b'@');
        uri.host.write(out);
        if let Some(port) = uri.port {
            out.push(b':');
            write_decimal(out, port);
        }
        out.extend_from_slice(uri.params.as_bytes());
        out.extend_from_slice(b">\r\n");
    }
}

/// The token with the target of the notifier, and the address to mark it with if the notifier is the callee of the
/// dialog. `None` if it is not a valid token of this dialog.
fn for_subscriber(
    user: &[u8],
    nearest: bool,
    request: &Request,
    settings: &Settings,
    mac: &Mac,
) -> Option<(TokenText, Option<SocketAddr>)> {
    let message = &request.message;
    let (token, _) = split_mark(user);
    let mut octets = [0; MAX_TOKEN];
    let unverified = UnverifiedToken::decode(token, &mut octets)?;
    let call_id = message.value(HeaderName::CallId)?;
    let [notifier, subscriber] = request.tags();
    let verify = |caller_tag| {
        let id = DialogId { call_id, caller_tag };
        let verified = if unverified.may_be_of_caller(caller_tag) { unverified.find(id, mac) } else { None };
        verified.map(|(token, mac)| (token, mac, id))
    };
    let of_callee = verify(subscriber);
    let notifier_is_callee = of_callee.is_some();
    let (token, mac, id) = of_callee.or_else(|| verify(notifier))?;
    // The attack: a user whose phone got the SUBSCRIBE too sends a NOTIFY with the token of another phone and the tag
    // of that phone in a call. So the mark of a local user has the address that the NOTIFY came from.
    let address = if token.callee.user.is_some() { request.flow.remote } else { token.callee.peer.remote };
    let callee = notifier_is_callee.then_some(address);
    if !nearest {
        return Some((token.text(id, &mac), callee));
    }
    let side = if notifier_is_callee { &token.callee } else { &token.caller };
    let next = first_route(message).and_then(uri_of_route).or_else(|| contact(message));
    let next_hop = target_of(next, side, settings, &mac);
    let target = next_hop.map(|next_hop| Target { of_callee: notifier_is_callee, next_hop });
    Some((DialogToken { target, ..token }.text(id, &mac), callee))
}
