//! Splits the head of a message into logical lines (RFC 3261 7.3.1): header name, value, continuation lines. Shared by
//! [`crate::Message`] and [`crate::Framer`], so that both find the same line ends. Must not parse values.

use crate::{
    ErrorKind, HeaderName, Span,
    controls::Controls,
    octets::{self, CONTROL, TOKEN},
};

/// Which line ends besides CRLF are valid. A lone LF always ends a line; the switches only decide whether the message
/// is defective. Both are off by default, because a downstream element may split such a message differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leniency {
    /// An LF without CR is a valid line end. Some clients and text tools send it.
    pub lone_lf: bool,
    /// A CR without LF is valid as part of a value.
    pub lone_cr: bool,
}

/// One logical header line: `message-header`, its continuation lines included (RFC 3261 7.3.1, 25.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The header; [`HeaderName::Unknown`] also for a line without a name.
    pub name: HeaderName,
    /// Length of the name at the start of `whole`, without white space before the colon.
    pub name_len: u16,
    /// The line with its continuation lines and its line end.
    pub whole: Span,
    /// The value, trimmed; folds inside are unchanged.
    pub value: Span,
}

/// The extent of a line.
pub(crate) struct Extent {
    /// Start of the line.
    pub(crate) start: usize,
    /// End of the content and start of the line end.
    pub(crate) content_end: usize,
    /// One past the line end.
    pub(crate) end: usize,
}

impl Extent {
    /// Whether it is the blank line that ends the head, or empty.
    pub(crate) fn is_blank(&self) -> bool {
        self.content_end == self.start
    }
}

/// Returns the lines in order. It borrows nothing: its methods take the octets, which must be the same in each call.
pub(crate) struct LineSplitter {
    controls: Controls,
    at: usize,
}

/// The control characters of the lines that are no CRLF. Apart from [`LineSplitter`], so that this one stays in registers.
pub(crate) struct StrayControls {
    leniency: Leniency,
    /// The first invalid or missing line end.
    pub(crate) defect: Option<(ErrorKind, usize)>,
    /// Whether there is any other than a line end. Usually there is none, and the callers skip their checks.
    pub(crate) has_any: bool,
    /// Whether one of them is neither tab nor CR.
    pub(crate) has_control: bool,
}

impl LineSplitter {
    pub(crate) fn new() -> Self {
        Self { controls: Controls::new(), at: 0 }
    }

    /// Start of the next line.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next physical line.
    pub(crate) fn physical(&mut self, bytes: &[u8], strays: &mut StrayControls) -> Extent {
        self.cut(bytes, strays, false)
    }

    /// The next line with its continuation lines.
    #[inline(always)]
    pub(crate) fn logical(&mut self, bytes: &[u8], strays: &mut StrayControls) -> Extent {
        self.cut(bytes, strays, true)
    }

    #[inline(always)] // Otherwise each line is returned through memory, which takes 20 % longer.
    fn cut(&mut self, bytes: &[u8], strays: &mut StrayControls, folds: bool) -> Extent {
        let start = self.at;
        while let Some(stop) = self.controls.next(bytes) {
            let Some(rest) = bytes.get(stop..) else { break };
            let rest = if let Some(rest) = rest.strip_prefix(b"\r\n") {
                self.controls.next(bytes);
                rest
            } else if let Some(rest) = strays.add(rest, stop) {
                rest
            } else {
                continue;
            };
            // A blank line ends the head even if the body starts with white space.
            if folds && stop > start && matches!(rest, [b' ' | b'\t', ..]) {
                continue;
            }
            self.at = bytes.len() - rest.len();
            return Extent { start, content_end: stop, end: self.at };
        }
        let end = bytes.len();
        strays.record_defect(ErrorKind::NoBlankLine, end);
        self.at = end;
        Extent { start, content_end: end, end }
    }
}

impl StrayControls {
    pub(crate) fn new(leniency: Leniency) -> Self {
        Self { leniency, defect: None, has_any: false, has_control: false }
    }

    /// Handles a control character at `at`, the first of `rest`, that does not start a CRLF. Returns the octets after it
    /// if it is a line end.
    #[cold]
    fn add<'a>(&mut self, rest: &'a [u8], at: usize) -> Option<&'a [u8]> {
        let (&control, after) = rest.split_first()?;
        self.has_any |= control != b'\n';
        self.has_control |= octets::is(control, CONTROL);
        match control {
            b'\n' if !self.leniency.lone_lf => self.record_defect(ErrorKind::LoneLf, at),
            b'\r' if !self.leniency.lone_cr => self.record_defect(ErrorKind::LoneCr, at),
            _ => {}
        }
        (control == b'\n').then_some(after)
    }

    #[cold]
    fn record_defect(&mut self, kind: ErrorKind, at: usize) {
        self.defect.get_or_insert((kind, at));
    }
}

