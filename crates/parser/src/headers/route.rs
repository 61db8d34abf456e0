//! Route (RFC 3261 20.34): the proxies that the request must visit.

use crate::{Element, ErrorKind, Header, HeaderName, NameAddr};

/// One Route value: `name-addr *( SEMI rr-param )` (RFC 3261 25.1); the angle brackets are required.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// The proxy's URI and the value's parameters.
    pub address: NameAddr<'a>,
}

impl<'a> Header<'a> for Route<'a> {
    const NAME: HeaderName = HeaderName::Route;
    const SHAPE: &'static [Element] = &[Element::Address];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        NameAddr::bracketed(value).map(|address| Self { address })
    }
}
