//! A received message: its octets and the positions of its parts (RFC 3261 7). Finds the head, the lines and the body,
//! and the first defect in them. Must not change octets, and must not parse header values before they are requested,
//! except Content-Length, which determines the end of the body.

use bytes::{Buf as _, Bytes};

use crate::{
    CSeq, ErrorKind, Header, HeaderName, Headers, Leniency, Line, Method, Occurs, ParseError, Span, Uri, Values, fault,
    head::Head,
    headers,
    lines::{LineSplitter, StrayControls},
    list, octets,
    span::{self, offset},
    start_line::{self, StartLine},
};

/// A SIP message: its octets as received, and the spans of its parts. Cheap to move; a clone shares the octets.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Bytes,
    start: StartLine,
    headers_at: u32,
    head: Head,
}

impl Message {
    /// Maximum of header lines. A message with more is defective and the further lines are not stored, which limits the
    /// memory (eight octets per line). The longest real messages have fewer than a hundred lines.
    pub const MAX_LINES: usize = 1000;

    /// Parses one datagram, or one message from [`crate::Framer`], with the default [`Leniency`].
    ///
    /// CRLFs before the start line are skipped (RFC 3261 7.5), octets after the body are dropped (18.3). A fault that
    /// leaves the head readable is not an error here but [`Message::defect`].
    ///
    /// # Errors
    /// There is no start line: such a message cannot be answered.
    pub fn parse(bytes: Bytes) -> Result<Self, ParseError> {
        Self::parse_with(bytes, Leniency::default())
    }

