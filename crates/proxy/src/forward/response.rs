//! Writes a forwarded response (RFC 3261 16.7 steps 3 and 9, 16.11).
//!
//! Must not choose the response.

use parser::{HeaderName, Message, Rewrite};

use crate::dialog::{ResponseCallee, update_record_routes};
use crate::mac::Mac;
use crate::settings::Settings;

/// Writes a response without our Via, and with the mark and the target of the callee in our Record-Route. `more`
/// appends header lines. `rewrite` is scratch memory.
pub(crate) fn write_response(
    response: &Message,
    callee: ResponseCallee<'_>,
    settings: &Settings,
    mac: &Mac,
    rewrite: &mut Rewrite,
    out: &mut Vec<u8>,
    more: impl FnOnce(&mut Vec<u8>),
) {
    rewrite.clear();
    rewrite.remove_first(response, HeaderName::Via);
    update_record_routes(response, callee, settings, mac, rewrite);
    rewrite.append(response, more);
    rewrite.write(response, out);
}

/// A 401 or 407 without its challenges; `None` if it has none. A phone might answer the challenge of a trunk with the
/// password of its user.
pub(crate) fn without_challenges(response: &Message, rewrite: &mut Rewrite) -> Option<Message> {
    let challenges = [HeaderName::WwwAuthenticate, HeaderName::ProxyAuthenticate];
    if !matches!(response.status(), Some(401 | 407)) || !response.has_any(&challenges) {
        return None;
    }
    rewrite.clear();
    challenges.into_iter().for_each(|name| rewrite.remove_all(response, name));
    let mut out = Vec::new();
    rewrite.write(response, &mut out);
    Message::parse(out.into()).ok()
}

/// Writes the challenges in the 401 and 407 responses of other branches, to be added to the response that is forwarded
/// (RFC 3261 16.7 step 7, RFC 8760 2.5).
pub(crate) fn merge_challenges<'m>(out: &mut Vec<u8>, others: impl Iterator<Item = &'m Message>) {
    for other in others.filter(|message| matches!(message.status(), Some(401 | 407))) {
        for line in other.lines() {
            if matches!(line.name, HeaderName::WwwAuthenticate | HeaderName::ProxyAuthenticate) {
                out.extend_from_slice(line.name.as_str().as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(other.line_value(&line));
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}
