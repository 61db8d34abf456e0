//! Neither parsing what a proxy needs nor writing the forwarded message allocates. Allocations are counted for the
//! messages of the benchmarks.

#[path = "../benches/forward/mod.rs"]
mod forward;

use allocation_counter::measure;
use bytes::Bytes;
use forward::ALL;
use parser::{Message, Rewrite};

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![1_u8]))).count_total, 1);
}

#[test]
fn reading_does_not_allocate() {
    for sample in ALL {
        let counted = measure(|| {
            let message = Message::parse(sample.bytes()).unwrap();
            assert!(forward::read(&message).is_ok());
        });
        assert_eq!(counted.count_total, 0, "{sample}");
    }
}

/// A worker reuses its list of edits and its buffer, which have grown with the first message.
#[test]
fn writing_does_not_allocate_once_the_buffers_have_grown() {
    for sample in ALL {
        let (mut rewrite, mut out) = (Rewrite::new(), Vec::new());
        let mut forward = || {
            let message = Message::parse(sample.bytes()).unwrap();
            forward::write(&message, &forward::read(&message).unwrap(), &mut rewrite, &mut out);
        };
        forward();
        assert_eq!(measure(forward).count_total, 0, "{sample}");
        assert_ne!(out, sample.octets);
    }
}

/// More header lines than a message stores inline are allocated with doubling capacity, not one allocation per line.
#[test]
fn many_lines_take_few_allocations() {
    let message = format!("OPTIONS sip:a SIP/2.0\r\n{}\r\n", "A: b\r\n".repeat(Message::MAX_LINES));
    let bytes = Bytes::from(message);
    let lines = Message::parse(bytes.clone()).unwrap().lines().len();
    assert_eq!(lines, Message::MAX_LINES);
    let counted = measure(|| drop(Message::parse(bytes.clone())));
    assert!((1..=5).contains(&counted.count_total), "{}", counted.count_total);
}
