//! The value of WWW-Authenticate and Proxy-Authenticate (RFC 3261 20.27, 20.44, RFC 7616 3.3).

use std::borrow::Cow;

use crate::{AuthParams, ErrorKind, headers::credentials::scheme_and_params};

/// `challenge = auth-scheme LWS auth-param *( COMMA auth-param )` (RFC 3261 25.1): a scheme and its parameters.
#[derive(Clone, Copy, Debug)]
pub struct Challenge<'a> {
    /// The scheme as received, a token.
    pub scheme: &'a [u8],
    /// The parameters, checked if the scheme is Digest.
    pub params: AuthParams<'a>,
}

impl<'a> Challenge<'a> {
    /// Parses a challenge.
    ///
    /// # Errors
    /// The kind of fault.
    pub fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        let (scheme, params) = scheme_and_params(value)?;
        Ok(Self { scheme, params })
    }

    /// `realm = "realm" EQUAL quoted-string`, unquoted.
    pub fn realm(&self) -> Option<Cow<'a, [u8]>> {
        self.params.unquoted("realm")
    }

    /// `nonce = "nonce" EQUAL quoted-string`, unquoted.
    pub fn nonce(&self) -> Option<Cow<'a, [u8]>> {
        self.params.unquoted("nonce")
    }

    /// `algorithm = "algorithm" EQUAL token`, without quotes if there are any.
    pub fn algorithm(&self) -> Option<&'a [u8]> {
        self.params.without_quotes("algorithm")
    }

    /// Whether `stale = "stale" EQUAL ( "true" / "false" )` is true: the digest was correct, but the nonce has expired.
    pub fn is_stale(&self) -> bool {
        self.params.without_quotes("stale").is_some_and(|value| value.eq_ignore_ascii_case(b"true"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_unquoted() {
        let challenge = Challenge::parse(b"Digest realm=\"a, b\", nonce=\"n\", stale=TRUE, algorithm=MD5").unwrap();
        assert_eq!(challenge.realm().as_deref(), Some(&b"a, b"[..]));
        assert_eq!(challenge.nonce().as_deref(), Some(&b"n"[..]));
        assert_eq!(challenge.algorithm(), Some(&b"MD5"[..]));
        assert!(challenge.is_stale());
    }
}
