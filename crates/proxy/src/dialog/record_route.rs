//! Tokens on their way out: the one for a request that makes a dialog, and the same with the callee's target once a response
//! names it (RFC 3261 16.6 step 4, 16.7 step 8).
//!
//! The caller reads the token in the response, the callee the one in the request. So each side is given, signed, where
//! requests to the other may go: to its peer, or to the Contact or the Record-Route next to ours that it named itself.

use std::borrow::Cow;
use std::net::SocketAddr;

use location::Aor;
use parser::headers::{Contact, Route};
use parser::{Header as _, HeaderName, Message, Rewrite, SipUri, Uri, unescape};

use super::next_hop::{bracketed, literal, next_hop, plain, plain_address};
use super::token::{DialogId, DialogToken, Sealed, Side, Target, TokenText, User, split_mark, write_mark};
use crate::hop::Hop;
use crate::mac::{Mac, Purpose};
use crate::nat;
use crate::peer::Peer;
use crate::reach::{self, check_address, check_host};
use crate::request::Request;
use crate::request::tag_of;
use crate::settings::{Named, Settings};
use crate::target::Target as RouteTarget;

/// More values of ours in one response are no spiral but somebody's making.
const MOST_OWN_VALUES: usize = 8;

/// The token of a request that makes a dialog: it came over its flow, and leaves to `hop` for this target.
pub(crate) fn token_for(
    request: &Request,
    (hop, target): (&Hop, &RouteTarget),
    settings: &Settings,
    mac: &Mac,
) -> TokenText {
    let (message, first) = (&request.message, first_domain(settings));
    let next = message.value(HeaderName::RecordRoute).and_then(uri_of_route).or_else(|| contact(message));
    let user = named(request.from_text(), settings);
    let only_flow = nat::is_flow_bound(request, next.as_ref());
    let phone = user.as_ref().filter(|_| only_flow).and_then(|_| instance_of(message));
    // Whoever calls by a name that is not of ours keeps it in the dialog. It may be a user (`may_call_as`, RFC 3323), who is
    // not named in the token: the called side can read that.
    let is_judged = user.is_none() && !reach::is_exempt_source(request.flow.remote.ip(), settings);
    let other_name = if is_judged { Named::of(request.from_text(), settings) } else { None };
    let caller = Side {
        peer: Peer::of_hop(&Hop::back(&request.flow), settings),
        only_flow,
        user,
        phone: phone.map(|instance| phone_of(instance, None, mac)),
        identity: other_name.map(|name| identity(&name.address, mac)),
    };
    let user = User::of_aor(target.uri.aor(), first);
    let only_flow = target.over_flow;
    let phone = if only_flow { phone_called(target, mac) } else { None };
    let is_called = user.as_ref().is_some_and(|user| user.is_written(request.to_text(), first));
    // A user of ours that the caller wrote into To counts only if it is what was called: a caller could write anybody there,
    // and the called phone would pass for that user.
    let called = if is_called { None } else { Named::of(request.to_text(), settings) };
    let is_user =
        |called: &Named| user.as_ref().is_some_and(|user| called.is_ours && user.aor(first) == called.address);
    let is_asked_for = |called: &Named| {
        !called.is_ours
            || Named::of(message.request_uri(), settings).is_some_and(|asked| asked.address == called.address)
    };
    let called = called.filter(|called| !is_user(called) && is_asked_for(called));
    let identity = called.map(|called| identity(&called.address, mac));
    let callee = Side { peer: Peer::of_hop(hop, settings), only_flow, user, phone, identity };
    let target = target_of(next, &caller, settings, mac);
    let target = target.map(|next_hop| Target { of_callee: false, next_hop });
    let [caller_tag, _] = request.tags();
    let id = DialogId { call_id: message.value(HeaderName::CallId).unwrap_or_default(), caller_tag };
    DialogToken { caller, callee, target }.text(id, mac)
}

/// The side that a response comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callee<'a> {
    /// Its tag.
    pub(crate) tag: &'a [u8],
    /// Where the request went that it answers; none of a response that makes no dialog.
    pub(crate) address: Option<SocketAddr>,
}

