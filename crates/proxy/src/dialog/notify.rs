//! The Record-Route of a NOTIFY (RFC 6665 4.3, 4.4.1): it makes the dialog at the subscriber, whose route set is the one in the
//! NOTIFY and not the one in the 2xx to its SUBSCRIBE. Of a SUBSCRIBE that several phones took, most 2xx never get there.
//!
//! A NOTIFY that carries tokens of ours came of a SUBSCRIBE, a REFER or an INVITE that was record-routed here, so its
//! subscriber is given the same tokens, with the notifier's Contact signed into them, and with the mark of the notifier's tag
//! as in a response. One without was not, and RFC 6665 4.3 forbids to add any.

use std::net::SocketAddr;

use parser::{HeaderName, write_decimal};
use smallvec::SmallVec;

use super::record_route::{contact, target_of, uri_of_route};
use super::token::{DialogId, DialogToken, Sealed, Target, TokenText, split_mark, write_mark};
use crate::mac::Mac;
use crate::request::Request;
use crate::settings::Settings;

/// Writes the Record-Route lines of a NOTIFY in a dialog: our own values of its Route that have a token of it, the last one
/// first, since for the subscriber the way is the other way round.
pub(crate) fn write_record_routes_of_notify(out: &mut Vec<u8>, request: &Request, settings: &Settings, mac: &Mac) {
    let routes: SmallVec<[&[u8]; 4]> = request.message.values(HeaderName::Route).take(request.own_routes).collect();
    // What is nearest to the notifier leads to its Contact; the others lead to each other.
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

/// The token with the notifier's target in it; and where the notifier is, if it is the callee of the dialog. `None` if it is none
/// of this dialog.
fn for_subscriber(
    user: &[u8],
    nearest: bool,
    request: &Request,
    settings: &Settings,
    mac: &Mac,
) -> Option<(TokenText, Option<SocketAddr>)> {
    let message = &request.message;
    let (token, _) = split_mark(user);
    let sealed = Sealed::decode(token)?;
    let call_id = message.value(HeaderName::CallId)?;
    let [notifier, subscriber] = request.tags();
    let open = |caller_tag| {
        let id = DialogId { call_id, caller_tag };
        let opened = if sealed.seems_made_with(caller_tag) { sealed.open(id, mac) } else { None };
        opened.map(|token| (token, id))
    };
    let of_callee = open(subscriber);
    let notifier_is_callee = of_callee.is_some();
    let (token, id) = of_callee.or_else(|| open(notifier))?;
    // A user could notify on the token of another phone that the SUBSCRIBE went to, with that phone's tag in a call.
    let address = if token.callee.user.is_some() { request.flow.remote } else { token.callee.peer.remote };
    let callee = notifier_is_callee.then_some(address);
    if !nearest {
        return Some((token.text(id, mac), callee));
    }
    let side = if notifier_is_callee { &token.callee } else { &token.caller };
    let next = message.value(HeaderName::RecordRoute).and_then(uri_of_route).or_else(|| contact(message));
    let next_hop = target_of(next, side, settings, mac);
    let target = next_hop.map(|next_hop| Target { of_callee: notifier_is_callee, next_hop });
    Some((DialogToken { target, ..token }.text(id, mac), callee))
}
