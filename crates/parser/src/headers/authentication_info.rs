//! Authentication-Info (RFC 3261 20.6, RFC 7616 3.5): the server's part of a digest exchange.

use std::borrow::Cow;

use crate::{AuthParams, Element, ErrorKind, Header, HeaderName};

/// Authentication-Info: `ainfo *( COMMA ainfo )` (RFC 3261 25.1), each `name EQUAL value`. Commas separate its
/// parameters, so a line is never a comma list.
#[derive(Clone, Copy, Debug)]
pub struct AuthenticationInfo<'a> {
    /// The parameters.
    pub params: AuthParams<'a>,
}

impl<'a> AuthenticationInfo<'a> {
    /// `nextnonce`, unquoted: the nonce for the next request.
    pub fn next_nonce(&self) -> Option<Cow<'a, [u8]>> {
        self.params.unquoted("nextnonce")
    }

    /// `rspauth` without its quotes: the server's own digest, lower-case hex.
    pub fn response_auth(&self) -> Option<&'a [u8]> {
        self.params.without_quotes("rspauth")
    }

    /// `cnonce`, unquoted: repeated from the request.
    pub fn cnonce(&self) -> Option<Cow<'a, [u8]>> {
        self.params.unquoted("cnonce")
    }

    /// `qop`, without quotes if there are any.
    pub fn qop(&self) -> Option<&'a [u8]> {
        self.params.without_quotes("qop")
    }

    /// `nc`: exactly eight hex digits, `None` for anything else.
    pub fn nc(&self) -> Option<u32> {
        self.params.nonce_count()
    }
}

impl<'a> Header<'a> for AuthenticationInfo<'a> {
    const NAME: HeaderName = HeaderName::AuthenticationInfo;
    const SHAPE: &'static [Element] = &[Element::AuthParams];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        AuthParams::parse(value).map(|params| Self { params })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_with_and_without_quotes() {
        let info =
            AuthenticationInfo::parse(b"qop=auth , rspauth=\"0a\",cnonce=\"c, d\", nc=0000000f, nextnonce=\"n\"")
                .unwrap();
        assert_eq!((info.qop(), info.response_auth(), info.nc()), (Some(&b"auth"[..]), Some(&b"0a"[..]), Some(15)));
        assert_eq!(info.cnonce().as_deref(), Some(&b"c, d"[..]));
        assert_eq!(info.next_nonce().as_deref(), Some(&b"n"[..]));
        assert_eq!(AuthenticationInfo::parse(b"").err(), Some(ErrorKind::Empty));
        assert_eq!(AuthenticationInfo::parse(b"nextnonce").err(), Some(ErrorKind::Param));
    }
}
