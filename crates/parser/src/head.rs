//! The header lines of a message (RFC 3261 7.3.1): the position and name of each, an index by name, the position of the
//! blank line, and the first defect. Shared by [`crate::Message`] and [`crate::Framer`]. Must not parse values, except
//! Content-Length, which determines the end of the body.

use std::ops::Range;

use smallvec::SmallVec;

use crate::{
    ContentLength, ErrorKind, Header as _, HeaderName, Line, Message, ParseError, Span, fault,
    lines::{self, LineSplitter},
    octets,
    span::{self, offset},
};

/// The positions of the header lines. It borrows nothing, so its methods take the octets as an argument.
///
/// It is moved with its message and therefore kept small: nothing is stored that can be recomputed.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// Start of the blank line.
    pub(crate) blank_at: u32,
    /// Start of the body.
    pub(crate) body_at: u32,
    /// The first defect.
    pub(crate) defect: Option<ParseError>,
    /// End of the last row's line.
    end: u32,
    /// The first row of each name; [`FIRST_UNINDEXED`] if there is none before that row.
    first: [u8; HeaderName::COUNT],
    /// 48 inline: twice as many as a phone sends, and enough for a call that passed three or four proxies. More are
    /// allocated.
    rows: SmallVec<[Row; 48]>,
}

/// A line. It ends where the next row starts.
#[derive(Clone, Copy, Debug)]
struct Row {
    start: u32,
    /// Octets before the colon; 0 for a line without a name.
    colon: u16,
    name: HeaderName,
    /// Whether another line of the same name may follow.
    may_repeat: bool,
}

/// The first row that the index by name cannot contain. Rows from here on are found by a search.
const FIRST_UNINDEXED: usize = u8::MAX as usize;

impl Head {
    /// No lines yet.
    pub(crate) fn new() -> Self {
        let first = [u8::MAX; HeaderName::COUNT];
        Self { blank_at: 0, body_at: 0, defect: None, end: 0, first, rows: SmallVec::new() }
    }

    /// Reads the remaining lines of `bytes` up to the blank line. It takes `&mut self` instead of returning a `Head`,
    /// because a copy would cost as much as two lines.
    pub(crate) fn read(&mut self, bytes: &[u8], mut splitter: LineSplitter) {
        let blank = loop {
            let extent = splitter.logical(bytes);
            if extent.is_blank() {
                break extent;
            }
            if self.rows.len() == Message::MAX_LINES {
                self.record_defect(ErrorKind::TooManyLines, extent.start);
                continue;
            }
            match lines::name(bytes, &extent) {
                Some((name, colon)) => self.push(extent.start, colon, name),
                None => {
                    self.record_defect(ErrorKind::Line, extent.start);
                    self.push(extent.start, 0, HeaderName::Unknown);
                }
            }
            self.end = offset(extent.end);
        };
        self.blank_at = offset(blank.start);
        self.body_at = offset(blank.end);
        if let Some((kind, at)) = splitter.defect {
            self.record_defect(kind, at);
        }
        if splitter.has_control {
            self.check_controls(bytes);
        }
    }

    #[inline]
    fn push(&mut self, start: usize, colon: u16, name: HeaderName) {
        let at = self.rows.len();
        if let Some(first) = self.first.get_mut(name as usize) {
            if *first == u8::MAX {
                *first = u8::try_from(at).unwrap_or(u8::MAX);
            } else if let Some(row) = self.rows.get_mut(usize::from(*first)) {
                row.may_repeat = true;
            }
        }
        self.rows.push(Row { start: offset(start), colon, name, may_repeat: at >= FIRST_UNINDEXED });
    }

    /// Stores a defect of the lines at `at`, if it is before the stored one.
    #[cold]
    fn record_defect(&mut self, kind: ErrorKind, at: usize) {
        let offset = offset(at);
        if self.defect.is_none_or(|defect| offset < defect.offset) {
            let line = self.rows.partition_point(|row| row.start <= offset).checked_sub(1);
            let name = line.and_then(|line| self.rows.get(line)).filter(|_| offset < self.end).map(|row| row.name);
            self.defect = Some(ParseError { kind, header: name.filter(|name| *name != HeaderName::Unknown), offset });
        }
    }

    /// Looks for stray control characters, if there is no other defect.
    #[cold]
    fn check_controls(&mut self, bytes: &[u8]) {
        let mut lines = (0..self.len()).map(|at| self.line(bytes, at));
        let stray =
            lines.find_map(|line| Some(line.value.start as usize + lines::stray_control(line.value.of(bytes))?));
        if let (Some(at), None) = (stray, self.defect) {
            self.record_defect(ErrorKind::Control, at);
        }
    }

    /// Number of lines.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The line at `at`, an empty one if there is none.
    pub(crate) fn line(&self, bytes: &[u8], at: usize) -> Line {
        let whole = self.line_span(at);
        let row = self.rows.get(at);
        let name = whole.of(bytes).get(..row.map_or(0, |row| row.colon.into())).unwrap_or_default();
        Line {
            name: row.map_or(HeaderName::Unknown, |row| row.name),
            name_len: octets::trim_end(name).len() as u16,
            whole,
            value: span::locate(bytes, self.value(bytes, at)).unwrap_or_default(),
        }
    }

    #[inline]
    fn line_span(&self, at: usize) -> Span {
        let start = self.rows.get(at).map_or(self.end, |row| row.start);
        Span { start, end: self.rows.get(at + 1).map_or(self.end, |next| next.start) }
    }

