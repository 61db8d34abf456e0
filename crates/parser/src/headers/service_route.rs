//! Service-Route (RFC 3608 5): the proxies that a phone must use for its requests.

use crate::{Element, ErrorKind, Header, HeaderName, NameAddr};

/// One Service-Route value: `sr-value = name-addr *( SEMI rr-param )` (RFC 3608 5); the angle brackets are required.
#[derive(Clone, Copy, Debug)]
pub struct ServiceRoute<'a> {
    /// The proxy's URI and the value's parameters.
    pub address: NameAddr<'a>,
}

impl<'a> Header<'a> for ServiceRoute<'a> {
    const NAME: HeaderName = HeaderName::ServiceRoute;
    const SHAPE: &'static [Element] = &[Element::Address];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        NameAddr::bracketed(value).map(|address| Self { address })
    }
}
