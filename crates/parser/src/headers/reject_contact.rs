//! Reject-Contact (RFC 3841 9.2): the features of phones that the caller does not want to reach.

use crate::{Element, ErrorKind, Features, Header, HeaderName, Params, headers::feature::star_params};

/// One Reject-Contact value: `rc-value = "*" *( SEMI rc-params )` (RFC 3841 10).
#[derive(Clone, Copy, Debug)]
pub struct RejectContact<'a> {
    /// All parameters.
    pub params: Params<'a>,
}

impl<'a> RejectContact<'a> {
    /// The rejected features.
    pub fn features(&self) -> Features<'a> {
        Features::of(self.params)
    }
}

impl<'a> Header<'a> for RejectContact<'a> {
    const NAME: HeaderName = HeaderName::RejectContact;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Params];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        star_params(value).map(|params| Self { params })
    }
}
