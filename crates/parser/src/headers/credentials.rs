//! Digest credentials and the parameter list that credentials and challenges share (RFC 3261 20.7, 25.1, RFC 7616 3.3,
//! 3.4, RFC 8760). The digest is verified by the proxy.

use std::borrow::Cow;

use memchr::memchr;

use crate::{
    ErrorKind,
    grammar::{self, token, value},
    list::quoted_len,
    octets::{self, LWS, TOKEN},
    unquote,
};

/// `credentials = "Digest" LWS digest-response / other-response` (RFC 3261 25.1): a scheme and its parameters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credentials<'a> {
    /// The scheme as received, a token: `Digest` in any case, or another scheme.
    pub scheme: &'a [u8],
    /// The parameters after the scheme.
    pub params: AuthParams<'a>,
    /// The first parameter of each name of a digest-response. Collected while parsing, because verification needs most
    /// of them.
    known: Known<'a>,
    /// Whether there is a backslash: without one, no value has quoted pairs.
    has_pairs: bool,
}

/// Values as received.
#[derive(Clone, Copy, Debug, Default)]
struct Known<'a> {
    username: Option<&'a [u8]>,
    realm: Option<&'a [u8]>,
    nonce: Option<&'a [u8]>,
    uri: Option<&'a [u8]>,
    response: Option<&'a [u8]>,
    algorithm: Option<&'a [u8]>,
    cnonce: Option<&'a [u8]>,
    opaque: Option<&'a [u8]>,
    qop: Option<&'a [u8]>,
    nc: Option<&'a [u8]>,
}

impl<'a> Known<'a> {
    fn record(&mut self, name: &[u8], value: &'a [u8]) {
        let is = |known: &str| octets::eq_ignore_case(name, known.as_bytes());
        let known = match name.len() {
            2 if is("nc") => &mut self.nc,
            3 if is("uri") => &mut self.uri,
            3 if is("qop") => &mut self.qop,
            5 if is("realm") => &mut self.realm,
            5 if is("nonce") => &mut self.nonce,
            6 if is("cnonce") => &mut self.cnonce,
            6 if is("opaque") => &mut self.opaque,
            8 if is("username") => &mut self.username,
            8 if is("response") => &mut self.response,
            9 if is("algorithm") => &mut self.algorithm,
            _ => return,
        };
        known.get_or_insert(value);
    }
}

impl<'a> Credentials<'a> {
    /// Parses credentials. The parameters are checked if the scheme is Digest; of other schemes they are opaque.
    ///
    /// # Errors
    /// The kind of fault.
    pub fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        let (scheme, params) = scheme_and_rest(value)?;
        let (params, mut known) = (AuthParams(params), Known::default());
        if is_digest(scheme) {
            params.check(|name, value| known.record(name, value))?;
        } else {
            params.iter().for_each(|(name, value)| known.record(name, value));
        }
        Ok(Self { scheme, params, known, has_pairs: memchr(b'\\', params.0).is_some() })
    }

    /// Only the realm, without parsing the rest. For valid credentials the same as [`Credentials::realm`], for
    /// malformed ones unspecified.
    pub fn realm_of(value: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let (_, params) = scheme_and_rest(value).ok()?;
        AuthParams(params).unquoted("realm")
    }

    fn unquoted(&self, value: &'a [u8]) -> Cow<'a, [u8]> {
        if self.has_pairs { unquote(value) } else { Cow::Borrowed(without_quotes(value)) }
    }

    /// Whether the scheme is Digest.
    pub fn is_digest(&self) -> bool {
        is_digest(self.scheme)
    }

    /// `username = "username" EQUAL quoted-string`, unquoted.
    pub fn username(&self) -> Option<Cow<'a, [u8]>> {
        self.known.username.map(|value| self.unquoted(value))
    }

    /// `realm = "realm" EQUAL quoted-string`, unquoted.
    pub fn realm(&self) -> Option<Cow<'a, [u8]>> {
        self.known.realm.map(|value| self.unquoted(value))
    }

    /// `nonce = "nonce" EQUAL quoted-string`, unquoted.
    pub fn nonce(&self) -> Option<Cow<'a, [u8]>> {
        self.known.nonce.map(|value| self.unquoted(value))
    }

    /// `digest-uri = "uri" EQUAL LDQUOT Request-URI RDQUOT`, unquoted.
    pub fn uri(&self) -> Option<Cow<'a, [u8]>> {
        self.known.uri.map(|value| self.unquoted(value))
    }

    /// `cnonce = "cnonce" EQUAL quoted-string`, unquoted.
    pub fn cnonce(&self) -> Option<Cow<'a, [u8]>> {
        self.known.cnonce.map(|value| self.unquoted(value))
    }

    /// `opaque = "opaque" EQUAL quoted-string`, unquoted.
    pub fn opaque(&self) -> Option<Cow<'a, [u8]>> {
        self.known.opaque.map(|value| self.unquoted(value))
    }

    /// `dresponse = "response" EQUAL request-digest` without its quotes: lower-case hex by the RFC, but not checked.
    pub fn response(&self) -> Option<&'a [u8]> {
        self.known.response.map(without_quotes)
    }

    /// `algorithm = "algorithm" EQUAL token`, without quotes if there are any.
    pub fn algorithm(&self) -> Option<&'a [u8]> {
        self.known.algorithm.map(without_quotes)
    }

    /// `message-qop = "qop" EQUAL qop-value`, without quotes if there are any.
    pub fn qop(&self) -> Option<&'a [u8]> {
        self.known.qop.map(without_quotes)
    }

    /// `nonce-count = "nc" EQUAL 8LHEX` (RFC 7616 3.4), `None` for any other number of digits.
    pub fn nc(&self) -> Option<u32> {
        self.known.nc.and_then(nonce_count)
    }

    /// The digits of the `nc` as received: the digest is computed from these.
    pub fn nc_text(&self) -> Option<&'a [u8]> {
        self.known.nc.map(without_quotes)
    }
}

