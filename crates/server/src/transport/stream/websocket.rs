//! SIP messages in WebSocket frames (RFC 7118 5, RFC 6455 5): bytes in, bytes out.
//!
//! Decides where a message ends, what answers a ping or a close, and whether a message is sent as text or binary.
//! tungstenite implements the protocol: masks, fragments, control frames, UTF-8. It gets one complete frame at a time,
//! so that memory is only used for what was received, and no memory is kept for an idle connection. Must not know what
//! is below: `ws` and `wss` differ in the byte layer only. Extensions are never negotiated, so nothing is compressed.

use std::io::{self, Cursor, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use tungstenite::error::{CapacityError, Error, Result};
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};
use tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig, WebSocketContext};

use super::framing::{CloseReason, Item, StreamError};

/// Size of a read from a frame, at least: fragments after the first one may be longer than it.
const MIN_READ: usize = 512;

/// The read side.
pub(super) struct WebSocketDecoder {
    max_message: usize,
    shared: Arc<Shared>,
    /// The fragments of an incomplete message. A message in one frame needs no state between two calls.
    fragments: Option<Box<WebSocketContext>>,
}

/// The write side.
#[derive(Debug)]
pub(super) struct WebSocketEncoder {
    shared: Arc<Shared>,
}

/// What both sides of a connection know.
#[derive(Debug, Default)]
struct Shared {
    /// Whether the last message of the peer was binary.
    is_binary: AtomicBool,
    /// Whether a close frame was sent: nothing may follow it (RFC 6455 5.5.1).
    is_closing: AtomicBool,
}

/// The framing of a new connection, for received messages up to `max_message` bytes.
pub(super) fn framing(max_message: usize) -> (WebSocketDecoder, WebSocketEncoder) {
    let shared = Arc::new(Shared::default());
    (WebSocketDecoder { max_message, shared: Arc::clone(&shared), fragments: None }, WebSocketEncoder { shared })
}

impl WebSocketDecoder {
    /// The next item. Bytes of an incomplete frame stay in the buffer.
    pub(super) fn decode(&mut self, buffer: &mut BytesMut) -> std::result::Result<Option<Item>, StreamError> {
        loop {
            let frame = match take_frame(buffer, self.max_message) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(None),
                Err(error) => return Err(self.fail(&error)),
            };
            let mut io = FrameIo { input: &frame, output: Vec::new() };
            let (mut context, has_fragments) = match self.fragments.take() {
                Some(context) => (context, true),
                None => (Box::new(self.context(frame.len())), false),
            };
            let received = context.read(&mut io);
            // Writes the answer to a ping or close. Its error says that the connection is closed by a close frame.
            let _ = context.flush(&mut io);
            let answer = Bytes::from(io.output);
            match received {
                Ok(Message::Text(text)) => {
                    if let Some(item) = self.message(text.into(), false) {
                        return Ok(Some(item));
                    }
                }
                Ok(Message::Binary(bytes)) => {
                    if let Some(item) = self.message(bytes, true) {
                        return Ok(Some(item));
                    }
                }
                Ok(Message::Close(_)) => {
                    self.shared.is_closing.store(true, Ordering::Relaxed);
                    return Ok(Some(Item::Close(answer)));
                }
                Ok(control) => {
                    // A control frame may stand between the fragments of a message.
                    self.fragments = has_fragments.then_some(context);
                    if matches!(control, Message::Ping(_)) {
                        return Ok(Some(Item::Ping(answer)));
                    }
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => self.fragments = Some(context),
                Err(error) => return Err(self.fail(&error)),
            }
        }
    }

    /// Whether a message is incomplete although the buffer is empty.
    pub(super) const fn has_fragments(&self) -> bool {
        self.fragments.is_some()
    }

    fn context(&self, frame: usize) -> WebSocketContext {
        let config = WebSocketConfig::default()
            .read_buffer_size(frame.max(MIN_READ))
            .write_buffer_size(0)
            .max_message_size(Some(self.max_message))
            .max_frame_size(Some(self.max_message));
        WebSocketContext::new(Role::Server, Some(config))
    }

