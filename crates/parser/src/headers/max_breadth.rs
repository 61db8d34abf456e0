//! Max-Breadth (RFC 5393 5.3): the maximum of parallel branches.

use crate::{Element, ErrorKind, Header, HeaderName, octets};

/// Max-Breadth: `1*DIGIT` (RFC 5393 5.3.2), branches the request may be forked into at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxBreadth(pub u32);

impl Header<'_> for MaxBreadth {
    const NAME: HeaderName = HeaderName::MaxBreadth;
    const SHAPE: &'static [Element] = &[Element::Digits];

    fn parse(value: &[u8]) -> Result<Self, ErrorKind> {
        let number = octets::number(value).ok_or(ErrorKind::Number)?;
        u32::try_from(number).map(Self).map_err(|_| ErrorKind::Range)
    }
}
