//! Path (RFC 3327 4): proxies between a registrar and a phone.

use crate::{Element, ErrorKind, Header, HeaderName, NameAddr};

/// One Path value: `path-value = name-addr *( SEMI rr-param )` (RFC 3327 4); the angle brackets are required.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    /// The proxy's URI and the value's parameters.
    pub address: NameAddr<'a>,
}

impl<'a> Header<'a> for Path<'a> {
    const NAME: HeaderName = HeaderName::Path;
    const SHAPE: &'static [Element] = &[Element::Address];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        NameAddr::bracketed(value).map(|address| Self { address })
    }
}
