//! Accept (RFC 3261 20.1): the media types that the sender accepts. Bodies are never parsed.

use nom::{Parser, sequence::separated_pair};

use crate::{
    Element, ErrorKind, Header, HeaderName, Params,
    grammar::{self, params, separator, token},
    headers::contact::thousandths,
};

/// One Accept value: `media-range *( SEMI accept-param )`, a media range being `*/*`, `m-type SLASH "*"` or
/// `m-type SLASH m-subtype` (RFC 3261 25.1). An empty header, which accepts nothing, is an
/// error if it is requested as one value, and an empty list if requested as a list.
#[derive(Clone, Copy, Debug)]
pub struct Accept<'a> {
    /// The type, `*` for any. Compared in any case.
    pub kind: &'a [u8],
    /// The subtype, `*` for any. Compared in any case.
    pub subtype: &'a [u8],
    /// The parameters: those of the media range and `q`.
    pub params: Params<'a>,
}

impl Accept<'_> {
    /// The preference in thousandths, 0 to 1000; 1000 if there is no `q` (RFC 3261 20.1, RFC 2616 14.1).
    ///
    /// # Errors
    /// [`ErrorKind::Range`] if it is not a `qvalue`.
    pub fn q(&self) -> Result<u16, ErrorKind> {
        match self.params.get("q") {
            None => Ok(1000),
            Some(value) => thousandths(value.unwrap_or_default()).ok_or(ErrorKind::Range),
        }
    }
}

impl<'a> Header<'a> for Accept<'a> {
    const NAME: HeaderName = HeaderName::Accept;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Slash, Element::Token, Element::Params];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        if value.is_empty() {
            return Err(ErrorKind::Empty);
        }
        let rule = |input| (separated_pair(token, separator("/"), token), params).parse(input);
        let ((kind, subtype), params) = grammar::parse_all(rule, value)?;
        // `*` is also a token, but a media range of all types with one subtype does not exist.
        if kind == b"*" && subtype != b"*" {
            return Err(ErrorKind::Token);
        }
        Ok(Self { kind, subtype, params })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_range_has_parameters_and_a_preference() {
        let accept = Accept::parse(b"application / sdp;level=1 ; q=0.5").unwrap();
        assert_eq!((accept.kind, accept.subtype, accept.q()), (&b"application"[..], &b"sdp"[..], Ok(500)));
        assert_eq!(accept.params.value("level"), Some(&b"1"[..]));
        assert_eq!(Accept::parse(b"*/*").unwrap().q(), Ok(1000));
        assert!(Accept::parse(b"text/*").is_ok());
        assert_eq!(Accept::parse(b"text/plain;q=2").unwrap().q(), Err(ErrorKind::Range));
        for bad in ["", "text", "*/plain", "text/", "text/plain;"] {
            assert!(Accept::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
