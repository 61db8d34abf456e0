//! The header lines of a message (RFC 3261 7.3.1): the position and name of each, an index by name, the position of the
//! blank line, and the first defect. Shared by [`crate::Message`] and [`crate::Framer`]. Must not parse values, except
//! Content-Length, which determines the end of the body.

use std::ops::Range;

use crate::{
    ContentLength, ErrorKind, Header as _, HeaderName, Line, Message, ParseError, Span, fault,
    lines::{self, LineSplitter, StrayControls},
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
    /// Number of lines.
    len: u16,
    /// The first row of each name, with [`REPEATED`] if there is another one; [`NONE`] if there is none in `rows`.
    first: [u8; HeaderName::COUNT],
    /// The first rows. The row after the last line is where that line ends.
    rows: [Row; INDEXED],
    /// The rows that follow.
    more: Vec<Row>,
}

/// A line. It ends where the next row starts.
#[derive(Clone, Copy, Debug)]
struct Row {
    start: u32,
    /// Octets before the colon; 0 for a line without a name.
    colon: u16,
    name: HeaderName,
}

impl Row {
    /// Reads the name and indexes the row at `at`. Returns whether it has a name.
    #[inline]
    fn read_name(&mut self, bytes: &[u8], at: u8, first: &mut [u8; HeaderName::COUNT]) -> bool {
        if let Some((name, colon)) = bytes.get(self.start as usize..).and_then(lines::name) {
            (self.name, self.colon) = (name, colon);
        }
        if let Some(first) = first.get_mut(self.name as usize) {
            *first = if *first == NONE { at } else { *first | REPEATED };
        }
        self.colon != 0
    }
}

/// A line without a name.
const EMPTY: Row = Row { start: 0, colon: 0, name: HeaderName::Unknown };

/// Rows without an allocation: nearly twice as many as a phone sends, and enough for a call that passed three or four
/// proxies. Those that follow are not indexed by name but found by a search.
const INDEXED: usize = 46;
const REPEATED: u8 = 0x80;
const NONE: u8 = u8::MAX;

impl Head {
    /// No lines yet.
    pub(crate) fn new() -> Self {
        let (first, rows) = ([NONE; HeaderName::COUNT], [EMPTY; INDEXED]);
        Self { blank_at: 0, body_at: 0, defect: None, len: 0, first, rows, more: Vec::new() }
    }

    /// Reads the remaining lines of `bytes` up to the blank line. It takes `&mut self` instead of returning a `Head`,
    /// because a copy would cost as much as two lines.
    pub(crate) fn read(&mut self, bytes: &[u8], splitter: LineSplitter, mut strays: StrayControls) {
        // Its fields stay in registers, because it is a local variable.
        let mut splitter = splitter;
        let (mut len, mut end) = (0, splitter.at());
        let blank = loop {
            let extent = splitter.logical(bytes, &mut strays);
            if extent.is_blank() {
                break extent;
            }
            if len < Message::MAX_LINES {
                self.push(len, extent.start);
                (len, end) = (len + 1, extent.end);
            } else {
                self.record_defect(ErrorKind::TooManyLines, None, extent.start);
            }
        };
        self.push(len, end);
        self.len = len as u16;
        self.read_names(bytes);
        self.blank_at = offset(blank.start);
        self.body_at = offset(blank.end);
        if let Some((kind, at)) = strays.defect {
            self.record_defect(kind, self.name_at(at), at);
        }
        if strays.has_control {
            self.check_controls(bytes);
        }
    }

    /// Reads and indexes the names.
    fn read_names(&mut self, bytes: &[u8]) {
        let mut are_named = true;
        for (at, row) in self.rows.iter_mut().enumerate().take(self.len.into()) {
            are_named &= row.read_name(bytes, at as u8, &mut self.first);
        }
        let further = usize::from(self.len).saturating_sub(INDEXED);
        for row in self.more.iter_mut().take(further) {
            are_named &= row.read_name(bytes, NONE, &mut self.first);
        }
        if !are_named && let Some(line) = (0..self.len()).find_map(|at| self.row(at).filter(|row| row.colon == 0)) {
            self.record_defect(ErrorKind::Line, None, line.start as usize);
        }
    }

    #[inline]
    fn push(&mut self, at: usize, start: usize) {
        match self.rows.get_mut(at) {
            Some(row) => row.start = offset(start),
            None => self.push_further(start),
        }
    }

    #[cold]
    fn push_further(&mut self, start: usize) {
        if self.more.is_empty() {
            self.more.reserve(2 * INDEXED);
        }
        self.more.push(Row { start: offset(start), ..EMPTY });
    }

    #[inline]
    fn row(&self, at: usize) -> Option<&Row> {
        self.rows.get(at).or_else(|| self.more.get(at.checked_sub(INDEXED)?))
    }

    /// Stores a defect, if it is before the stored one.
    #[cold]
    fn record_defect(&mut self, kind: ErrorKind, header: Option<HeaderName>, at: usize) {
        let offset = offset(at);
        if self.defect.is_none_or(|defect| offset < defect.offset) {
            self.defect = Some(ParseError { kind, header: header.filter(|name| *name != HeaderName::Unknown), offset });
        }
    }

