//! P-Asserted-Identity (RFC 3325 9.1): the identity of the sender, asserted by a trusted element. Whether the peer is
//! trusted is decided by the proxy.

use crate::{Element, ErrorKind, Header, HeaderName, NameAddr};

/// One P-Asserted-Identity value: `name-addr / addr-spec` (RFC 3325 9.1). The RFC defines no parameters;
/// unknown ones are accepted.
#[derive(Clone, Copy, Debug)]
pub struct PAssertedIdentity<'a> {
    /// The identity: a SIP, SIPS or tel URI.
    pub address: NameAddr<'a>,
}

impl<'a> Header<'a> for PAssertedIdentity<'a> {
    const NAME: HeaderName = HeaderName::PAssertedIdentity;
    const SHAPE: &'static [Element] = &[Element::Address];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        NameAddr::parse(value).map(|address| Self { address })
    }
}
