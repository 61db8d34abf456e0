//! Tokens on their way out: the one for a request that makes a dialog, and the same with the callee's target once a response
//! names it (RFC 3261 16.6 step 4, 16.7 step 8).
//!
//! The caller reads the token in the response, the callee the one in the request. So each side is told, signed, where
//! requests to the other may go: to its peer, or to the Contact or the Record-Route next to ours that it named itself.

use location::Aor;
use parser::headers::{Contact, From, Route};
use parser::{Header as _, HeaderName, Message, Rewrite, SipUri, Uri};

use super::token::{DialogId, DialogToken, Side, Target, TokenText, identity, literal, next_hop};
use crate::hop::Hop;
use crate::mac::Mac;
use crate::peer::Peer;
use crate::request::Request;
use crate::settings::Settings;

/// More values of ours in one response are no spiral but somebody's making.
const MOST_OWN_VALUES: usize = 8;

/// The token of a request that makes a dialog: it came over its flow, and leaves to `hop` for `user`.
pub(crate) fn token_for(
    request: &Request,
    (hop, only_flow): (&Hop, bool),
    user: Option<Aor>,
    settings: &Settings,
    mac: &Mac,
) -> TokenText {
    let message = &request.message;
    let caller_user = request.caller().and_then(|uri| user_named_by(&uri, settings));
    let called = request.addressee().ok().and_then(|uri| user_named_by(uri.sip()?, settings));
    let caller = Side {
        peer: Peer::of_hop(&Hop::back(&request.flow), settings),
        only_flow: request.is_flow_bound(),
        user: caller_user,
        identity: None,
    };
    let called = called.filter(|called| Some(called) != user.as_ref()).map(|called| identity(&called, mac));
    let callee = Side { peer: Peer::of_hop(hop, settings), only_flow, user, identity: called };
    let next = message.value(HeaderName::RecordRoute).and_then(uri_of_route).or_else(|| contact(message));
    let target = target_of(next, &caller, false, mac);
    let from_tag = from_tag(message);
    let id = DialogId {
        call_id: message.value(HeaderName::CallId).unwrap_or_default(),
        caller_tag: from_tag.unwrap_or_default(),
    };
    DialogToken { caller, callee, target }.text(id, first_domain(settings), mac)
}

/// Puts the callee's target into our Record-Route values of a response that makes a dialog, where that is not the peer that
/// the request went to: a gateway may name another host, a proxy behind us may have put itself into the route.
pub(crate) fn refresh_targets(response: &Message, settings: &Settings, mac: &Mac, rewrite: &mut Rewrite) {
    if !matches!(response.status(), Some(101..300)) || response.count(HeaderName::RecordRoute) == 0 {
        return;
    }
    let Some(call_id) = response.value(HeaderName::CallId) else { return };
    let id = DialogId { call_id, caller_tag: from_tag(response).unwrap_or_default() };
    // What stands above a value is nearer to the callee.
    let mut above: Option<SipUri<'_>> = None;
    let mut last: Option<(&[u8], Option<TokenText>)> = None;
    for value in response.values(HeaderName::RecordRoute).take(MOST_OWN_VALUES) {
        let Some(uri) = uri_of_route(value) else { return };
        let Some(user) = uri.user.filter(|_| settings.is_own(&uri.host, uri.port)) else {
            above = Some(uri);
            continue;
        };
        // RFC 5658: both values of a double Record-Route have the same token.
        let text = match last.take() {
            Some((token, text)) if token == user => text,
            _ => refreshed(user, id, above, response, settings, mac),
        };
        if let (Some(text), Some(span)) = (&text, response.span_of(user)) {
            rewrite.replace(span, |out| out.extend_from_slice(text));
        }
        last = Some((user, text));
        above = Some(uri);
    }
}

/// The token with the callee's target; `None` if it needs none, or is none of ours.
fn refreshed(
    token: &[u8],
    id: DialogId<'_>,
    above: Option<SipUri<'_>>,
    response: &Message,
    settings: &Settings,
    mac: &Mac,
) -> Option<TokenText> {
    let token = DialogToken::read(token, id, first_domain(settings), mac)?;
    let next = above.or_else(|| contact(response));
    let target = target_of(next, &token.callee, true, mac)?;
    Some(DialogToken { target: Some(target), ..token }.text(id, first_domain(settings), mac))
}

/// Where requests to a side go, if that is not where its peer is.
fn target_of(next: Option<SipUri<'_>>, side: &Side, of_callee: bool, mac: &Mac) -> Option<Target> {
    let next = next.filter(|next| literal(next) != Some(side.peer.remote))?;
    Some(Target { of_callee, next_hop: next_hop(&next, mac) })
}

fn user_named_by(uri: &SipUri<'_>, settings: &Settings) -> Option<Aor> {
    let domain = settings.domain_named_by(uri)?;
    let user = uri.user_unescaped();
    (!user.is_empty()).then(|| Aor::new(&user, domain.as_bytes()))
}

fn contact(message: &Message) -> Option<SipUri<'_>> {
    match message.header::<Contact<'_>>().ok()??.address()?.uri {
        Uri::Sip(uri) => Some(uri),
        Uri::Other { .. } => None,
    }
}

fn uri_of_route(value: &[u8]) -> Option<SipUri<'_>> {
    match Route::parse(value).ok()?.address.uri {
        Uri::Sip(uri) => Some(uri),
        Uri::Other { .. } => None,
    }
}

fn from_tag(message: &Message) -> Option<&[u8]> {
    message.header::<From<'_>>().ok()??.tag()
}

/// Users there are written without their domain.
pub(super) fn first_domain(settings: &Settings) -> &[u8] {
    settings.domains.first().map(|domain| domain.as_bytes()).unwrap_or_default()
}
