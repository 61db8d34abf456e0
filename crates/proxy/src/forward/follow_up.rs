//! The values of a forwarded request that its ACK and its CANCEL repeat (RFC 3261 9.1, 17.1.1.3): Request-URI, top Via
//! and Route.
//!
//! Must give the same values as `request.rs`, which writes them as edits of the original message.

use parser::SentInvite;

use crate::mac::Mac;
use crate::settings::Settings;
use crate::target::{route_uri, write_request_uri};

use super::Forwarding;
use super::caller::from_for_trunk;
use super::request::write_via_value;
use super::restore::write_from;

/// The initial capacity of the buffers, enough for most URIs and for our Via.
const CAPACITY: usize = 192;

/// Calls `write` with the values that the request was sent with.
pub(crate) fn as_sent(
    forwarding: &Forwarding<'_>,
    settings: &Settings,
    mac: &Mac,
    write: impl FnOnce(&SentInvite<'_>),
) {
    let Forwarding { request, to, branch, .. } = forwarding;
    let from = from_for_trunk(request, *to, settings);
    let (mut uri, mut via, mut last) = (Vec::with_capacity(CAPACITY), Vec::with_capacity(CAPACITY), Vec::new());
    write_via_value(&mut via, to.hop, branch, settings);
    write_from(&mut via, &request.message, branch, mac);
    let (target_uri, path) = to.uri.with_path(request);
    write_request_uri(&mut uri, request, target_uri);
    // RFC 3327 5.4, RFC 3261 16.6 step 6
    let mut routes = parser::elements(path).chain(request.routes()).collect::<smallvec::SmallVec<[_; 2]>>();
    let strict = routes.first().and_then(|route| route_uri(route)).filter(|route| !route.is_loose());
    if let Some(strict) = strict {
        last.push(b'<');
        last.append(&mut uri);
        last.push(b'>');
        strict.write_target(&mut uri);
        routes.remove(0);
        routes.push(&last);
    }
    let sequence = to.uri.renumbering(request).map(|renumbering| renumbering.of_request(request.sequence));
    write(&SentInvite { uri: &uri, via: &via, routes, from: from.as_deref(), sequence, message: &request.message });
}
