//! Headers that say who somebody is, or was called by: which of them leave with a message, and which are taken off
//! (RFC 3325 5 to 7, RFC 3323 4.2, RFC 5806, RFC 7044 10.1.2).
//!
//! Whoever is not in `trusted` may claim anything: its claims come off, in requests and in responses. The one exception is the
//! P-Preferred-Identity of a user that proved who it is: if it names one of that user's identities, it leaves as
//! P-Asserted-Identity. What somebody asks to be kept private stays within `trusted`.
//!
//! This is the whole of the trust domain's border; it must not decide who is trusted or who proved what. Messages without any
//! of these headers, nearly all, cost five look-ups.

use std::net::IpAddr;

use location::Aor;
use parser::headers::{NameAddr, PPreferredIdentity, Privacy};
use parser::{HeaderName, Message, Rewrite, Uri, escape_user, unquote};

use crate::hop::Hop;
use crate::request::{Proven, Request};
use crate::settings::{Named, Settings};

/// They lie side by side in the parser's table.
const CLAIMS: [HeaderName; 5] = [
    HeaderName::HistoryInfo,
    HeaderName::Diversion,
    HeaderName::PAssertedIdentity,
    HeaderName::PPreferredIdentity,
    HeaderName::RemotePartyId,
];

/// Takes off a request what its sender may not claim, or what is not to be told at `hop`; asserts the identity that its
/// sender has proved and prefers.
pub(super) fn edit_claims(request: &Request, hop: &Hop, settings: &Settings, rewrite: &mut Rewrite) {
    let message = &request.message;
    if !has_claims(message) {
        return;
    }
    let trusted = settings.trusts(request.flow.remote.ip());
    let hidden = Hidden::from(message, hop.remote.ip(), settings);
    for name in CLAIMS {
        if !trusted || hidden.has(name, message) {
            rewrite.remove_all(message, name);
        }
    }
    if !trusted
        && !hidden.identity
        && let Some(identity) = preferred(request, settings)
    {
        rewrite.append(message, |out| write_asserted(out, &identity));
    }
}

/// A response without what its sender may not claim, or what is not to be told to the hop that it goes to; none if it is
/// as it should be. A response is judged by where it came from, and not by where its request went to.
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
    let hidden = Hidden::from(response, to, settings);
    let is_gone = |name: &HeaderName| !trusted || hidden.has(*name, response);
    let mut gone = CLAIMS.into_iter().filter(is_gone).filter(|name| response.has_any(&[*name])).peekable();
    gone.peek()?;
    rewrite.clear();
    gone.for_each(|name| rewrite.remove_all(response, name));
    let mut out = Vec::new();
    rewrite.write(response, &mut out);
    // It was read before with all these lines; without some of them it can be read again.
    Message::parse(out.into()).ok()
}

/// Whether a request has a P-Preferred-Identity, so that it matters whether its sender proved who it is.
pub(crate) fn prefers_identity(request: &Message) -> bool {
    request.has_any(&[HeaderName::PPreferredIdentity])
}

fn has_claims(message: &Message) -> bool {
    message.has_any(&CLAIMS)
}

/// What of a message is not to be told where it goes.
#[derive(Clone, Copy, Debug, Default)]
struct Hidden {
    /// All of it.
    identity: bool,
    /// History-Info.
    history: bool,
    /// Whatever says so of itself.
    marked: bool,
}

impl Hidden {
    /// Nothing is hidden from a trusted hop (RFC 3325 5).
    fn from(message: &Message, to: IpAddr, settings: &Settings) -> Self {
        if settings.trusts(to) {
            return Self::default();
        }
        let mut hidden = Self { marked: true, ..Self::default() };
        for privacy in message.headers::<Privacy<'_>>() {
            match privacy {
                Ok(privacy) => {
                    // RFC 3325 7
                    hidden.identity |= privacy.has("id");
                    // RFC 7044 10.1.2 would have the entries made anonymous; none at all tells even less.
                    hidden.history |= privacy.has("history") || privacy.has("header");
                }
                // Somebody wanted something to be kept private.
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

/// Whether a value asks itself not to be told.
fn is_marked(name: HeaderName, value: &[u8]) -> bool {
    match name {
        // RFC 5806 4: `privacy=full` and others; draft-ietf-sip-privacy-01 5.1 has the same of Remote-Party-ID.
        HeaderName::Diversion | HeaderName::RemotePartyId => {
            let privacy = NameAddr::params_of(value).value("privacy").map(unquote);
            privacy.is_some_and(|privacy| !privacy.eq_ignore_ascii_case(b"off"))
        }
        // RFC 7044 10.1.1: in the header part of its URI.
        HeaderName::HistoryInfo => value.windows(15).any(|part| part.eq_ignore_ascii_case(b"privacy=history")),
        _ => false,
    }
}

/// The identity of its sender that a request prefers, if the sender has proved it.
fn preferred(request: &Request, settings: &Settings) -> Option<Aor> {
    // The user that was proved, whatever From says.
    let user = match &request.proven {
        Proven::Nobody => return None,
        Proven::InFrom => settings.aor_named_by(&request.from_uri()?),
        Proven::As(user) => Aor::clone(user),
    };
    let mut preferred = request.message.headers::<PPreferredIdentity<'_>>().flatten();
    preferred.find_map(|preferred| own_identity(&preferred.address.uri, &user, settings))
}

/// The identity of this user that a URI names: the address of record, or a name of ours that its account may call by.
/// RFC 3325 6: what names nobody or somebody else is no more than a hint that is not taken.
fn own_identity(uri: &Uri<'_>, user: &Aor, settings: &Settings) -> Option<Aor> {
    let uri = uri.sip()?;
    let address = settings.aor_named_by(uri);
    if address == *user {
        return Some(address);
    }
    let named = Named { address, is_ours: settings.domain_named_by(uri).is_some() };
    (named.is_ours && settings.accounts.may_call_as(user, &named)).then_some(named.address)
}

/// As it is known here: nobody has checked the display name and the parameters that it was preferred with.
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
