//! Diversion (RFC 5806 4): the party that diverted a call, and why.

use std::borrow::Cow;

use crate::{Element, ErrorKind, Header, HeaderName, NameAddr, octets, unquote};

/// One Diversion value: `name-addr *( ";" diversion-params )`; the angle brackets are required (RFC 5806 4).
#[derive(Clone, Copy, Debug)]
pub struct Diversion<'a> {
    /// The party that diverted the call, and the value's parameters.
    pub address: NameAddr<'a>,
}

impl<'a> Diversion<'a> {
    /// `diversion-reason`, unquoted: `user-busy`, `no-answer`, `unconditional`, ...
    pub fn reason(&self) -> Option<Cow<'a, [u8]>> {
        self.text("reason")
    }

    /// `diversion-counter`, 0 to 99: how many diversions this value represents; `None` if it is absent or malformed.
    pub fn counter(&self) -> Option<u8> {
        self.number("counter")
    }

    /// `diversion-limit`, 0 to 99: how many diversions are allowed; `None` if it is absent or malformed.
    pub fn limit(&self) -> Option<u8> {
        self.number("limit")
    }

    /// `diversion-privacy`, unquoted: `full`, `name`, `uri`, `off`, ...
    pub fn privacy(&self) -> Option<Cow<'a, [u8]>> {
        self.text("privacy")
    }

    /// `diversion-screen`, unquoted: `yes`, `no`, ...
    pub fn screen(&self) -> Option<Cow<'a, [u8]>> {
        self.text("screen")
    }

    fn text(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.address.params.value(name).map(unquote)
    }

    /// `1*2DIGIT`.
    fn number(&self, name: &str) -> Option<u8> {
        let digits = self.address.params.value(name).filter(|digits| digits.len() <= 2)?;
        u8::try_from(octets::number(digits)?).ok()
    }
}

impl<'a> Header<'a> for Diversion<'a> {
    const NAME: HeaderName = HeaderName::Diversion;
    const SHAPE: &'static [Element] = &[Element::Address];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        NameAddr::bracketed(value).map(|address| Self { address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_unquoted_and_checked() {
        let value = b"\"Bob\" <tel:+1-212>;reason=\"user-busy\";counter=2;limit=100;privacy=off;screen=yes";
        let diversion = Diversion::parse(value).unwrap();
        assert_eq!(diversion.reason().as_deref(), Some(&b"user-busy"[..]));
        assert_eq!((diversion.counter(), diversion.limit()), (Some(2), None));
        assert_eq!(diversion.privacy().as_deref(), Some(&b"off"[..]));
        assert_eq!(diversion.screen().as_deref(), Some(&b"yes"[..]));
    }
}
