//! Writes the tokens of Record-Route values: into a request that creates a dialog, and again into its responses, with
//! the target of the callee (RFC 3261 16.6 step 4, 16.7 step 8).
//!
//! The callee reads the token in the request, the caller the one in the response. So each side gets, signed, where
//! requests to the other side may go: to its peer, or to the Contact or Record-Route value that the other side named.

use std::borrow::Cow;
use std::net::SocketAddr;

use location::Aor;
use parser::headers::{Contact, Route};
use parser::{Header as _, HeaderName, Message, Method, Rewrite, SipUri, Transport, Uri, unescape};

use super::mark::{split_mark, write_mark};
use super::next_hop::{bracketed_uri, literal_address, next_hop_hash, plain_address, plain_uri};
use super::token::{DialogId, DialogToken, MAX_TOKEN, Side, Target, TokenText, UnverifiedToken};
use super::user::User;
use crate::hop::Hop;
use crate::mac::{Mac, Purpose};
use crate::nat;
use crate::peer::Peer;
use crate::reach::{self, check_address, check_host};
use crate::renumbering::Renumbering;
use crate::request::Request;
use crate::request::tag_of;
use crate::settings::{Named, Settings};
use crate::target::{SentTo, TargetUri};

/// The most values of ours in a response. A spiral has fewer; a response with more was made up.
const MAX_OWN_VALUES: usize = 8;

/// The token for a request that creates a dialog and is sent there.
pub(crate) fn token_for(request: &Request, to: SentTo<'_>, settings: &Settings, mac: &Mac) -> TokenText {
    let (message, first) = (&request.message, first_domain(settings));
    let route = first_route(message);
    // Fast path for most requests: the Contact is the source.
    let is_at_source = route.is_none()
        && request.flow.transport == Transport::Udp
        && message.value(HeaderName::Contact).and_then(plain_address) == Some(request.flow.remote);
    let next = if is_at_source { None } else { route.and_then(uri_of_route).or_else(|| contact(message)) };
    let user = local_user(request.text_of_from(), settings);
    let only_flow = !is_at_source && nat::is_flow_bound(request, next.as_ref());
    let phone = user.as_ref().filter(|_| only_flow).and_then(|_| instance_of(message));
    // A caller with a foreign From keeps that name in the dialog. It may be a local user (`may_call_as`, RFC 3323), but
    // the token must not name that user, because the callee can read it.
    let needs_identity = user.is_none() && !reach::is_exempt_source(request.flow.remote.ip(), settings);
    let other_name = if needs_identity { Named::of(request.text_of_from(), settings) } else { None };
    let caller = Side {
        peer: Peer::of_dialog(&Hop::back(&request.flow), only_flow, settings),
        only_flow,
        user,
        phone: phone.map(|instance| phone_hash(instance, None, mac)),
        identity: other_name.map(|name| identity_hash(&name.address, mac)),
        renumbering: to.uri.renumbering(request),
    };
    let user = User::of_aor(to.uri.aor(), first);
    let only_flow = to.over_flow;
    let phone = if only_flow { phone_called(to.uri, mac) } else { None };
    let is_called = user.as_ref().is_some_and(|user| user.is_written_as(request.text_of_to(), first));
    // A local user in To counts only if the Request-URI names it too. Otherwise a caller could write any user into To,
    // and the called phone could act as that user in the dialog.
    let called = if is_called { None } else { Named::of(request.text_of_to(), settings) };
    let is_user =
        |called: &Named| user.as_ref().is_some_and(|user| called.is_ours && user.aor(first) == called.address);
    let is_asked_for = |called: &Named| {
        !called.is_ours
            || Named::of(message.request_uri(), settings).is_some_and(|asked| asked.address == called.address)
    };
    let called = called.filter(|called| !is_user(called) && is_asked_for(called));
    let identity = called.map(|called| identity_hash(&called.address, mac));
    let renumbering = renumbering_of_callee(request, settings);
    let callee =
        Side { peer: Peer::of_dialog(to.hop, only_flow, settings), only_flow, user, phone, identity, renumbering };
    let target = target_of(next, &caller, settings, mac);
    let target = target.map(|next_hop| Target { of_callee: false, next_hop });
    let [caller_tag, _] = request.tags();
    let id = DialogId { call_id: request.call_id(), caller_tag };
    DialogToken { caller, callee, target }.text(id, mac)
}

