//! The position of a fault in a value or in a URI, for error messages. A header's parser only returns the kind of the
//! fault; then the text is walked again up to the first octet that does not match the grammar. Must not decide whether
//! a value is valid.

use crate::{
    Element, ErrorKind, Header, ParseError,
    scan::Scanner,
    span::{locate, offset},
};

/// The fault of a `value` of the header `H` in the message `bytes`.
#[cold]
pub(crate) fn in_value<'a, H: Header<'a>>(bytes: &[u8], kind: ErrorKind, value: &[u8]) -> ParseError {
    let at = locate(bytes, value).unwrap_or_default().start;
    ParseError::in_header(kind, H::NAME, at.saturating_add(offset(position(H::SHAPE, kind, value))))
}

/// Octets from the start of `value` to the first wrong one; `value.len()` if something is missing at the end.
fn position(shape: &[Element], kind: ErrorKind, value: &[u8]) -> usize {
    if matches!(kind, ErrorKind::Range | ErrorKind::Empty | ErrorKind::Contradiction | ErrorKind::Date) {
        return 0;
    }
    match Scanner::new(value).mismatch(shape) {
        // If there are no brackets at all, the position is the start of the value.
        at if kind == ErrorKind::Unbracketed && at == value.len() => 0,
        at => at,
    }
}

/// Octets from the start of `uri` to the first wrong one.
pub(crate) fn in_uri(uri: &[u8]) -> usize {
    Scanner::new(uri).uri_mismatch()
}

/// The kind of a fault in a SIP URI, by its position. This can be more precise than the `kind` of the parser, which
/// recognises a user part only by the `@` after it.
#[cold]
pub(crate) fn kind_in_uri(uri: &[u8], kind: ErrorKind) -> ErrorKind {
    let is_sip = [&b"sip:"[..], b"sips:"].iter().any(|scheme| starts_with(uri, scheme));
    let at = in_uri(uri);
    match uri.get(at) {
        _ if !is_sip => kind,
        Some(b'%') => ErrorKind::Escape,
        _ if memchr::memchr(b'@', uri).is_some_and(|sign| at <= sign) => ErrorKind::User,
        _ => kind,
    }
}

fn starts_with(uri: &[u8], scheme: &[u8]) -> bool {
    uri.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AcceptContact, CSeq, CallId, Contact, ContentType, Event, MaxForwards, Path, Privacy, RetryAfter, Route,
        Timestamp, To, Via, Warning, WwwAuthenticate,
    };

    /// A `^` in the text marks the position of the fault.
    fn check<'a, H: Header<'a>>(marked: &'static str) {
        let expected = marked.find('^').unwrap();
        let value: &'static str = Box::leak(marked.replacen('^', "", 1).into_boxed_str());
        let kind = H::parse(value.as_bytes()).err().unwrap_or_else(|| panic!("{value} is valid"));
        assert_eq!(position(H::SHAPE, kind, value.as_bytes()), expected, "{marked} {kind:?}");
    }

    #[test]
    fn the_first_wrong_octet_of_a_via_is_found() {
        for marked in [
            "^",
            "SIP/2.0 ^h",
            "SIP/2.0 /^/ UDP h",
            "SIP/2.0/UDP^",
            "SIP/2.0/UDP ^2001:db8::1",
            "SIP/2.0/UDP h : ^99999;x",
            "SIP/2.0/UDP h:^",
            "SIP/2.0/UDP h:5060^x",
            "SIP/2.0/UDP [::1];^;branch=x",
            "SIP/2.0/UDP h;branch=x;^",
            "SIP/2.0/UDP h;branch=x; a = ^\"b",
            "SIP/2.0/UDP h ^x",
        ] {
            check::<Via<'_>>(marked);
        }
    }

    #[test]
    fn the_first_wrong_octet_of_an_address_is_found() {
        for marked in [
            "^\"a <sip:a@b>",
            "\"a\" ^sip:a@b",
            "A ^<sip:a@b",
            "<^ sip:a@b>",
            "<sip:a@b^ >",
            "Bell^, Alexander <sip:a@b>",
            "<sip:a@b> ^x",
            "<sip:a@b>;^",
            "<sip:^@b>",
            "<sip:a^\"b@c>",
            "<sip:a:p^[@c>",
            "<sip:a@^>",
            "<sip:a@b:^70000>",
            "<sip:a@b:5060^x;c>",
            "<sip:a@b;^>",
            "<sip:a@b;c=^>",
            "<sip:a@b;c=x^%4>",
            "<sip:a^%zz@b>",
            "<sip:a@b?^>",
            "<^>",
            "<tel:^>",
            "<tel:5^ 5>",
            "sip:a@b^?x=y",
            "sip:a@b;tag=^",
            "sip:a@b ^x",
        ] {
            check::<To<'_>>(marked);
        }
        check::<Contact<'_>>("*^;expires=0");
        for marked in ["^sip:a@b;lr", "\"a\" ^sip:a@b", "^<sip:a@b", "<sip:a@b;^;lr>", "A ^, <sip:a@b>"] {
            check::<Route<'_>>(marked);
            check::<Path<'_>>(marked);
        }
    }

    #[test]
    fn the_first_wrong_octet_of_other_headers_is_found() {
        for marked in ["^-1 INVITE", "1^INVITE", "1 INVITE ^x", "1^", "^4294967296 INVITE", "1 ^(x"] {
            check::<CSeq<'_>>(marked);
        }
        check::<CallId<'_>>("a^ b");
        check::<MaxForwards>("70^x");
        check::<Event<'_>>("dialog;^");
        check::<ContentType<'_>>("text ^plain");
        check::<WwwAuthenticate<'_>>("Digest a=b, c ^d");
        check::<WwwAuthenticate<'_>>("Digest a=^\"b");
        for marked in ["370 h ^t", "370 ^\"t\"", "370 h ^\"t", "370 h \"t\" ^x", "37^x h \"t\""] {
            check::<Warning<'_>>(marked);
        }
        for marked in ["54.2^.1", "54 ^x", "54 1.^x", "^-5"] {
            check::<Timestamp<'_>>(marked);
        }
        for marked in ["id;^", "id ^user", "^\"id\""] {
            check::<Privacy<'_>>(marked);
        }
        check::<RetryAfter<'_>>("5 ^(x");
        check::<AcceptContact<'_>>("*;audio;^=x");
    }

    #[test]
    fn the_first_wrong_octet_of_a_uri_is_found() {
        assert_eq!(in_uri(b"sip:a@h?x=%4"), 10);
        assert_eq!(in_uri(b"<sip:a@h>"), 0);
        assert_eq!(in_uri(b"sip:a@h"), 7);
    }
}
