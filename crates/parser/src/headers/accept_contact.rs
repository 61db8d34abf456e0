//! Accept-Contact (RFC 3841 9.2): the features of phones that the caller prefers.

use crate::{Element, ErrorKind, Features, Header, HeaderName, Params, headers::feature::star_params};

/// One Accept-Contact value: `ac-value = "*" *( SEMI ac-params )` (RFC 3841 10).
#[derive(Clone, Copy, Debug)]
pub struct AcceptContact<'a> {
    /// All parameters.
    pub params: Params<'a>,
}

impl<'a> AcceptContact<'a> {
    /// The requested features.
    pub fn features(&self) -> Features<'a> {
        Features::of(self.params)
    }

    /// `req-param`: a phone that does not match must not be called.
    pub fn is_required(&self) -> bool {
        self.params.has("require")
    }

    /// `explicit-param`: a phone without the feature in its Contact does not match.
    pub fn is_explicit(&self) -> bool {
        self.params.has("explicit")
    }
}

impl<'a> Header<'a> for AcceptContact<'a> {
    const NAME: HeaderName = HeaderName::AcceptContact;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Params];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        star_params(value).map(|params| Self { params })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_features_and_may_be_required() {
        let accept = AcceptContact::parse(b"*;audio;methods=\"INVITE\";Require").unwrap();
        assert_eq!((accept.features().count(), accept.is_required(), accept.is_explicit()), (2, true, false));
        assert!(AcceptContact::parse(b"<sip:a@h>").is_err());
    }
}
