//! Cuts the head of a message into logical lines (RFC 3261 7.3.1): header name, value, continuation lines. Shared by
//! [`crate::Message`] and [`crate::Framer`] so that both agree on where a line ends. Must not look into values.

use memchr::memchr;

use crate::{
    ErrorKind, HeaderName, Span,
    octets::{self, CONTROL, TOKEN},
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

    /// What is wrong with the line that was read from `extent`, and where.
    pub(crate) fn flaw(&self, extent: &Extent) -> Option<(ErrorKind, usize)> {
        if self.name_len == 0 { Some((ErrorKind::Line, self.whole.start as usize)) } else { extent.flaw }
    }
}

/// A line's extent, before anyone asks what is in it.
pub(crate) struct Extent {
    /// Where the content ends and the line end starts.
    pub(crate) content_end: usize,
    /// One past the line end.
    pub(crate) end: usize,
    /// The first line end that is none, or none where one should be.
    pub(crate) flaw: Option<(ErrorKind, usize)>,
    /// Whether there is a control character in it, line ends and tabs aside. Usually there is none and nobody has to
    /// look closer.
    pub(crate) has_control: bool,
}

/// The physical line that starts at `at`, or the logical one with its continuation lines if `folds`.
#[inline]
pub(crate) fn extent(bytes: &[u8], at: usize, folds: bool, leniency: Leniency) -> Extent {
    let mut flaw = None;
    let mut has_control = false;
    let mut from = at;
    while let Some(found) = bytes.get(from..).and_then(octets::find_control) {
        let stop = from + found;
        let end = match bytes.get(stop..) {
            Some([b'\r', b'\n', ..]) => stop + 2,
            Some([b'\n', ..]) => {
                if !leniency.lone_lf {
                    flaw = flaw.or(Some((ErrorKind::LoneLf, stop)));
                }
                stop + 1
            }
            Some([other, ..]) => {
                if *other == b'\r' && !leniency.lone_cr {
                    flaw = flaw.or(Some((ErrorKind::LoneCr, stop)));
                }
                has_control |= octets::is(*other, CONTROL);
                from = stop + 1;
                continue;
            }
            _ => break,
        };
        // A blank line ends the head, whatever the body starts with.
        if folds && stop > at && matches!(bytes.get(end), Some(b' ' | b'\t')) {
            from = end;
            continue;
        }
        return Extent { content_end: stop, end, flaw, has_control };
    }
    let end = bytes.len();
    Extent { content_end: end, end, flaw: flaw.or(Some((ErrorKind::NoBlankLine, end))), has_control }
}

/// Reads the line that covers `at..extent.end`. One without a name and a colon is [`HeaderName::Unknown`] with a name of
/// no octets and no value.
#[inline(always)] // Else each line goes through memory on its way into the list: a fifth of the time.
pub(crate) fn line(bytes: &[u8], at: usize, extent: &Extent) -> Line {
    let content = bytes.get(at..extent.content_end).unwrap_or_default();
    let whole = Span { start: offset(at), end: offset(extent.end) };
    let known = HeaderName::at_start(bytes.get(at..).unwrap_or_default());
    let (name, name_len, colon) = known.map_or_else(|| name(content), |(name, len)| (name, len, len.into()));
    if name_len == 0 {
        let nothing = Span { start: offset(extent.content_end), end: offset(extent.content_end) };
        return Line { name, name_len, whole, value: nothing };
    }
    let value = octets::trim_start(content.get(colon + 1..).unwrap_or_default());
    let start = extent.content_end - value.len();
    let value = Span { start: offset(start), end: offset(start + octets::trim_end(value).len()) };
    Line { name, name_len, whole, value }
}

/// The header that a line names, the length of the name, 0 if it is none, and where the colon stands.
fn name(content: &[u8]) -> (HeaderName, u16, usize) {
    let colon = memchr(b':', content).unwrap_or(0);
    let name = octets::trim_end(content.get(..colon).unwrap_or_default());
    match u16::try_from(name.len()) {
        Ok(len) if octets::all(name, TOKEN) => (HeaderName::from_bytes(name), len, colon),
        _ => (HeaderName::Unknown, 0, colon),
    }
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
        let line = line(text, 0, &extent);
        (line, line.flaw(&extent).map(|(kind, _)| kind), line.value.of(text))
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
        for byte in 0..=255 {
            let line = extent(&[b'a', byte, b'b', b'\r', b'\n'], 0, true, Leniency::default());
            assert_eq!(line.has_control, octets::is(byte, CONTROL), "{byte:#x}");
        }
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
