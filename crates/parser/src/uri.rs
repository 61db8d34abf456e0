//! URIs: the parts of SIP URIs (RFC 3261 19.1, 25.1); URIs of other schemes are opaque (RFC 2396). Comparison is in
//! `uri_eq`.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use crate::{
    ErrorKind, Host, Params, Transport,
    escape::eq_unescaped_ignore_case,
    fault,
    grammar::{self, Parsed},
    octets::{self, PASSWORD, URI, URI_HEADER, USER},
    span::locate,
    unescape,
};

/// `addr-spec = SIP-URI / SIPS-URI / absoluteURI` (RFC 3261 25.1): a URI in a message.
#[derive(Clone, Copy, Debug)]
pub enum Uri<'a> {
    /// `sip` or `sips`.
    Sip(SipUri<'a>),
    /// Any other scheme (`tel`, `urn`, `http`, ...), opaque: `absoluteURI` (RFC 3261 25.1). For telephone numbers see
    /// [`Uri::tel`].
    Other {
        /// The scheme as received, without the colon.
        scheme: &'a [u8],
        /// The part after the colon.
        rest: &'a [u8],
        /// The whole URI.
        raw: &'a [u8],
    },
}

/// `SIP-URI` or `SIPS-URI` (RFC 3261 25.1): `sip:user:password@host:port;uri-parameters?headers`.
#[derive(Clone, Copy, Debug)]
pub struct SipUri<'a> {
    /// Whether the scheme is `sips`.
    pub secure: bool,
    /// The user part as received, with its escapes; never empty.
    pub user: Option<&'a [u8]>,
    /// The host.
    pub host: Host<'a>,
    /// The port, if there is one.
    pub port: Option<u16>,
    /// The URI parameters.
    pub params: Params<'a>,
    raw: &'a [u8],
}

impl<'a> Uri<'a> {
    /// Parses a URI without angle brackets and white space around it.
    ///
    /// # Errors
    /// It has no scheme, has invalid characters, or is a malformed SIP URI. The kind tells which part is wrong.
    pub fn parse(uri: &'a [u8]) -> Result<Self, ErrorKind> {
        let Some((secure, rest)) = SipUri::scheme(uri) else { return Self::other(uri) };
        match SipUri::prefix(uri, rest, secure) {
            Ok((b"", uri)) => Ok(Self::Sip(uri)),
            Ok(_) => Err(fault::kind_in_uri(uri, ErrorKind::Uri)),
            Err(error) => Err(fault::kind_in_uri(uri, grammar::kind(error))),
        }
    }

    fn other(uri: &'a [u8]) -> Result<Self, ErrorKind> {
        let is_scheme_char = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let len = uri.iter().take_while(|byte| is_scheme_char(byte)).count();
        match uri.split_at_checked(len) {
            Some((scheme @ [b'a'..=b'z' | b'A'..=b'Z', ..], [b':', rest @ ..])) if octets::all(rest, URI) => {
                Ok(Self::Other { scheme, rest, raw: uri })
            }
            _ => Err(ErrorKind::Uri),
        }
    }

    /// The URI as received.
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Sip(uri) => uri.raw,
            Self::Other { raw, .. } => raw,
        }
    }

    /// The SIP or SIPS URI, if it is one.
    pub fn sip(&self) -> Option<&SipUri<'a>> {
        match self {
            Self::Sip(uri) => Some(uri),
            Self::Other { .. } => None,
        }
    }
}

impl<'a> SipUri<'a> {
    /// Whether the scheme of `input` is `sips`, and the part after its colon; `None` for another scheme.
    #[inline]
    pub(crate) fn scheme(input: &'a [u8]) -> Option<(bool, &'a [u8])> {
        match (input.split_at_checked(4), input.split_at_checked(5)) {
            (Some((scheme, rest)), _) if octets::eq_ignore_case(scheme, b"sip:") => Some((false, rest)),
            (_, Some((scheme, rest))) if octets::eq_ignore_case(scheme, b"sips:") => Some((true, rest)),
            _ => None,
        }
    }

