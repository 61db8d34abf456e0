//! frontdesk: a SIP registrar and proxy. This crate surrounds the core with configuration, sockets, store, DNS, logs,
//! metrics and signals.
//!
//! ```text
//! main -> config -> server::prepare (sockets, files, store) -> worker threads, each: sockets <-> core <-> store, DNS
//!                                                           -> supervisor: signals, sweep, gauges, log, HTTP
//! ```

mod admin;
mod answers;
mod bad_request;
mod cli;
mod clock;
mod config;
mod data;
mod defence;
mod descriptors;
mod directory;
mod ending;
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
mod printable;
mod reload;
mod secret;
mod server;
mod settings;
mod supervisor;
mod transport;
mod unknown_users;
mod worker;

use std::process::ExitCode;

use cli::arguments::{Arguments, Command};
use cli::client::Client;
use config::Loaded;
use error::CliError;

fn main() -> ExitCode {
    match run_command() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            error.exit_code()
        }
    }
}

fn run_command() -> Result<(), CliError> {
    let Arguments { command, config, admin } = cli::arguments::read(std::env::args_os().skip(1))?;
    let load = || config::load(config.as_deref());
    let client = || Ok::<_, CliError>(Client::new(&load()?.config, admin.as_deref())?);
    let text = match command {
        Command::Run => return run(load()?),
        Command::Check => cli::summary::summary(&load()?),
        Command::Version => format!("frontdesk {}\n", env!("CARGO_PKG_VERSION")),
        Command::Help => cli::arguments::HELP.to_owned(),
        Command::Backup(to) => return Ok(location::backup(&load()?.config.location.path, &to)?),
        Command::Reload => cli::reload(&client()?)?,
        Command::Explain { to, from, source } => cli::explain(&client()?, &to, from.as_deref(), source.as_deref())?,
        Command::Bindings(what) => cli::bindings(&client()?, &what)?,
        Command::Bans(what) => cli::bans(&client()?, &what)?,
        Command::Account { command, password_stdin } => {
            let loaded = load()?;
            let message = cli::account::edit(&loaded, &command, password_stdin)?;
            print!("{message}");
            cli::after_edit(&loaded, admin.as_deref(), &command)?
        }
    };
    print!("{text}");
    Ok(())
}

fn run(loaded: Loaded) -> Result<(), CliError> {
    // Before files are opened, since it raises their limit.
    let files = descriptors::raise();
    let (level, log_thread) = log::start(&loaded.config.log, loaded.config.limits.log_queue.0);
    // Before the store is opened, since its commits are counted from the first one.
    let metrics = metrics::install();
    supervisor::run(server::prepare(loaded, files)?, level, &log_thread, metrics)
}

/// The only output to standard error besides the log, which may not have been started.
#[expect(clippy::print_stderr, reason = "the log may not have been started")]
fn print_error(error: &CliError) {
    eprintln!("frontdesk: {error}");
}
