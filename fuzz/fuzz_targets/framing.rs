//! A stream that arrives at once and in pieces: the framer returns the same frames, and the parser accepts each as one
//! message.
//!
//! The first two octets of the input are the size limit of a message, in units of 64 octets, and a seed for the sizes
//! of the pieces.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use parser::{Frame, Framer, Message};

fuzz_target!(|input: &[u8]| {
    let Some((&[size, seed], stream)) = input.split_first_chunk() else { return };
    let max = usize::from(size) * 64;
    let whole = frames(stream, max, |_| usize::MAX);
    assert_eq!(frames(stream, max, |_| 1), whole, "octet by octet");
    let mut state = u32::from(seed);
    let random = frames(stream, max, |left| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (state >> 16) as usize % if state & 0x100 == 0 { 7 } else { left.max(1) }
    });
    assert_eq!(random, whole, "in random pieces");
    frames_are_messages(stream, max, &whole.0);
});

/// The frames of a stream, and whether an error ended it. The next piece of the stream has `piece(octets left)` octets.
fn frames(stream: &[u8], max: usize, mut piece: impl FnMut(usize) -> usize) -> (Vec<Frame>, bool) {
    let mut framer = Framer::new(max);
    let (mut start, mut end) = (0, 0);
    let mut frames = Vec::new();
    loop {
        match framer.next(&stream[start..end]) {
            Err(error) => {
                drop(error.to_string());
                return (frames, true);
            }
            Ok(Frame::Partial) if end == stream.len() => return (frames, false),
            Ok(Frame::Partial) => end = end.saturating_add(piece(stream.len() - end)).min(stream.len()),
            Ok(frame) => {
                start += length(frame);
                assert!(length(frame) > 0 && start <= end, "a frame is not empty and has arrived completely");
                frames.push(frame);
            }
        }
    }
}

const fn length(frame: Frame) -> usize {
    match frame {
        Frame::Partial => 0,
        Frame::Ping(len) | Frame::Crlf(len) | Frame::Complete(len) => len,
    }
}

/// The parser and the framer find the same end of a message. Otherwise a message could be hidden inside another one.
fn frames_are_messages(stream: &[u8], max: usize, frames: &[Frame]) {
    let mut at = 0;
    for &frame in frames {
        let text = &stream[at..at + length(frame)];
        at += length(frame);
        if let Frame::Complete(len) = frame {
            assert!(len <= max, "a frame is not longer than the limit");
            if let Ok(message) = Message::parse(Bytes::copy_from_slice(text)) {
                assert_eq!(message.bytes().len(), len, "a frame is one message");
            }
        }
    }
}
