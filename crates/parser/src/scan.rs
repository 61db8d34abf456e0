//! Walks over a value or a URI up to the first octet that does not match the grammar (RFC 3261 25.1). Used only after a
//! parser has refused the value, to find the position for the error message. Must not decide whether a value is valid.

use crate::{
    Host,
    list::quoted_len,
    octets::{self, CALL_ID, DISPLAY, HOST, LWS, PASSWORD, TOKEN, URI, URI_HEADER, URI_PARAM, USER, VALUE},
};

/// An element of a header's grammar (RFC 3261 25.1). The elements of [`crate::Header::SHAPE`] are only used to find the
/// position of a fault; [`crate::Header::parse`] decides what is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// `token`.
    Token,
    /// `SLASH`: a `/`, possibly with white space around it.
    Slash,
    /// `LWS`: white space, at least one octet.
    Space,
    /// `1*DIGIT`.
    Digits,
    /// Digits, possibly with a dot before, between or after them.
    Decimal,
    /// Visible ASCII: a Call-ID.
    Visible,
    /// `warn-agent`: a host, possibly with a port, or a name.
    Agent,
    /// `quoted-string`.
    Quoted,
    /// `host [ COLON port ]`.
    HostPort,
    /// `( name-addr / addr-spec ) *( SEMI generic-param )`. No element can follow.
    Address,
    /// `*`, or an address. No element can follow.
    StarOrAddress,
    /// `*( SEMI generic-param )`. No element can follow.
    Params,
    /// `auth-param *( COMMA auth-param )`. No element can follow.
    AuthParams,
}

/// A position in a text. Each method advances past an element of the grammar; if it returns `false`, `at` is the first
/// wrong octet.
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Octets from the start of the text to the first one that does not match the elements.
    pub(crate) fn mismatch(mut self, shape: &[Element]) -> usize {
        let _matches = shape.iter().all(|element| self.element(*element));
        self.at.min(self.text.len())
    }

    /// Octets from the start of the text to the first one that does not match the grammar of a URI.
    pub(crate) fn uri_mismatch(mut self) -> usize {
        let _matches = self.uri(self.text.len());
        self.at.min(self.text.len())
    }

    fn element(&mut self, element: Element) -> bool {
        match element {
            Element::Token => self.run(TOKEN),
            Element::Slash => self.separator(b'/'),
            Element::Space => self.run(LWS),
            Element::Digits => self.digits(),
            Element::Decimal => self.decimal(),
            Element::Visible => self.run(CALL_ID),
            Element::Agent => self.run(URI),
            Element::Quoted => self.quoted(),
            Element::HostPort => self.host() && (!self.colon() || self.port()),
            Element::Address => self.address(),
            // `*` must be the whole value.
            Element::StarOrAddress => !self.octet(b'*') && self.address(),
            Element::Params => self.params(),
            Element::AuthParams => self.auth_params(),
        }
    }

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
        self.run(LWS);
        if !self.octet(octet) {
            // The fault is the octet after the white space, or the end before it.
            if self.peek().is_none() {
                self.at = start;
            }
            return false;
        }
        self.run(LWS);
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

    /// `name=value *( COMMA name=value )`. Always `false`, as in [`Scanner::params`].
    fn auth_params(&mut self) -> bool {
        loop {
            if !(self.run(TOKEN) && self.separator(b'=') && self.value() && self.separator(b',')) {
                return false;
            }
        }
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
        self.run(LWS);
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
