//! Proof of linear time: the cost of an octet in the worst messages we can think of, from 1 KB to 64 KB. A cost that
//! grows with the size is a way to stop the server with few packets.
//!
//! `cargo bench -p parser --bench hostile` prints nanoseconds per octet and fails if any grows.
#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench prints, and stops at what it does not expect"
)]

#[path = "hostile/inputs.rs"]
mod inputs;

use std::time::{Duration, Instant};

use bytes::Bytes;

const SIZES: [usize; 4] = [1 << 10, 1 << 12, 1 << 14, 1 << 16];
/// What an octet may cost at 64 KB, in units of its cost at 4 KB: caches are smaller than messages, so not quite 1.
const GROWTH: f64 = 2.0;
/// Below this it is the fixed cost of a message that is measured, in nanoseconds per octet.
const NOTHING: f64 = 0.3;
const ROUNDS: usize = 12;

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let tries = if std::env::args().any(|arg| arg == "--bench") { ROUNDS } else { 1 };
    let mut out = Vec::new();
    let mut grown = Vec::new();
    println!("{:<32}{:>8}{:>8}{:>8}{:>8}   ns per octet at 1, 4, 16, 64 KB", "", "1", "4", "16", "64");
    let names = inputs::SHAPES.iter().map(|shape| shape.name).chain(inputs::elsewhere(1).map(|(name, _)| name));
    for (index, name) in names.enumerate() {
        let messages = SIZES.map(|size| match inputs::SHAPES.get(index) {
            Some(shape) => shape.message(size),
            None => inputs::elsewhere(size)[index - inputs::SHAPES.len()].1.clone(),
        });
        let mut show = |what: &str, work: &mut dyn FnMut(&Bytes)| {
            let costs = measure(&messages, tries, work);
            let grows = costs[3] > NOTHING && costs[3] > GROWTH * costs[1].max(costs[2]).max(NOTHING);
            let [a, b, c, d] = costs;
            let mark = if grows { "  GROWS" } else { "" };
            println!("{:<32}{a:>8.2}{b:>8.2}{c:>8.2}{d:>8.2}{mark}", format!("{name}: {what}"));
            if grows {
                grown.push(format!("{name}: {what}"));
            }
        };
        show("parse", &mut inputs::parse);
        show("frame", &mut |octets| inputs::frame(octets, 1));
        show("read", &mut inputs::read);
        show("write", &mut |octets| inputs::write(octets, &mut out));
    }
    assert!(tries == 1 || grown.is_empty(), "an octet costs more in a larger message: {grown:?}");
    println!("level");
}

/// The least time of several tries, per octet, for each size. The sizes take turns, so that a slow moment of the
/// machine meets all of them.
fn measure(messages: &[Bytes; 4], tries: usize, work: &mut dyn FnMut(&Bytes)) -> [f64; 4] {
    let mut least = [Duration::MAX; 4];
    for _ in 0..tries {
        for (least, message) in least.iter_mut().zip(messages) {
            let repeats = SIZES[3] / message.len().clamp(1, SIZES[3]);
            let began = Instant::now();
            (0..repeats.max(1)).for_each(|_| work(message));
            *least = (*least).min(began.elapsed() / u32::try_from(repeats.max(1)).unwrap_or(1));
        }
    }
    [0, 1, 2, 3].map(|at| least[at].as_secs_f64() * 1e9 / messages[at].len() as f64)
}
