//! WWW-Authenticate (RFC 3261 20.44). The grammar is in `challenge`.

use crate::{Challenge, Element, ErrorKind, Header, HeaderName};

/// One WWW-Authenticate line: `challenge = "Digest" LWS digest-cln *( COMMA digest-cln ) / other-challenge` (RFC 3261
/// 25.1). Commas separate its parameters, so it is never a comma list.
#[derive(Clone, Copy, Debug)]
pub struct WwwAuthenticate<'a> {
    /// The challenge.
    pub challenge: Challenge<'a>,
}

impl<'a> Header<'a> for WwwAuthenticate<'a> {
    const NAME: HeaderName = HeaderName::WwwAuthenticate;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Space, Element::AuthParams];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        Challenge::parse(value).map(|challenge| Self { challenge })
    }
}
