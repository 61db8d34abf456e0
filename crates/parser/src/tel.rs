//! Telephone numbers: `tel` URIs and the user part of a SIP URI with `user=phone` (RFC 3966, RFC 3261 19.1.6), their
//! grammar and comparison. A malformed `tel` URI is still a [`Uri::Other`].

use std::iter;

use memchr::memchr;

use crate::{
    ErrorKind, Params, SipUri, Uri,
    escape::{eq_unescaped_ignore_case, unescape},
    octets,
};

/// `telephone-subscriber = global-number / local-number` (RFC 3966 3).
#[derive(Clone, Copy, Debug)]
pub struct TelUri<'a> {
    /// The number as received: `global-number-digits`, which start with `+`, or `local-number-digits`, including visual
    /// separators.
    pub number: &'a [u8],
    /// The parameters: `ext`, `isub`, `phone-context` and others.
    pub params: Params<'a>,
}

impl<'a> TelUri<'a> {
    /// Parses a `tel` URI: `"tel:" telephone-subscriber` (RFC 3966 3), the scheme in any case.
    ///
    /// # Errors
    /// [`ErrorKind::Uri`] if it is of another scheme, else as [`TelUri::subscriber`].
    pub fn parse(uri: &'a [u8]) -> Result<Self, ErrorKind> {
        match uri.split_at_checked(4) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"tel:") => Self::subscriber(rest),
            _ => Err(ErrorKind::Uri),
        }
    }

    /// Parses the part after the scheme, or the user part of a SIP URI (RFC 3261 25.1 `telephone-subscriber`).
    ///
    /// A local number without the mandatory `phone-context` is accepted, because phones send dialled numbers like that.
    ///
    /// # Errors
    /// [`ErrorKind::Number`] if there is no number, [`ErrorKind::Param`] for a parameter without a name or with a
    /// malformed value.
    pub fn subscriber(text: &'a [u8]) -> Result<Self, ErrorKind> {
        let (number, params) = text.split_at_checked(memchr(b';', text).unwrap_or(text.len())).unwrap_or_default();
        if !is_number(number) {
            return Err(ErrorKind::Number);
        }
        let params_are_good = params.split(|&byte| byte == b';').skip(1).all(is_param);
        if !params_are_good || !octets::escapes_are_whole(params) {
            return Err(ErrorKind::Param);
        }
        Ok(Self { number, params: Params::new(params) })
    }

    /// Whether the number is `global-number-digits`, which start with `+`.
    pub fn is_global(&self) -> bool {
        self.number.first() == Some(&b'+')
    }

    /// The number without visual separators (RFC 3966 5.1.1): `+`, digits, of a local number also letters `a` to `f`
    /// in lower case, `*` and `#`.
    pub fn digits(&self) -> impl Iterator<Item = u8> + use<'a> {
        digits(self.number)
    }

    /// `phone-context`: the scope of a local number, a domain name or a prefix of a global number (RFC 3966 5.1.5).
    pub fn context(&self) -> Option<&'a [u8]> {
        self.params.value("phone-context")
    }

    /// `ext`: the extension, including visual separators (RFC 3966 5.3).
    pub fn extension(&self) -> Option<&'a [u8]> {
        self.params.value("ext")
    }

    /// `isub`: the ISDN subaddress (RFC 3966 5.2).
    pub fn subaddress(&self) -> Option<&'a [u8]> {
        self.params.value("isub")
    }

    /// Whether both are the same number (RFC 3966 4): the same digits and the same parameters in any order, ignoring
    /// case.
    pub fn is_same(&self, other: &TelUri<'_>) -> bool {
        digits(self.number).eq(digits(other.number))
            && (self.params == other.params || same_params(self.params, other.params))
    }
}

/// Maximum of parameters of numbers that are compared: each is looked up in the other number, which is quadratic.
const MAX_COMPARED: usize = 64;

impl<'a> Uri<'a> {
    /// The number of a `tel` URI; `None` for another scheme and for a malformed `tel` URI (RFC 3966).
    pub fn tel(&self) -> Option<TelUri<'a>> {
        match self {
            Self::Sip(_) => None,
            Self::Other { raw, .. } => TelUri::parse(raw).ok(),
        }
    }
}

impl<'a> SipUri<'a> {
    /// The number in the user part, if the URI has `user=phone` (RFC 3261 19.1.1, 19.1.6).
    pub fn telephone(&self) -> Option<TelUri<'a>> {
        let is_phone = self.params.value("user").is_some_and(|user| user.eq_ignore_ascii_case(b"phone"));
        TelUri::subscriber(self.user.filter(|_| is_phone)?).ok()
    }
}

/// A global number has decimal digits only, a local one `phonedigit-hex`; both have at least one. `%23` is a `#`, which
/// must be escaped in a SIP URI.
fn is_number(number: &[u8]) -> bool {
    let number = &*unescape(number);
    let (digits, is_digit): (&[u8], fn(u8) -> bool) = match number.strip_prefix(b"+") {
        Some(digits) => (digits, |byte| byte.is_ascii_digit()),
        None => (number, |byte| byte.is_ascii_hexdigit() || byte == b'*' || byte == b'#'),
    };
    digits.iter().all(|&byte| is_digit(byte) || is_separator(byte)) && digits.iter().any(|&byte| is_digit(byte))
}

/// `parameter`, `extension`, `isdn-subaddress` or `context`, without the `;`: `pname [ "=" 1*paramchar ]`. All
/// characters of `uric` are accepted in values.
fn is_param(param: &[u8]) -> bool {
    let (name, value) = param.split_at_checked(memchr(b'=', param).unwrap_or(param.len())).unwrap_or_default();
    let name_is_good = !name.is_empty() && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-');
    name_is_good && value.strip_prefix(b"=").map_or(value.is_empty(), |value| octets::all(value, octets::URI))
}

