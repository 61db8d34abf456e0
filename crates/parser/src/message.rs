//! A received message: its octets and where its parts lie (RFC 3261 7). Decides where the head, the lines and the body
//! begin and end, and names the first thing wrong with them. Must not change an octet, and must not read header values
//! before someone asks, except Content-Length, which says where the body ends.

use bytes::{Buf as _, Bytes};

use crate::{
    CSeq, ErrorKind, Header, HeaderName, Headers, Leniency, Line, Method, Occurs, ParseError, Span, Uri, Values, fault,
    head::Head,
    lines::LineSplitter,
    list,
    span::{self, offset},
    start_line::{self, StartLine},
};

/// A SIP message: the octets as they came, and the spans of its parts. Cheap to move; a clone shares the octets.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Bytes,
    start: StartLine,
    headers_at: u32,
    head: Head,
}

impl Message {
    /// Header lines a message may have. Above it the message is defective and further lines are not recorded: the
    /// longest seen in the field have below a hundred, and a line costs eight octets of memory.
    pub const MAX_LINES: usize = 1000;

    /// Parses one datagram, or one message cut out by [`crate::Framer`], with the default [`Leniency`].
    ///
    /// CRLFs before the start line are skipped (RFC 3261 7.5), octets after the body are dropped (18.3). Whatever is
    /// wrong but leaves the head readable is [`Message::defect`].
    ///
    /// # Errors
    /// If no start line can be recognised: there is nobody to answer.
    pub fn parse(bytes: Bytes) -> Result<Self, ParseError> {
        Self::parse_with(bytes, Leniency::default())
    }

