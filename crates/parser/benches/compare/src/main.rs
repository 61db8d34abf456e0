//! Compares this parser with rsip, rsipstack and ezk-sip-types: the same messages, the same parsed headers and the same
//! edits, in one run. `cargo run --release` in this folder prints the table.

mod ezk_crate;
#[path = "../../forward/mod.rs"]
mod forward;
mod rsip_crate;
mod rsipstack_crate;

use std::cell::RefCell;

use bytes::Bytes;
use divan::{Bencher, black_box};
use forward::{ALL, Sample};
use parser::{Message, Rewrite};

/// The values that each parser writes into a forwarded request.
const TARGET: &str = "sip:2077@192.0.2.77:5060;transport=udp";
const VIA: &str = "SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK41d8e07b93f2";
const RECORD_ROUTE: &str = "<sip:198.51.100.7:5060;lr>";

fn main() {
    for sample in ALL {
        check_all_equal(sample);
    }
    divan::Divan::from_args().run_benches();
}

/// Checks that each parser does all the work: one that stops early or omits an edit would seem fast.
fn check_all_equal(sample: &Sample) {
    let bytes = sample.bytes();
    let mut expected = Vec::new();
    let message = Message::parse(bytes.clone()).unwrap();
    let needs = forward::read(&message).unwrap();
    forward::write(&message, &needs, &mut Rewrite::new(), &mut expected);
    let others = [
        ("rsip", rsip_crate::rewrite(&bytes)),
        ("rsipstack", rsipstack_crate::rewrite(&bytes)),
        ("ezk", ezk_crate::rewrite(&bytes)),
    ];
    for (name, other) in others {
        let other = other.unwrap_or_else(|| panic!("{name} cannot parse {sample}"));
        // The lines may be in another order, but none may be missing.
        assert_eq!(other.len(), expected.len(), "{name} on {sample}:\n{}", String::from_utf8_lossy(&other));
    }
}

/// The result is dropped inside the measured time, because a proxy drops it as well.
macro_rules! compare {
    ($group:ident: $($name:ident = $run:expr;)*) => {
        mod $group {
            use super::*;

            $(
                #[divan::bench(args = ALL, sample_count = 300, sample_size = 100)]
                fn $name(bencher: Bencher<'_, '_>, sample: &Sample) {
                    let bytes = sample.bytes();
                    let run = $run;
                    bencher.bench_local(|| {
                        black_box(&run(black_box(&bytes)));
                    });
                }
            )*
        }
    };
}

compare! { parse:
    frontdesk = parse_frontdesk;
    rsip = rsip_crate::parse;
    rsipstack = rsipstack_crate::parse;
    ezk_sip_types = ezk_crate::parse;
}

compare! { parse_and_rewrite:
    frontdesk = rewrite_frontdesk();
    rsip = rsip_crate::rewrite;
    rsipstack = rsipstack_crate::rewrite;
    ezk_sip_types = ezk_crate::rewrite;
}

/// Lower bound: only the split of the header lines into names and values.
mod split {
    use super::*;

    #[divan::bench(args = ALL, sample_count = 300, sample_size = 100)]
    fn frontdesk(bencher: Bencher<'_, '_>, sample: &Sample) {
        let bytes = sample.bytes();
        bencher.bench_local(|| {
            black_box(&Message::parse(black_box(bytes.clone())).unwrap());
        });
    }

    #[divan::bench(args = ALL, sample_count = 300, sample_size = 100)]
    fn httparse(bencher: Bencher<'_, '_>, sample: &Sample) {
        let lines = sample.header_lines();
        bencher.bench_local(|| {
            let mut headers = [::httparse::EMPTY_HEADER; 64];
            black_box(&::httparse::parse_headers(black_box(lines), &mut headers).unwrap());
        });
    }
}

fn parse_frontdesk(bytes: &Bytes) {
    let message = Message::parse(bytes.clone()).unwrap();
    black_box(&forward::read(&message).unwrap());
}

fn rewrite_frontdesk() -> impl Fn(&Bytes) {
    let buffers = RefCell::new((Rewrite::new(), Vec::new()));
    move |bytes| {
        let (rewrite, out) = &mut *buffers.borrow_mut();
        let message = Message::parse(bytes.clone()).unwrap();
        forward::write(&message, &forward::read(&message).unwrap(), rewrite, out);
    }
}
