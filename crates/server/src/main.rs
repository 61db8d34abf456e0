//! frontdesk: the SIP server of an office. This crate is the world around the core: configuration, sockets, store, DNS,
//! logs, metrics, signals.
//!
//! ```text
//! main -> config -> server::prepare (sockets, files, store) -> worker threads, each: sockets <-> core <-> store, DNS
//!                                                           -> supervisor: signals, sweep, gauges, log, HTTP
//! ```

mod account;
mod admin;
mod answers;
mod arguments;
mod client;
mod clock;
mod config;
mod data;
mod defence;
mod descriptors;
mod error;
mod first_run;
mod health;
mod hex;
mod inbox;
mod interfaces;
mod journal;
mod loads;
mod log;
mod metrics;
mod notify;
mod operator;
mod printable;
mod refusal;
mod reload;
mod secret;
mod server;
mod settings;
mod summary;
mod supervisor;
mod transport;
mod unknown_users;
mod worker;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use client::Client;
use config::Loaded;
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
    let Arguments { command, config, admin } = arguments::read(std::env::args_os().skip(1))?;
    let load = || config::load(config.as_deref());
    let client = || Ok::<_, Fatal>(Client::new(&load()?.config, admin.as_deref())?);
    let text = match command {
        Command::Run => return run(load()?),
        Command::Check => summary::of(&load()?),
        Command::Version => format!("frontdesk {}\n", env!("CARGO_PKG_VERSION")),
        Command::Help => arguments::HELP.to_owned(),
        Command::Backup(to) => return Ok(location::backup(&load()?.config.location.path, &to)?),
        Command::Reload => operator::reload(&client()?)?,
        Command::Explain { to, from, source } => {
            operator::explain(&client()?, &to, from.as_deref(), source.as_deref())?
        }
        Command::Bindings(what) => operator::bindings(&client()?, &what)?,
        Command::Bans(what) => operator::bans(&client()?, &what)?,
        Command::Account { deed, password_stdin } => {
            let loaded = load()?;
            let told = account::edit(&loaded, &deed, password_stdin)?;
            print!("{told}");
            operator::after_edit(&loaded, admin.as_deref(), &deed)?
        }
    };
    print!("{text}");
    Ok(())
}

fn run(loaded: Loaded) -> Result<(), Fatal> {
    // Before anything is opened.
    let files = descriptors::raise();
    let (level, writer) = log::start(&loaded.config.log, loaded.config.limits.log_queue.0);
    // Before the store is opened: it counts its commits from the first one.
    let metrics = metrics::install();
    supervisor::run(server::prepare(loaded, files)?, level, &writer, metrics)
}

/// The one place that writes to standard error without the log, which may not be there yet.
#[expect(clippy::print_stderr, reason = "a program that cannot start says so where its caller looks")]
fn complain(fatal: &Fatal) {
    eprintln!("frontdesk: {fatal}");
}
