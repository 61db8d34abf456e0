//! P-Preferred-Identity (RFC 3325 9.2): the identity that the sender prefers. Whether it is allowed is decided by the
//! proxy.

use crate::{Element, ErrorKind, Header, HeaderName, NameAddr};

/// One P-Preferred-Identity value: `name-addr / addr-spec` (RFC 3325 9.2). The RFC defines no parameters;
/// unknown ones are accepted.
#[derive(Clone, Copy, Debug)]
pub struct PPreferredIdentity<'a> {
    /// The identity: a SIP, SIPS or tel URI.
    pub address: NameAddr<'a>,
}

impl<'a> Header<'a> for PPreferredIdentity<'a> {
    const NAME: HeaderName = HeaderName::PPreferredIdentity;
    const SHAPE: &'static [Element] = &[Element::Address];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        NameAddr::parse(value).map(|address| Self { address })
    }
}
