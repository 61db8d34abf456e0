//! How long the parser takes for what a proxy does with a message, with httparse's header split as the floor. The same
//! beside other SIP parsers is in `compare/`.

#![allow(missing_docs, reason = "the benchmark framework's own functions")]

mod forward;

use divan::{Bencher, black_box};
use forward::{ALL, Sample};
use parser::{Message, Rewrite};

fn main() {
    divan::main();
}

/// Start line, lines and their names, body.
#[divan::bench(args = ALL, sample_count = 200, sample_size = 500)]
fn split(bencher: Bencher<'_, '_>, sample: &Sample) {
    bencher.bench_local(|| Message::parse(black_box(sample.bytes())));
}

/// The header lines alone: names and values are cut, no name is looked up.
#[divan::bench(args = ALL, sample_count = 200, sample_size = 500)]
fn split_httparse(bencher: Bencher<'_, '_>, sample: &Sample) {
    let lines = sample.header_lines();
    bencher.bench_local(|| {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        black_box(httparse::parse_headers(black_box(lines), &mut headers)).is_ok()
    });
}

/// All a proxy looks at.
#[divan::bench(args = ALL, sample_count = 200, sample_size = 500)]
fn parse(bencher: Bencher<'_, '_>, sample: &Sample) {
    bencher.bench_local(|| {
        let message = Message::parse(black_box(sample.bytes())).ok()?;
        black_box(&forward::read(&message).ok()?);
        Some(message)
    });
}

/// All a proxy looks at, and the message it sends on.
#[divan::bench(args = ALL, sample_count = 200, sample_size = 500)]
fn parse_and_rewrite(bencher: Bencher<'_, '_>, sample: &Sample) {
    let (mut rewrite, mut out) = (Rewrite::new(), Vec::new());
    bencher.bench_local(|| {
        let message = Message::parse(black_box(sample.bytes())).ok()?;
        forward::write(&message, &forward::read(&message).ok()?, &mut rewrite, &mut out);
        Some(black_box(out.len()))
    });
}
