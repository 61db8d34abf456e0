//! A response on its way back: RFC 3261 16.7 steps 3 and 9, 16.11.

use parser::{HeaderName, Message, Rewrite};

use crate::dialog::{Callee, refresh_targets};
use crate::mac::Mac;
use crate::settings::Settings;

/// Writes a response without our Via, and with the callee's target in our Record-Route; `more` appends header lines.
/// `rewrite` is scratch.
pub(crate) fn write_response(
    response: &Message,
    callee: Callee<'_>,
    settings: &Settings,
    mac: &Mac,
    rewrite: &mut Rewrite,
    out: &mut Vec<u8>,
    more: impl FnOnce(&mut Vec<u8>),
) {
    rewrite.clear();
    rewrite.remove_first(response, HeaderName::Via);
    refresh_targets(response, callee, settings, mac, rewrite);
    rewrite.append(response, more);
    rewrite.write(response, out);
}

/// The challenges of other branches' 401 and 407, as lines for the one that is passed on (RFC 3261 16.7 step 7,
/// RFC 8760 2.5).
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