/// `visual-separator` (RFC 3966 3).
fn is_separator(byte: u8) -> bool {
    b"-.()".contains(&byte)
}

fn digits(number: &[u8]) -> impl Iterator<Item = u8> + use<'_> {
    let mut rest = number;
    let unescaped = iter::from_fn(move || {
        // The `#` is the only character of a number that needs an escape.
        let (byte, after) = match rest.strip_prefix(b"%23") {
            Some(after) => (b'#', after),
            None => rest.split_first().map(|(&byte, after)| (byte, after))?,
        };
        rest = after;
        Some(byte)
    });
    unescaped.filter(|&byte| !is_separator(byte)).map(|byte| byte.to_ascii_lowercase())
}

/// Each parameter must be in both (RFC 3966 4). A name must not occur twice (3): such a URI only equals itself.
fn same_params(a: Params<'_>, b: Params<'_>) -> bool {
    let (count, other) = (a.iter().take(MAX_COMPARED + 1).count(), b.iter().take(MAX_COMPARED + 1).count());
    count == other
        && count <= MAX_COMPARED
        && a.iter().all(|(name, value)| has_same(b, name, value))
        && b.iter().all(|(name, value)| has_same(a, name, value))
}

fn has_same(params: Params<'_>, name: &[u8], value: Option<&[u8]>) -> bool {
    let Some((_, other)) = params.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)) else { return false };
    match (value, other) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            let is_number = name.eq_ignore_ascii_case(b"ext")
                || name.eq_ignore_ascii_case(b"phone-context") && a.first() == Some(&b'+');
            eq_unescaped_ignore_case(a, b) || is_number && digits(a).eq(digits(b))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::equivalent;

    fn tel(uri: &str) -> TelUri<'_> {
        Uri::parse(uri.as_bytes()).unwrap().tel().unwrap()
    }

    #[test]
    fn a_number_has_digits_and_parameters() {
        let number = tel("TEL:+1-201-555-0123;ext=12-3;isub=14;x");
        assert!(number.is_global());
        assert_eq!(number.digits().collect::<Vec<_>>(), b"+12015550123");
        assert_eq!((number.extension(), number.subaddress()), (Some(&b"12-3"[..]), Some(&b"14"[..])));
        let local = tel("tel:7042(A)*;phone-context=example.com");
        assert!(!local.is_global());
        assert_eq!(
            (local.digits().collect::<Vec<_>>(), local.context()),
            (b"7042a*".to_vec(), Some(&b"example.com"[..]))
        );
        assert_eq!(tel("tel:%2331").digits().collect::<Vec<_>>(), b"#31");
    }

    #[test]
    fn a_malformed_number_stays_opaque() {
        for bad in ["tel:x", "tel:+", "tel:+1a", "tel:-.", "tel:5;", "tel:5;=x", "tel:5;a=", "tel:5;a=%4", "tel:5;a_=1"]
        {
            assert!(TelUri::parse(bad.as_bytes()).is_err(), "{bad}");
            assert!(Uri::parse(bad.as_bytes()).unwrap().tel().is_none(), "{bad}");
        }
        assert_eq!(TelUri::parse(b"sip:5").err(), Some(ErrorKind::Uri));
    }

    #[test]
    fn a_user_part_can_be_a_number() {
        let uri = Uri::parse(b"sip:+1-212;ext=5:pw@gw.example;user=PHONE").unwrap();
        let number = uri.sip().unwrap().telephone().unwrap();
        assert!(number.is_same(&tel("tel:+1(212);ext=5")));
        assert!(Uri::parse(b"sip:+1-212@gw.example").unwrap().sip().unwrap().telephone().is_none());
        assert!(Uri::parse(b"sip:ann@gw.example;user=phone").unwrap().sip().unwrap().telephone().is_none());
    }

    #[test]
    fn numbers_are_compared_as_in_rfc_3966_section_4() {
        for (a, b, expected) in [
            ("tel:+1-201-555-0123", "TEL:+1.201.555.0123", true),
            ("tel:+12015550123", "tel:12015550123", false),
            ("tel:+12015550123", "tel:+12015550124", false),
            ("tel:863-1234;phone-context=+1-914-555", "tel:8631234;phone-context=+1914555", true),
            ("tel:863;phone-context=A.Example", "tel:863;Phone-Context=a.example", true),
            ("tel:863;phone-context=a.example", "tel:863;phone-context=b.example", false),
            ("tel:+1;a=1;b=2", "tel:+1;B=2;A=1", true),
            ("tel:+1;a=1", "tel:+1", false),
            ("tel:+1", "tel:+1;a", false),
            ("tel:+1;a;a", "tel:+1;a;b", false),
            ("tel:+1;ext=1-2", "tel:+1;ext=12", true),
            ("tel:+1;a=1-2", "tel:+1;a=12", false),
            ("tel:5a", "tel:5A", true),
            ("tel:5;x=%41", "tel:5;x=a", true),
            ("tel:x", "tel:x", true),
            ("tel:x", "tel:X", false),
            ("tel:5", "fax:5", false),
        ] {
            let (first, second) = (Uri::parse(a.as_bytes()).unwrap(), Uri::parse(b.as_bytes()).unwrap());
            assert_eq!(equivalent(&first, &second), expected, "{a} {b}");
            assert_eq!(equivalent(&second, &first), expected, "{b} {a}");
        }
    }
}
