//! Feature-Caps (RFC 6809 6.2): the capabilities of a proxy in the path.

use crate::{Element, ErrorKind, Features, Header, HeaderName, Params, headers::feature::star_params};

/// One Feature-Caps value: `fc-value = "*" *( SEMI feature-cap )` (RFC 6809 6.2.1, 6.3.2).
#[derive(Clone, Copy, Debug)]
pub struct FeatureCaps<'a> {
    /// All parameters.
    pub params: Params<'a>,
}

impl<'a> FeatureCaps<'a> {
    /// The feature-capability indicators; their names start with `+`.
    pub fn features(&self) -> Features<'a> {
        Features::of(self.params)
    }
}

impl<'a> Header<'a> for FeatureCaps<'a> {
    const NAME: HeaderName = HeaderName::FeatureCaps;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Params];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        star_params(value).map(|params| Self { params })
    }
}
