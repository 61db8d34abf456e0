//! Privacy (RFC 3323 4.2, RFC 3325 9.3): the privacy that the sender requests.

use crate::{
    Element, ErrorKind, Header, HeaderName,
    octets::{self, TOKEN},
};

/// Privacy: `priv-value *( ";" priv-value )`, each a token (RFC 3323 4.2). Commas between them,
/// which some senders use, are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privacy<'a>(&'a [u8]);

impl<'a> Privacy<'a> {
    /// The value as received.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The requested kinds of privacy: `header`, `session`, `user`, `none`, `critical`, `id`, `history`, or others.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        values(self.0)
    }

    /// Whether `kind` is requested, in any case.
    pub fn has(&self, kind: &str) -> bool {
        self.iter().any(|value| value.eq_ignore_ascii_case(kind.as_bytes()))
    }
}

impl<'a> Header<'a> for Privacy<'a> {
    const NAME: HeaderName = HeaderName::Privacy;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Params];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        if value.is_empty() {
            return Err(ErrorKind::Empty);
        }
        if values(value).all(|value| octets::all(value, TOKEN)) { Ok(Self(value)) } else { Err(ErrorKind::Token) }
    }
}

fn values(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| b";,".contains(byte)).map(octets::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_tokens_between_semicolons_or_commas() {
        let privacy = Privacy::parse(b"header ; ID;critical").unwrap();
        assert_eq!(privacy.iter().collect::<Vec<_>>(), [&b"header"[..], b"ID", b"critical"]);
        assert!(privacy.has("id") && !privacy.has("none"));
        assert!(Privacy::parse(b"id, user").unwrap().has("user"));
        assert_eq!(Privacy::parse(b"").err(), Some(ErrorKind::Empty));
        for bad in ["id;", ";", "a b", "\"id\""] {
            assert_eq!(Privacy::parse(bad.as_bytes()).err(), Some(ErrorKind::Token), "{bad}");
        }
    }
}
