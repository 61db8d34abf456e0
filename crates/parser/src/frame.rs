//! Splits a stream into messages (RFC 3261 18.3, keep-alives RFC 5626 3.5.1). Finds the end of each message and detects
//! streams that are not SIP; incomplete messages are not errors. Must not scan octets twice, except once for a complete
//! head, so that a slow peer cannot cause quadratic work.

use memchr::memchr;

use crate::{
    ErrorKind, HeaderName, Leniency, ParseError,
    head::Head,
    lines::{LineSplitter, StrayControls},
    octets::{self, TOKEN},
    span::offset,
};

/// Splits one stream into messages. The caller passes the unread octets and removes those that are done.
#[derive(Debug)]
pub struct Framer {
    max_message: usize,
    /// Octets of the head that were scanned and contain no blank line.
    scanned: usize,
    /// Start of the current line.
    line_at: usize,
    /// Length of the message whose head is complete.
    total: Option<usize>,
}

/// The first frame in the unread octets. The number is its length in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Incomplete: read more octets.
    Partial,
    /// A keep-alive ping, CRLFCRLF: answer with CRLF (RFC 5626 3.5.1).
    Ping(usize),
    /// A lone CRLF: a pong, or padding between messages (RFC 3261 7.5). Skip it.
    Crlf(usize),
    /// A complete message.
    Complete(usize),
}

impl Framer {
    /// Maximum of octets of a start line on a stream. A Request-URI rarely has more than a few hundred; a stream whose
    /// first line does not end is not SIP.
    pub const MAX_START_LINE: usize = 8192;

    /// Creates a framer for messages of up to `max_message` octets, head and body.
    pub fn new(max_message: usize) -> Self {
        Self { max_message, scanned: 0, line_at: 0, total: None }
    }

    /// Returns the first frame of the unread octets. The caller then removes its octets and calls again; after
    /// `Partial` it appends the octets it reads and calls again with all of them.
    ///
    /// # Errors
    /// The end of the message cannot be found: no start line, too long, or a Content-Length that is missing, malformed
    /// or contradictory. The caller must close the connection.
    pub fn next(&mut self, buffer: &[u8]) -> Result<Frame, ParseError> {
        if self.total.is_none() {
            if self.scanned == 0
                && let Some(frame) = leading_crlf(buffer)?
            {
                return Ok(frame);
            }
            let Some(head) = self.head_end(buffer)? else { return Ok(Frame::Partial) };
            self.total = Some(self.message_len(buffer.get(..head).unwrap_or_default())?);
        }
        match self.total.filter(|total| *total <= buffer.len()) {
            None => Ok(Frame::Partial),
            Some(total) => {
                *self = Self::new(self.max_message);
                Ok(Frame::Complete(total))
            }
        }
    }

    /// One past the blank line, `None` if it has not arrived.
    fn head_end(&mut self, buffer: &[u8]) -> Result<Option<usize>, ParseError> {
        while let Some(found) = buffer.get(self.scanned..).and_then(|rest| memchr(b'\n', rest)) {
            let end = self.scanned + found + 1;
            let is_blank = matches!(buffer.get(self.line_at..end), Some(b"\n" | b"\r\n"));
            self.check_start(end)?;
            self.scanned = end;
            self.line_at = end;
            if is_blank {
                return Ok(Some(end));
            }
        }
        self.scanned = buffer.len();
        self.check_start(self.scanned)?;
        if self.scanned > self.max_message {
            return Err(ParseError::new(ErrorKind::TooLong, offset(self.scanned)));
        }
        Ok(None)
    }

    /// Refuses a start line that is too long. `end` is the end of the scanned octets.
    fn check_start(&self, end: usize) -> Result<(), ParseError> {
        if self.line_at == 0 && end > Self::MAX_START_LINE {
            return Err(ParseError::new(ErrorKind::StartLineTooLong, offset(end)));
        }
        Ok(())
    }

    /// RFC 3261 18.3: on a stream Content-Length determines the end of the message.
    fn message_len(&self, head: &[u8]) -> Result<usize, ParseError> {
        let (mut splitter, mut strays) = (LineSplitter::new(), StrayControls::new(Leniency::default()));
        splitter.physical(head, &mut strays);
        let mut lines = Head::new();
        lines.read(head, splitter, strays);
        let missing = ParseError::in_header(ErrorKind::Missing, HeaderName::ContentLength, 0);
        let body = lines.content_length(head)?.ok_or(missing)?;
        let total = usize::try_from(body).ok().and_then(|body| head.len().checked_add(body));
        total
            .filter(|total| *total <= self.max_message)
            .ok_or_else(|| ParseError::new(ErrorKind::TooLong, offset(head.len())))
    }
}