/// How the numbers of the called side are changed: a trunk that calls may challenge the requests of the called phone.
fn renumbering_of_callee(request: &Request, settings: &Settings) -> Option<Renumbering> {
    let trunk = settings.trunk_at(request.flow.remote.ip()).filter(|trunk| trunk.login.is_some())?;
    (request.method() == Method::Invite).then(|| Renumbering::of_callee(trunk.id()))
}

/// The side that sent a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseCallee<'a> {
    /// The To tag.
    pub(crate) tag: &'a [u8],
    /// The address that the request was sent to; `None` for a response to a request that creates no dialog.
    pub(crate) address: Option<SocketAddr>,
}

/// Adds the mark to our Record-Route values in a response that creates a dialog, and the target of the callee if that
/// is not the address that the request was sent to: a gateway may name another host in its Contact, and a proxy behind
/// this server may have added a Record-Route.
///
/// If the request passed this server twice (a spiral), so does the response, and each time the values of one pass are
/// marked.
pub(crate) fn update_record_routes(
    response: &Message,
    callee: ResponseCallee<'_>,
    settings: &Settings,
    mac: &Mac,
    rewrite: &mut Rewrite,
) {
    let makes_dialog = matches!(response.status(), Some(101..300)) && !callee.tag.is_empty();
    let Some(address) = callee.address.filter(|_| makes_dialog) else { return };
    let Some(value) = response.value(HeaderName::RecordRoute) else { return };
    // Fast path for most responses: there is one value, and the Contact is the address that the request was sent to.
    if let Some(user) = own_user_part(value, settings)
        && response.count(HeaderName::RecordRoute) == 1
        && split_mark(user).1.is_none()
        && Some(address) == response.value(HeaderName::Contact).and_then(plain_address)
        && let Some(span) = response.span_of(user)
    {
        return rewrite.replace(span, |out| {
            out.extend_from_slice(user);
            write_mark(out, user, (callee.tag, address), mac);
        });
    }
    // The value above is nearer to the callee.
    let mut above: Option<SipUri<'_>> = None;
    let mut marked: Option<(Cow<'_, [u8]>, TokenText)> = None;
    for value in response.values(HeaderName::RecordRoute).take(MAX_OWN_VALUES) {
        let Some(uri) = uri_of_route(value) else { return };
        let own = uri.user.filter(|user| is_own_value(&uri, user, response, settings, mac));
        let Some(user) = own.filter(|user| split_mark(user).1.is_none()) else {
            above = Some(uri);
            continue;
        };
        let token = unescape(user);
        let text = match &marked {
            // RFC 5658: both values of a double Record-Route have the same token.
            Some((known, text)) if *known == token => text.clone(),
            Some(_) => return,
            None => {
                let next = above.or_else(|| contact(response));
                let is_there = next.and_then(|next| literal_address(&next)) == Some(address);
                let refreshed = if is_there { None } else { refreshed(&token, next, response, settings, mac) };
                refreshed.unwrap_or_else(|| TokenText::from_slice(&token))
            }
        };
        if let Some(span) = response.span_of(user) {
            rewrite.replace(span, |out| {
                out.extend_from_slice(&text);
                write_mark(out, &text, (callee.tag, address), mac);
            });
        }
        marked = Some((token, text));
        above = Some(uri);
    }
}

/// The user part of a Record-Route or Route value, if the value is exactly what this server writes.
pub(crate) fn own_user_part<'v>(value: &'v [u8], settings: &Settings) -> Option<&'v [u8]> {
    let (user, address, b";lr>") = plain_uri(value)? else { return None };
    settings.is_own_address(address.ip(), Some(address.port())).then_some(user)
}

/// Whether this server wrote a value. Above the value for the caller there may be one with the address of the node that
/// holds the flow of the called phone; its token is ours.
fn is_own_value(uri: &SipUri<'_>, user: &[u8], response: &Message, settings: &Settings, mac: &Mac) -> bool {
    let is_signed = || {
        let caller_tag = tag_of(response, HeaderName::From)?;
        let id = DialogId { call_id: response.value(HeaderName::CallId)?, caller_tag };
        UnverifiedToken::decode(split_mark(&unescape(user)).0, &mut [0; MAX_TOKEN])?.find(id, mac)
    };
    settings.is_own(&uri.host, uri.port) || (settings.nodes.is_cluster() && is_signed().is_some())
}