    /// The URI at the start of `input`, and the rest.
    #[inline(always)]
    pub(crate) fn prefix(input: &'a [u8], after_scheme: &'a [u8], secure: bool) -> Parsed<'a, Self> {
        let (rest, user) = user_info(after_scheme);
        let (rest, (host, port)) = grammar::host_port(rest)?;
        let (rest, params) = grammar::uri_params(rest)?;
        let rest = skip_headers(rest)?;
        let raw = grammar::prefix_before(input, rest);
        Ok((rest, Self { secure, user, host, port, params, raw }))
    }

    /// The URI as received.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// The password as received; may be empty. It is searched in each call, because few URIs have one.
    pub fn password(&self) -> Option<&'a [u8]> {
        let password = self.after(self.user?).strip_prefix(b":")?;
        password.get(..memchr(b'@', password)?)
    }

    /// The header part without its `?`, empty if there is none. It is searched in each call.
    pub fn headers(&self) -> &'a [u8] {
        self.after(self.params.as_bytes()).strip_prefix(b"?").unwrap_or_default()
    }

    /// The part of this URI after `part`.
    fn after(&self, part: &[u8]) -> &'a [u8] {
        locate(self.raw, part).and_then(|span| self.raw.get(span.end as usize..)).unwrap_or_default()
    }

    /// The URI parameter of that name, in any case and with any escapes (RFC 3261 19.1.4): `Some(None)` if it has no
    /// value.
    pub fn param(&self, name: &str) -> Option<Option<&'a [u8]>> {
        let name = name.as_bytes();
        // `uri-parameters` (25.1) have neither quotes nor white space, so every `;` begins a parameter.
        self.params.as_bytes().split(|octet| *octet == b';').skip(1).find_map(|param| {
            let mut parts = param.splitn(2, |octet| *octet == b'=');
            let (found, value) = (parts.next()?, parts.next());
            // Escapes make it longer.
            let is_escaped = || found.len() > name.len() && eq_unescaped_ignore_case(found, name);
            (octets::eq_ignore_case(found, name) || is_escaped()).then_some(value)
        })
    }

    /// The `transport` parameter; `None` if it is absent or not supported.
    pub fn transport(&self) -> Option<Transport> {
        Transport::from_token(self.param("transport")??)
    }

    /// Whether it has the `lr` parameter: a loose router (RFC 3261 19.1.1).
    pub fn is_loose(&self) -> bool {
        self.param("lr").is_some()
    }

    /// The `maddr` parameter as received.
    pub fn maddr(&self) -> Option<&'a [u8]> {
        self.param("maddr").flatten()
    }

    /// The user part unescaped, empty if there is none.
    pub fn user_unescaped(&self) -> Cow<'a, [u8]> {
        unescape(self.user.unwrap_or_default())
    }

    /// Appends the URI as a Request-URI: without headers and without the `method` parameter (RFC 3261 19.1.1 Table 1,
    /// 19.1.5), otherwise unchanged. All other parts of a Contact URI are allowed in a Request-URI.
    pub fn write_target(&self, out: &mut Vec<u8>) {
        let without_headers = match self.headers().len() {
            0 => self.raw,
            len => self.raw.get(..self.raw.len() - len - 1).unwrap_or_default(),
        };
        let params = self.params.as_bytes();
        if self.param("method").is_none() {
            out.extend_from_slice(without_headers);
            return;
        }
        out.extend_from_slice(without_headers.get(..without_headers.len() - params.len()).unwrap_or_default());
        self.params.write_filtered(out, |name| !eq_unescaped_ignore_case(name, b"method"));
    }
}

/// Appends a URI without the parts that a Request-URI must not have (RFC 3261 19.1.1), see [`SipUri::write_target`]. A
/// URI of another scheme, or one that cannot be parsed, is appended unchanged.
pub fn write_target(out: &mut Vec<u8>, uri: &[u8]) {
    // Only a header part or a `method` parameter, possibly escaped, needs parsing.
    let params = memchr2(b';', b'?', uri).and_then(|at| uri.get(at..));
    if !params.unwrap_or_default().iter().any(|byte| matches!(byte, b'?' | b'm' | b'M' | b'%')) {
        return out.extend_from_slice(uri);
    }
    match Uri::parse(uri) {
        Ok(Uri::Sip(uri)) => uri.write_target(out),
        _ => out.extend_from_slice(uri),
    }
}

/// Skips an optional header part and returns the rest.
#[inline(always)]
fn skip_headers(input: &[u8]) -> Result<&[u8], nom::Err<grammar::Fault>> {
    let Some(rest) = input.strip_prefix(b"?") else { return Ok(input) };
    match octets::escaped_run(rest, URI_HEADER) {
        0 => Err(nom::Err::Error(grammar::Fault(ErrorKind::Uri))),
        len => Ok(rest.get(len..).unwrap_or_default()),
    }
}

