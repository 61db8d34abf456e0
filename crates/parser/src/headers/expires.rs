//! Expires (RFC 3261 20.19): a duration in seconds. No value is an error: a malformed one counts as an hour (10.2.1.1),
//! a too large one as the maximum.

use crate::{Element, ErrorKind, Header, HeaderName, octets};

/// Expires: `delta-seconds = 1*DIGIT` (RFC 3261 25.1), saturating at `u32::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expires(pub u32);

impl Expires {
    /// What a malformed expiry counts as (RFC 3261 10.2.1.1).
    pub const MALFORMED: Self = Self(3600);

    /// Parses the value of this header or of a Contact's `expires`; never fails.
    pub(crate) fn read(value: &[u8]) -> Self {
        octets::number(value).map_or(Self::MALFORMED, |seconds| Self(u32::try_from(seconds).unwrap_or(u32::MAX)))
    }
}

impl Header<'_> for Expires {
    const NAME: HeaderName = HeaderName::Expires;
    const SHAPE: &'static [Element] = &[Element::Digits];

    fn parse(value: &[u8]) -> Result<Self, ErrorKind> {
        Ok(Self::read(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // checklist 15
    #[test]
    fn no_value_is_an_error() {
        assert_eq!(Expires::parse(b"0"), Ok(Expires(0)));
        assert_eq!(Expires::parse(b"4294967296"), Ok(Expires(u32::MAX)));
        assert_eq!(Expires::parse(b"100000000000000000000000"), Ok(Expires(u32::MAX)));
        assert_eq!(Expires::parse(b"Thu, 01 Dec 1994 16:00:00 GMT"), Ok(Expires(3600)));
        assert_eq!(Expires::parse(b""), Ok(Expires(3600)));
    }
}
