//! Supported (RFC 3261 20.37): extensions that the sender supports. The grammar is in `option_tag`.

use crate::{Element, ErrorKind, Header, HeaderName, OptionTag};

/// One Supported value: `option-tag` of `[ option-tag *( COMMA option-tag ) ]` (RFC 3261 25.1). An empty header is an
/// error if it is requested as one value, and an empty list if requested as a list.
#[derive(Clone, Copy, Debug)]
pub struct Supported<'a> {
    /// The extension.
    pub tag: OptionTag<'a>,
}

impl<'a> Header<'a> for Supported<'a> {
    const NAME: HeaderName = HeaderName::Supported;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Params];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        OptionTag::parse(value).map(|tag| Self { tag })
    }
}
