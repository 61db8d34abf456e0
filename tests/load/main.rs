//! A load generator: phones that register over persistent connections and then keep a number of calls, messages or
//! refreshes going, while the processor time of the server is measured. The same program serves for TCP and UDP, so
//! that the two can be compared.
//!
//! `tests/load/run` starts a server and prints the table. Loopback only, with a time limit. Nothing is measured while
//! phones still register. The processor time of the generator does not count; it should run on another processor.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a tool for developers: it stops where it fails"
)]

mod arguments;
mod phone;
mod usage;

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use arguments::Arguments;
use phone::Phone;
use tokio::sync::Barrier;
use tokio::time::{Instant, sleep};

/// The counts of all phones.
#[derive(Default)]
pub(crate) struct Tally {
    /// Transactions or whole calls that succeeded.
    pub(crate) done: Cell<u64>,
    /// Responses other than 2xx, and missing responses.
    pub(crate) bad: Cell<u64>,
}

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(usage) => {
            println!("{usage}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, load(arguments));
    ExitCode::SUCCESS
}

async fn load(arguments: Arguments) {
    let arguments = Rc::new(arguments);
    let tally = Rc::new(Tally::default());
    let registered = Rc::new(Barrier::new(arguments.phones + 1));
    for number in 0..arguments.phones {
        let phone = Phone::connect(number, &arguments, &tally).await;
        tokio::task::spawn_local(phone.live(Rc::clone(&registered)));
    }
    registered.wait().await;
    sleep(Duration::from_millis(500)).await;
    let (began, cpu, done) = (Instant::now(), usage::of(arguments.pid), tally.done.get());
    sleep(arguments.time).await;
    let (took, cpu, done) = (began.elapsed(), usage::of(arguments.pid) - cpu, tally.done.get() - done);
    let each = cpu.as_secs_f64() * 1e6 / done.max(1) as f64;
    println!(
        "{} {} {:.0}/s {each:.2} us {:.2} busy {} bad",
        arguments.scenario.name(),
        arguments.transport.param(),
        done as f64 / took.as_secs_f64(),
        cpu.as_secs_f64() / took.as_secs_f64(),
        tally.bad.get(),
    );
}
