//! Comma lists (RFC 3261 7.3.1). A comma inside a quoted string or inside angle brackets is part of the element. Must
//! not validate elements, only split the list.

use memchr::{memchr, memchr3};

use crate::{
    HeaderName,
    head::{Head, LinesByName},
    octets::{self, LWS},
};

/// The elements of one value, in order, each a trimmed subslice of the value. Empty elements are skipped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    pub(crate) fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let lead = octets::run(self.rest, LWS);
            self.rest = self.rest.get(lead..).unwrap_or_default();
            if self.rest.is_empty() {
                return None;
            }
            let end = element_end(self.rest);
            let (element, rest) = self.rest.split_at_checked(end).unwrap_or_default();
            self.rest = rest.get(1..).unwrap_or_default();
            let element = octets::trim(element);
            if !element.is_empty() {
                return Some(element);
            }
        }
    }
}

/// The elements of a comma list, trimmed; empty ones are skipped (RFC 3261 7.3.1). For values stored outside a message,
/// such as the Path of a binding.
pub fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    Elements::new(value)
}

/// The end of the first element of `list`: a comma, or the end. An unclosed quote or bracket extends to the end.
fn element_end(list: &[u8]) -> usize {
    // Most lists have one element.
    if memchr(b',', list).is_none() {
        return list.len();
    }
    let mut at = 0;
    while let Some(found) = list.get(at..).and_then(|rest| memchr3(b',', b'"', b'<', rest)) {
        at += found;
        let rest = list.get(at..).unwrap_or_default();
        let skipped = match rest.first() {
            Some(b'"') => quoted_len(rest),
            Some(b'<') => memchr(b'>', rest).map(|close| close + 1),
            _ => return at,
        };
        let Some(skipped) = skipped else { return list.len() };
        at += skipped;
    }
    list.len()
}

/// Length of the quoted string at the start of `bytes`, including its quotes; `None` if it is not terminated.
pub(crate) fn quoted_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        let found = octets::position_of([b'"', b'\\'], bytes.get(at..)?)?;
        at += found;
        if bytes.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Every value of a header, of all its lines in order, see [`crate::Message::values`].
#[derive(Clone, Debug)]
pub struct Values<'a> {
    bytes: &'a [u8],
    head: &'a Head,
    lines: LinesByName<'a>,
    /// Whether commas separate several values in a line.
    list: bool,
    current: Elements<'a>,
}

impl<'a> Values<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], head: &'a Head, name: HeaderName, list: bool) -> Self {
        Self { bytes, head, lines: head.named(name), list, current: Elements::new(b"") }
    }

    fn next_element(&mut self) -> Option<&'a [u8]> {
        loop {
            if !self.current.rest.is_empty()
                && let Some(element) = self.current.next()
            {
                return Some(element);
            }
            let value = self.head.value(self.bytes, self.lines.next()?);
            // Most lines have one element.
            if !self.list || is_single_element(value) {
                return Some(value);
            }
            self.current = Elements::new(value);
        }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        // Fast path: the message often has no such line.
        if self.current.rest.is_empty() && self.lines.is_exhausted() { None } else { self.next_element() }
    }
}

/// Whether a list certainly has exactly one element.
#[inline]
pub(crate) fn is_single_element(list: &[u8]) -> bool {
    !list.is_empty() && octets::position_of([b','], list).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(value: &str) -> Vec<&str> {
        Elements::new(value.as_bytes()).map(|element| std::str::from_utf8(element).unwrap()).collect()
    }

    #[test]
    fn commas_separate_only_outside_quotes_and_brackets() {
        assert_eq!(split("a, b ,\r\n c"), ["a", "b", "c"]);
        assert_eq!(split(r#""a, \", b" <sip:x,y@h>;q=1, <sip:z>"#), [r#""a, \", b" <sip:x,y@h>;q=1"#, "<sip:z>"]);
        assert_eq!(split(" ,, a,,b, "), ["a", "b"]);
        assert_eq!(split(""), Vec::<&str>::new());
    }

    #[test]
    fn an_unclosed_quote_or_bracket_extends_to_the_end() {
        assert_eq!(split("a, \"b, c"), ["a", "\"b, c"]);
        assert_eq!(split("a, <b, c"), ["a", "<b, c"]);
        assert_eq!(split("\"\\"), ["\"\\"]);
    }

    #[test]
    fn quoted_strings_end_at_an_unescaped_quote() {
        assert_eq!(quoted_len(br#""a\"b" c"#), Some(6));
        assert_eq!(quoted_len(br#""a\\" c"#), Some(5));
        assert_eq!(quoted_len(br#""a\""#), None);
    }
}
