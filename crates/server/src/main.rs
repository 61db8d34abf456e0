//! frontdesk: the SIP server of an office. This crate is the world around the core: configuration, sockets, store, DNS,
//! logs, metrics, signals.
//!
//! ```text
//! main -> config -> server::prepare (sockets, files, store) -> worker threads, each: sockets <-> core <-> store, DNS
//!                                                           -> house: signals, sweep, gauges, log lines, HTTP
//! ```

mod admin;
mod answers;
mod arguments;
mod clock;
mod config;
mod data;
mod error;
mod first_run;
mod health;
mod hex;
mod house;
mod inbox;
mod interfaces;
mod journal;
mod loads;
mod log;
mod metrics;
mod refusal;
mod reload;
mod secret;
mod server;
mod settings;
mod summary;
mod transport;
mod worker;

use std::path::Path;
use std::process::ExitCode;

use arguments::Command;
use error::Fatal;

fn main() -> ExitCode {
    match obey() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            complain(&fatal);
            fatal.exit_code()
        }
    }
}

fn obey() -> Result<(), Fatal> {
    match arguments::read(std::env::args_os().skip(1))? {
        Command::Run { config } => run(config.as_deref()),
        Command::Check { config } => {
            print!("{}", summary::of(&config::load(config.as_deref())?));
            Ok(())
        }
        Command::Backup { config, to } => {
            Ok(location::backup(&config::load(config.as_deref())?.config.location.path, &to)?)
        }
        Command::Version => {
            println!("frontdesk {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Command::Help => {
            print!("{}", arguments::HELP);
            Ok(())
        }
    }
}

fn run(file: Option<&Path>) -> Result<(), Fatal> {
    let loaded = config::load(file)?;
    let (level, writer) = log::start(&loaded.config.log, loaded.config.limits.log_queue.0);
    // Before the store is opened: it counts its commits from the first one.
    let metrics = metrics::install();
    house::keep(server::prepare(loaded)?, level, &writer, metrics)
}

/// The one place that writes to standard error without the log, which may not be there yet.
#[expect(clippy::print_stderr, reason = "a program that cannot start says so where its caller looks")]
fn complain(fatal: &Fatal) {
    eprintln!("frontdesk: {fatal}");
}
