//! The mark of a dialog token: a MAC of the tag and the address of the callee, which are not known when the token is
//! written into the request. A response gets it on its way to the caller.
//!
//! The attack that it prevents: somebody who has seen a call makes one of their own with the same Call-ID and From tag.
//! Without a mark, the token of that call would be valid for requests with the To tag of the first one.
//!
//! Must not decide what a token permits; that is done by `in_dialog.rs`.

use std::net::SocketAddr;

use parser::{read_hex, write_hex};

use super::token::HEAD_TEXT;
use crate::mac::{Mac, Purpose, octets_of};

/// The number of hexadecimal digits of a mark.
const MARK_DIGITS: usize = 12;

/// Splits the user part of a Record-Route value of ours into the token and the mark, if it has one.
pub(super) fn split_mark(user: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'.', user) {
        Some(at) => (user.get(..at).unwrap_or_default(), user.get(at + 1..)),
        None => (user, None),
    }
}

/// Appends the mark of a token. `callee` is the tag of the callee and the address that the request was sent to.
pub(super) fn write_mark(out: &mut Vec<u8>, token: &[u8], callee: (&[u8], SocketAddr), mac: &Mac) {
    out.push(b'.');
    write_hex(out, mark(token, callee, mac), MARK_DIGITS);
}

/// Whether a mark is valid for this token and this callee.
pub(super) fn is_valid_mark(text: Option<&[u8]>, token: &[u8], callee: (&[u8], SocketAddr), mac: &Mac) -> bool {
    let Some(given) = text.filter(|text| text.len() == MARK_DIGITS).and_then(read_hex) else { return false };
    mac.find(|mac| (given == mark(token, callee, mac)).then_some(())).is_some()
}

/// The mark covers the MAC of the token, and thereby all of the token. It also covers the address of the callee: if a
/// request was forked, one phone could otherwise answer with the token of another one, and get it marked for any tag.
fn mark(token: &[u8], (tag, address): (&[u8], SocketAddr), mac: &Mac) -> u64 {
    let head = token.get(..HEAD_TEXT.min(token.len())).unwrap_or_default();
    let parts = [head, tag, &octets_of(address.ip()), &address.port().to_be_bytes()];
    mac.sign(Purpose::Answer, &parts) >> (64 - 4 * MARK_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac::new([1; 16]);

    #[test]
    fn a_mark_is_valid_for_one_token_one_tag_and_one_address() {
        let token = *b"AwECAwQFBgcIAAAAAAA";
        let address: SocketAddr = "192.0.2.11:5060".parse().unwrap();
        let mut user = token.to_vec();
        assert_eq!(split_mark(&user), (&token[..], None));
        write_mark(&mut user, &token, (b"b2", address), &MAC);
        let (split, mark) = split_mark(&user);
        assert_eq!(split, &token[..]);
        let is = |mark, token: &[u8], tag: &[u8], address| is_valid_mark(mark, token, (tag, address), &MAC);
        assert!(is(mark, &token, b"b2", address));
        assert!(!is(mark, &token, b"b3", address) && !is(mark, b"other", b"b2", address));
        assert!(!is(mark, &token, b"b2", "192.0.2.11:5061".parse().unwrap()));
        assert!(!is(None, &token, b"b2", address) && !is(Some(b""), &token, b"b2", address));
    }
}
