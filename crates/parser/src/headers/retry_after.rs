//! Retry-After (RFC 3261 20.33): when to retry. The comment is skipped.

use nom::{Parser, character::complete::digit1};

use crate::{
    Element, ErrorKind, Header, HeaderName, Params,
    grammar::{self, Parsed, params},
    headers::product::comment_len,
    octets,
};

/// Retry-After: `delta-seconds [ comment ] *( SEMI retry-param )` (RFC 3261 25.1).
#[derive(Clone, Copy, Debug)]
pub struct RetryAfter<'a> {
    /// Seconds to wait, saturating at `u32::MAX`.
    pub seconds: u32,
    /// The parameters: `duration`, or others.
    pub params: Params<'a>,
}

impl<'a> Header<'a> for RetryAfter<'a> {
    const NAME: HeaderName = HeaderName::RetryAfter;
    const SHAPE: &'static [Element] = &[Element::Digits, Element::Params];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        if !value.first().is_some_and(u8::is_ascii_digit) {
            return Err(ErrorKind::Number);
        }
        let (digits, (), params) = grammar::parse_all(|input| (digit1, comment, params).parse(input), value)?;
        let seconds = octets::number(digits).ok_or(ErrorKind::Number)?;
        Ok(Self { seconds: u32::try_from(seconds).unwrap_or(u32::MAX), params })
    }
}

/// An optional comment.
fn comment(input: &[u8]) -> Parsed<'_, ()> {
    let text = octets::trim_start(input);
    if text.first() != Some(&b'(') {
        return Ok((input, ()));
    }
    match comment_len(text).and_then(|len| text.get(len..)) {
        Some(rest) => Ok((rest, ())),
        None => grammar::fail(ErrorKind::Quote),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_and_parameters_may_follow_the_seconds() {
        let retry = RetryAfter::parse(b"18000 (in a (\\)) meeting);duration=3600").unwrap();
        assert_eq!((retry.seconds, retry.params.value("duration")), (18000, Some(&b"3600"[..])));
        assert_eq!(RetryAfter::parse(b"99999999999").unwrap().seconds, u32::MAX);
        assert_eq!(RetryAfter::parse(b"1 (x").err(), Some(ErrorKind::Quote));
        assert_eq!(RetryAfter::parse(b"soon").err(), Some(ErrorKind::Number));
    }
}
