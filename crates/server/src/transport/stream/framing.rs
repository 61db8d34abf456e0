//! The messages in the bytes of a connection, and the bytes of a message (RFC 3261 18.3).
//!
//! Decides where a message ends, how a keep-alive is answered and what is sent before a connection is closed: all of
//! this belongs to the framing. Over TCP (and TLS) this is `parser::Framer` as a tokio codec, over WebSocket the module
//! `websocket`. Must not parse a message. Keeps the bytes of a message with a framing error so that it can be answered.

use std::borrow::Cow;
use std::io;

use bytes::{Bytes, BytesMut};
use parser::{Frame, Framer, ParseError, Transport};
use tokio_util::codec::Decoder;

use super::websocket::{self, WebSocketDecoder, WebSocketEncoder};

/// What a CRLF CRLF is answered with (RFC 5626 3.5.1).
const PONG: Bytes = Bytes::from_static(b"\r\n");

/// The framing of the read side. Bytes of an incomplete message stay in the buffer: the reader limits its time while
/// there are any.
pub(super) enum MessageDecoder {
    /// Content-Length contains the length of the body.
    ContentLength(Framer),
    /// Each WebSocket message is one SIP message.
    WebSocket(WebSocketDecoder),
}

/// The framing of the write side.
#[derive(Debug)]
pub(super) enum MessageEncoder {
    /// Messages follow each other.
    ContentLength,
    /// Each message is one WebSocket message.
    WebSocket(WebSocketEncoder),
}

/// Why this side closes a connection, for framings that can tell the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// The connection is not needed any more, or the server stops.
    GoingAway,
    /// The peer was idle or slow for too long.
    Timeout,
    /// The peer violated the protocol.
    Protocol,
    /// The peer sent a message above the limit.
    TooLong,
    /// The peer sent text that is not UTF-8.
    NotUtf8,
}

/// An item of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// One message.
    Message(Bytes),
    /// A keep-alive, with the bytes that answer it.
    Ping(Bytes),
    /// The peer closes the connection, with the bytes that answer it.
    Close(Bytes),
}

/// Why reading has to stop.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
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
    /// The peer sent what is not WebSocket, or a message above the limit.
    #[error("{error}")]
    WebSocket {
        /// What is wrong.
        error: String,
        /// The close frame to send.
        close: Bytes,
    },
}

/// The framing of a new connection, for received messages up to `max_message` bytes.
pub(super) fn framing(transport: Transport, max_message: usize) -> (MessageDecoder, MessageEncoder) {
    match transport {
        Transport::Udp | Transport::Tcp | Transport::Tls => {
            (MessageDecoder::ContentLength(Framer::new(max_message)), MessageEncoder::ContentLength)
        }
        Transport::Ws | Transport::Wss => {
            let (decoder, encoder) = websocket::framing(max_message);
            (MessageDecoder::WebSocket(decoder), MessageEncoder::WebSocket(encoder))
        }
    }
}

impl MessageDecoder {
    /// Whether a message has begun and is incomplete. `buffer`: what the decoder has left there.
    pub(super) fn has_partial(&self, buffer: &[u8]) -> bool {
        match self {
            // A lone CRLF is not the beginning of a message (RFC 3261 7.5): some phones send it as a keep-alive.
            Self::ContentLength(_) => !buffer.iter().all(|octet| matches!(octet, b'\r' | b'\n')),
            Self::WebSocket(decoder) => !buffer.is_empty() || decoder.has_fragments(),
        }
    }
}

impl MessageEncoder {
    /// The bytes to send for a message.
    pub(super) fn encode<'m>(&self, message: &'m [u8]) -> Cow<'m, [u8]> {
        match self {
            Self::ContentLength => Cow::Borrowed(message),
            Self::WebSocket(encoder) => Cow::Owned(encoder.encode(message)),
        }
    }

    /// The bytes to send before the connection is closed, if there are any.
    pub(super) fn close_bytes(&self, reason: CloseReason) -> Option<Bytes> {
        match self {
            Self::ContentLength => None,
            Self::WebSocket(encoder) => encoder.close_frame(reason),
        }
    }

    /// Whether the peer has been told that the connection is closed, so that no message may follow.
    pub(super) fn is_closing(&self) -> bool {
        match self {
            Self::ContentLength => false,
            Self::WebSocket(encoder) => encoder.is_closing(),
        }
    }
}

impl Decoder for MessageDecoder {
    type Item = Item;
    type Error = StreamError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Item>, StreamError> {
        match self {
            Self::ContentLength(framer) => next_item(framer, buffer),
            Self::WebSocket(decoder) => decoder.decode(buffer),
        }
    }
}

fn next_item(framer: &mut Framer, buffer: &mut BytesMut) -> Result<Option<Item>, StreamError> {
    loop {
        let frame = framer.next(buffer);
        let frame = frame.map_err(|error| StreamError::Framing { error, head: buffer.split().freeze() })?;
        match frame {
            Frame::Partial => return Ok(None),
            Frame::Crlf(length) => drop(take(buffer, length)),
            Frame::Ping(length) => {
                drop(take(buffer, length));
                return Ok(Some(Item::Ping(PONG)));
            }
            Frame::Complete(length) => return Ok(Some(Item::Message(take(buffer, length).freeze()))),
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
    fn messages_and_pings_arrive_in_pieces() {
        let stream = [b"\r\n\r\n", OPTIONS, b"\r\n", OPTIONS, b"\r\n\r\n"].concat();
        for piece in 1..stream.len() {
            let (mut decoder, mut buffer, mut items) = (framing(Transport::Tcp, 1000).0, BytesMut::new(), Vec::new());
            for octets in stream.chunks(piece) {
                buffer.extend_from_slice(octets);
                while let Some(item) = decoder.decode(&mut buffer).expect("a good stream") {
                    items.push(item);
                }
            }
            let messages = items.iter().filter(|item| matches!(item, Item::Message(text) if text == OPTIONS)).count();
            assert_eq!(
                (messages, items.first(), items.last()),
                (2, Some(&Item::Ping(PONG)), Some(&Item::Ping(PONG))),
                "{piece}"
            );
        }
    }

    #[test]
    fn a_message_without_length_is_kept_for_the_answer() {
        let text = &b"OPTIONS sip:a@b SIP/2.0\r\nVia: x\r\n\r\n"[..];
        let result = framing(Transport::Tcp, 1000).0.decode(&mut BytesMut::from(text));
        assert!(matches!(result, Err(StreamError::Framing { head, .. }) if head == text));
    }

    #[test]
    fn too_long_a_message_is_an_error() {
        let text = format!("OPTIONS sip:a@b SIP/2.0\r\nSubject: {}", "x".repeat(2000));
        let result = framing(Transport::Tcp, 1000).0.decode(&mut BytesMut::from(text.as_bytes()));
        assert!(matches!(result, Err(StreamError::Framing { .. })), "{result:?}");
    }
}
