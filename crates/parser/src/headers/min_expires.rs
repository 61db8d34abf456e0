//! Min-Expires (RFC 3261 20.23): the shortest expiry that a registrar accepts.

use crate::{Element, ErrorKind, Header, HeaderName, octets};

/// Min-Expires: `delta-seconds = 1*DIGIT` (RFC 3261 25.1), saturating at `u32::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinExpires(pub u32);

impl Header<'_> for MinExpires {
    const NAME: HeaderName = HeaderName::MinExpires;
    const SHAPE: &'static [Element] = &[Element::Digits];

    fn parse(value: &[u8]) -> Result<Self, ErrorKind> {
        let seconds = octets::number(value).ok_or(ErrorKind::Number)?;
        Ok(Self(u32::try_from(seconds).unwrap_or(u32::MAX)))
    }
}
