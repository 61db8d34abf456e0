//! Proxy-Authenticate (RFC 3261 20.27). The grammar is in `challenge`.

use crate::{Challenge, Element, ErrorKind, Header, HeaderName};

/// One Proxy-Authenticate line: `challenge = "Digest" LWS digest-cln *( COMMA digest-cln ) / other-challenge` (RFC 3261
/// 25.1). Commas separate its parameters, so it is never a comma list.
#[derive(Clone, Copy, Debug)]
pub struct ProxyAuthenticate<'a> {
    /// The challenge.
    pub challenge: Challenge<'a>,
}

impl<'a> Header<'a> for ProxyAuthenticate<'a> {
    const NAME: HeaderName = HeaderName::ProxyAuthenticate;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Space, Element::AuthParams];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        Challenge::parse(value).map(|challenge| Self { challenge })
    }
}
