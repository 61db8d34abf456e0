//! Record-Route (RFC 3261 20.30): proxies that remain in the path of a dialog.

use crate::{Element, ErrorKind, Header, HeaderName, NameAddr};

/// One Record-Route value: `name-addr *( SEMI rr-param )` (RFC 3261 25.1); the angle brackets are required.
#[derive(Clone, Copy, Debug)]
pub struct RecordRoute<'a> {
    /// The proxy's URI and the value's parameters.
    pub address: NameAddr<'a>,
}

impl<'a> Header<'a> for RecordRoute<'a> {
    const NAME: HeaderName = HeaderName::RecordRoute;
    const SHAPE: &'static [Element] = &[Element::Address];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        NameAddr::bracketed(value).map(|address| Self { address })
    }
}
