//! Proxy-Authorization (RFC 3261 20.28). The grammar is in `credentials`.

use crate::{Credentials, Element, ErrorKind, Header, HeaderName};

/// One Proxy-Authorization line: `credentials = "Digest" LWS digest-response / other-response` (RFC 3261 25.1). Commas
/// separate its parameters, so it is never a comma list.
#[derive(Clone, Copy, Debug)]
pub struct ProxyAuthorization<'a> {
    /// The credentials.
    pub credentials: Credentials<'a>,
}

impl<'a> Header<'a> for ProxyAuthorization<'a> {
    const NAME: HeaderName = HeaderName::ProxyAuthorization;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Space, Element::AuthParams];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        Credentials::parse(value).map(|credentials| Self { credentials })
    }
}