    /// As [`Message::parse`], accepting the line ends of `leniency`.
    ///
    /// # Errors
    /// There is no start line.
    pub fn parse_with(mut bytes: Bytes, leniency: Leniency) -> Result<Self, ParseError> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(ParseError::new(ErrorKind::TooLong, 0));
        }
        let lead = bytes.iter().position(|&byte| byte != b'\r' && byte != b'\n').unwrap_or(bytes.len());
        bytes.advance(lead);
        let (mut splitter, mut strays) = (LineSplitter::new(), StrayControls::new(leniency));
        let first = splitter.physical(&bytes, &mut strays);
        let Some((start, start_defect)) = start_line::parse(&bytes, first.content_end, strays.has_any) else {
            return Err(ParseError::new(ErrorKind::StartLine, 0));
        };
        let mut message = Self { bytes, start, headers_at: offset(first.end), head: Head::new() };
        message.head.read(&message.bytes, splitter, strays);
        if let Some((kind, at)) = start_defect {
            message.head.defect = Some(ParseError::new(kind, offset(at)));
        }
        message.set_body_end();
        Ok(message)
    }

    /// The first defect of the message's structure: a header line without a colon, a malformed, contradictory or too
    /// large Content-Length, another SIP version, a missing blank line, control characters, a lone CR or LF, too many
    /// lines. `None` does not mean that the header values are valid.
    pub fn defect(&self) -> Option<ParseError> {
        self.head.defect
    }

    /// The message's octets, from the start line to the end of the body.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Copies the octets into a buffer of their own. Otherwise the message keeps the whole receive buffer alive; use
    /// this for messages that are stored for long.
    pub fn detach(&mut self) {
        self.bytes = Bytes::copy_from_slice(&self.bytes);
    }

    /// Drops the octets, so that a message that is kept for its memory alone does not keep the receive buffer alive.
    pub fn release(&mut self) {
        self.bytes = Bytes::new();
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.start, StartLine::Request { .. })
    }

    /// The request's method; of a response the method in its CSeq, `Other(b"")` if that cannot be parsed.
    #[inline]
    pub fn method(&self) -> Method<'_> {
        match self.start {
            StartLine::Request { known: Some(method), .. } => method,
            _ => self.other_method(),
        }
    }

    fn other_method(&self) -> Method<'_> {
        let method = match self.start {
            StartLine::Request { method, .. } => Method::from_bytes(method.of(&self.bytes)),
            StartLine::Response { .. } => self.header::<CSeq<'_>>().ok().flatten().map(|cseq| cseq.method),
        };
        method.unwrap_or(Method::Other(b""))
    }

    /// The Request-URI as received, empty for a response.
    pub fn request_uri(&self) -> &[u8] {
        self.request_uri_span().of(&self.bytes)
    }

    /// The Request-URI, parsed.
    ///
    /// # Errors
    /// It is malformed, or has a header part, which a Request-URI must not have (RFC 3261 19.1.1):
    /// [`ErrorKind::UriHeaders`].
    pub fn uri(&self) -> Result<Uri<'_>, ParseError> {
        let (at, raw) = (self.request_uri_span().start, self.request_uri());
        let uri =
            Uri::parse(raw).map_err(|kind| ParseError::new(kind, at.saturating_add(offset(fault::in_uri(raw)))))?;
        match uri.sip().map_or(0, |uri| uri.headers().len()) {
            0 => Ok(uri),
            // The header part starts with the question mark.
            len => Err(ParseError::new(ErrorKind::UriHeaders, at.saturating_add(offset(raw.len() - len - 1)))),
        }
    }

    /// The span of the Request-URI; empty for a response.
    pub fn request_uri_span(&self) -> Span {
        match self.start {
            StartLine::Request { uri, .. } => uri,
            StartLine::Response { .. } => Span::default(),
        }
    }

    /// The status code, 100 to 699; `None` for a request.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Request { .. } => None,
            StartLine::Response { status, .. } => Some(status),
        }
    }

    /// The reason phrase, empty for a request.
    pub fn reason(&self) -> &[u8] {
        match self.start {
            StartLine::Request { .. } => b"",
            StartLine::Response { reason, .. } => reason.of(&self.bytes),
        }
    }

    /// The body: as long as Content-Length specifies, or the rest of a datagram without one.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(self.head.body_at as usize..).unwrap_or_default()
    }

    /// The header lines, in order, at most [`Message::MAX_LINES`].
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = Line> + ExactSizeIterator + Clone {
        (0..self.head.len()).map(|at| self.head.line(&self.bytes, at))
    }

    /// A line's name as received.
    pub fn line_name(&self, line: &Line) -> &[u8] {
        Span { start: line.whole.start, end: line.whole.start.saturating_add(line.name_len.into()) }.of(&self.bytes)
    }

    /// A line's trimmed value; folds inside are unchanged.
    pub fn line_value(&self, line: &Line) -> &[u8] {
        line.value.of(&self.bytes)
    }

    /// The span of `part`, if it is a subslice of this message.
    pub fn span_of(&self, part: &[u8]) -> Option<Span> {
        span::locate(&self.bytes, part)
    }

    /// The lines of `name`, in order.
    pub fn lines_of(&self, name: HeaderName) -> impl DoubleEndedIterator<Item = Line> + Clone {
        self.head.named(name).map(|at| self.head.line(&self.bytes, at))
    }

    /// The trimmed values of the lines of `name`, in order.
    pub fn line_values(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        self.head.named(name).map(|at| self.head.value(&self.bytes, at))
    }

    /// Start of the first header line.
    pub fn first_header_at(&self) -> u32 {
        self.headers_at
    }

    /// End of the last header line and start of the blank line.
    pub(crate) fn blank_at(&self) -> u32 {
        self.head.blank_at
    }

    /// The trimmed value of the first line of `name`.
    pub fn value(&self, name: HeaderName) -> Option<&[u8]> {
        self.head.first(name).map(|at| self.head.value(&self.bytes, at))
    }

    /// Whether there is a line of any of these names.
    pub fn has_any(&self, names: &[HeaderName]) -> bool {
        self.head.has_any(names)
    }

    /// Number of lines of `name`.
    pub fn count(&self, name: HeaderName) -> usize {
        self.head.named(name).count()
    }

    /// Whether a comma list of `name` contains this token, in any case. For lists of tokens, in which no comma is quoted.
    pub fn has_token(&self, name: HeaderName, token: &str) -> bool {
        let mut elements = self.line_values(name).flat_map(|list| list.split(|octet| *octet == b','));
        elements.any(|element| octets::trim(element).eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Every element of the comma lists of `name`, of all its lines in order. Commas in quoted strings and angle
    /// brackets do not separate, empty elements are skipped.
    pub fn values(&self, name: HeaderName) -> Values<'_> {
        self.values_of(name, true)
    }

    /// The values of the lines, or the elements of the comma lists in them.
    pub(crate) fn values_of(&self, name: HeaderName, is_list: bool) -> Values<'_> {
        Values::new(&self.bytes, &self.head, name, is_list)
    }

    /// The header `H`, of a list header its first element; `None` if the message has none.
    ///
    /// # Errors
    /// It cannot be parsed, or a header that may occur once has two lines ([`ErrorKind::Duplicate`]).
    pub fn header<'a, H: Header<'a>>(&'a self) -> Result<Option<H>, ParseError> {
        self.first::<H>()?.map(|value| self.typed(value)).transpose()
    }

    /// The value that [`Message::header`] parses.
    #[inline]
    fn first<'a, H: Header<'a>>(&'a self) -> Result<Option<&'a [u8]>, ParseError> {
        let Some(value) = self.value(H::NAME) else { return Ok(None) };
        match const { H::NAME.occurs() } {
            // A line with nothing but commas: parsing its value reports the fault.
            Occurs::List if !list::is_single_element(value) => Ok(self.values(H::NAME).next().or(Some(value))),
            Occurs::Once => match self.head.second(H::NAME) {
                Some(second) => {
                    let at = self.head.line(&self.bytes, second).whole.start;
                    Err(ParseError::in_header(ErrorKind::Duplicate, H::NAME, at))
                }
                None => Ok(Some(value)),
            },
            Occurs::List | Occurs::Lines => Ok(Some(value)),
        }
    }

    /// Every `H`, in order: each element of a list header, each line of other headers.
    pub fn headers<'a, H: Header<'a>>(&'a self) -> Headers<'a, H> {
        Headers::new(self)
    }

    /// The mandatory header `H`.
    ///
    /// # Errors
    /// As [`Message::header`], and [`ErrorKind::Missing`] if there is none.
    pub fn required<'a, H: Header<'a>>(&'a self) -> Result<H, ParseError> {
        match self.first::<H>()? {
            Some(value) => self.typed(value),
            None => Err(ParseError::in_header(ErrorKind::Missing, H::NAME, 0)),
        }
    }

    /// The faults in the values of `name`, in order, by the type that this crate has for the header; none if it has no
    /// type. Of a header that may occur once, a second line is a fault too.
    pub fn faults(&self, name: HeaderName) -> Vec<ParseError> {
        headers::faults(self, name)
    }

    pub(crate) fn typed<'a, H: Header<'a>>(&'a self, value: &'a [u8]) -> Result<H, ParseError> {
        H::parse(value).map_err(|kind| fault::in_value::<H>(&self.bytes, kind, value))
    }

    /// RFC 3261 18.3: octets after the body are dropped; a body shorter than Content-Length is a defect.
    fn set_body_end(&mut self) {
        match self.head.content_length(&self.bytes) {
            Ok(None) => {}
            Ok(Some(length)) => {
                let end = u64::from(self.head.body_at) + u64::from(length);
                match usize::try_from(end) {
                    Ok(end) if end <= self.bytes.len() => self.bytes.truncate(end),
                    _ => {
                        let at = self.head.body_at;
                        self.record_defect(ParseError::in_header(ErrorKind::ShortBody, HeaderName::ContentLength, at));
                    }
                }
            }
            Err(error) => self.record_defect(error),
        }
    }

    /// Stores a defect, unless there is one already.
    fn record_defect(&mut self, error: ParseError) {
        self.head.defect.get_or_insert(error);
    }
}
