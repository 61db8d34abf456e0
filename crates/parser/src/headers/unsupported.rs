//! Unsupported (RFC 3261 20.40): extensions that the responding element does not support. The grammar is in
//! `option_tag`.

use crate::{Element, ErrorKind, Header, HeaderName, OptionTag};

/// One Unsupported value: `option-tag` of `option-tag *( COMMA option-tag )` (RFC 3261 25.1).
#[derive(Clone, Copy, Debug)]
pub struct Unsupported<'a> {
    /// The extension.
    pub tag: OptionTag<'a>,
}

impl<'a> Header<'a> for Unsupported<'a> {
    const NAME: HeaderName = HeaderName::Unsupported;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Params];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        OptionTag::parse(value).map(|tag| Self { tag })
    }
}
