//! The position of a fault in a value, for error messages. A header's parser only returns the kind of the fault; the
//! value is then scanned again here up to the first octet that does not match the grammar. Must not decide whether a
//! value is valid.

use crate::{
    ErrorKind, HeaderName, Host, ParseError,
    list::quoted_len,
    octets::{self, CALL_ID, DISPLAY, HOST, LWS, PASSWORD, TOKEN, URI, URI_HEADER, URI_PARAM, USER, VALUE},
    span::{locate, offset},
};

/// The fault of a `value` of `header` in the message `bytes`.
#[cold]
pub(crate) fn in_value(bytes: &[u8], header: HeaderName, kind: ErrorKind, value: &[u8]) -> ParseError {
    let at = locate(bytes, value).unwrap_or_default().start;
    ParseError { kind, header: Some(header), offset: at.saturating_add(offset(position(header, kind, value))) }
}

/// Octets from the start of `value` to the first wrong one by the grammar of `header`; `value.len()` if something is missing
/// at the end.
fn position(header: HeaderName, kind: ErrorKind, value: &[u8]) -> usize {
    if matches!(kind, ErrorKind::Range | ErrorKind::Empty | ErrorKind::Contradiction | ErrorKind::Date) {
        return 0;
    }
    let mut scanner = Scanner { text: value, at: 0 };
    match header {
        HeaderName::Via => scanner.via(),
        // `*` must be the whole value.
        HeaderName::Contact if scanner.octet(b'*') => false,
        HeaderName::From
        | HeaderName::To
        | HeaderName::Contact
        | HeaderName::Route
        | HeaderName::RecordRoute
        | HeaderName::Path
        | HeaderName::ServiceRoute
        | HeaderName::HistoryInfo
        | HeaderName::Diversion
        | HeaderName::PAssertedIdentity
        | HeaderName::PPreferredIdentity => scanner.address(),
        HeaderName::CSeq => scanner.digits() && scanner.space() && scanner.run(TOKEN) && scanner.space(),
        HeaderName::CallId => scanner.run(CALL_ID),
        HeaderName::ContentType | HeaderName::Accept => {
            scanner.run(TOKEN) && scanner.separator(b'/') && scanner.run(TOKEN) && scanner.params()
        }
        HeaderName::Authorization
        | HeaderName::ProxyAuthorization
        | HeaderName::WwwAuthenticate
        | HeaderName::ProxyAuthenticate => scanner.run(TOKEN) && scanner.space() && scanner.auth_params(),
        HeaderName::AuthenticationInfo => scanner.auth_params(),
        HeaderName::Warning => {
            scanner.digits()
                && scanner.space()
                && scanner.run(URI)
                && scanner.space()
                && scanner.quoted()
                && scanner.space()
        }
        HeaderName::Timestamp => scanner.decimal() && scanner.space() && scanner.decimal(),
        _ if kind == ErrorKind::Number => scanner.digits(),
        _ => scanner.run(TOKEN) && scanner.params(),
    };
    // If there are no brackets at all, the position is the start of the value.
    let is_bare = kind == ErrorKind::Unbracketed && scanner.at >= value.len();
    if is_bare { 0 } else { scanner.at.min(value.len()) }
}

