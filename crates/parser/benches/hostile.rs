//! Checks for linear time: the cost per octet of hostile messages from 1 KB to 64 KB. If the cost per octet grew with
//! the size, a few packets could overload the server.
//!
//! `cargo bench -p parser --bench hostile` prints nanoseconds per octet and fails if one of them grows.
#![expect(clippy::print_stdout, clippy::indexing_slicing, reason = "a bench prints, and panics on unexpected results")]

#[path = "hostile/inputs.rs"]
mod inputs;

use std::time::{Duration, Instant};

use bytes::Bytes;

const SIZES: [usize; 4] = [1 << 10, 1 << 12, 1 << 14, 1 << 16];
/// Maximum cost per octet at 64 KB relative to that at 4 KB. Above 1, because large messages exceed the caches.
const GROWTH: f64 = 2.0;
/// Costs below this are mostly the fixed cost per message, in nanoseconds per octet.
const NEGLIGIBLE: f64 = 0.3;
const ROUNDS: usize = 12;

fn main() {
    // `cargo test --benches` only checks that it runs.
    let tries = if std::env::args().any(|arg| arg == "--bench") { ROUNDS } else { 1 };
    let mut out = Vec::new();
    let mut grown = Vec::new();
    println!("{:<32}{:>8}{:>8}{:>8}{:>8}   ns per octet at 1, 4, 16, 64 KB", "", "1", "4", "16", "64");
    let names = inputs::SHAPES.iter().map(|shape| shape.name).chain(inputs::other_messages(1).map(|(name, _)| name));
    for (index, name) in names.enumerate() {
        let messages = SIZES.map(|size| match inputs::SHAPES.get(index) {
            Some(shape) => shape.message(size),
            None => inputs::other_messages(size)[index - inputs::SHAPES.len()].1.clone(),
        });
        let mut print_row = |what: &str, work: &mut dyn FnMut(&Bytes)| {
            let costs = measure(&messages, tries, work);
            let grows = costs[3] > NEGLIGIBLE && costs[3] > GROWTH * costs[1].max(costs[2]).max(NEGLIGIBLE);
            let [a, b, c, d] = costs;
            let mark = if grows { "  GROWS" } else { "" };
            println!("{:<32}{a:>8.2}{b:>8.2}{c:>8.2}{d:>8.2}{mark}", format!("{name}: {what}"));
            if grows {
                grown.push(format!("{name}: {what}"));
            }
        };
        print_row("parse", &mut inputs::parse);
        print_row("frame", &mut |octets| inputs::frame(octets, 1));
        print_row("read", &mut inputs::read);
        print_row("write", &mut |octets| inputs::write(octets, &mut out));
    }
    assert!(tries == 1 || grown.is_empty(), "an octet costs more in a larger message: {grown:?}");
    println!("no cost grows");
}

/// The shortest time of several tries, per octet, for each size. The sizes alternate, so that a temporary load of the
/// machine affects all of them.
fn measure(messages: &[Bytes; 4], tries: usize, work: &mut dyn FnMut(&Bytes)) -> [f64; 4] {
    let mut shortest = [Duration::MAX; 4];
    for _ in 0..tries {
        for (shortest, message) in shortest.iter_mut().zip(messages) {
            let repeats = SIZES[3] / message.len().clamp(1, SIZES[3]);
            let start = Instant::now();
            (0..repeats.max(1)).for_each(|_| work(message));
            *shortest = (*shortest).min(start.elapsed() / u32::try_from(repeats.max(1)).unwrap_or(1));
        }
    }
    [0, 1, 2, 3].map(|at| shortest[at].as_secs_f64() * 1e9 / messages[at].len() as f64)
}
