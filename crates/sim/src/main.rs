//! The command line of the simulator.
//!
//! ```text
//! cargo run --release -p sim -- calls 1000000          the long run, on all processors
//! cargo run --release -p sim -- calls 1000000 5000     the same, starting with seed 5000
//! cargo run -p sim -- seed 17                          one seed; on failure it prints the messages of the call
//! ```

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|argument| argument.parse::<u64>().ok());
    let result = match (arguments.first().map(String::as_str), number(1)) {
        (Some("seed"), Some(seed)) => sim::replay(seed),
        (Some("calls"), Some(calls)) => sim::simulate(calls, number(2).unwrap_or(0)),
        _ => Err("usage: sim calls NUMBER [FIRST_SEED] | sim seed SEED".to_owned()),
    };
    match result {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            print_error(&failure);
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr, reason = "a command reports its failure on stderr")]
fn print_error(text: &str) {
    eprintln!("{text}");
}
