//! Max-Forwards (RFC 3261 20.22): the maximum of further hops.

use crate::{Element, ErrorKind, Header, HeaderName, octets};

/// Max-Forwards: `1*DIGIT` (RFC 3261 25.1), hops left, 0 to 255 (20.22).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxForwards(pub u8);

impl Header<'_> for MaxForwards {
    const NAME: HeaderName = HeaderName::MaxForwards;
    const SHAPE: &'static [Element] = &[Element::Digits];

    fn parse(value: &[u8]) -> Result<Self, ErrorKind> {
        let number = octets::number(value).ok_or(ErrorKind::Number)?;
        u8::try_from(number).map(Self).map_err(|_| ErrorKind::Range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_has_eight_bits() {
        assert_eq!(MaxForwards::parse(b"255"), Ok(MaxForwards(255)));
        assert_eq!(MaxForwards::parse(b"256"), Err(ErrorKind::Range));
        assert_eq!(MaxForwards::parse(b"-1"), Err(ErrorKind::Number));
        assert_eq!(MaxForwards::parse(b"7 0"), Err(ErrorKind::Number));
    }
}
