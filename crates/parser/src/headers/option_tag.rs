//! The option tags of Require, Proxy-Require, Supported and Unsupported (RFC 3261 19.2, 25.1 `option-tag`).

use crate::{
    ErrorKind,
    octets::{self, TOKEN},
};

/// `option-tag = token` (RFC 3261 25.1): the name of an extension, as received.
#[derive(Clone, Copy, Debug)]
pub struct OptionTag<'a>(pub &'a [u8]);

impl<'a> OptionTag<'a> {
    /// Parses one tag.
    ///
    /// # Errors
    /// [`ErrorKind::Empty`] for an empty value, [`ErrorKind::Token`] if it is not a token.
    pub fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        match value {
            [] => Err(ErrorKind::Empty),
            value if octets::all(value, TOKEN) => Ok(Self(value)),
            _ => Err(ErrorKind::Token),
        }
    }

    /// Whether it is the tag of `extension`, in any case (RFC 3261 7.3.1).
    pub fn is(&self, extension: &str) -> bool {
        self.0.eq_ignore_ascii_case(extension.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_tokens_and_are_compared_in_any_case() {
        assert!(OptionTag::parse(b"100REL").unwrap().is("100rel"));
        assert!(!OptionTag::parse(b"path").unwrap().is("outbound"));
        assert_eq!(OptionTag::parse(b"").err(), Some(ErrorKind::Empty));
        assert_eq!(OptionTag::parse(b"a b").err(), Some(ErrorKind::Token));
    }
}