    /// A message, or a keep-alive as on other streams (RFC 7118 6, RFC 5626 3.5.1).
    fn message(&self, mut bytes: Bytes, is_binary: bool) -> Option<Item> {
        self.shared.is_binary.store(is_binary, Ordering::Relaxed);
        match bytes.iter().position(|octet| !matches!(octet, b'\r' | b'\n')) {
            Some(start) => Some(Item::Message(bytes.split_off(start))),
            None if bytes.len() >= b"\r\n\r\n".len() => Some(Item::Ping(encode(b"\r\n", is_binary).into())),
            None => None,
        }
    }

    fn fail(&self, error: &Error) -> StreamError {
        let reason = match error {
            Error::Capacity(_) => CloseReason::TooLong,
            Error::Utf8(_) => CloseReason::NotUtf8,
            _ => CloseReason::Protocol,
        };
        self.shared.is_closing.store(true, Ordering::Relaxed);
        StreamError::WebSocket { error: error.to_string(), close: close_frame(reason) }
    }
}

impl WebSocketEncoder {
    /// The frame of a message. RFC 7118 4.2: of the same kind as the peer's messages, but binary if it is not UTF-8.
    pub(super) fn encode(&self, message: &[u8]) -> Vec<u8> {
        let is_binary = self.shared.is_binary.load(Ordering::Relaxed) || str::from_utf8(message).is_err();
        encode(message, is_binary)
    }

    /// A close frame; `None` if one was sent.
    pub(super) fn close_frame(&self, reason: CloseReason) -> Option<Bytes> {
        (!self.shared.is_closing.swap(true, Ordering::Relaxed)).then(|| close_frame(reason))
    }

    /// Whether a close frame was sent.
    pub(super) fn is_closing(&self) -> bool {
        self.shared.is_closing.load(Ordering::Relaxed)
    }
}

/// The first frame in the buffer if it is complete, with its header. Refuses one that is too long before it is received.
fn take_frame(buffer: &mut BytesMut, max_message: usize) -> Result<Option<BytesMut>> {
    let mut header = Cursor::new(&buffer[..]);
    let Some((_, length)) = FrameHeader::parse(&mut header)? else { return Ok(None) };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > max_message {
        return Err(CapacityError::MessageTooLong { size: length, max_size: max_message }.into());
    }
    let total = usize::try_from(header.position()).unwrap_or(usize::MAX).saturating_add(length);
    Ok((total <= buffer.len()).then(|| buffer.split_to(total)))
}

fn encode(payload: &[u8], is_binary: bool) -> Vec<u8> {
    let opcode = OpCode::Data(if is_binary { Data::Binary } else { Data::Text });
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    let length = payload.len() as u64;
    let mut frame = Vec::with_capacity(header.len(length) + payload.len());
    // Writing to memory does not fail.
    let _ = header.format(length, &mut frame);
    frame.extend_from_slice(payload);
    frame
}

fn close_frame(reason: CloseReason) -> Bytes {
    // RFC 6455 7.4.1
    let (code, text) = match reason {
        CloseReason::GoingAway => (CloseCode::Away, ""),
        CloseReason::Timeout => (CloseCode::Policy, "timeout"),
        CloseReason::Protocol => (CloseCode::Protocol, "protocol error"),
        CloseReason::TooLong => (CloseCode::Size, "message too long"),
        CloseReason::NotUtf8 => (CloseCode::Invalid, "text that is not UTF-8"),
    };
    let mut frame = Vec::new();
    // Writing to memory does not fail.
    let _ = Frame::close(Some(CloseFrame { code, reason: text.into() })).format(&mut frame);
    frame.into()
}

/// One frame to read, and what tungstenite answers.
struct FrameIo<'a> {
    input: &'a [u8],
    output: Vec<u8>,
}

impl Read for FrameIo<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.input.read(buffer) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            outcome => outcome,
        }
    }
}

