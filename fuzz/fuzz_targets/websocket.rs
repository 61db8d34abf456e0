//! WebSocket frames, received whole and in random pieces: the same items, all within the limit, and the same end.
//!
//! The first octets: the largest message (in units of 64), then a seed for the pieces.
#![no_main]
#![allow(dead_code, reason = "only the decoder of these files is driven here")]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use parser::Transport;
use tokio_util::codec::Decoder as _;

// The server is a program, not a library.
#[path = "../../crates/server/src/transport/stream/framing.rs"]
mod framing;
#[path = "../../crates/server/src/transport/stream/websocket.rs"]
mod websocket;

use framing::{Item, StreamError};

fuzz_target!(|input: &[u8]| {
    let Some((&[size, seed], stream)) = input.split_first_chunk() else { return };
    let max = usize::from(size) * 64;
    let whole = decode(stream, max, |left| left);
    assert_eq!(decode(stream, max, |_| 1), whole, "octet by octet");
    let mut state = u32::from(seed);
    let random = decode(stream, max, |left| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (state >> 16) as usize % if state & 0x100 == 0 { 7 } else { left.max(1) }
    });
    assert_eq!(random, whole, "in random pieces");
    for item in &whole.0 {
        if let Item::Message(message) = item {
            assert!(message.len() <= max, "a message has a largest size");
            assert!(!message.is_empty() && !message.starts_with(b"\r") && !message.starts_with(b"\n"));
        }
    }
});

/// The items of a stream that arrives in pieces of `piece(octets left)`, and the close frame of an error.
fn decode(stream: &[u8], max: usize, mut piece: impl FnMut(usize) -> usize) -> (Vec<Item>, Option<Bytes>) {
    let (mut decoder, encoder) = framing::framing(Transport::Ws, max);
    let (mut buffer, mut items, mut rest) = (BytesMut::new(), Vec::new(), stream);
    loop {
        match decoder.decode(&mut buffer) {
            Ok(Some(item)) => {
                let is_end = matches!(item, Item::Close(_));
                items.push(item);
                if is_end {
                    assert!(encoder.is_closing());
                    return (items, None);
                }
            }
            Ok(None) if rest.is_empty() => return (items, None),
            Ok(None) => {
                let (next, later) = rest.split_at(piece(rest.len()).min(rest.len()));
                buffer.extend_from_slice(next);
                rest = later;
            }
            Err(StreamError::WebSocket { close, error }) => {
                assert!(encoder.is_closing() && !error.is_empty());
                return (items, Some(close));
            }
            Err(error) => unreachable!("{error}"),
        }
    }
}
