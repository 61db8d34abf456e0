//! The address form of From, To, Contact, Route and others (RFC 3261 20.10, 25.1 `name-addr`, `addr-spec`). Splits
//! display name, URI and header parameters; the meaning of the parameters is defined by each header.

use memchr::{memchr, memchr2};

use crate::{
    ErrorKind, Params, SipUri, Uri, grammar,
    list::quoted_len,
    octets::{self, DISPLAY, LWS},
};

/// `( name-addr / addr-spec ) *( SEMI generic-param )` (RFC 3261 25.1): `[ display-name ] <URI>` or a bare URI, and the
/// header's parameters.
#[derive(Clone, Copy, Debug)]
pub struct NameAddr<'a> {
    /// The display name as received, with its quotes if it has them; `None` if there is none.
    pub display: Option<&'a [u8]>,
    /// The URI, with or without angle brackets around it.
    pub uri: Uri<'a>,
    /// The header's parameters. Those of a URI without angle brackets belong here, not to the URI (20.10).
    pub params: Params<'a>,
    /// The whole value.
    pub raw: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// Parses either form.
    ///
    /// # Errors
    /// The kind of fault.
    pub fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        Self::parse_with(value, |_, _| {})
    }

    /// As [`NameAddr::parse`], and calls `visit` with the name and value of each parameter. Inlined, so that a caller that
    /// uses only some parts does not make the others.
    #[inline(always)]
    pub(super) fn parse_with(
        value: &'a [u8],
        visit: impl FnMut(&'a [u8], Option<&'a [u8]>),
    ) -> Result<Self, ErrorKind> {
        if value.is_empty() {
            return Err(ErrorKind::Empty);
        }
        let display_len = octets::run(value, DISPLAY);
        let has_display_name = matches!(value.get(display_len), Some(b'<' | b'"'));
        if has_display_name { Self::bracketed_with(value, visit) } else { Self::bare(value, visit) }
    }

    /// The address of a From or a To, and its tag. The tag identifies a side of a dialog and must be unique and have a
    /// value (RFC 3261 7.3.1, 19.3). Of two tags, another element could use the other one.
    ///
    /// # Errors
    /// The kind of fault.
    pub(super) fn with_one_tag(value: &'a [u8]) -> Result<(Self, Option<&'a [u8]>), ErrorKind> {
        let (mut tag, mut is_ambiguous) = (None, false);
        let address = Self::parse_with(value, |name, value| {
            if octets::eq_ignore_case(name, b"tag") {
                is_ambiguous |= tag.is_some() || value.is_none();
                tag = tag.or(value);
            }
        })?;
        if is_ambiguous { Err(ErrorKind::Param) } else { Ok((address, tag)) }
    }

    /// Only the header's parameters, without parsing the rest. For a valid value the same as in [`NameAddr::parse`],
    /// for a malformed one unspecified.
    pub fn params_of(value: &'a [u8]) -> Params<'a> {
        let name = if value.first() == Some(&b'"') { quoted_len(value).unwrap_or(0) } else { 0 };
        let (_, rest) = value.split_at_checked(name).unwrap_or_default();
        let Some(mut at) = memchr2(b'<', b';', rest) else { return Params::default() };
        if rest.get(at) == Some(&b'<') {
            at = memchr(b'>', rest).map_or(rest.len(), |close| close + 1);
        }
        Params::new(rest.get(at..).unwrap_or_default())
    }

    /// Parses the form with angle brackets only, which routes require.
    ///
    /// # Errors
    /// The kind of fault.
    pub fn bracketed(value: &'a [u8]) -> Result<Self, ErrorKind> {
        Self::bracketed_with(value, |_, _| {})
    }

    #[inline(always)]
    fn bracketed_with(value: &'a [u8], visit: impl FnMut(&'a [u8], Option<&'a [u8]>)) -> Result<Self, ErrorKind> {
        let (display, rest) = display(value)?;
        let Some((secure, after_scheme)) = SipUri::scheme(rest) else {
            return Self::other(value, display, rest, visit);
        };
        let Ok(([b'>', params @ ..], uri)) = SipUri::prefix(rest, after_scheme, secure) else {
            return Err(uri_error(rest));
        };
        let params = grammar::parse_all(|input| grammar::params_with(input, visit), params)?;
        Ok(Self { display, uri: Uri::Sip(uri), params, raw: value })
    }

    fn other(
        value: &'a [u8],
        display: Option<&'a [u8]>,
        rest: &'a [u8],
        visit: impl FnMut(&'a [u8], Option<&'a [u8]>),
    ) -> Result<Self, ErrorKind> {
        let close = memchr(b'>', rest).ok_or(ErrorKind::Bracket)?;
        let uri = Uri::parse(rest.get(..close).unwrap_or_default())?;
        let params = rest.get(close + 1..).unwrap_or_default();
        let params = grammar::parse_all(|input| grammar::params_with(input, visit), params)?;
        Ok(Self { display, uri, params, raw: value })
    }

    /// `addr-spec`: a URI with a comma, a question mark or a semicolon needs brackets (20.10), so the first semicolon
    /// starts the header's parameters.
    fn bare(value: &'a [u8], visit: impl FnMut(&'a [u8], Option<&'a [u8]>)) -> Result<Self, ErrorKind> {
        let end = value.iter().position(|&byte| byte == b';' || octets::is(byte, LWS)).unwrap_or(value.len());
        let (uri, params) = value.split_at_checked(end).unwrap_or_default();
        // A bracket before the parameters: a `name-addr` with an invalid display name.
        let head = memchr(b';', value).and_then(|at| value.get(..at)).unwrap_or(value);
        if memchr(b'<', head).is_some() {
            return Err(ErrorKind::Display);
        }
        if memchr(b'?', uri).is_some() || memchr(b',', uri).is_some() {
            return Err(ErrorKind::Uri);
        }
        let uri = Uri::parse(uri)?;
        let params = grammar::parse_all(|input| grammar::params_with(input, visit), params)?;
        Ok(Self { display: None, uri, params, raw: value })
    }
}