/// An optional `userinfo`: the part after its `@`, and the user. An `@` is not allowed elsewhere in a URI.
#[inline(always)]
fn user_info(input: &[u8]) -> (&[u8], Option<&[u8]>) {
    let (user, rest) = input.split_at_checked(octets::escaped_run(input, USER)).unwrap_or_default();
    match rest.split_first() {
        Some((b'@', rest)) if !user.is_empty() => (rest, Some(user)),
        Some((b':', rest)) if !user.is_empty() => match rest.split_at_checked(octets::escaped_run(rest, PASSWORD)) {
            Some((_password, [b'@', rest @ ..])) => (rest, Some(user)),
            _ => (input, None),
        },
        _ => (input, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sip(uri: &str) -> SipUri<'_> {
        *Uri::parse(uri.as_bytes()).unwrap().sip().unwrap()
    }

    fn target(uri: &str) -> String {
        let mut out = Vec::new();
        sip(uri).write_target(&mut out);
        let mut unparsed = Vec::new();
        write_target(&mut unparsed, uri.as_bytes());
        assert_eq!(unparsed, out, "{uri}");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn all_parts_of_a_uri_are_parsed() {
        let uri = sip("SIPS:a;b%20c:p&w@[2001:db8::1]:5071;transport=TLS;lr;maddr=h?Subject=x&to=y");
        assert!(uri.secure && uri.is_loose());
        assert_eq!((uri.user, uri.password()), (Some(&b"a;b%20c"[..]), Some(&b"p&w"[..])));
        assert_eq!(&*uri.user_unescaped(), b"a;b c");
        assert_eq!((uri.port, uri.transport(), uri.maddr()), (Some(5071), Some(Transport::Tls), Some(&b"h"[..])));
        assert_eq!(uri.headers(), b"Subject=x&to=y");
        assert_eq!(sip("sip:office.example").user, None);
        assert_eq!(sip("sip:a:@h").password(), Some(&b""[..]));
        assert_eq!(sip("sip:+1-212-555-0101;isub=1411@gw;user=phone").user, Some(&b"+1-212-555-0101;isub=1411"[..]));
        assert_eq!(sip("sip:h;transport=sctp").transport(), None);
        assert_eq!(sip("sip:*21#@h").user, Some(&b"*21#"[..]));
        assert!(sip("sip:h;%6C%72").is_loose() && !sip("sip:h;l%2572").is_loose());
    }

    #[test]
    fn malformed_uris_are_refused() {
        for (bad, kind) in [
            ("", ErrorKind::Uri),
            ("sip", ErrorKind::Uri),
            ("sip:", ErrorKind::Host),
            ("sip:@h", ErrorKind::User),
            ("sip:a@", ErrorKind::Host),
            ("sip:a b@h", ErrorKind::User),
            ("sip:a@h:", ErrorKind::Port),
            ("sip:a@h:70000", ErrorKind::Port),
            ("sip:a@h:5060x", ErrorKind::Uri),
            ("sip:a@h;", ErrorKind::Param),
            ("sip:a@h;a=", ErrorKind::Param),
            ("sip:a@h?", ErrorKind::Uri),
            ("sip:a@h ", ErrorKind::Uri),
            ("sip:a%2@h", ErrorKind::Escape),
            ("sip:a@h;x=%g1", ErrorKind::Escape),
            ("sip:a@b@c", ErrorKind::Uri),
            ("sip:a@::1", ErrorKind::Host),
            ("<sip:a@b>", ErrorKind::Uri),
            ("1tel:5", ErrorKind::Uri),
            ("tel:", ErrorKind::Uri),
            ("tel:5 5", ErrorKind::Uri),
        ] {
            assert_eq!(Uri::parse(bad.as_bytes()).err(), Some(kind), "{bad}");
        }
    }

    #[test]
    fn other_schemes_are_opaque() {
        let uri = Uri::parse(b"tel:+1-212;phone-context=x").unwrap();
        assert!(matches!(uri, Uri::Other { scheme: b"tel", rest: b"+1-212;phone-context=x", .. }));
        assert_eq!(uri.as_bytes(), b"tel:+1-212;phone-context=x");
        assert!(Uri::parse(b"nobodyKnowsThisScheme:totallyopaquecontent").is_ok());
    }

    // checklist 48
    #[test]
    fn a_target_has_no_headers_and_no_method() {
        assert_eq!(target("sip:a@h:5060;transport=tcp;x?Route=%3Csip:e%3E"), "sip:a@h:5060;transport=tcp;x");
        assert_eq!(target("sip:a@h;a=1;Method=INVITE;b?x=y"), "sip:a@h;a=1;b");
        assert_eq!(target("sip:a%61@H;method=X"), "sip:a%61@H");
        assert_eq!(target("sip:a@h;lr;m%65thod=X;method;ob?a=b"), "sip:a@h;lr;ob");
    }
}
