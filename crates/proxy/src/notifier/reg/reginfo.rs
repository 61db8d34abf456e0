//! `application/reginfo+xml`: contacts and their events as a document (RFC 3680 5).
//!
//! Decides the shape and the escaping, never which contacts are reported. Peers wrote the URIs, parameters and
//! Call-IDs: none of their octets may become markup, or a character that XML 1.0 does not allow.

use location::{Aor, Wall};
use parser::{Params, escape_user, write_decimal, write_hex};

use crate::mac::{Mac, Purpose};
use crate::registrar::{GRANTED_PARAMS, write_q};

use super::contacts::{Contact, ContactEvent};

/// One document.
pub(super) struct Document<'a> {
    pub(super) aor: &'a Aor,
    pub(super) version: u32,
    /// Whether it has the full state, or only the changes.
    pub(super) full: bool,
    /// Of the registration: `init`, `active` or `terminated`.
    pub(super) state: &'static str,
    pub(super) changes: &'a [(Contact<'a>, ContactEvent)],
    pub(super) at: Wall,
}

impl Document<'_> {
    pub(super) fn write(&self, mac: &Mac, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<?xml version=\"1.0\"?>\n<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\"");
        number(out, "version", self.version);
        attribute(out, "state", if self.full { b"full" } else { b"partial" });
        out.extend_from_slice(b">\n<registration");
        let mut uri = b"sip:".to_vec();
        escape_user(self.aor.user(), &mut uri);
        uri.push(b'@');
        uri.extend_from_slice(self.aor.domain());
        attribute(out, "aor", &uri);
        identity(out, mac.sign(Purpose::Notifier, &[b"registration", self.aor.as_bytes()]));
        attribute(out, "state", self.state.as_bytes());
        out.extend_from_slice(b">\n");
        for (contact, event) in self.changes {
            self.write_contact(contact, *event, out);
        }
        out.extend_from_slice(b"</registration>\n</reginfo>\n");
    }

    fn write_contact(&self, Contact { id, binding, configured }: &Contact<'_>, event: ContactEvent, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<contact");
        identity(out, *id);
        attribute(out, "state", if event.is_active() { b"active" } else { b"terminated" });
        attribute(out, "event", event.as_str().as_bytes());
        if !configured {
            let seconds = self.at.millis_since(binding.since()) / 1000;
            number(out, "duration-registered", seconds);
            if event.is_active() {
                number(out, "expires", binding.remaining(self.at));
            }
        }
        if let Some(q) = binding.q() {
            let mut text = Vec::with_capacity(5);
            write_q(&mut text, q);
            attribute(out, "q", &text);
        }
        if !configured {
            attribute(out, "callid", binding.call_id());
            number(out, "cseq", binding.cseq());
        }
        out.extend_from_slice(b">\n<uri>");
        escape(binding.contact(), out);
        out.extend_from_slice(b"</uri>\n");
        let own = |name: &[u8]| GRANTED_PARAMS.iter().any(|own| name.eq_ignore_ascii_case(own));
        for (name, value) in Params::new(binding.params()).iter().filter(|(name, _)| !own(name)) {
            out.extend_from_slice(b"<unknown-param");
            attribute(out, "name", name);
            out.push(b'>');
            escape(value.unwrap_or_default(), out);
            out.extend_from_slice(b"</unknown-param>\n");
        }
        out.extend_from_slice(b"</contact>\n");
    }
}

fn attribute(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    escape(value, out);
    out.push(b'"');
}

fn number(out: &mut Vec<u8>, name: &str, value: impl Into<u64>) {
    let mut text = Vec::with_capacity(20);
    write_decimal(&mut text, value);
    attribute(out, name, &text);
}

fn identity(out: &mut Vec<u8>, id: u64) {
    let mut text = Vec::with_capacity(16);
    write_hex(&mut text, id, 16);
    attribute(out, "id", &text);
}

/// Appends text as character data, which may stand in an attribute as well. Octets that are not UTF-8, and characters
/// that XML 1.0 (2.2) does not allow, become U+FFFD.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '&' => out.extend_from_slice(b"&amp;"),
                '<' => out.extend_from_slice(b"&lt;"),
                '>' => out.extend_from_slice(b"&gt;"),
                '"' => out.extend_from_slice(b"&quot;"),
                '\'' => out.extend_from_slice(b"&apos;"),
                // XML 1.0 3.3.3: unescaped, an XML parser would read it as a space in an attribute.
                '\t' | '\r' | '\n' => {
                    out.extend_from_slice(b"&#");
                    write_decimal(out, u32::from(character));
                    out.push(b';');
                }
                '\0'..=' ' if character != ' ' => replace(out),
                '\u{FFFE}' | '\u{FFFF}' => replace(out),
                _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            replace(out);
        }
    }
}

fn replace(out: &mut Vec<u8>) {
    out.extend_from_slice("\u{FFFD}".as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_peer_never_becomes_markup() {
        // checklist 155
        let escaped = |text: &[u8]| {
            let mut out = Vec::new();
            escape(text, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(escaped(b"sip:a&b@h?x=<y>\"'"), "sip:a&amp;b@h?x=&lt;y&gt;&quot;&apos;");
        assert_eq!(escaped(b"]]>"), "]]&gt;");
        assert_eq!(escaped(b"a\0b\x1b\x7f \t\r\n"), "a\u{FFFD}b\u{FFFD}\u{7f} &#9;&#13;&#10;");
        assert_eq!(escaped(b"\xff\xc3(\xe2\x82"), "\u{FFFD}\u{FFFD}(\u{FFFD}");
        assert_eq!(escaped("ü€😀\u{FFFE}".as_bytes()), "ü€😀\u{FFFD}");
    }
}
