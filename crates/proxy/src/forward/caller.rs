//! How a caller is shown to a trunk: its number in P-Asserted-Identity or in From (RFC 3325, RFC 3323 4.1).
//!
//! A trunk that reads From gets another URI there, with the same tag. This needs no state, because only tags identify a
//! dialog (RFC 3261 12); the requests of the dialog to the trunk get the same URI, and responses get the From of the caller
//! back (`restore.rs`). Must not decide which number a caller has.

use std::sync::Arc;

use parser::headers::Privacy;
use parser::{HeaderName, Message, Rewrite, escape_user};

use crate::hop::Hop;
use crate::request::{Request, tag_of};
use crate::settings::{Named, Settings, Shows, Trunk};
use crate::target::{SentTo, ToTrunk};

/// The identity headers that the caller must not choose itself.
const OWN: [HeaderName; 3] = [HeaderName::PAssertedIdentity, HeaderName::PPreferredIdentity, HeaderName::RemotePartyId];

/// Replaces the identity of the caller in a call by a trunk.
pub(super) fn edit_identity(request: &Request, to: &ToTrunk, rewrite: &mut Rewrite) {
    let message = &request.message;
    for name in OWN {
        rewrite.remove_all(message, name);
    }
    let Some(number) = &to.caller_id else { return };
    // A trunk that shows no From still has to know who pays.
    if to.trunk.shows == Shows::Asserted || wants_privacy(message) {
        rewrite.append(message, |out| {
            out.extend_from_slice(b"P-Asserted-Identity: <");
            write_uri(out, number, &to.trunk);
            out.extend_from_slice(b">\r\n");
        });
    }
}

/// The value of From in a request to a trunk that reads the number there; `None` if it stays as it is.
pub(super) fn from_for_trunk(request: &Request, to: SentTo<'_>, settings: &Settings) -> Option<Vec<u8>> {
    let (trunk, number) = shown_in_from(request, to, settings)?;
    let mut value = Vec::new();
    if wants_privacy(&request.message) {
        // RFC 3323 4.1.1.3
        value.extend_from_slice(b"\"Anonymous\" <sip:anonymous@anonymous.invalid>");
    } else {
        value.push(b'<');
        write_uri(&mut value, number, trunk);
        value.push(b'>');
    }
    if let Some(tag) = tag_of(&request.message, HeaderName::From) {
        value.extend_from_slice(b";tag=");
        value.extend_from_slice(tag);
    }
    Some(value)
}

/// The trunk that reads the number of the caller in From, and that number; `None` if From stays as it is.
pub(super) fn shown_in_from<'s>(
    request: &Request,
    to: SentTo<'s>,
    settings: &'s Settings,
) -> Option<(&'s Arc<Trunk>, &'s str)> {
    let (trunk, number) = match to.uri.trunk() {
        Some(to) => (&to.trunk, to.caller_id.as_deref()?),
        // RFC 3261 12.2.1.1: a request of the same dialog.
        None if request.in_dialog && settings.trunks.shows_from() => in_dialog(request, to.hop, settings)?,
        None => return None,
    };
    (trunk.shows == Shows::From).then_some((trunk, number))
}

/// The trunk that a request in a dialog goes to, and the number of its sender.
fn in_dialog<'s>(request: &Request, hop: &Hop, settings: &'s Settings) -> Option<(&'s Arc<Trunk>, &'s str)> {
    let trunk = settings.trunk_at(hop.remote.ip())?;
    let sender = Named::of(request.text_of_from(), settings).filter(|named| named.is_ours)?;
    let dialling = settings.accounts.find(&sender.address)?.dialling.as_deref();
    let own = dialling.and_then(|dialling| dialling.caller_id.as_deref());
    Some((trunk, own.or(trunk.caller_id.as_deref())?))
}

/// RFC 3325 9.3
fn wants_privacy(message: &Message) -> bool {
    message.headers::<Privacy<'_>>().any(|privacy| privacy.is_ok_and(|privacy| privacy.has("id")))
}

fn write_uri(out: &mut Vec<u8>, number: &str, trunk: &Trunk) {
    out.extend_from_slice(b"sip:");
    escape_user(number.as_bytes(), out);
    out.push(b'@');
    out.extend_from_slice(&ToTrunk::host(trunk));
}
