//! Content-Type (RFC 3261 20.15): the media type of the body. Bodies are never parsed.

use nom::{Parser, sequence::separated_pair};

use crate::{
    Element, ErrorKind, Header, HeaderName, Params,
    grammar::{self, params, separator, token},
};

/// Content-Type: `media-type = m-type SLASH m-subtype *( SEMI m-parameter )` (RFC 3261 25.1).
#[derive(Clone, Copy, Debug)]
pub struct ContentType<'a> {
    /// The type: `application`. Compared in any case.
    pub kind: &'a [u8],
    /// The subtype: `sdp`. Compared in any case.
    pub subtype: &'a [u8],
    /// The parameters.
    pub params: Params<'a>,
}

impl<'a> Header<'a> for ContentType<'a> {
    const NAME: HeaderName = HeaderName::ContentType;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Slash, Element::Token, Element::Params];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        let rule = |input| (separated_pair(token, separator("/"), token), params).parse(input);
        let ((kind, subtype), params) = grammar::parse_all(rule, value)?;
        Ok(Self { kind, subtype, params })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_has_a_type_and_a_subtype() {
        let content = ContentType::parse(b"multipart / mixed;boundary=\"x\"").unwrap();
        assert_eq!((content.kind, content.subtype), (&b"multipart"[..], &b"mixed"[..]));
        assert!(ContentType::parse(b"text").is_err());
    }
}
