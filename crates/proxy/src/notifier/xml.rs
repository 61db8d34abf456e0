//! Text of peers in an XML document: no octet of it may become markup, or a character that XML 1.0 does not allow.
//!
//! Must not know any document.

use location::Aor;
use parser::{escape_user, write_decimal, write_hex};

/// Appends an attribute.
pub(super) fn attribute(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    escape(value, out);
    out.push(b'"');
}

/// Appends an attribute with a number.
pub(super) fn number(out: &mut Vec<u8>, name: &str, value: impl Into<u64>) {
    let mut text = Vec::with_capacity(20);
    write_decimal(&mut text, value);
    attribute(out, name, &text);
}

/// Appends the attribute `id`.
pub(super) fn identity(out: &mut Vec<u8>, id: u64) {
    let mut text = Vec::with_capacity(16);
    write_hex(&mut text, id, 16);
    attribute(out, "id", &text);
}

/// Appends text as character data, which may stand in an attribute as well. Octets that are not UTF-8, and characters
/// that XML 1.0 (2.2) does not allow, become U+FFFD.
pub(super) fn escape(text: &[u8], out: &mut Vec<u8>) {
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

/// The URI of an address-of-record.
pub(super) fn uri_of(aor: &Aor) -> Vec<u8> {
    let mut uri = b"sip:".to_vec();
    escape_user(aor.user(), &mut uri);
    uri.push(b'@');
    uri.extend_from_slice(aor.domain());
    uri
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
