//! Allow (RFC 3261 20.5): the methods that the sender supports.

use crate::{Element, ErrorKind, Header, HeaderName, Method};

/// One Allow value: `Method` of `[ Method *( COMMA Method ) ]` (RFC 3261 25.1). An empty header, which allows nothing,
/// is an error if it is requested as one value, and an empty list if requested as a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allow<'a> {
    /// The method.
    pub method: Method<'a>,
}

impl<'a> Header<'a> for Allow<'a> {
    const NAME: HeaderName = HeaderName::Allow;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Params];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        if value.is_empty() {
            return Err(ErrorKind::Empty);
        }
        Method::from_bytes(value).map(|method| Self { method }).ok_or(ErrorKind::Token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_keep_their_case() {
        assert_eq!(Allow::parse(b"INVITE"), Ok(Allow { method: Method::Invite }));
        assert_eq!(Allow::parse(b"invite"), Ok(Allow { method: Method::Other(b"invite") }));
        assert_eq!(Allow::parse(b"A/B"), Err(ErrorKind::Token));
        assert_eq!(Allow::parse(b""), Err(ErrorKind::Empty));
    }
}