/// `auth-param *( COMMA auth-param )`, `auth-param = auth-param-name EQUAL ( token / quoted-string )` (RFC 3261 25.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct AuthParams<'a>(&'a [u8]);

impl<'a> AuthParams<'a> {
    /// Parses a whole value of nothing but parameters, at least one.
    pub(crate) fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        let params = Self(value);
        params.check(|_, _| {}).map(|()| params)
    }

    /// The parameters as received.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Name and value of each parameter, with quotes. Parameters without `=` are skipped.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            loop {
                let lead = rest.iter().position(|byte| *byte != b',' && !octets::is(*byte, LWS))?;
                let (_, param) = rest.split_at_checked(lead)?;
                let end = param.iter().position(|byte| matches!(byte, b'=' | b',')).unwrap_or(param.len());
                let (name, after) = param.split_at_checked(end)?;
                rest = after;
                let Some(value) = after.strip_prefix(b"=").map(octets::trim_start) else { continue };
                let quoted = if value.first() == Some(&b'"') { quoted_len(value) } else { None };
                let end = quoted.or_else(|| memchr(b',', value)).unwrap_or(value.len());
                let (value, after) = value.split_at_checked(end)?;
                rest = after;
                return Some((octets::trim_end(name), octets::trim_end(value)));
            }
        })
    }

    /// The value of the first parameter of that name, in any case, as received.
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// The value unquoted, with quoted pairs replaced.
    pub fn unquoted(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.value(name).map(unquote)
    }

    /// The value without its quotes, for values without quoted pairs.
    pub(crate) fn without_quotes(&self, name: &str) -> Option<&'a [u8]> {
        self.value(name).map(without_quotes)
    }

    /// The value of `nc`.
    pub(crate) fn nonce_count(&self) -> Option<u32> {
        nonce_count(self.value("nc")?)
    }

    /// Checks the grammar of all parameters, and calls `visit` with each name and value, which are the same as in
    /// [`AuthParams::iter`].
    fn check(&self, mut visit: impl FnMut(&'a [u8], &'a [u8])) -> Result<(), ErrorKind> {
        let mut rest = self.0;
        if rest.is_empty() {
            return Err(ErrorKind::Empty);
        }
        loop {
            let (after, name) = token(rest).map_err(|_| ErrorKind::Param)?;
            let after = octets::trim_start(after).strip_prefix(b"=").ok_or(ErrorKind::Param)?;
            let (after, value) = value(octets::trim_start(after)).map_err(grammar::kind)?;
            visit(name, value);
            match octets::trim_start(after) {
                [] => return Ok(()),
                [b',', next @ ..] => rest = octets::trim_start(next),
                _ => return Err(ErrorKind::Trailing),
            }
        }
    }
}

/// `auth-scheme LWS auth-params`, the common grammar of credentials and challenges.
pub(crate) fn scheme_and_params(text: &[u8]) -> Result<(&[u8], AuthParams<'_>), ErrorKind> {
    let (scheme, params) = scheme_and_rest(text)?;
    let params = AuthParams(params);
    if is_digest(scheme) {
        params.check(|_, _| {})?;
    }
    Ok((scheme, params))
}

