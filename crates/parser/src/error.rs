//! Parse errors with their position, and their reason phrases for a 400 (RFC 3261 21.4.1: the reason phrase should name
//! the problem). Which status answers an error is decided by the proxy.

use std::fmt;

use crate::HeaderName;

/// A fault in a message: its kind, header and position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The kind of the fault.
    pub kind: ErrorKind,
    /// The header with the fault; `None` for the start line and for the structure of the message.
    pub header: Option<HeaderName>,
    /// The position: octets from the start of the message's first line to the first wrong octet, or to the place where
    /// something is missing; 0 if there is no such place.
    pub offset: u32,
}

/// The kinds of faults. Each text can follow a header's name, as in "Bad Via: port out of range".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A mandatory header is missing.
    #[error("missing")]
    Missing,
    /// A header that may occur once occurs twice.
    #[error("occurs more than once")]
    Duplicate,
    /// The first line is neither a request line nor a status line.
    #[error("no start line")]
    StartLine,
    /// SIP, but not version 2.0: 505 (RFC 3261 21.5.6).
    #[error("version not supported")]
    Version,
    /// The start line has white space where the grammar has one space.
    #[error("white space in the start line")]
    StartLineSpace,
    /// A header line without a colon, or without a token before it.
    #[error("header line without a name")]
    Line,
    /// A control character outside a quoted pair.
    #[error("control character")]
    Control,
    /// A CR without a following LF.
    #[error("CR without LF")]
    LoneCr,
    /// An LF without a preceding CR.
    #[error("LF without CR")]
    LoneLf,
    /// The blank line between headers and body is missing.
    #[error("no blank line after the headers")]
    NoBlankLine,
    /// More header lines than [`crate::Message::MAX_LINES`].
    #[error("too many header lines")]
    TooManyLines,
    /// The start line is longer than [`crate::Framer::MAX_START_LINE`].
    #[error("start line too long")]
    StartLineTooLong,
    /// The message is longer than the limit it was read with.
    #[error("message too long")]
    TooLong,
    /// Two Content-Length lines that differ.
    #[error("contradicting values")]
    Contradiction,
    /// Fewer octets after the blank line than Content-Length specifies.
    #[error("body shorter than announced")]
    ShortBody,
    /// An empty value where one is required.
    #[error("empty value")]
    Empty,
    /// Not a number.
    #[error("not a number")]
    Number,
    /// A number above the header's limit.
    #[error("number out of range")]
    Range,
    /// A port that is not a 16-bit number.
    #[error("port out of range")]
    Port,
    /// Neither a host name nor an IP address.
    #[error("bad host")]
    Host,
    /// No URI, or a URI with invalid characters.
    #[error("bad URI")]
    Uri,
    /// A user part with characters that must be escaped, or empty.
    #[error("bad user in URI")]
    User,
    /// A `%` without two hex digits.
    #[error("bad escape in URI")]
    Escape,
    /// A header part in a Request-URI (RFC 3261 19.1.1).
    #[error("headers in the URI")]
    UriHeaders,
    /// A parameter without a name, or with a bad value.
    #[error("bad parameter")]
    Param,
    /// A quoted string without its closing quote.
    #[error("unterminated quoted string")]
    Quote,
    /// A URI without the required angle brackets.
    #[error("no angle brackets")]
    Unbracketed,
    /// A `<` without its `>`.
    #[error("unterminated angle bracket")]
    Bracket,
    /// A display name with characters that must be quoted.
    #[error("bad display name")]
    Display,
    /// Something other than a token where one is required.
    #[error("bad token")]
    Token,
    /// A Via that does not start with a protocol and a transport.
    #[error("bad protocol")]
    Protocol,
    /// A date that is not in the form of RFC 1123, in GMT.
    #[error("bad date")]
    Date,
    /// Characters after the end of the value.
    #[error("trailing characters")]
    Trailing,
}

impl ParseError {
    pub(crate) fn new(kind: ErrorKind, offset: u32) -> Self {
        Self { kind, header: None, offset }
    }

    pub(crate) fn in_header(kind: ErrorKind, header: HeaderName, offset: u32) -> Self {
        Self { kind, header: Some(header), offset }
    }

    /// The fault as a reason phrase: `Bad Via: port out of range (byte 57)`, `Missing CSeq`, `Bad request line`. It
    /// consists of fixed text and a number, without any octets of the message.
    pub fn reason(&self) -> Reason400 {
        Reason400(*self)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.header {
            Some(header) if self.kind == ErrorKind::Missing => write!(f, "missing {} header", header.as_str()),
            Some(header) => write!(f, "bad {} header at byte {}: {}", header.as_str(), self.offset, self.kind),
            None => write!(f, "bad message at byte {}: {}", self.offset, self.kind),
        }
    }
}

impl std::error::Error for ParseError {}

/// A [`ParseError`] displayed as a reason phrase, see [`ParseError::reason`].
#[derive(Clone, Copy, Debug)]
pub struct Reason400(ParseError);

impl fmt::Display for Reason400 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ParseError { kind, header, offset } = self.0;
        match (header, kind) {
            (Some(header), ErrorKind::Missing) => return write!(f, "Missing {}", header.as_str()),
            (Some(header), _) => write!(f, "Bad {}: {kind}", header.as_str())?,
            (None, ErrorKind::Version) => return f.write_str(crate::reason_phrase(505)),
            (None, ErrorKind::StartLine) => f.write_str("Bad request line")?,
            (None, ErrorKind::StartLineSpace) => write!(f, "Bad request line: {kind}")?,
            (None, kind) if kind.is_of_uri() => write!(f, "Bad Request-URI: {kind}")?,
            (None, _) => write!(f, "Bad message: {kind}")?,
        }
        // Offset 0 means that there is no position. Only a missing start line is at octet 0.
        if offset == 0 { Ok(()) } else { write!(f, " (byte {offset})") }
    }
}

impl ErrorKind {
    /// Whether a fault of this kind outside of headers must be in the Request-URI.
    fn is_of_uri(self) -> bool {
        use ErrorKind::{Escape, Host, Param, Port, Uri, UriHeaders, User};
        matches!(self, Uri | User | Host | Port | Escape | Param | UriHeaders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_the_fault_and_its_position() {
        let error = ParseError::in_header(ErrorKind::Port, HeaderName::Via, 57);
        assert_eq!(error.to_string(), "bad Via header at byte 57: port out of range");
        assert_eq!(error.reason().to_string(), "Bad Via: port out of range (byte 57)");
        let error = ParseError::in_header(ErrorKind::Missing, HeaderName::CSeq, 0);
        assert_eq!(error.reason().to_string(), "Missing CSeq");
        assert_eq!(ParseError::new(ErrorKind::StartLine, 0).reason().to_string(), "Bad request line");
        assert_eq!(ParseError::new(ErrorKind::Version, 0).reason().to_string(), "Version Not Supported");
        assert_eq!(ParseError::new(ErrorKind::Host, 12).reason().to_string(), "Bad Request-URI: bad host (byte 12)");
        assert_eq!(ParseError::new(ErrorKind::LoneLf, 90).reason().to_string(), "Bad message: LF without CR (byte 90)");
        assert!(size_of::<ParseError>() <= 8);
    }
}
