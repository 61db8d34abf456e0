//! From (RFC 3261 20.20): the initiator of the request.

use crate::{Element, ErrorKind, Header, HeaderName, NameAddr};

/// From: `( name-addr / addr-spec ) *( SEMI from-param )` (RFC 3261 25.1).
#[derive(Clone, Copy, Debug)]
pub struct From<'a> {
    /// The address and the header's parameters.
    pub address: NameAddr<'a>,
    tag: Option<&'a [u8]>,
}

impl<'a> From<'a> {
    /// The `tag` parameter as received.
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.tag
    }
}

impl<'a> Header<'a> for From<'a> {
    const NAME: HeaderName = HeaderName::From;
    const SHAPE: &'static [Element] = &[Element::Address];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        NameAddr::with_one_tag(value).map(|(address, tag)| Self { address, tag })
    }
}
