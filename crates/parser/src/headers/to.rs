//! To (RFC 3261 20.39): whom the request is for. Decides its grammar only.

use crate::{ErrorKind, Header, HeaderName, NameAddr};

/// To: `( name-addr / addr-spec ) *( SEMI to-param )` (RFC 3261 25.1).
#[derive(Clone, Copy, Debug)]
pub struct To<'a> {
    /// The address and the header's parameters.
    pub address: NameAddr<'a>,
}

impl<'a> To<'a> {
    /// The `tag` parameter as it was sent.
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.address.tag
    }
}

impl<'a> Header<'a> for To<'a> {
    const NAME: HeaderName = HeaderName::To;
    const LIST: bool = false;

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        NameAddr::parse(value).map(|address| Self { address })
    }
}