/// Octets from the start of `uri` to the first wrong one.
pub(crate) fn in_uri(uri: &[u8]) -> usize {
    let mut scanner = Scanner { text: uri, at: 0 };
    let _whole = scanner.uri(uri.len());
    scanner.at.min(uri.len())
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

/// Scans a value. Each method advances past a grammar element; `false` means that `at` is the first wrong octet.
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    /// At least one octet of `mask`.
    fn run(&mut self, mask: u16) -> bool {
        let len = octets::run(self.rest(), mask);
        self.at += len;
        len > 0
    }

    fn space(&mut self) -> bool {
        self.run(LWS)
    }

    fn digits(&mut self) -> bool {
        let len = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += len;
        len > 0
    }

    /// `*DIGIT [ "." *DIGIT ]`, not empty.
    fn decimal(&mut self) -> bool {
        let whole = self.digits();
        let fraction = self.octet(b'.') && self.digits();
        whole || fraction
    }

    fn octet(&mut self, octet: u8) -> bool {
        let is_there = self.peek() == Some(octet);
        self.at += usize::from(is_there);
        is_there
    }

    /// The octet with white space around it. If the text ends instead, `at` stays before the white space.
    fn separator(&mut self, octet: u8) -> bool {
        let start = self.at;
        self.space();
        if !self.octet(octet) {
            // The fault is the octet after the white space, or the end before it.
            if self.peek().is_none() {
                self.at = start;
            }
            return false;
        }
        self.space();
        true
    }

    fn quoted(&mut self) -> bool {
        let len = quoted_len(self.rest());
        self.at += len.unwrap_or_default();
        len.is_some()
    }

    fn value(&mut self) -> bool {
        if self.peek() == Some(b'"') { self.quoted() } else { self.run(VALUE) }
    }

    /// `*( SEMI generic-param )`. Always `false`: the end of the parameters is the position of the fault.
    fn params(&mut self) -> bool {
        while self.separator(b';') {
            if !self.run(TOKEN) || self.equal() && !self.value() {
                return false;
            }
        }
        false
    }

    /// An optional `EQUAL`.
    fn equal(&mut self) -> bool {
        let start = self.at;
        let is_there = self.separator(b'=');
        if !is_there {
            self.at = start;
        }
        is_there
    }

    /// `name=value *( COMMA name=value )`.
    fn auth_params(&mut self) -> bool {
        loop {
            if !(self.run(TOKEN) && self.separator(b'=') && self.value() && self.separator(b',')) {
                return false;
            }
        }
    }

    fn via(&mut self) -> bool {
        self.run(TOKEN)
            && self.separator(b'/')
            && self.run(TOKEN)
            && self.separator(b'/')
            && self.run(TOKEN)
            && self.space()
            && self.host()
            && (!self.colon() || self.port())
            && self.params()
    }

    fn colon(&mut self) -> bool {
        let start = self.at;
        let is_there = self.separator(b':');
        if !is_there {
            self.at = start;
        }
        is_there
    }

    /// `name-addr` or `addr-spec`, and parameters.
    fn address(&mut self) -> bool {
        let start = self.at;
        let named = if self.peek() == Some(b'"') { self.quoted() } else { self.run(DISPLAY) };
        self.space();
        if self.octet(b'<') {
            let Some(close) = memchr::memchr(b'>', self.rest()) else {
                self.at -= 1;
                return false;
            };
            let end = self.at + close;
            return self.uri(end) && self.octet(b'>') && self.params();
        }
        // An unterminated quoted string, or a display name with characters that must be quoted.
        if self.text.first() == Some(&b'"') || named && memchr::memchr(b'<', self.rest()).is_some() {
            return false;
        }
        self.at = start;
        let rest = self.rest();
        let len = rest.iter().position(|&byte| byte == b';' || octets::is(byte, LWS)).unwrap_or(rest.len());
        // A URI with one of these characters needs angle brackets.
        let unguarded = rest.iter().take(len).position(|byte| b"?,".contains(byte)).unwrap_or(len);
        self.uri(self.at + unguarded) && unguarded == len && self.params()
    }

    /// A URI that ends at `end`.
    fn uri(&mut self, end: usize) -> bool {
        let text = self.text;
        self.text = text.get(..end).unwrap_or(text);
        let is_whole = self.uri_parts() && self.at >= end;
        self.text = text;
        is_whole
    }

    fn uri_parts(&mut self) -> bool {
        let start = self.at;
        let scheme =
            self.rest().iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
        self.at += scheme;
        if scheme == 0 || !self.octet(b':') {
            return false;
        }
        let scheme = self.text.get(start..start + scheme).unwrap_or_default();
        if !scheme.eq_ignore_ascii_case(b"sip") && !scheme.eq_ignore_ascii_case(b"sips") {
            return self.run(URI);
        }
        if memchr::memchr(b'@', self.rest()).is_some() && !self.user_info() {
            return false;
        }
        self.host() && (!self.octet(b':') || self.port()) && self.uri_params() && self.uri_headers()
    }

    fn user_info(&mut self) -> bool {
        if !self.escaped(USER) {
            return false;
        }
        if self.octet(b':') && !self.escaped(PASSWORD) && self.peek() != Some(b'@') {
            return false;
        }
        self.octet(b'@')
    }

    fn host(&mut self) -> bool {
        let rest = self.rest();
        let len = match self.peek() {
            Some(b'[') => memchr::memchr(b']', rest).map_or(rest.len(), |close| close + 1),
            _ => octets::run(rest, HOST),
        };
        let is_good = Host::parse(rest.get(..len).unwrap_or_default()).is_ok();
        self.at += if is_good { len } else { 0 };
        is_good
    }

    fn port(&mut self) -> bool {
        let start = self.at;
        self.digits();
        let digits = self.text.get(start..self.at).unwrap_or_default();
        let is_good = octets::number(digits).is_some_and(|port| port <= u64::from(u16::MAX));
        if !is_good {
            self.at = start;
        }
        is_good
    }

    fn uri_params(&mut self) -> bool {
        while self.octet(b';') {
            if !self.escaped(URI_PARAM) || self.octet(b'=') && !self.escaped(URI_PARAM) {
                return false;
            }
        }
        true
    }

    fn uri_headers(&mut self) -> bool {
        !self.octet(b'?') || self.escaped(URI_HEADER)
    }

    /// A run of `mask` and escapes. `false` if it is empty or followed by an incomplete escape.
    fn escaped(&mut self, mask: u16) -> bool {
        let len = octets::escaped_run(self.rest(), mask);
        self.at += len;
        len > 0 && self.peek() != Some(b'%')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AcceptContact, CSeq, CallId, Contact, ContentType, Event, Header, MaxForwards, Path, Privacy, RetryAfter,
        Route, Timestamp, To, Via, Warning, WwwAuthenticate,
    };

    /// A `^` in the text marks the position of the fault.
    fn check<'a, H: Header<'a>>(marked: &'static str) {
        let expected = marked.find('^').unwrap();
        let value: &'static str = Box::leak(marked.replacen('^', "", 1).into_boxed_str());
        let kind = H::parse(value.as_bytes()).err().unwrap_or_else(|| panic!("{value} is valid"));
        assert_eq!(position(H::NAME, kind, value.as_bytes()), expected, "{marked} {kind:?}");
    }

    #[test]
    fn vias() {
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
    fn addresses() {
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
    fn others() {
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
    fn uris() {
        assert_eq!(in_uri(b"sip:a@h?x=%4"), 10);
        assert_eq!(in_uri(b"<sip:a@h>"), 0);
        assert_eq!(in_uri(b"sip:a@h"), 7);
    }
}