    /// The value of the line at `at`, trimmed.
    #[inline]
    pub(crate) fn value<'a>(&self, bytes: &'a [u8], at: usize) -> &'a [u8] {
        let (row, end) = match self.rows.get(at..).unwrap_or_default() {
            [row, next, ..] => (row, next.start),
            [row] => (row, self.end),
            [] => return b"",
        };
        // A line without a name has no value.
        let start = if row.colon == 0 { end as usize } else { row.start as usize + usize::from(row.colon) + 1 };
        let mut value = bytes.get(start..end as usize).unwrap_or_default();
        // The common case: one space before the value and a CRLF after it.
        if let [rest @ .., b'\r', b'\n'] = value {
            value = rest;
        }
        value = octets::trim_end(value);
        if let [b' ', rest @ ..] = value {
            value = rest;
        }
        octets::trim_start(value)
    }

    /// The position of the first line of `name`.
    #[inline]
    pub(crate) fn first(&self, name: HeaderName) -> Option<usize> {
        match self.first.get(name as usize).map_or(FIRST_UNINDEXED, |first| usize::from(*first)) {
            FIRST_UNINDEXED if self.rows.len() > FIRST_UNINDEXED => self.named(name).next(),
            FIRST_UNINDEXED => None,
            first => Some(first),
        }
    }

    /// Whether there is a line of any of these names.
    pub(crate) fn has_any(&self, names: &[HeaderName]) -> bool {
        let is_indexed = |name: &HeaderName| self.first.get(*name as usize).is_some_and(|first| *first != u8::MAX);
        names.iter().any(is_indexed)
            || (self.rows.len() > FIRST_UNINDEXED && names.iter().any(|name| self.first(*name).is_some()))
    }

    /// The positions of the lines of `name`.
    #[inline]
    pub(crate) fn named(&self, name: HeaderName) -> LinesByName<'_> {
        let first = self.first.get(name as usize).map_or(FIRST_UNINDEXED, |first| usize::from(*first));
        let is_single = self.rows.get(first).is_some_and(|row| !row.may_repeat);
        LinesByName { rows: &self.rows, name, at: first..if is_single { first + 1 } else { self.rows.len() } }
    }

    /// The Content-Length, `None` without one. Repeated equal values are accepted, different ones are not (RFC 3261
    /// 18.3 does not define which one counts).
    pub(crate) fn content_length(&self, bytes: &[u8]) -> Result<Option<u32>, ParseError> {
        let mut length = None;
        for at in self.named(HeaderName::ContentLength) {
            let value = self.value(bytes, at);
            let fail = |kind| fault::in_value::<ContentLength>(bytes, kind, value);
            let ContentLength(octets) = ContentLength::parse(value).map_err(fail)?;
            if length.replace(octets).is_some_and(|before| before != octets) {
                return Err(fail(ErrorKind::Contradiction));
            }
        }
        Ok(length)
    }
}

/// See [`Head::named`].
#[derive(Clone, Debug)]
pub(crate) struct LinesByName<'a> {
    rows: &'a [Row],
    name: HeaderName,
    at: Range<usize>,
}

impl LinesByName<'_> {
    /// Whether there is certainly no further line.
    #[inline]
    pub(crate) fn is_exhausted(&self) -> bool {
        self.at.is_empty()
    }
}

impl Iterator for LinesByName<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        self.at.find(|at| self.rows.get(*at).is_some_and(|row| row.name == self.name))
    }
}

impl DoubleEndedIterator for LinesByName<'_> {
    fn next_back(&mut self) -> Option<usize> {
        self.at.rfind(|at| self.rows.get(*at).is_some_and(|row| row.name == self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Leniency;

    fn head(text: &[u8]) -> Head {
        let mut head = Head::new();
        head.read(text, LineSplitter::new(Leniency::default()));
        head
    }

    #[test]
    fn lines_are_found_by_name_at_any_position() {
        let pattern = [HeaderName::Via, HeaderName::Subject, HeaderName::Via, HeaderName::To];
        for lead in [0, 1, 47, 252, 253, 254, 255, 256, 257, 300] {
            let names = [&vec![HeaderName::From; lead][..], &pattern].concat();
            let text: String = names.iter().map(|name| format!("{}:\r\n", name.as_str())).collect();
            let head = head(format!("{text}\r\n").as_bytes());
            for name in [HeaderName::From, HeaderName::Via, HeaderName::Subject, HeaderName::To, HeaderName::Path] {
                let expected: Vec<_> = (0..names.len()).filter(|at| names[*at] == name).collect();
                assert_eq!(head.named(name).collect::<Vec<_>>(), expected, "{lead} {name:?}");
                assert_eq!(head.has_any(&[HeaderName::Route, name]), !expected.is_empty(), "{lead} {name:?}");
                assert!(head.named(name).rev().eq(expected.into_iter().rev()), "{lead} {name:?}");
            }
        }
    }

    #[test]
    fn lines_have_names_and_trimmed_values() {
        let text = b"To \t :\r\n \"a\r\n b\" <sip:x>  \r\nSubject:\r\nnothing\r\n\r\n body";
        let head = head(text);
        let (to, subject, nothing) = (head.line(text, 0), head.line(text, 1), head.line(text, 2));
        assert_eq!((to.name, to.name_len, to.value.of(text)), (HeaderName::To, 2, &b"\"a\r\n b\" <sip:x>"[..]));
        assert_eq!((to.whole, subject.whole.start), (Span { start: 0, end: 28 }, 28));
        assert_eq!((subject.name_len, subject.value.len()), (7, 0));
        assert_eq!((nothing.name_len, nothing.value.len(), nothing.whole.len()), (0, 0, 9));
        assert_eq!((head.len(), head.blank_at, head.body_at), (3, 47, 49));
        assert_eq!(head.defect.map(|defect| (defect.kind, defect.offset)), Some((ErrorKind::Line, 38)));
    }

    #[test]
    fn a_head_is_small() {
        assert!(size_of::<Head>() <= 504, "{}", size_of::<Head>());
    }
}