    /// The name of the line with the octet at `at`.
    #[cold]
    fn name_at(&self, at: usize) -> Option<HeaderName> {
        let is_there = |line: &usize| self.line_span(*line).contains(offset(at));
        (0..self.len()).find(is_there).and_then(|line| Some(self.row(line)?.name))
    }

    /// Looks for stray control characters, if there is no other defect.
    #[cold]
    fn check_controls(&mut self, bytes: &[u8]) {
        let mut lines = (0..self.len()).map(|at| self.line(bytes, at));
        let stray = lines.find_map(|line| {
            Some((line.name, line.value.start as usize + lines::stray_control(line.value.of(bytes))?))
        });
        if let (Some((name, at)), None) = (stray, self.defect) {
            self.record_defect(ErrorKind::Control, Some(name), at);
        }
    }

    /// Number of lines.
    pub(crate) fn len(&self) -> usize {
        self.len.into()
    }

    /// The line at `at`, an empty one if there is none.
    pub(crate) fn line(&self, bytes: &[u8], at: usize) -> Line {
        let whole = self.line_span(at);
        let row = self.row(at);
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
        let start_of = |at| self.row(at).map_or(0, |row| row.start);
        Span { start: start_of(at), end: start_of(at + 1) }
    }

    /// The value of the line at `at`, trimmed.
    #[inline]
    pub(crate) fn value<'a>(&self, bytes: &'a [u8], at: usize) -> &'a [u8] {
        let (row, end) = match self.rows.get(at..).unwrap_or_default() {
            [row, next, ..] => (row, next.start),
            _ => self.further(at),
        };
        // A line without a name has no value.
        let start = if row.colon == 0 { end as usize } else { row.start as usize + usize::from(row.colon) };
        match bytes.get(start..end as usize).unwrap_or_default() {
            // The common case: one space before the value and a CRLF after it.
            [b':', b' ', value @ .., b'\r', b'\n'] if value.first() > Some(&b' ') && value.last() > Some(&b' ') => {
                value
            }
            line => octets::trim(line.get(1..).unwrap_or(line)),
        }
    }

    /// A row that is not in `rows` or is the last one there, and where its line ends.
    #[cold]
    fn further(&self, at: usize) -> (&Row, u32) {
        (self.row(at).unwrap_or(&EMPTY), self.row(at + 1).unwrap_or(&EMPTY).start)
    }

    /// The position of the first line of `name`.
    #[inline]
    pub(crate) fn first(&self, name: HeaderName) -> Option<usize> {
        match self.first_of(name) {
            NONE if self.more.is_empty() => None,
            NONE => self.named(name).next(),
            first => Some((first & !REPEATED).into()),
        }
    }

    #[inline]
    fn first_of(&self, name: HeaderName) -> u8 {
        self.first.get(name as usize).copied().unwrap_or(NONE)
    }

    /// The position of the second line of `name`.
    #[inline]
    pub(crate) fn second(&self, name: HeaderName) -> Option<usize> {
        let is_single = self.first_of(name) & REPEATED == 0 && self.more.is_empty();
        if is_single { None } else { self.named(name).nth(1) }
    }

    /// Whether there is a line of any of these names.
    pub(crate) fn has_any(&self, names: &[HeaderName]) -> bool {
        names.iter().any(|name| self.first_of(*name) != NONE)
            || (!self.more.is_empty() && names.iter().any(|name| self.first(*name).is_some()))
    }

    /// The positions of the lines of `name`.
    #[inline]
    pub(crate) fn named(&self, name: HeaderName) -> LinesByName<'_> {
        let first = self.first_of(name);
        let from = usize::from(first & !REPEATED);
        let at = match first {
            NONE => INDEXED.min(self.len())..self.len(),
            _ if first & REPEATED == 0 => from..from + 1,
            _ => from..self.len(),
        };
        LinesByName { head: self, name, at }
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
    head: &'a Head,
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
        self.at.find(|at| self.head.row(*at).is_some_and(|row| row.name == self.name))
    }
}

impl DoubleEndedIterator for LinesByName<'_> {
    fn next_back(&mut self) -> Option<usize> {
        self.at.rfind(|at| self.head.row(*at).is_some_and(|row| row.name == self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Leniency;

    fn head(text: &[u8]) -> Head {
        let mut head = Head::new();
        head.read(text, LineSplitter::new(), StrayControls::new(Leniency::default()));
        head
    }

    #[test]
    fn lines_are_found_by_name_at_any_position() {
        let pattern = [HeaderName::Via, HeaderName::Subject, HeaderName::Via, HeaderName::To];
        for lead in [0, 1, 41, 42, 43, 44, 45, 46, 47, 255, 256, 300] {
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
        assert_eq!((nothing.name_len, nothing.value, nothing.whole.len()), (0, Span { start: 47, end: 47 }, 9));
        assert_eq!((head.len(), head.blank_at, head.body_at), (3, 47, 49));
        assert_eq!(head.defect.map(|defect| (defect.kind, defect.offset)), Some((ErrorKind::Line, 38)));
    }

    #[test]
    fn a_head_is_small() {
        assert!(size_of::<Head>() <= 504, "{}", size_of::<Head>());
    }
}
