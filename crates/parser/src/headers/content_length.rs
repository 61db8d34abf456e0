//! Content-Length (RFC 3261 20.14): the length of the body. A body that is too short is handled in `message`.

use crate::{Element, ErrorKind, Header, HeaderName, octets};

/// Content-Length: `1*DIGIT` (RFC 3261 25.1), octets of the body, up to `u32::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentLength(pub u32);

impl Header<'_> for ContentLength {
    const NAME: HeaderName = HeaderName::ContentLength;
    const SHAPE: &'static [Element] = &[Element::Digits];

    fn parse(value: &[u8]) -> Result<Self, ErrorKind> {
        let number = octets::number(value).ok_or(ErrorKind::Number)?;
        u32::try_from(number).map(Self).map_err(|_| ErrorKind::Range)
    }
}
