//! Reason (RFC 3326): why a request or response was sent.

use std::borrow::Cow;

use nom::Parser;

use crate::{
    Element, ErrorKind, Header, HeaderName, Params,
    grammar::{self, params, token},
    octets, unquote,
};

/// One Reason value: `reason-value = protocol *( SEMI reason-params )` (RFC 3326 2).
#[derive(Clone, Copy, Debug)]
pub struct Reason<'a> {
    /// The protocol the cause is from: `SIP`, `Q.850`, ...
    pub protocol: &'a [u8],
    /// The parameters.
    pub params: Params<'a>,
}

impl<'a> Reason<'a> {
    /// `protocol-cause = "cause" EQUAL cause`, if it is a 16-bit number.
    pub fn cause(&self) -> Option<u16> {
        u16::try_from(octets::number(self.params.value("cause")?)?).ok()
    }

    /// `reason-text = "text" EQUAL quoted-string`, unquoted.
    pub fn text(&self) -> Option<Cow<'a, [u8]>> {
        self.params.value("text").map(unquote)
    }
}

impl<'a> Header<'a> for Reason<'a> {
    const NAME: HeaderName = HeaderName::Reason;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Params];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        let (protocol, params) = grammar::parse_all(|input| (token, params).parse(input), value)?;
        Ok(Self { protocol, params })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_a_cause_and_a_text() {
        let reason = Reason::parse(b"SIP ;cause=200 ;text=\"Call completed elsewhere\"").unwrap();
        assert_eq!((reason.protocol, reason.cause()), (&b"SIP"[..], Some(200)));
        assert_eq!(reason.text().as_deref(), Some(&b"Call completed elsewhere"[..]));
        assert_eq!(Reason::parse(b"Q.850").unwrap().cause(), None);
    }
}
