//! Extracts messages from a stream (RFC 3261 18.3): `parser::Framer` as a tokio codec.
//!
//! Decides nothing about SIP. Keeps the data of a message with a framing error so that it can be answered.

use std::io;

use bytes::{Bytes, BytesMut};
use parser::{Frame, Framer, ParseError};
use tokio_util::codec::Decoder;

/// The read side of one connection.
pub(crate) struct Codec {
    framer: Framer,
}

/// An item of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// One message.
    Message(Bytes),
    /// A ping: CRLF CRLF, answered with CRLF (RFC 5626 3.5.1).
    Ping,
}

/// Why reading has to stop.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The start of the next message is unknown.
    #[error("{error}")]
    Framing {
        /// What is wrong.
        error: ParseError,
        /// The data that was received of the message.
        head: Bytes,
    },
}

impl Codec {
    /// For messages up to `max_message` bytes.
    pub(crate) fn new(max_message: usize) -> Self {
        Self { framer: Framer::new(max_message) }
    }
}

impl Decoder for Codec {
    type Item = Item;
    type Error = StreamError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Item>, StreamError> {
        loop {
            let frame = self.framer.next(buffer);
            let frame = frame.map_err(|error| StreamError::Framing { error, head: buffer.split().freeze() })?;
            match frame {
                Frame::Partial => return Ok(None),
                Frame::Crlf(length) => drop(take(buffer, length)),
                Frame::Ping(length) => {
                    drop(take(buffer, length));
                    return Ok(Some(Item::Ping));
                }
                Frame::Complete(length) => return Ok(Some(Item::Message(take(buffer, length).freeze()))),
            }
        }
    }
}

fn take(buffer: &mut BytesMut, length: usize) -> BytesMut {
    // `split_to` panics if the length exceeds the buffer.
    buffer.split_to(length.min(buffer.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 4\r\n\r\nbody";

    #[test]
    fn messages_and_pings_in_pieces() {
        let stream = [b"\r\n\r\n", OPTIONS, b"\r\n", OPTIONS, b"\r\n\r\n"].concat();
        for piece in 1..stream.len() {
            let (mut codec, mut buffer, mut items) = (Codec::new(1000), BytesMut::new(), Vec::new());
            for octets in stream.chunks(piece) {
                buffer.extend_from_slice(octets);
                while let Some(item) = codec.decode(&mut buffer).expect("a good stream") {
                    items.push(item);
                }
            }
            let messages = items.iter().filter(|item| matches!(item, Item::Message(text) if text == OPTIONS)).count();
            assert_eq!((messages, items.first(), items.last()), (2, Some(&Item::Ping), Some(&Item::Ping)), "{piece}");
        }
    }

    #[test]
    fn a_message_without_length_is_kept_for_the_answer() {
        let text = &b"OPTIONS sip:a@b SIP/2.0\r\nVia: x\r\n\r\n"[..];
        let result = Codec::new(1000).decode(&mut BytesMut::from(text));
        assert!(matches!(result, Err(StreamError::Framing { head, .. }) if head == text));
    }

    #[test]
    fn too_long_a_message_is_an_error() {
        let text = format!("OPTIONS sip:a@b SIP/2.0\r\nSubject: {}", "x".repeat(2000));
        let result = Codec::new(1000).decode(&mut BytesMut::from(text.as_bytes()));
        assert!(matches!(result, Err(StreamError::Framing { .. })), "{result:?}");
    }
}