fn scheme_and_rest(text: &[u8]) -> Result<(&[u8], &[u8]), ErrorKind> {
    let (scheme, rest) = text.split_at_checked(octets::run(text, TOKEN)).unwrap_or_default();
    let params = octets::trim(rest);
    if scheme.is_empty() || params.len() == rest.len() && !rest.is_empty() {
        return Err(ErrorKind::Token);
    }
    Ok((scheme, params))
}

fn is_digest(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"digest")
}

/// A value without its quotes, for values without quoted pairs.
fn without_quotes(value: &[u8]) -> &[u8] {
    crate::params::inside_quotes(value).unwrap_or(value)
}

/// `nc-value = 8LHEX`; upper-case digits are accepted, another length is not.
fn nonce_count(value: &[u8]) -> Option<u32> {
    let digits: &[u8; 8] = without_quotes(value).try_into().ok()?;
    digits.iter().try_fold(0, |count, digit| Some(count << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_digest_are_unquoted() {
        let credentials = Credentials::parse(
            b"dIgest username = \"a\\\"b, c\",realm=\"r\",\r\n nonce=\"n=\" , uri=\"sip:h\", nc=0000001A, qop=auth,\
              cnonce=\"c\", response=\"0af\", opaque=\"\", algorithm=SHA-256",
        )
        .unwrap();
        assert!(credentials.is_digest());
        assert_eq!(credentials.username().as_deref(), Some(&b"a\"b, c"[..]));
        assert_eq!(credentials.realm().as_deref(), Some(&b"r"[..]));
        let quoted = b"Digest username=\"a\\\", realm=\\\"x\\\"\" , nonce=\"n\", REALM = \"r\\\"\"";
        assert_eq!(Credentials::realm_of(quoted), Credentials::parse(quoted).unwrap().realm());
        assert_eq!(Credentials::realm_of(b"Digest username=\"a\""), None);
        assert_eq!(credentials.nonce().as_deref(), Some(&b"n="[..]));
        assert_eq!(credentials.uri().as_deref(), Some(&b"sip:h"[..]));
        assert_eq!(credentials.cnonce().as_deref(), Some(&b"c"[..]));
        assert_eq!(credentials.opaque().as_deref(), Some(&b""[..]));
        assert_eq!(credentials.response(), Some(&b"0af"[..]));
        assert_eq!(credentials.algorithm(), Some(&b"SHA-256"[..]));
        assert_eq!((credentials.qop(), credentials.nc()), (Some(&b"auth"[..]), Some(26)));
    }

    #[test]
    fn the_first_parameter_of_a_name_counts() {
        for scheme in ["Digest", "Other"] {
            let text = format!("{scheme} Realm=\"a\", x=y, realm=\"b\", qop=\"auth\", QOP=auth-int");
            let credentials = Credentials::parse(text.as_bytes()).unwrap();
            assert_eq!(credentials.realm().as_deref(), Some(&b"a"[..]), "{scheme}");
            assert_eq!(Credentials::realm_of(text.as_bytes()), credentials.realm(), "{scheme}");
            assert_eq!((credentials.qop(), credentials.nonce()), (Some(&b"auth"[..]), None), "{scheme}");
        }
    }

    #[test]
    fn the_count_has_eight_digits() {
        for bad in ["1", "000000001", "0000000g", "+0000001"] {
            let text = format!("Digest nc={bad}");
            let credentials = Credentials::parse(text.as_bytes()).unwrap();
            assert_eq!((credentials.nc(), credentials.nc_text()), (None, Some(bad.as_bytes())), "{bad}");
        }
        assert_eq!(Credentials::parse(b"Digest nc=fFfFfFfE").unwrap().nc(), Some(u32::MAX - 1));
    }

    #[test]
    fn only_parameters_of_a_digest_are_checked() {
        for (bad, kind) in [
            ("", ErrorKind::Token),
            ("Digest", ErrorKind::Empty),
            ("Digest=x", ErrorKind::Token),
            ("Digest a", ErrorKind::Param),
            ("Digest a=\"b", ErrorKind::Quote),
            ("Digest a=b,", ErrorKind::Param),
            ("Digest a=b c=d", ErrorKind::Trailing),
        ] {
            assert_eq!(Credentials::parse(bad.as_bytes()).err(), Some(kind), "{bad}");
        }
        let bearer = Credentials::parse(b"Bearer abc.def==").unwrap();
        assert!(!bearer.is_digest());
        assert_eq!(bearer.params.as_bytes(), b"abc.def==");
    }
}
