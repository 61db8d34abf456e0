//! Warning (RFC 3261 20.43): text with more information about the status, for people.

use std::borrow::Cow;

use crate::{
    Element, ErrorKind, Header, HeaderName,
    list::quoted_len,
    octets::{self, LWS},
    unquote,
};

/// One Warning value: `warn-code SP warn-agent SP warn-text` (RFC 3261 25.1). More white space is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warning<'a> {
    /// `warn-code = 3DIGIT`.
    pub code: u16,
    /// `warn-agent = hostport / pseudonym`: the element that added it, as received.
    pub agent: &'a [u8],
    /// `warn-text = quoted-string`, with its quotes.
    pub text: &'a [u8],
}

impl<'a> Warning<'a> {
    /// The text, unquoted.
    pub fn unquoted(&self) -> Cow<'a, [u8]> {
        unquote(self.text)
    }
}

impl<'a> Header<'a> for Warning<'a> {
    const NAME: HeaderName = HeaderName::Warning;
    const SHAPE: &'static [Element] =
        &[Element::Digits, Element::Space, Element::Agent, Element::Space, Element::Quoted, Element::Space];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        let (code, rest) = word(value);
        let (agent, text) = word(rest);
        let number = octets::number(code).ok_or(ErrorKind::Number)?;
        let code = u16::try_from(number).ok().filter(|_| code.len() == 3).ok_or(ErrorKind::Range)?;
        if agent.is_empty() || agent.contains(&b'"') {
            return Err(ErrorKind::Token);
        }
        match quoted_len(text) {
            _ if text.first() != Some(&b'"') => Err(ErrorKind::Token),
            None => Err(ErrorKind::Quote),
            Some(len) if len < text.len() => Err(ErrorKind::Trailing),
            Some(_) => Ok(Self { code, agent, text }),
        }
    }
}

/// The text up to the next white space, and the rest.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&byte| octets::is(byte, LWS)).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or_default();
    (word, octets::trim(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_has_a_code_an_agent_and_a_text() {
        let warning = Warning::parse(b"370 [2001:db8::1]:5060 \"Too \\\"little\\\", bandwidth\"").unwrap();
        assert_eq!((warning.code, warning.agent), (370, &b"[2001:db8::1]:5060"[..]));
        assert_eq!(&*warning.unquoted(), b"Too \"little\", bandwidth");
    }

    #[test]
    fn each_fault_has_its_kind() {
        for (bad, kind) in [
            ("", ErrorKind::Number),
            ("x h \"t\"", ErrorKind::Number),
            ("1812 overture \"In Progress\"", ErrorKind::Range),
            ("37 h \"t\"", ErrorKind::Range),
            ("370 \"t\"", ErrorKind::Token),
            ("370 h t", ErrorKind::Token),
            ("370 h", ErrorKind::Token),
            ("370 h \"t", ErrorKind::Quote),
            ("370 h \"t\" x", ErrorKind::Trailing),
        ] {
            assert_eq!(Warning::parse(bad.as_bytes()), Err(kind), "{bad}");
        }
    }
}
