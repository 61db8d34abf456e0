//! Writes a forwarded request: the steps of RFC 3261 16.6 as edits of the original.
//!
//! Must not choose the target or the next hop. `follow_up.rs` must give the same Request-URI, Via and Route.

use parser::headers::Credentials;
use parser::{HeaderName, Host, Message, Method, Rewrite, Transport, write_decimal};

use super::caller::{edit_identity, from_for_trunk};
use super::identity::edit_claims;
use super::restore::write_from;
use super::{History, ViaBranch};
use crate::dialog::{token_for, write_record_routes_of_notify};
use crate::hop::{Hop, Over};
use crate::mac::Mac;
use crate::request::Request;
use crate::settings::Settings;
use crate::target::{SentTo, TargetUri, is_sips, route_uri, write_request_uri};

/// Max-Forwards of a request that had none (RFC 3261 16.6 step 3).
const MAX_FORWARDS: u8 = 70;

/// How one request is forwarded.
pub(crate) struct Forwarding<'a> {
    pub(crate) request: &'a Request,
    pub(crate) to: SentTo<'a>,
    pub(crate) branch: ViaBranch,
    /// Its share of the Max-Breadth of the request.
    pub(crate) breadth: u32,
    /// How the call came to this target, if it was forwarded.
    pub(crate) history: Option<&'a History>,
}

/// Writes the request. `rewrite` is scratch memory.
pub(crate) fn write_request(
    forwarding: &Forwarding<'_>,
    settings: &Settings,
    mac: &Mac,
    rewrite: &mut Rewrite,
    out: &mut Vec<u8>,
) {
    let Forwarding { request, to, branch, breadth, history } = forwarding;
    let SentTo { uri, hop, .. } = *to;
    let message = &request.message;
    rewrite.clear();
    // Most edits are made in the order of their positions, so that there is little to sort.
    let next_route = edit_routes(request, uri, rewrite);
    // Above the lines of others: step 8 (Via), step 4 (Record-Route), and the Path as the first Route.
    rewrite.put_first(message, |out| {
        out.extend_from_slice(b"Via: ");
        write_via_value(out, hop, branch, settings);
        write_from(out, message, branch, mac);
        out.extend_from_slice(b"\r\n");
        if request.forms_dialog() {
            write_record_routes(out, forwarding, settings, mac);
        } else if request.is_notify_in_dialog() {
            write_record_routes_of_notify(out, request, settings, mac);
        }
        if let Some(route) = next_route {
            out.extend_from_slice(b"Route: ");
            out.extend_from_slice(&route);
            out.extend_from_slice(b"\r\n");
        }
    });
    // RFC 3261 18.2.1, RFC 3581 4: the proxy below reads from `received` and `rport` where the response came from.
    if request.stamp.received.is_some() {
        rewrite.stamp_via(message, request.stamp);
    }
    // step 3
    let left = request.hops.map_or(MAX_FORWARDS, |hops| hops.saturating_sub(1));
    set_number(message, HeaderName::MaxForwards, left.into(), rewrite);
    // RFC 5393 5.3.3: every request has a Max-Breadth, except CANCEL (5.4.1).
    if request.method() != Method::Cancel {
        set_number(message, HeaderName::MaxBreadth, *breadth, rewrite);
    }
    remove_credentials(message, settings, rewrite);
    edit_claims(request, *to, settings, rewrite);
    if let Some(trunk) = uri.trunk() {
        edit_identity(request, trunk, rewrite);
    }
    if let Some(answered) = uri.answered() {
        rewrite.append(message, |out| out.extend_from_slice(&answered.credentials));
    }
    if let Some(renumbering) = uri.renumbering(request) {
        renumbering.edit(message, rewrite);
    }
    if let Some(from) = from_for_trunk(request, *to, settings)
        && let Some(span) = message.value(HeaderName::From).and_then(|value| message.span_of(value))
    {
        rewrite.replace(span, |out| out.extend_from_slice(&from));
    }
    if let Some(history) = history {
        history.add_to(request, hop, settings, rewrite);
    }
    // step 9
    if hop.leaves_over_stream() && message.count(HeaderName::ContentLength) == 0 {
        rewrite.append(message, |out| {
            out.extend_from_slice(b"Content-Length: ");
            write_decimal(out, message.body().len() as u64);
            out.extend_from_slice(b"\r\n");
        });
    }
    rewrite.write(message, out);
}

/// Steps 2 and 6: edits Request-URI and Route. Returns the Route values to put before the remaining ones.
fn edit_routes(request: &Request, uri: &TargetUri, rewrite: &mut Rewrite) -> Option<Vec<u8>> {
    let (message, (uri, path)) = (&request.message, uri.with_path(request));
    for _ in 0..request.own_routes {
        rewrite.remove_first(message, HeaderName::Route);
    }
    if request.last_route_is_uri {
        rewrite.remove_last(message, HeaderName::Route);
    }
    let first = parser::elements(path).next().or_else(|| request.next_route());
    let strict = first.and_then(route_uri).filter(|route| !route.is_loose());
    let Some(strict) = strict else {
        if uri != message.request_uri() {
            rewrite.replace(message.request_uri_span(), |out| write_request_uri(out, request, uri));
        }
        return (!path.is_empty()).then(|| path.to_vec());
    };
    // Step 6: the next hop is a strict router, so the Request-URI becomes the last Route value.
    rewrite.replace(message.request_uri_span(), |out| strict.write_target(out));
    rewrite.append(message, |out| {
        out.extend_from_slice(b"Route: <");
        write_request_uri(out, request, uri);
        out.extend_from_slice(b">\r\n");
    });
    if path.is_empty() {
        rewrite.remove_first(message, HeaderName::Route);
        return None;
    }
    let rest: Vec<u8> = parser::elements(path).skip(1).collect::<Vec<_>>().join(&b", "[..]);
    (!rest.is_empty()).then_some(rest)
}