    /// As [`Message::parse`], with the line ends of `leniency` let pass.
    ///
    /// # Errors
    /// If no start line can be recognised.
    pub fn parse_with(mut bytes: Bytes, leniency: Leniency) -> Result<Self, ParseError> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(ParseError::new(ErrorKind::TooLong, 0));
        }
        let lead = bytes.iter().position(|&byte| byte != b'\r' && byte != b'\n').unwrap_or(bytes.len());
        bytes.advance(lead);
        let mut splitter = LineSplitter::new(leniency);
        let first = splitter.physical(&bytes);
        let Some((start, start_defect)) = start_line::parse(&bytes, first.content_end, splitter.has_stray_control)
        else {
            return Err(ParseError::new(ErrorKind::StartLine, 0));
        };
        let mut message = Self { bytes, start, headers_at: offset(first.end), head: Head::new() };
        message.head.read(&message.bytes, splitter);
        if let Some((kind, at)) = start_defect {
            message.head.defect = Some(ParseError::new(kind, offset(at)));
        }
        message.set_body_end();
        Ok(message)
    }

    /// The first thing wrong with the message's shape: a header line without a colon, a bad, contradicting or too
    /// large Content-Length, another SIP version, a missing blank line, control characters, a stray CR or LF, too many
    /// lines. `None` does not mean that the headers' values are good.
    pub fn defect(&self) -> Option<ParseError> {
        self.head.defect
    }

    /// The message's octets, from the start line to the end of the body.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Gives the message octets of its own. A clone or a part of a receive buffer keeps the whole buffer alive; what is
    /// kept for long should not.
    pub fn detach(&mut self) {
        self.bytes = Bytes::copy_from_slice(&self.bytes);
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.start, StartLine::Request { .. })
    }

    /// The request's method; of a response the method in its CSeq, `Other(b"")` if that cannot be read.
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

    /// The Request-URI as it came, empty for a response.
    pub fn request_uri(&self) -> &[u8] {
        self.request_uri_span().of(&self.bytes)
    }

    /// The Request-URI, parsed.
    ///
    /// # Errors
    /// What is wrong with it, and [`ErrorKind::UriHeaders`] for a header part, which no Request-URI has (RFC 3261 19.1.1).
    pub fn uri(&self) -> Result<Uri<'_>, ParseError> {
        let (at, raw) = (self.request_uri_span().start, self.request_uri());
        let uri =
            Uri::parse(raw).map_err(|kind| ParseError::new(kind, at.saturating_add(offset(fault::in_uri(raw)))))?;
        match uri.sip().map_or(0, |uri| uri.headers().len()) {
            0 => Ok(uri),
            // From the question mark on.
            len => Err(ParseError::new(ErrorKind::UriHeaders, at.saturating_add(offset(raw.len() - len - 1)))),
        }
    }

    /// Where the Request-URI lies; an empty span for a response.
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

    /// The body: exactly what Content-Length says, or all that is left of a datagram without one.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(self.head.body_at as usize..).unwrap_or_default()
    }

    /// The header lines, in order, at most [`Message::MAX_LINES`].
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = Line> + ExactSizeIterator + Clone {
        (0..self.head.len()).map(|at| self.head.line(&self.bytes, at))
    }

    /// A line's name as it was sent.
    pub fn line_name(&self, line: &Line) -> &[u8] {
        Span { start: line.whole.start, end: line.whole.start.saturating_add(line.name_len.into()) }.of(&self.bytes)
    }

    /// A line's trimmed value, folding inside left as it came.
    pub fn line_value(&self, line: &Line) -> &[u8] {
        line.value.of(&self.bytes)
    }

    /// Where `part` lies, if it is a subslice of this message.
    pub fn span_of(&self, part: &[u8]) -> Option<Span> {
        span::locate(&self.bytes, part)
    }

    /// The lines of `name`, in order.
    pub fn lines_of(&self, name: HeaderName) -> impl DoubleEndedIterator<Item = Line> + Clone {
        self.head.named(name).map(|at| self.head.line(&self.bytes, at))
    }

    /// The trimmed values of the lines of `name`, in order.
    pub(crate) fn line_values(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        self.head.named(name).map(|at| self.head.value(&self.bytes, at))
    }

    /// Where the first header line starts.
    pub fn first_header_at(&self) -> u32 {
        self.headers_at
    }

    /// Where the last header line ends and the blank line starts.
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

    /// Every element of the comma lists of `name`, over all its lines in order; commas in quoted strings and angle
    /// brackets do not count, empty elements are skipped.
    pub fn values(&self, name: HeaderName) -> Values<'_> {
        self.values_of(name, true)
    }

    /// The lines' values, or the elements of the comma lists in them.
    pub(crate) fn values_of(&self, name: HeaderName, is_list: bool) -> Values<'_> {
        Values::new(&self.bytes, &self.head, name, is_list)
    }

    /// The header `H`, of a list header its first element; `None` if the message has none.
    ///
    /// # Errors
    /// If it cannot be parsed, or if a header that may occur once has two lines ([`ErrorKind::Duplicate`]).
    pub fn header<'a, H: Header<'a>>(&'a self) -> Result<Option<H>, ParseError> {
        self.first::<H>()?.map(|value| self.typed(value)).transpose()
    }

    /// The octets that [`Message::header`] reads.
    #[inline]
    fn first<'a, H: Header<'a>>(&'a self) -> Result<Option<&'a [u8]>, ParseError> {
        let Some(value) = self.value(H::NAME) else { return Ok(None) };
        if H::LIST {
            // A line of nothing but commas is there and names nobody.
            return Ok(if list::is_single_element(value) {
                Some(value)
            } else {
                self.values(H::NAME).next().or(Some(value))
            });
        }
        if H::NAME.occurs() == Occurs::Once
            && let Some(second) = self.head.named(H::NAME).nth(1)
        {
            let at = self.head.line(&self.bytes, second).whole.start;
            return Err(ParseError::in_header(ErrorKind::Duplicate, H::NAME, at));
        }
        Ok(Some(value))
    }

    /// Every `H`, in order: of a list header each element, of the others each line.
    pub fn headers<'a, H: Header<'a>>(&'a self) -> Headers<'a, H> {
        Headers::new(self)
    }

    /// The header `H`, which the message must have.
    ///
    /// # Errors
    /// As [`Message::header`], and [`ErrorKind::Missing`] if there is none.
    pub fn required<'a, H: Header<'a>>(&'a self) -> Result<H, ParseError> {
        match self.first::<H>()? {
            Some(value) => self.typed(value),
            None => Err(ParseError::in_header(ErrorKind::Missing, H::NAME, 0)),
        }
    }

    pub(crate) fn typed<'a, H: Header<'a>>(&'a self, value: &'a [u8]) -> Result<H, ParseError> {
        H::parse(value).map_err(|kind| fault::in_value(&self.bytes, H::NAME, kind, value))
    }

    /// RFC 3261 18.3: what follows the body is dropped; a body shorter than announced is an error.
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

    /// The first fault counts.
    fn record_defect(&mut self, error: ParseError) {
        self.head.defect.get_or_insert(error);
    }
}
