//! Cuts messages out of a stream (RFC 3261 18.3, keep-alives RFC 5626 3.5.1). Decides where a message ends, and when a
//! stream cannot be a SIP stream any more; waiting for more octets is never an error. Must not look at octets twice, save
//! once at a complete head.

use memchr::memchr;

use crate::{
    ErrorKind, HeaderName, Leniency, ParseError,
    head::Head,
    lines::LineSplitter,
    octets::{self, TOKEN},
    span::offset,
};

/// Cuts one stream into messages. Feed it the unread octets of the stream; take away what it says is done.
#[derive(Debug)]
pub struct Framer {
    max_message: usize,
    /// Octets of the head that are known to hold no blank line.
    scanned: usize,
    /// Where the line that is being read starts.
    line_at: usize,
    /// Length of the message whose head is complete.
    total: Option<usize>,
}

/// What stands at the start of the unread octets. The number is how many octets to take away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Nothing complete yet: read more.
    Partial,
    /// A keep-alive, CRLFCRLF: answer with CRLF (RFC 5626 3.5.1).
    Ping(usize),
    /// A lone CRLF: a pong, or padding between messages (RFC 3261 7.5). Skip it.
    Crlf(usize),
    /// A whole message.
    Complete(usize),
}

impl Framer {
    /// Octets a start line may have on a stream. A Request-URI of some hundred octets is long; what never ends its first
    /// line is no SIP.
    pub const MAX_START_LINE: usize = 8192;

    /// A framer that takes messages of up to `max_message` octets, head and body.
    pub fn new(max_message: usize) -> Self {
        Self { max_message, scanned: 0, line_at: 0, total: None }
    }

    /// Looks at the unread octets of the stream. After anything but `Partial` the caller takes the octets away and asks
    /// again; after `Partial` it appends what it reads, and asks again with all of it.
    ///
    /// # Errors
    /// If the stream cannot be cut any further: no start line, too long, or a Content-Length that is missing, malformed
    /// or contradicted. The stream is lost; close it.
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

    /// One past the blank line, as soon as it is there.
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

    /// Refuses a first line that reaches up to `end` and is too long.
    fn check_start(&self, end: usize) -> Result<(), ParseError> {
        if self.line_at == 0 && end > Self::MAX_START_LINE {
            return Err(ParseError::new(ErrorKind::StartLineTooLong, offset(end)));
        }
        Ok(())
    }

    /// RFC 3261 18.3: on a stream Content-Length says where the message ends.
    fn message_len(&self, head: &[u8]) -> Result<usize, ParseError> {
        let mut splitter = LineSplitter::new(Leniency::default());
        splitter.physical(head);
        let mut lines = Head::new();
        lines.read(head, splitter);
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
        // A TLS hello on a plain port, for one.
        _ => return Err(ParseError::new(ErrorKind::StartLine, 0)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `stream` in pieces of `step` octets and cuts it up.
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
    fn the_same_frames_however_the_stream_is_split() {
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
    fn what_cannot_be_cut_is_an_error() {
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
    fn octets_are_looked_at_once() {
        let mut framer = Framer::new(1 << 20);
        let head = format!("OPTIONS sip:a SIP/2.0\r\n{}", "A: b\r\n".repeat(1000));
        for end in 1..head.len() {
            assert_eq!(framer.next(&head.as_bytes()[..end]), Ok(Frame::Partial));
            assert_eq!(framer.scanned, end);
        }
    }
}
