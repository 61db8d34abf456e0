//! Cuts the head of a message into logical lines (RFC 3261 7.3.1): header name, value, continuation lines. Shared by
//! [`crate::Message`] and [`crate::Framer`] so that both agree on where a line ends. Must not look into values.

use memchr::memchr2;

use crate::{
    ErrorKind, HeaderName, Span,
    octets::{self, CONTROL, LWS, TOKEN},
    span::offset,
};

/// Which line ends besides CRLF count as valid. The head is cut at a lone LF either way; the switches only decide
/// whether the message is good. Both are off by default: an element behind us may cut such a message differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leniency {
    /// A LF without CR ends a line. Written by hand-made clients and by text tools.
    pub lone_lf: bool,
    /// A CR without LF is part of the value around it.
    pub lone_cr: bool,
}

/// One logical header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which header; [`HeaderName::Unknown`] for a line that has no name at all, too.
    pub name: HeaderName,
    /// Octets of the name at the start of `whole`, without the white space before the colon.
    pub name_len: u16,
    /// The line with its continuation lines and its line end.
    pub whole: Span,
    /// The value, trimmed; folding inside is left as it came.
    pub value: Span,
}

impl Line {
    /// The header, if it is one we can name to a peer.
    pub(crate) fn known_name(&self) -> Option<HeaderName> {
        Some(self.name).filter(|name| *name != HeaderName::Unknown)
    }
}

/// A line's extent, before anyone asks what is in it.
pub(crate) struct Extent {
    /// Where the content ends and the line end starts.
    pub(crate) content_end: usize,
    /// One past the line end.
    pub(crate) end: usize,
    pub(crate) flaw: Option<(ErrorKind, usize)>,
}

/// The physical line that starts at `at`, or the logical one with its continuation lines if `folds`.
pub(crate) fn extent(bytes: &[u8], at: usize, folds: bool, leniency: Leniency) -> Extent {
    let mut flaw = None;
    let mut from = at;
    while let Some(found) = bytes.get(from..).and_then(|rest| memchr2(b'\r', b'\n', rest)) {
        let stop = from + found;
        let is_cr = bytes.get(stop) == Some(&b'\r');
        if is_cr && bytes.get(stop + 1) != Some(&b'\n') {
            if !leniency.lone_cr {
                flaw = flaw.or(Some((ErrorKind::LoneCr, stop)));
            }
            from = stop + 1;
            continue;
        }
        if !is_cr && !leniency.lone_lf {
            flaw = flaw.or(Some((ErrorKind::LoneLf, stop)));
        }
        let end = stop + if is_cr { 2 } else { 1 };
        // A blank line ends the head, whatever the body starts with.
        if folds && stop > at && matches!(bytes.get(end), Some(b' ' | b'\t')) {
            from = end;
            continue;
        }
        return Extent { content_end: stop, end, flaw };
    }
    Extent { content_end: bytes.len(), end: bytes.len(), flaw: flaw.or(Some((ErrorKind::NoBlankLine, bytes.len()))) }
}

/// Reads the line that covers `at..extent.end`.
pub(crate) fn line(bytes: &[u8], at: usize, extent: &Extent) -> (Line, Option<(ErrorKind, usize)>) {
    let content = bytes.get(at..extent.content_end).unwrap_or_default();
    let name_len = octets::run(content, TOKEN);
    let (name, rest) = content.split_at_checked(name_len).unwrap_or_default();
    let gap = octets::run(rest, LWS);
    let whole = Span { start: offset(at), end: offset(extent.end) };
    let (Some(b':'), Ok(short), false) = (rest.get(gap), u16::try_from(name_len), name.is_empty()) else {
        let nothing = Span { start: offset(extent.content_end), end: offset(extent.content_end) };
        let line = Line { name: HeaderName::Unknown, name_len: 0, whole, value: nothing };
        return (line, Some((ErrorKind::Line, at)));
    };
    let value_at = at + name_len + gap + 1;
    let value = bytes.get(value_at..extent.content_end).unwrap_or_default();
    let lead = octets::run(value, LWS);
    let value = octets::trim(value);
    let start = value_at + lead;
    let value_span = Span { start: offset(start), end: offset(start + value.len()) };
    (Line { name: HeaderName::from_bytes(name), name_len: short, whole, value: value_span }, extent.flaw)
}

/// Whether any octet is a control character, line ends and tabs aside. One pass without branches over a whole head, which
/// the compiler makes a few vector instructions of; usually the answer is no and nobody has to look closer.
pub(crate) fn has_control(head: &[u8]) -> bool {
    let is_control = |byte: u8| (byte < b' ') & (byte != b'\t') & (byte != b'\r') & (byte != b'\n') | (byte == 0x7f);
    head.iter().fold(false, |seen, &byte| seen | is_control(byte))
}

/// The first control character of a value that no backslash precedes (`quoted-pair` allows all but CR and LF, RFC 3261
/// 25.1).
pub(crate) fn stray_control(value: &[u8]) -> Option<usize> {
    value.iter().enumerate().position(|(at, &byte)| {
        octets::is(byte, CONTROL) && at.checked_sub(1).is_none_or(|before| value.get(before) != Some(&b'\\'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> (Line, Option<ErrorKind>, &[u8]) {
        let extent = extent(text, 0, true, Leniency::default());
        let (line, flaw) = line(text, 0, &extent);
        (line, flaw.map(|(kind, _)| kind), line.value.of(text))
    }

    #[test]
    fn names_values_and_folds() {
        let (line, flaw, value) = read(b"To \t :\r\n \"a\r\n b\" <sip:x>  \r\n\r\n");
        assert_eq!((line.name, line.name_len, flaw), (HeaderName::To, 2, None));
        assert_eq!(value, b"\"a\r\n b\" <sip:x>");
        assert_eq!(line.whole, Span { start: 0, end: 28 });

        let (line, flaw, value) = read(b"Subject:\r\nTo: x\r\n");
        assert_eq!((line.whole.end, flaw, value), (10, None, &b""[..]));
    }

    #[test]
    fn flaws() {
        assert_eq!(read(b"no colon here\r\n\r\n").1, Some(ErrorKind::Line));
        assert_eq!(read(b": value\r\n\r\n").1, Some(ErrorKind::Line));
        assert_eq!(read(b" fold of nothing: x\r\n\r\n").1, Some(ErrorKind::Line));
        assert_eq!(read(b"To: x\n\r\n").1, Some(ErrorKind::LoneLf));
        assert_eq!(read(b"To: x\ry\r\n\r\n").1, Some(ErrorKind::LoneCr));
        assert_eq!(read(b"To: x").1, Some(ErrorKind::NoBlankLine));
    }

    #[test]
    fn control_characters() {
        assert!((0..=255).all(|byte| has_control(&[b'a', byte]) == octets::is(byte, CONTROL)));
        assert_eq!(stray_control(b"x\0y"), Some(1));
        assert_eq!(stray_control(b"\"x\\\0y\""), None);
        assert_eq!(stray_control(b"\0"), Some(0));
    }

    #[test]
    fn leniency_only_silences() {
        let text = b"To: x\ry\nFrom: z\r\n";
        let extent = extent(text, 0, true, Leniency { lone_lf: true, lone_cr: true });
        assert_eq!((extent.content_end, extent.end, extent.flaw), (7, 8, None));
    }
}
