//! Gives the sender of a request the values back that a trunk got other ones for: CSeq and From.
//!
//! RFC 3261 8.2.6.2: CSeq and From of a response equal those of the request. No table is needed, because every response
//! repeats our Via: its branch says which of the two are other ones, the number follows from the one of the trunk
//! (`renumbering`), and the From is a parameter of the Via. So a response is restored also if it comes after its
//! response context has ended, or if its request was forwarded without one.
//!
//! The From in the Via is encrypted, because the caller may have asked for privacy (RFC 3323 4.1). The encryption
//! (AES-SIV, RFC 5297) is deterministic, so that retransmissions have the same octets (RFC 3261 17.1.1.2), and bound to the
//! branch, so that a trunk cannot put the From of one call into the response of another. Must not decide which values a trunk
//! gets.

use aes_siv::KeyInit as _;
use aes_siv::siv::Aes128Siv;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parser::headers::Via;
use parser::{HeaderName, Message, Rewrite};

use super::ViaBranch;
use crate::mac::{Mac, Purpose};
use crate::renumbering::restore_number;

/// The parameter of our Via.
const PARAM: &str = "caller";

/// Writes the From of a request as a parameter of our Via, if the trunk gets another one.
pub(super) fn write_from(out: &mut Vec<u8>, request: &Message, branch: &ViaBranch, mac: &Mac) {
    if !branch.origin().is_some_and(|origin| origin.has_other_from) {
        return;
    }
    let from = request.value(HeaderName::From).unwrap_or_default();
    if let Ok(sealed) = cipher(mac).encrypt([octets_of(branch)], from) {
        out.push(b';');
        out.extend_from_slice(PARAM.as_bytes());
        out.push(b'=');
        out.extend_from_slice(URL_SAFE_NO_PAD.encode(sealed).as_bytes());
    }
}

/// A response with the values of its request; `None` if it needs no change.
pub(crate) fn with_values_of_sender(
    response: &Message,
    branch: &ViaBranch,
    mac: &Mac,
    rewrite: &mut Rewrite,
) -> Option<Message> {
    let origin = branch.origin().filter(|origin| origin.is_renumbered || origin.has_other_from)?;
    rewrite.clear();
    if origin.is_renumbered {
        restore_number(response, rewrite);
    }
    if origin.has_other_from
        && let Some(own) = read_from(response, branch, mac)
        && let Some(span) = response.value(HeaderName::From).and_then(|from| response.span_of(from))
    {
        rewrite.replace(span, |out| out.extend_from_slice(&own));
    }
    let mut out = Vec::new();
    rewrite.write(response, &mut out);
    Message::parse(out.into()).ok()
}

fn read_from(response: &Message, branch: &ViaBranch, mac: &Mac) -> Option<Vec<u8>> {
    let top = response.header::<Via<'_>>().ok()??;
    let sealed = URL_SAFE_NO_PAD.decode(top.params.value(PARAM)?).ok()?;
    cipher(mac).decrypt([octets_of(branch)], &sealed).ok()
}

fn octets_of(branch: &ViaBranch) -> Vec<u8> {
    let mut octets = Vec::new();
    branch.write(&mut octets);
    octets
}

fn cipher(mac: &Mac) -> Aes128Siv {
    Aes128Siv::new(&mac.key(Purpose::From).into())
}
