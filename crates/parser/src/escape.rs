//! Percent escapes of URIs (RFC 3261 19.1.2, RFC 2396 2.4): unescaping, escaping of user parts, comparison. Which
//! characters a URI may have unescaped is checked by the URI grammar.

use std::borrow::Cow;

use crate::{
    hex::{hex_digits, hex_value},
    octets::{self, URI_PARAM, USER},
};

/// `bytes` with each escape replaced by its octet; a `%` without two hex digits stays. Borrows if there is no `%`.
pub fn unescape(bytes: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    Cow::Owned(Decoded(bytes).map(|octet| octet.byte).collect())
}

/// Appends `user` as the user part of a SIP URI: what is neither `unreserved` nor `user-unreserved` (RFC 3261 25.1)
/// becomes `escaped`, `"%" HEXDIG HEXDIG`. `user` is unescaped text: a `%` in it is escaped as well.
pub fn escape_user(user: &[u8], out: &mut Vec<u8>) {
    escape(user, USER, out);
}

/// Appends `value` as the value of a URI parameter: what is not `paramchar` (RFC 3261 25.1) becomes `escaped`. `value` is
/// unescaped text, such as a URI (RFC 4458 2).
pub fn escape_param(value: &[u8], out: &mut Vec<u8>) {
    escape(value, URI_PARAM, out);
}

fn escape(text: &[u8], class: u16, out: &mut Vec<u8>) {
    for &byte in text {
        // `#` is in USER only because it is accepted in received URIs.
        if octets::is(byte, class) && byte != b'#' {
            out.push(byte);
        } else {
            // Upper case, as RFC 3986 2.1 recommends.
            let [[high, low]] = hex_digits([byte]);
            out.extend([b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
        }
    }
}

/// Whether two URI parts are equal after unescaping characters outside the reserved set (RFC 3261 19.1.4). An escaped
/// reserved character equals only the same escape.
pub(crate) fn eq_unescaped(a: &[u8], b: &[u8]) -> bool {
    Decoded(a).eq(Decoded(b))
}

/// As [`eq_unescaped`], ignoring case.
pub(crate) fn eq_unescaped_ignore_case(a: &[u8], b: &[u8]) -> bool {
    Decoded(a).map(Octet::lower).eq(Decoded(b).map(Octet::lower))
}

#[derive(PartialEq, Eq)]
struct Octet {
    byte: u8,
    /// Whether it was an escape of a reserved character, which differs from the unescaped character.
    is_escaped_reserved: bool,
}

impl Octet {
    fn lower(self) -> Self {
        Self { byte: self.byte.to_ascii_lowercase(), ..self }
    }
}

struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = Octet;

    fn next(&mut self) -> Option<Octet> {
        let (&byte, rest) = self.0.split_first()?;
        if byte == b'%'
            && let Some((&[high, low], after)) = rest.split_first_chunk()
            && let (Some(high), Some(low)) = (hex_value(high), hex_value(low))
        {
            self.0 = after;
            let byte = high * 16 + low;
            return Some(Octet { byte, is_escaped_reserved: b";/?:@&=+$,".contains(&byte) });
        }
        self.0 = rest;
        Some(Octet { byte, is_escaped_reserved: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_escapes_are_unescaped() {
        assert_eq!(&*unescape(b"%61lice%00%zz%4"), b"alice\0%zz%4");
        assert!(matches!(unescape(b"alice"), Cow::Borrowed(_)));
    }

    #[test]
    fn users_are_escaped_where_required() {
        let mut out = Vec::new();
        escape_user("a b%c#d@e:f;g?h/\u{e9}".as_bytes(), &mut out);
        assert_eq!(out, b"a%20b%25c%23d%40e%3Af;g?h/%C3%A9");
    }

    #[test]
    fn escaped_reserved_characters_differ_from_unescaped_ones() {
        assert!(eq_unescaped(b"%61lice", b"alice"));
        assert!(eq_unescaped(b"a%3Bb", b"a%3bb"));
        assert!(!eq_unescaped(b"a%3Bb", b"a;b"));
        assert!(!eq_unescaped(b"alice", b"Alice"));
        assert!(eq_unescaped_ignore_case(b"%41lice", b"alice"));
        assert!(!eq_unescaped(b"alice", b"alic"));
    }
}