/// The header name of the line at the start of `bytes`, and the position of its colon; `None` for a line without a name
/// or a colon.
#[inline]
pub(crate) fn name(bytes: &[u8]) -> Option<(HeaderName, u16)> {
    HeaderName::at_start(bytes).or_else(|| parse_name(bytes))
}

#[cold]
fn parse_name(bytes: &[u8]) -> Option<(HeaderName, u16)> {
    let (name, rest) = bytes.split_at_checked(octets::run(bytes, TOKEN))?;
    let (before, rest) = bytes.split_at_checked(bytes.len() - octets::trim_start(rest).len())?;
    let colon = u16::try_from(before.len()).ok()?;
    // A line end that no white space follows ends the line, and the colon is in another one or in the body.
    let mut continued = before.split(|octet| *octet == b'\n').skip(1);
    let has_colon = rest.starts_with(b":") && continued.all(|line| matches!(line, [b' ' | b'\t', ..]));
    (has_colon && !name.is_empty()).then(|| (HeaderName::from_bytes(name), colon))
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

    fn splitter(leniency: Leniency) -> (LineSplitter, StrayControls) {
        (LineSplitter::new(), StrayControls::new(leniency))
    }

    fn read(text: &[u8]) -> (Option<(HeaderName, u16)>, usize, Option<ErrorKind>) {
        let (mut splitter, mut strays) = splitter(Leniency::default());
        let extent = splitter.logical(text, &mut strays);
        (name(text), extent.end, strays.defect.map(|(kind, _)| kind))
    }

    #[test]
    fn a_line_has_a_name_and_its_continuation_lines() {
        let text = b"To \t :\r\n \"a\r\n b\" <sip:x>  \r\n\r\n";
        assert_eq!(read(text), (Some((HeaderName::To, 5)), text.len() - 2, None));
        assert_eq!(read(b"Subject:\r\nTo: x\r\n"), (Some((HeaderName::Subject, 7)), 10, None));
        assert_eq!(read(b"p-preferred-identity : x\r\n"), (Some((HeaderName::PPreferredIdentity, 21)), 26, None));
    }

    #[test]
    fn lines_are_returned_in_order() {
        let text = b"ACK sip:a SIP/2.0\r\n is: no fold\r\nTo: x\r\n\ty\r\n\r\n body";
        let (mut splitter, mut strays) = splitter(Leniency::default());
        assert_eq!(splitter.physical(text, &mut strays).end, 19);
        let [first, second, blank] = [(); 3].map(|()| splitter.logical(text, &mut strays));
        assert_eq!((first.start, first.end, second.start, second.end), (19, 33, 33, 44));
        assert_eq!((blank.is_blank(), blank.end, strays.defect), (true, 46, None));
    }

    #[test]
    fn lines_without_a_name_and_bad_line_ends_are_defects() {
        for nameless in [&b"To\r\n: x\r\n\r\n"[..], b"To\r\n\r\n : x", b"To \n \n\r\n : x", b"To\r\n \r\n\r\n: x"] {
            assert_eq!(read(nameless).0, None);
        }
        assert_eq!(read(b"To\r\n \r\n\t: x\r\n\r\n").0, Some((HeaderName::To, 8)));
        for nameless in [&b"no colon here\r\n\r\n"[..], b": value\r\n\r\n", b" fold of nothing: x\r\n\r\n", b"\r\n:"] {
            assert_eq!(read(nameless).0, None);
        }
        assert_eq!(read(&[b"A", &b" ".repeat(1 << 16)[..], b": b\r\n"].concat()).0, None);
        assert_eq!(read(b"To: x\n\r\n").2, Some(ErrorKind::LoneLf));
        assert_eq!(read(b"To: x\ry\r\n\r\n").2, Some(ErrorKind::LoneCr));
        assert_eq!(read(b"To: x").2, Some(ErrorKind::NoBlankLine));
    }

    #[test]
    fn control_characters_are_reported_unless_quoted() {
        for byte in 0..=255 {
            let text = [b'a', byte, b'b', b'\r', b'\n'];
            let (mut splitter, mut strays) = splitter(Leniency::default());
            splitter.logical(&text, &mut strays);
            assert_eq!(strays.has_control, octets::is(byte, CONTROL), "{byte:#x}");
            assert_eq!(strays.has_any, byte.is_ascii_control() && byte != b'\n', "{byte:#x}");
        }
        assert_eq!(stray_control(b"x\0y"), Some(1));
        assert_eq!(stray_control(b"\"x\\\0y\""), None);
        assert_eq!(stray_control(b"\0"), Some(0));
    }

    #[test]
    fn leniency_changes_only_the_defect() {
        let text = b"To: x\ry\nFrom: z\r\n";
        let (mut splitter, mut strays) = splitter(Leniency { lone_lf: true, lone_cr: true });
        let extent = splitter.logical(text, &mut strays);
        assert_eq!((extent.content_end, extent.end, strays.defect), (7, 8, None));
    }
}