impl Write for FrameIo<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tungstenite::protocol::frame::coding::Control;

    use super::*;

    const OPTIONS: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\n\r\n";
    const TEXT: OpCode = OpCode::Data(Data::Text);
    const BINARY: OpCode = OpCode::Data(Data::Binary);
    const CONTINUE: OpCode = OpCode::Data(Data::Continue);
    const CLOSE: OpCode = OpCode::Control(Control::Close);
    const PING: OpCode = OpCode::Control(Control::Ping);
    const PONG: OpCode = OpCode::Control(Control::Pong);

    /// A masked frame, as a client sends it.
    fn frame(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let header = FrameHeader { is_final, opcode, mask: Some(mask), ..FrameHeader::default() };
        let mut frame = Vec::new();
        header.format(payload.len() as u64, &mut frame).expect("memory");
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(octet, mask)| octet ^ mask));
        frame
    }

    /// The items of a stream that arrives in pieces of this length, and the close frame if there is an error.
    fn decode(stream: &[u8], piece: usize) -> (Vec<Item>, Option<Bytes>) {
        let (mut decoder, mut buffer, mut items) = (framing(1000).0, BytesMut::new(), Vec::new());
        for octets in stream.chunks(piece) {
            buffer.extend_from_slice(octets);
            loop {
                match decoder.decode(&mut buffer) {
                    Ok(Some(item)) => items.push(item),
                    Ok(None) => break,
                    Err(StreamError::WebSocket { close, .. }) => return (items, Some(close)),
                    Err(error) => panic!("{error}"),
                }
            }
        }
        assert!(buffer.is_empty() && !decoder.has_fragments());
        (items, None)
    }

    /// The code of a close frame of the server.
    fn code(frame: &[u8]) -> u16 {
        let &[0x88, _, high, low, ..] = frame else { panic!("{frame:?}") };
        u16::from_be_bytes([high, low])
    }

    #[test]
    fn items_do_not_depend_on_how_the_stream_is_cut() {
        // checklist 165
        let stream = [
            frame(TEXT, true, OPTIONS),
            frame(PING, true, b"hello"),
            frame(PONG, true, b""),
            frame(BINARY, false, &OPTIONS[..5]),
            frame(PING, true, b"between"),
            frame(CONTINUE, false, b""),
            frame(CONTINUE, true, &OPTIONS[5..]),
            frame(TEXT, true, b"\r\n\r\n"),
            frame(TEXT, true, b"\r\n"),
            frame(TEXT, true, b""),
            frame(BINARY, true, &[b"\r\n", OPTIONS].concat()),
            frame(TEXT, true, &[&OPTIONS[..25], &[b'x'; 400]].concat()),
            frame(CLOSE, true, &1000_u16.to_be_bytes()),
        ]
        .concat();
        let long = [&OPTIONS[..25], &[b'x'; 400]].concat();
        let message = Item::Message(Bytes::from_static(OPTIONS));
        let ping = |answer: &'static [u8]| Item::Ping(Bytes::from_static(answer));
        let expected = [
            message.clone(),
            ping(b"\x8a\x05hello"),
            ping(b"\x8a\x07between"),
            message.clone(),
            ping(b"\x81\x02\r\n"),
            message,
            Item::Message(long.into()),
            Item::Close(Bytes::from_static(b"\x88\x02\x03\xe8")),
        ];
        for piece in 1..stream.len() {
            assert_eq!(decode(&stream, piece), (expected.to_vec(), None), "{piece}");
        }
    }

    #[test]
    fn protocol_errors_are_closed_with_their_code() {
        let unmasked = encode(OPTIONS, false);
        let with_bit = |bit: u8| {
            let mut frame = frame(TEXT, true, OPTIONS);
            frame[0] |= bit;
            frame
        };
        let of_length = |length: u64| [&[0x81, 0xff], &length.to_be_bytes()[..], &[1, 2, 3, 4]].concat();
        let fragment = |length| frame(CONTINUE, false, &vec![b'x'; length]);
        for (name, stream, expected) in [
            ("unmasked", unmasked, 1002),
            ("reserved bit 1", with_bit(0x40), 1002),
            ("reserved bit 2", with_bit(0x20), 1002),
            ("reserved bit 3", with_bit(0x10), 1002),
            ("unknown data opcode", with_bit(0x03), 1002),
            ("unknown control opcode", with_bit(0x0b), 1002),
            ("a continuation of nothing", frame(CONTINUE, true, b"x"), 1002),
            ("a message within a message", [frame(TEXT, false, b"x"), frame(TEXT, true, b"x")].concat(), 1002),
            ("a fragmented ping", frame(PING, false, b"x"), 1002),
            ("a long ping", frame(PING, true, &[0; 126]), 1002),
            ("a close with half a code", frame(CLOSE, true, b"\x03"), 1002),
            ("2^63 octets", of_length(1 << 63), 1009),
            ("all ones", of_length(u64::MAX), 1009),
            ("one octet too many", of_length(1001), 1009),
            ("too many fragments", [frame(BINARY, false, &[b'x'; 600]), fragment(200), fragment(201)].concat(), 1009),
            ("text that is not UTF-8", frame(TEXT, true, b"\xff"), 1007),
        ] {
            for piece in [1, stream.len()] {
                let (items, close) = decode(&stream, piece);
                assert_eq!((items, close.map(|close| code(&close))), (Vec::new(), Some(expected)), "{name}");
            }
        }
    }

    #[test]
    fn a_close_code_that_must_not_be_sent_is_a_protocol_error() {
        for (sent, answered) in [(1000, 1000), (1001, 1001), (4000, 4000), (1005, 1002), (999, 1002)] {
            let (items, _) = decode(&frame(CLOSE, true, &u16::to_be_bytes(sent)), 100);
            let [Item::Close(answer)] = &items[..] else { panic!("{items:?}") };
            assert_eq!(code(answer), answered, "{sent}");
        }
    }

    #[test]
    fn no_memory_is_taken_for_octets_that_have_not_come() {
        let (mut decoder, _) = framing(1 << 30);
        let mut buffer = BytesMut::from(&[0x81, 0xff, 0, 0, 0, 0, 0x3f, 0, 0, 0, 1, 2, 3, 4][..]);
        assert!(matches!(decoder.decode(&mut buffer), Ok(None)));
        assert!(buffer.capacity() < 1000 && decoder.fragments.is_none());
    }

    #[test]
    fn messages_are_sent_in_the_kind_of_the_peer() {
        let (mut decoder, encoder) = framing(1000);
        let header = |message: &[u8]| encoder.encode(message)[..2].to_vec();
        assert_eq!(header(OPTIONS), [0x81, OPTIONS.len() as u8]);
        // RFC 7118 4.2
        assert_eq!(header(b"\xff"), [0x82, 1]);
        decoder.decode(&mut BytesMut::from(&frame(BINARY, true, OPTIONS)[..])).expect("a message");
        assert_eq!(header(OPTIONS), [0x82, OPTIONS.len() as u8]);
        for length in [125, 126, 65_535, 65_536] {
            let message = vec![b'x'; length];
            let mut cursor = Cursor::new(encoder.encode(&message));
            let (header, written) = FrameHeader::parse(&mut cursor).expect("a header").expect("all of it");
            assert_eq!((header.mask, header.is_final, written), (None, true, length as u64));
            assert_eq!(cursor.get_ref().len() as u64, cursor.position() + written);
        }
    }

    #[test]
    fn nothing_follows_a_close_frame() {
        let (_, encoder) = framing(1000);
        assert!(!encoder.is_closing());
        assert_eq!(encoder.close_frame(CloseReason::GoingAway).map(|frame| code(&frame)), Some(1001));
        assert!(encoder.is_closing() && encoder.close_frame(CloseReason::Timeout).is_none());
        let (mut decoder, encoder) = framing(1000);
        decoder.decode(&mut BytesMut::from(&frame(CLOSE, true, b"")[..])).expect("a close");
        assert!(encoder.is_closing());
    }
}
