//! Require (RFC 3261 20.32): extensions that the UAS must support. The grammar is in `option_tag`.

use crate::{Element, ErrorKind, Header, HeaderName, OptionTag};

/// One Require value: `option-tag` of `option-tag *( COMMA option-tag )` (RFC 3261 25.1).
#[derive(Clone, Copy, Debug)]
pub struct Require<'a> {
    /// The extension.
    pub tag: OptionTag<'a>,
}

impl<'a> Header<'a> for Require<'a> {
    const NAME: HeaderName = HeaderName::Require;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Params];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        OptionTag::parse(value).map(|tag| Self { tag })
    }
}
