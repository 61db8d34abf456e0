//! Proxy-Require (RFC 3261 20.29): extensions that every proxy must support. The grammar is in `option_tag`.

use crate::{Element, ErrorKind, Header, HeaderName, OptionTag};

/// One Proxy-Require value: `option-tag` of `option-tag *( COMMA option-tag )` (RFC 3261 25.1).
#[derive(Clone, Copy, Debug)]
pub struct ProxyRequire<'a> {
    /// The extension.
    pub tag: OptionTag<'a>,
}

impl<'a> Header<'a> for ProxyRequire<'a> {
    const NAME: HeaderName = HeaderName::ProxyRequire;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Params];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        OptionTag::parse(value).map(|tag| Self { tag })
    }
}