/// Keep-alives and padding before a message; `None` if a message starts here.
fn leading_crlf(buffer: &[u8]) -> Result<Option<Frame>, ParseError> {
    Ok(Some(match buffer {
        [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => Frame::Partial,
        [b'\r', b'\n', b'\r', b'\n', ..] => Frame::Ping(4),
        [b'\r', b'\n', ..] => Frame::Crlf(2),
        [b'\n', ..] => Frame::Crlf(1),
        [first, ..] if octets::is(*first, TOKEN) => return Ok(None),
        // For example a TLS ClientHello on a plain TCP port.
        _ => return Err(ParseError::new(ErrorKind::StartLine, 0)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes `stream` in pieces of `step` octets and returns its frames.
    fn cut(stream: &[u8], step: usize) -> Result<Vec<Frame>, ErrorKind> {
        let mut framer = Framer::new(1000);
        let mut frames = Vec::new();
        let (mut start, mut end) = (0, 0);
        loop {
            match framer.next(&stream[start..end]).map_err(|error| error.kind)? {
                Frame::Partial if end == stream.len() => return Ok(frames),
                Frame::Partial => end = stream.len().min(end + step),
                frame => {
                    let (Frame::Ping(len) | Frame::Crlf(len) | Frame::Complete(len)) = frame else { unreachable!() };
                    start += len;
                    frames.push(frame);
                }
            }
        }
    }

    const FIRST: &str = "MESSAGE sip:a SIP/2.0\r\nContent-Length:\r\n 5\r\n\r\n\r\n\r\nx";
    const SECOND: &str = "SIP/2.0 200 OK\r\nl: 0\r\n\r\n";

    #[test]
    fn the_sizes_of_the_pieces_do_not_change_the_frames() {
        let stream = format!("\r\n\r\n{FIRST}\r\n{SECOND}\r\n\r\n{SECOND}");
        let expected = [
            Frame::Ping(4),
            Frame::Complete(FIRST.len()),
            Frame::Crlf(2),
            Frame::Complete(SECOND.len()),
            Frame::Ping(4),
            Frame::Complete(SECOND.len()),
        ];
        for step in 1..=stream.len() {
            assert_eq!(cut(stream.as_bytes(), step), Ok(expected.to_vec()), "{step}");
        }
    }

    #[test]
    fn a_lone_crlf_waits_for_what_follows() {
        assert_eq!(cut(b"\r\n", 1), Ok(vec![]));
        assert_eq!(cut(b"\r\n\r", 1), Ok(vec![]));
        assert_eq!(cut(b"\n\r\n\r\n", 9), Ok(vec![Frame::Crlf(1), Frame::Ping(4)]));
    }

    #[test]
    fn a_stream_without_message_boundaries_is_an_error() {
        let with = |lines: &str| format!("OPTIONS sip:a SIP/2.0\r\n{lines}\r\n");
        for (stream, kind) in [
            (with(""), ErrorKind::Missing),
            (with("Content-Length: -1\r\n"), ErrorKind::Number),
            (with("Content-Length: 0\r\nl: 1\r\n"), ErrorKind::Contradiction),
            (with("Content-Length: 99999999999999999999\r\n"), ErrorKind::Range),
            (with("Content-Length: 990\r\n"), ErrorKind::TooLong),
            (with(&"A: b\r\n".repeat(200)), ErrorKind::TooLong),
            ("\u{16}\u{3}\u{1}".to_owned(), ErrorKind::StartLine),
            ("\rx".to_owned(), ErrorKind::StartLine),
        ] {
            assert_eq!(cut(stream.as_bytes(), 7), Err(kind), "{stream}");
        }
        let endless = "A".repeat(Framer::MAX_START_LINE + 1);
        let error = Framer::new(1 << 16).next(endless.as_bytes()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::StartLineTooLong);
        assert_eq!(cut(with("l: 7\r\nContent-Length: 7\r\n").as_bytes(), 7), Ok(vec![]));
    }

    #[test]
    fn octets_are_scanned_once() {
        let mut framer = Framer::new(1 << 20);
        let head = format!("OPTIONS sip:a SIP/2.0\r\n{}", "A: b\r\n".repeat(1000));
        for end in 1..head.len() {
            assert_eq!(framer.next(&head.as_bytes()[..end]), Ok(Frame::Partial));
            assert_eq!(framer.scanned, end);
        }
    }
}