/// Removes the credentials for our realm, which no other server may see (RFC 3261 22.3).
fn remove_credentials(message: &Message, settings: &Settings, rewrite: &mut Rewrite) {
    for line in message.lines_of(HeaderName::ProxyAuthorization) {
        let realm = Credentials::realm_of(message.line_value(&line));
        if realm.is_some_and(|realm| settings.domains.iter().any(|domain| *domain.as_bytes() == *realm)) {
            rewrite.remove(line.whole);
        }
    }
}

/// Sets a header whose value is a number, and adds it if it is missing.
fn set_number(message: &Message, name: HeaderName, number: u32, rewrite: &mut Rewrite) {
    match message.value(name).and_then(|value| message.span_of(value)) {
        Some(value) => rewrite.replace(value, |out| write_decimal(out, number)),
        None => rewrite.append(message, |out| {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            write_decimal(out, number);
            out.extend_from_slice(b"\r\n");
        }),
    }
}

/// Writes our Via.
pub(crate) fn write_via(out: &mut Vec<u8>, hop: &Hop, branch: &ViaBranch, settings: &Settings) {
    out.extend_from_slice(b"Via: ");
    write_via_value(out, hop, branch, settings);
    out.extend_from_slice(b"\r\n");
}

pub(crate) fn write_via_value(out: &mut Vec<u8>, hop: &Hop, branch: &ViaBranch, settings: &Settings) {
    if let (Over::Elsewhere(_), Some(own)) = (&hop.over, settings.nodes.own_address()) {
        out.extend_from_slice(format!("SIP/2.0/{} {};branch=", own.transport.as_str(), own.address).as_bytes());
        return branch.write(out);
    }
    out.extend_from_slice(b"SIP/2.0/");
    out.extend_from_slice(hop.transport.as_str().as_bytes());
    out.push(b' ');
    write_own_address(out, hop, settings);
    out.extend_from_slice(b";branch=");
    branch.write(out);
    if hop.transport == Transport::Udp {
        out.extend_from_slice(b";rport");
    }
}

/// Writes one Record-Route value if both sides of the dialog can use it. Otherwise two: the one for the side of the
/// target above the one for the side of the sender (RFC 3261 16.7 step 8, RFC 5658). Both have the same token.
fn write_record_routes(out: &mut Vec<u8>, forwarding: &Forwarding<'_>, settings: &Settings, mac: &Mac) {
    let Forwarding { request, to, .. } = forwarding;
    let hop = to.hop;
    let back = Hop::back(&request.flow);
    let reached = Hop { remote: to.remote(), ..hop.clone() };
    let token = token_for(request, SentTo { hop: &reached, ..*to }, settings, mac);
    // RFC 3261 16.6 step 4: requests in a dialog with a `sips:` URI, or through a `sips:` Path or Route, use TLS too.
    let has_tls = hop.transport.is_secure() || back.transport.is_secure();
    let is_sips = has_tls && (is_sips(request.uri()) || is_next_route_sips(request, to.uri));
    let mut write = |side: &Hop| {
        // 16.7 step 8: a side that does not use TLS needs `sip:`.
        let is_secure = is_sips && side.transport.is_secure();
        out.extend_from_slice(if is_secure { b"Record-Route: <sips:" } else { b"Record-Route: <sip:" });
        out.extend_from_slice(&token);
        out.push(b'@');
        write_own_address(out, side, settings);
        // RFC 5630 3.1.4: in a `sips:` URI the parameter names the transport below TLS. The default is TCP.
        let transport = match side.transport {
            Transport::Udp => None,
            Transport::Tls if is_secure => None,
            // RFC 7118 5.2 defines no other value for WebSocket.
            Transport::Wss => Some(Transport::Ws),
            transport => Some(transport),
        };
        if let Some(transport) = transport {
            out.extend_from_slice(b";transport=");
            out.extend_from_slice(transport.param().as_bytes());
        }
        out.extend_from_slice(b";lr>\r\n");
    };
    write(hop);
    if back.transport != hop.transport || back.local != hop.local {
        write(&back);
    }
}

/// Whether the request goes through a proxy with a `sips:` URI.
fn is_next_route_sips(request: &Request, uri: &TargetUri) -> bool {
    let (_, path) = uri.with_path(request);
    let first = parser::elements(path).next().or_else(|| request.next_route());
    first.and_then(route_uri).is_some_and(|route| route.secure)
}

/// Writes the host and port that a peer reaches this server at: the node that holds its flow, if that is another one.
pub(crate) fn write_own_address(out: &mut Vec<u8>, side: &Hop, settings: &Settings) {
    let (of_node, own) = match &side.over {
        Over::Elsewhere(flow) => (settings.nodes.host_of(flow), None),
        _ => (None, settings.advertise.as_deref()),
    };
    match of_node.as_deref().or(own) {
        Some(host) => out.extend_from_slice(host.as_bytes()),
        None => match side.local.ip() {
            std::net::IpAddr::V4(ip) => Host::V4(ip).write(out),
            std::net::IpAddr::V6(ip) => Host::V6(ip).write(out),
        },
    }
    out.push(b':');
    write_decimal(out, side.local.port());
}