/// `display-name`: a quoted string, or tokens, or octets above ASCII. Also returns the part after the opening bracket.
#[inline]
fn display(value: &[u8]) -> Result<(Option<&[u8]>, &[u8]), ErrorKind> {
    let len = match value.first() {
        Some(b'<') => 0,
        Some(b'"') => quoted_len(value).ok_or(ErrorKind::Quote)?,
        _ => octets::run(value, DISPLAY),
    };
    let (name, rest) = value.split_at_checked(len).unwrap_or_default();
    match octets::trim_start(rest) {
        [b'<', rest @ ..] => Ok((Some(octets::trim(name)).filter(|name| !name.is_empty()), rest)),
        rest if memchr(b'<', rest).is_some() => Err(ErrorKind::Display),
        _ => Err(ErrorKind::Unbracketed),
    }
}

/// The fault of an invalid URI or of a missing closing bracket.
#[cold]
fn uri_error(rest: &[u8]) -> ErrorKind {
    let inside = memchr(b'>', rest).and_then(|close| rest.get(..close));
    inside.map_or(ErrorKind::Bracket, |uri| Uri::parse(uri).err().unwrap_or(ErrorKind::Uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(value: &str) -> (Option<&str>, &str, &str) {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        let address = NameAddr::parse(value.as_bytes()).unwrap();
        assert!(NameAddr::params_of(value.as_bytes()).iter().eq(address.params), "{value}");
        (address.display.map(text), text(address.uri.as_bytes()), text(address.params.as_bytes()))
    }

    #[test]
    fn both_forms_are_parsed() {
        assert_eq!(parts("sip:a@b;tag=1"), (None, "sip:a@b", ";tag=1"));
        assert_eq!(parts("sip:a@b ; tag = 1"), (None, "sip:a@b", " ; tag = 1"));
        assert_eq!(parts("sip:a@b;x=\"<y>\""), (None, "sip:a@b", ";x=\"<y>\""));
        assert_eq!(parts("<sip:a@b;lr>;tag=1"), (None, "sip:a@b;lr", ";tag=1"));
        assert_eq!(parts("caller<sip:a@b>"), (Some("caller"), "sip:a@b", ""));
        assert_eq!(parts("A. G. Bell \r\n <sip:a@b>"), (Some("A. G. Bell"), "sip:a@b", ""));
        assert_eq!(parts(r#""a \" <b>, c" <tel:5>;x="y>""#), (Some(r#""a \" <b>, c""#), "tel:5", r#";x="y>""#));
        assert_eq!(parts("José <sip:a@b>"), (Some("José"), "sip:a@b", ""));
    }

    #[test]
    fn each_fault_has_its_kind() {
        for (bad, kind) in [
            ("", ErrorKind::Empty),
            ("sip:a@b?x=y", ErrorKind::Uri),
            ("\"a <sip:a@b>", ErrorKind::Quote),
            ("\"a\" sip:a@b", ErrorKind::Unbracketed),
            ("<sip:a@b", ErrorKind::Bracket),
            ("< sip:a@b>", ErrorKind::Uri),
            ("<sip:a@b >", ErrorKind::Uri),
            ("Bell, Alexander <sip:a@b>", ErrorKind::Display),
            ("<sip:a@b> x", ErrorKind::Trailing),
            ("<sip:a@b>;", ErrorKind::Param),
            ("sip:a@b;tag=", ErrorKind::Param),
            ("x", ErrorKind::Uri),
        ] {
            assert_eq!(NameAddr::parse(bad.as_bytes()).err(), Some(kind), "{bad}");
        }
        assert_eq!(NameAddr::bracketed(b"sip:a@b;lr").err(), Some(ErrorKind::Unbracketed));
    }
}
