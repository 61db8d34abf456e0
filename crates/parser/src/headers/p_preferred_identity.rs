//! P-Preferred-Identity (RFC 3325 9.2): who the sender would like to be taken for. Decides its grammar only; whom to believe is the proxy's business.

use crate::{ErrorKind, Header, HeaderName, NameAddr};

/// One P-Preferred-Identity value: `name-addr / addr-spec` (RFC 3325 9.2). Parameters, which the RFC has none of, are
/// carried.
#[derive(Clone, Copy, Debug)]
pub struct PPreferredIdentity<'a> {
    /// The identity: a SIP, SIPS or tel URI.
    pub address: NameAddr<'a>,
}

impl<'a> Header<'a> for PPreferredIdentity<'a> {
    const NAME: HeaderName = HeaderName::PPreferredIdentity;
    const LIST: bool = true;

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        NameAddr::parse(value).map(|address| Self { address })
    }
}
