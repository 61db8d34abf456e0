//! The headers that name callers and callees at the border of the trust domain: which of them are removed, and which
//! are added (RFC 3325 5 to 7, RFC 3323 4.2, RFC 5806, RFC 7044 10.1.2).
//!
//! A peer that is not in `trusted` could claim any identity, so these headers of its requests and responses are
//! removed. One exception: if the P-Preferred-Identity of an authenticated user names an identity of that user, it is
//! replaced by a P-Asserted-Identity. A header that its sender wants to keep private is sent to hops in `trusted` only.
//!
//! Must not decide who is trusted, or who has authenticated. Most messages have none of these headers and cost one
//! lookup for each.

use std::net::IpAddr;

use location::Aor;
use parser::headers::{NameAddr, PPreferredIdentity, Privacy};
use parser::{HeaderName, Message, Rewrite, Uri, escape_user, unquote};

use crate::request::{Proven, Request};
use crate::settings::{Named, Settings};
use crate::target::SentTo;

/// Neighbours in the header index of the parser, so that the lookups are cheap.
const CLAIMS: [HeaderName; 5] = [
    HeaderName::HistoryInfo,
    HeaderName::Diversion,
    HeaderName::PAssertedIdentity,
    HeaderName::PPreferredIdentity,
    HeaderName::RemotePartyId,
];

/// Removes from a request the headers that its sender must not claim or that must not be sent there, and adds the
/// identity that the authenticated sender prefers.
pub(super) fn edit_claims(request: &Request, to: SentTo<'_>, settings: &Settings, rewrite: &mut Rewrite) {
    let message = &request.message;
    if !has_claims(message) {
        return;
    }
    let trusted = settings.trusts(request.flow.remote.ip());
    let hidden = match to.uri.trunk() {
        Some(_) => Hidden::default(),
        None => Hidden::new(message, to.hop.remote.ip(), settings),
    };
    for name in CLAIMS {
        if !trusted || hidden.has(name, message) {
            rewrite.remove_all(message, name);
        }
    }
    if !trusted
        && !hidden.identity
        && to.uri.trunk().is_none()
        && let Some(identity) = preferred(request, settings)
    {
        rewrite.append(message, |out| write_asserted(out, &identity));
    }
}

/// The response without the headers that its sender must not claim or that must not be sent to `to`; `None` if nothing
/// has to be removed. `from` is the source of the response, which may differ from the address that the request was sent
/// to.
pub(crate) fn without_claims(
    response: &Message,
    from: IpAddr,
    to: IpAddr,
    settings: &Settings,
    rewrite: &mut Rewrite,
) -> Option<Message> {
    if !has_claims(response) {
        return None;
    }
    let trusted = settings.trusts(from);
    let hidden = Hidden::new(response, to, settings);
    let is_removed = |name: &HeaderName| !trusted || hidden.has(*name, response);
    let mut removed = CLAIMS.into_iter().filter(is_removed).filter(|name| response.has_any(&[*name])).peekable();
    removed.peek()?;
    rewrite.clear();
    removed.for_each(|name| rewrite.remove_all(response, name));
    let mut out = Vec::new();
    rewrite.write(response, &mut out);
    // The response was valid before, so it is still valid without these lines.
    Message::parse(out.into()).ok()
}

/// Whether a request has a P-Preferred-Identity. Only then does forwarding depend on the authenticated user.
pub(crate) fn prefers_identity(request: &Message) -> bool {
    request.has_any(&[HeaderName::PPreferredIdentity])
}

fn has_claims(message: &Message) -> bool {
    message.has_any(&CLAIMS)
}

/// The headers of a message that must not be sent to its next hop.
#[derive(Clone, Copy, Debug, Default)]
struct Hidden {
    /// All of them.
    identity: bool,
    /// History-Info.
    history: bool,
    /// The values that have a privacy parameter of their own.
    marked: bool,
}

impl Hidden {
    /// Nothing is hidden from a trusted hop (RFC 3325 5).
    fn new(message: &Message, to: IpAddr, settings: &Settings) -> Self {
        if settings.trusts(to) {
            return Self::default();
        }
        let mut hidden = Self { marked: true, ..Self::default() };
        for privacy in message.headers::<Privacy<'_>>() {
            match privacy {
                Ok(privacy) => {
                    // RFC 3325 7
                    hidden.identity |= privacy.has("id");
                    // RFC 7044 10.1.2 permits to make the entries anonymous. To remove them reveals even less.
                    hidden.history |= privacy.has("history") || privacy.has("header");
                }
                // The header is malformed, but its sender wanted some privacy.
                Err(_) => hidden.identity = true,
            }
        }
        hidden
    }

    fn has(self, name: HeaderName, message: &Message) -> bool {
        self.identity
            || (self.history && name == HeaderName::HistoryInfo)
            || (self.marked && message.values(name).any(|value| is_marked(name, value)))
    }
}

/// Whether a value has a privacy parameter of its own.
fn is_marked(name: HeaderName, value: &[u8]) -> bool {
    match name {
        // RFC 5806 4 (`privacy=full` and others). Remote-Party-ID has the same parameter (draft-ietf-sip-privacy-01
        // 5.1).
        HeaderName::Diversion | HeaderName::RemotePartyId => {
            let privacy = NameAddr::params_of(value).value("privacy").map(unquote);
            privacy.is_some_and(|privacy| !privacy.eq_ignore_ascii_case(b"off"))
        }
        // RFC 7044 10.1.1: a header parameter of the URI.
        HeaderName::HistoryInfo => value.windows(15).any(|part| part.eq_ignore_ascii_case(b"privacy=history")),
        _ => false,
    }
}

/// The identity in P-Preferred-Identity, if it is one of the authenticated user.
fn preferred(request: &Request, settings: &Settings) -> Option<Aor> {
    // From does not matter: it may be anonymous.
    let user = match &request.proven {
        Proven::Nobody => return None,
        Proven::InFrom => settings.aor_named_by(&request.uri_of_from()?),
        Proven::As(user) => Aor::clone(user),
    };
    let mut preferred = request.message.headers::<PPreferredIdentity<'_>>().flatten();
    preferred.find_map(|preferred| own_identity(&preferred.address.uri, &user, settings))
}

/// The identity of this user that a URI names: its address of record, or a local name in `may_call_as` of its account.
/// Any other identity is ignored (RFC 3325 6).
fn own_identity(uri: &Uri<'_>, user: &Aor, settings: &Settings) -> Option<Aor> {
    let uri = uri.sip()?;
    let address = settings.aor_named_by(uri);
    if address == *user {
        return Some(address);
    }
    let named = Named { address, is_ours: settings.domain_named_by(uri).is_some() };
    (named.is_ours && settings.accounts.may_call_as(user, &named)).then_some(named.address)
}

/// Writes the identity without the display name and parameters of the request, which nobody has checked.
fn write_asserted(out: &mut Vec<u8>, identity: &Aor) {
    out.extend_from_slice(b"P-Asserted-Identity: <sip:");
    escape_user(identity.user(), out);
    out.push(b'@');
    let is_v6 = identity.domain().contains(&b':');
    out.extend_from_slice(if is_v6 { b"[" } else { b"" });
    out.extend_from_slice(identity.domain());
    out.extend_from_slice(if is_v6 { b"]" } else { b"" });
    out.extend_from_slice(b">\r\n");
}
