//! P-Asserted-Identity (RFC 3325 9.1): who a trusted element says the sender is. Decides its grammar only; whom to believe is the proxy's business.

use crate::{ErrorKind, Header, HeaderName, NameAddr};

/// One P-Asserted-Identity value: `name-addr / addr-spec` (RFC 3325 9.1). Parameters, which the RFC has none of, are
/// carried.
#[derive(Clone, Copy, Debug)]
pub struct PAssertedIdentity<'a> {
    /// The identity: a SIP, SIPS or tel URI.
    pub address: NameAddr<'a>,
}

impl<'a> Header<'a> for PAssertedIdentity<'a> {
    const NAME: HeaderName = HeaderName::PAssertedIdentity;
    const LIST: bool = true;

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        NameAddr::parse(value).map(|address| Self { address })
    }
}