/// The token with `next` as the target of the callee; `None` if that is not allowed or the token is not valid.
fn refreshed(
    token: &[u8],
    next: Option<SipUri<'_>>,
    response: &Message,
    settings: &Settings,
    mac: &Mac,
) -> Option<TokenText> {
    let caller_tag = tag_of(response, HeaderName::From).unwrap_or_default();
    let id = DialogId { call_id: response.value(HeaderName::CallId)?, caller_tag };
    let (token, mac) = UnverifiedToken::decode(token, &mut [0; MAX_TOKEN])?.find(id, mac)?;
    let target = Target { of_callee: true, next_hop: target_of(next, &token.callee, settings, &mac)? };
    Some(DialogToken { target: Some(target), ..token }.text(id, &mac))
}

/// The next hop to a side as a hash, if it is not the peer and is allowed.
pub(super) fn target_of(next: Option<SipUri<'_>>, side: &Side, settings: &Settings, mac: &Mac) -> Option<u32> {
    let next = next.filter(|next| literal_address(next) != Some(side.peer.remote))?;
    is_allowed_target(&next, side, side.peer.remote, settings).then(|| next_hop_hash(&next, mac))
}

/// Whether a side whose messages come from `source` may name this URI as its target: no address that `reach` forbids,
/// and for a local user only an address of its own. Other addresses of the user must be in its registration.
pub(super) fn is_allowed_target(target: &SipUri<'_>, side: &Side, source: SocketAddr, settings: &Settings) -> bool {
    check_host(target, source.ip(), settings, check_address).is_ok()
        && (side.user.is_none()
            || reach::is_exempt_source(source.ip(), settings)
            || literal_address(target).is_some_and(|address| reach::is_own_address(address, source)))
}

/// The local user that a URI names.
fn local_user(uri: &[u8], settings: &Settings) -> Option<User> {
    let first = first_domain(settings);
    if let Some(user) = settings.plain_user(uri) {
        return User::new(user, first, first);
    }
    let Ok(Uri::Sip(uri)) = Uri::parse(uri) else { return None };
    let domain = settings.domain_named_by(&uri)?;
    let user = uri.user_unescaped();
    if user.is_empty() { None } else { User::new(&user, domain.as_bytes(), first) }
}

pub(super) fn contact(message: &Message) -> Option<SipUri<'_>> {
    // Only the parser finds the end of the first value.
    message.value(HeaderName::Contact).and_then(bracketed_uri).or_else(|| {
        let first = message.values(HeaderName::Contact).next()?;
        Contact::parse(first).ok()?.address()?.uri.sip().copied()
    })
}

/// The first Record-Route value; a line may have several (RFC 3261 7.3.1).
pub(super) fn first_route(message: &Message) -> Option<&[u8]> {
    // Most requests have none.
    message.value(HeaderName::RecordRoute)?;
    message.values(HeaderName::RecordRoute).next()
}

pub(super) fn uri_of_route(value: &[u8]) -> Option<SipUri<'_>> {
    bracketed_uri(value).or_else(|| Route::parse(value).ok()?.address.uri.sip().copied())
}

/// The `+sip.instance` in the Contact of a message.
fn instance_of(message: &Message) -> Option<&[u8]> {
    message.header::<Contact<'_>>().ok()??.binding().instance()
}

/// The hash of the phone that a request is sent to, if it has an instance.
fn phone_called(uri: &TargetUri, mac: &Mac) -> Option<u32> {
    let binding = uri.binding()?;
    Some(phone_hash(binding.instance()?, binding.reg_id(), mac))
}

/// A hash of the instance and reg-id of a phone (RFC 5626 4). As for a next hop, 32 bits are enough in a signed token.
pub(crate) fn phone_hash(instance: &[u8], reg_id: Option<u32>, mac: &Mac) -> u32 {
    let reg_id = reg_id.unwrap_or_default().to_be_bytes();
    (mac.sign(Purpose::Phone, &[instance, &reg_id]) & u64::from(u32::MAX)) as u32
}

/// A hash of the local user in From or To.
pub(super) fn identity_hash(aor: &Aor, mac: &Mac) -> u32 {
    (mac.sign(Purpose::Identity, &[aor.as_bytes()]) & u64::from(u32::MAX)) as u32
}

/// The first local domain. Tokens omit it, to be shorter.
pub(super) fn first_domain(settings: &Settings) -> &[u8] {
    settings.domains.first().map(|domain| domain.as_bytes()).unwrap_or_default()
}