/// Marks our Record-Route value of a response that makes a dialog with the callee's tag, and puts the callee's target into it
/// where that is not the peer that the request went to: a gateway may name another host, a proxy behind us may have put itself
/// into the route. Values below it are of earlier ways of a request that came by twice: they are marked when the response
/// comes by again.
pub(crate) fn refresh_targets(
    response: &Message,
    callee: Callee<'_>,
    settings: &Settings,
    mac: &Mac,
    rewrite: &mut Rewrite,
) {
    let makes_dialog = matches!(response.status(), Some(101..300)) && !callee.tag.is_empty();
    let Some(address) = callee.address.filter(|_| makes_dialog && response.count(HeaderName::RecordRoute) > 0) else {
        return;
    };
    // As nearly all responses are: there is nothing but our value, and the Contact is where the request went.
    let value = response.value(HeaderName::RecordRoute).unwrap_or_default();
    if let Some(user) = own_user(value, settings)
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
    // What stands above a value is nearer to the callee.
    let mut above: Option<SipUri<'_>> = None;
    let mut marked: Option<(Cow<'_, [u8]>, TokenText)> = None;
    for value in response.values(HeaderName::RecordRoute).take(MOST_OWN_VALUES) {
        let Some(uri) = uri_of_route(value) else { return };
        let own = uri.user.filter(|_| settings.is_own(&uri.host, uri.port));
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
                let is_there = next.and_then(|next| literal(&next)) == Some(address);
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

/// The user part of a value that is as this server writes it.
pub(crate) fn own_user<'v>(value: &'v [u8], settings: &Settings) -> Option<&'v [u8]> {
    let (user, address, b";lr>") = plain(value)? else { return None };
    settings.is_own_address(address.ip(), Some(address.port())).then_some(user)
}

/// The token with `next` as the callee's target; `None` if that may not be it, or the token is none of ours.
fn refreshed(
    token: &[u8],
    next: Option<SipUri<'_>>,
    response: &Message,
    settings: &Settings,
    mac: &Mac,
) -> Option<TokenText> {
    let caller_tag = tag_of(response, HeaderName::From).unwrap_or_default();
    let id = DialogId { call_id: response.value(HeaderName::CallId)?, caller_tag };
    let token = Sealed::decode(token)?.open(id, mac)?;
    let target = Target { of_callee: true, next_hop: target_of(next, &token.callee, settings, mac)? };
    Some(DialogToken { target: Some(target), ..token }.text(id, mac))
}

/// Where requests to a side go, if that is not where its peer is.
pub(super) fn target_of(next: Option<SipUri<'_>>, side: &Side, settings: &Settings, mac: &Mac) -> Option<u32> {
    let next = next.filter(|next| literal(next) != Some(side.peer.remote))?;
    check_phone_address(&next, side, side.peer.remote, settings).then(|| next_hop(&next, mac))
}

/// Whether a side may name this place for the requests of the other one, when it was heard from `source`: none that `reach`
/// bars; and as a user of ours, none but its own. Its other places are found in its registration.
pub(super) fn check_phone_address(place: &SipUri<'_>, side: &Side, source: SocketAddr, settings: &Settings) -> bool {
    check_host(place, source.ip(), settings, check_address).is_ok()
        && (side.user.is_none()
            || reach::is_exempt_source(source.ip(), settings)
            || literal(place).is_some_and(|place| reach::is_own_address(place, source)))
}

/// The user of ours that a URI names.
fn named(uri: &[u8], settings: &Settings) -> Option<User> {
    let first = first_domain(settings);
    if let Some(user) = settings.usual_user(uri) {
        return User::new(user, first, first);
    }
    let Ok(Uri::Sip(uri)) = Uri::parse(uri) else { return None };
    let domain = settings.domain_named_by(&uri)?;
    let user = uri.user_unescaped();
    if user.is_empty() { None } else { User::new(&user, domain.as_bytes(), first) }
}

pub(super) fn contact(message: &Message) -> Option<SipUri<'_>> {
    let value = message.value(HeaderName::Contact)?;
    bracketed(value).or_else(|| Contact::parse(value).ok()?.address()?.uri.sip().copied())
}

pub(super) fn uri_of_route(value: &[u8]) -> Option<SipUri<'_>> {
    bracketed(value).or_else(|| Route::parse(value).ok()?.address.uri.sip().copied())
}

/// The instance of a phone that names it in its Contact.
fn instance_of(message: &Message) -> Option<&[u8]> {
    message.header::<Contact<'_>>().ok()??.instance()
}

/// The phone that a request goes to, if it has an instance.
fn phone_called(target: &RouteTarget, mac: &Mac) -> Option<u32> {
    let binding = target.uri.binding()?;
    Some(phone_of(binding.instance()?, binding.reg_id(), mac))
}

/// A phone, or one of its flows, as a hash of its instance and reg-id (RFC 5626 4). As for a next hop, 32 bits are enough: the
/// token is ours.
pub(crate) fn phone_of(instance: &[u8], reg_id: Option<u32>, mac: &Mac) -> u32 {
    let reg_id = reg_id.unwrap_or_default().to_be_bytes();
    (mac.sign(Purpose::Phone, &[instance, &reg_id]) & u64::from(u32::MAX)) as u32
}

/// A user of ours as From or To names it, as a hash.
pub(super) fn identity(aor: &Aor, mac: &Mac) -> u32 {
    (mac.sign(Purpose::Identity, &[aor.as_bytes()]) & u64::from(u32::MAX)) as u32
}

/// Users there are written without their domain.
pub(super) fn first_domain(settings: &Settings) -> &[u8] {
    settings.domains.first().map(|domain| domain.as_bytes()).unwrap_or_default()
}
