//! CSeq (RFC 3261 20.16): orders the requests of a dialog or the registrations of a phone. The number is below 2^31
//! (8.1.1.5). Whether the method matches the request is checked by the proxy.

use nom::{Parser, sequence::preceded};

use crate::{
    Element, ErrorKind, Header, HeaderName, Method,
    grammar::{self, space, token},
};

/// CSeq: `1*DIGIT LWS Method` (RFC 3261 25.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// The number, below 2^31.
    pub number: u32,
    /// The method.
    pub method: Method<'a>,
}

impl<'a> Header<'a> for CSeq<'a> {
    const NAME: HeaderName = HeaderName::CSeq;
    const SHAPE: &'static [Element] = &[Element::Digits, Element::Space, Element::Token, Element::Space];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        let (rest, number) = grammar::number(value).map_err(grammar::kind)?;
        let method = grammar::parse_all(|input| preceded(space, token).parse(input), rest)?;
        // RFC 3261 8.1.1.5: below 2^31.
        let number = u32::try_from(number).ok().filter(|number| *number < 1 << 31).ok_or(ErrorKind::Range)?;
        Ok(Self { number, method: Method::from_bytes(method).ok_or(ErrorKind::Token)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cseq_is_a_number_and_a_method() {
        assert_eq!(CSeq::parse(b"0009\r\n  INVITE"), Ok(CSeq { number: 9, method: Method::Invite }));
        assert_eq!(CSeq::parse(b"2147483647 x"), Ok(CSeq { number: 2_147_483_647, method: Method::Other(b"x") }));
        assert_eq!(CSeq::parse(b"2147483648 INVITE"), Err(ErrorKind::Range));
        assert_eq!(CSeq::parse(b"36893488147419103232 REGISTER"), Err(ErrorKind::Range));
        assert_eq!(CSeq::parse(b"-1 INVITE"), Err(ErrorKind::Number));
        assert_eq!(CSeq::parse(b"1INVITE"), Err(ErrorKind::Token));
        assert_eq!(CSeq::parse(b"1 INVITE x"), Err(ErrorKind::Trailing));
        assert_eq!(CSeq::parse(b"1"), Err(ErrorKind::Token));
    }
}
