//! Percent escapes of URIs (RFC 3261 19.1.2, RFC 2396 2.4). Decides what an escape stands for, and what a user part must
//! escape; whether a character may stand unescaped elsewhere is the URI grammar's business.

use std::borrow::Cow;

use crate::octets::{self, USER};

/// `bytes` with each `%` and two hex digits replaced by the octet they name; other `%` stay. Borrows if there is none.
pub fn unescape(bytes: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    Cow::Owned(Decoded(bytes).map(|octet| octet.byte).collect())
}

/// Appends `user` as the user part of a SIP URI: what is neither `unreserved` nor `user-unreserved` (RFC 3261 25.1) becomes
/// `escaped`, `"%" HEXDIG HEXDIG`. The user is taken as plain octets: a `%` in it is escaped, too.
pub fn escape_user(user: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in user {
        // It is let pass where somebody else wrote it.
        if octets::is(byte, USER) && byte != b'#' {
            out.push(byte);
        } else {
            let digit = |value: u8| HEX.get(usize::from(value)).copied().unwrap_or_default();
            out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// Whether two URI parts mean the same: equal octet for octet once escapes of characters outside the reserved set are
/// undone (RFC 3261 19.1.4). An escaped reserved character equals only its own escape.
pub(crate) fn eq_unescaped(a: &[u8], b: &[u8]) -> bool {
    Decoded(a).eq(Decoded(b))
}

/// As [`same`], letters in any case.
pub(crate) fn eq_unescaped_ignore_case(a: &[u8], b: &[u8]) -> bool {
    Decoded(a).map(Octet::lower).eq(Decoded(b).map(Octet::lower))
}

#[derive(PartialEq, Eq)]
struct Octet {
    byte: u8,
    /// Written as an escape although, unescaped, it would mean something else.
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
            && let (Some(high), Some(low)) = (digit(high), digit(low))
        {
            self.0 = after;
            let byte = high * 16 + low;
            return Some(Octet { byte, is_escaped_reserved: b";/?:@&=+$,".contains(&byte) });
        }
        self.0 = rest;
        Some(Octet { byte, is_escaped_reserved: false })
    }
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undoes_whole_escapes_only() {
        assert_eq!(&*unescape(b"%61lice%00%zz%4"), b"alice\0%zz%4");
        assert!(matches!(unescape(b"alice"), Cow::Borrowed(_)));
    }

    #[test]
    fn users_are_escaped_where_they_must_be() {
        let mut out = Vec::new();
        escape_user("a b%c#d@e:f;g?h/\u{e9}".as_bytes(), &mut out);
        assert_eq!(out, b"a%20b%25c%23d%40e%3Af;g?h/%C3%A9");
    }

    #[test]
    fn reserved_characters_keep_their_escape() {
        assert!(eq_unescaped(b"%61lice", b"alice"));
        assert!(eq_unescaped(b"a%3Bb", b"a%3bb"));
        assert!(!eq_unescaped(b"a%3Bb", b"a;b"));
        assert!(!eq_unescaped(b"alice", b"Alice"));
        assert!(eq_unescaped_ignore_case(b"%41lice", b"alice"));
        assert!(!eq_unescaped(b"alice", b"alic"));
    }
}
