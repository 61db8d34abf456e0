//! frontdesk: a SIP registrar and proxy. This crate has everything around the core: configuration, sockets, store, DNS,
//! log, metrics, signals, commands.
//!
//! ```text
//! main -> config -> supervisor::prepare (store, sockets) -> worker threads, each: sockets <-> core <-> store, DNS
//!                                                        -> main thread: signals, expiry, gauges, log, HTTP
//! ```

mod admin;
mod cli;
mod clock;
mod cluster;
mod config;
mod data;
mod defence;
mod error;
mod journal;
mod me;
mod metrics;
mod phone;
mod phones;
mod process;
mod reload;
mod request_body;
mod resolver;
mod supervisor;
mod text;
mod tls;
mod trace;
mod transport;
mod web;
mod worker;

use std::process::ExitCode;

use cli::arguments::{Arguments, Command};
use cli::client::Client;
use cli::server_commands;
use config::Loaded;
use error::CliError;
use process::{descriptors, log};

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
    let Arguments { command, config, admin, node } = cli::arguments::read(std::env::args_os().skip(1))?;
    let load = || config::load(config.as_deref(), &node);
    let client = || Ok::<_, CliError>(Client::new(&load()?.config, admin.as_deref())?);
    let text = match command {
        Command::Run => return run(load()?),
        Command::Check => {
            let mut loaded = load()?;
            let stored = data::first_start::add_stored(&mut loaded)?;
            cli::summary::summary(&loaded, stored.as_deref())
        }
        Command::Version => format!("frontdesk {}\n", env!("CARGO_PKG_VERSION")),
        Command::Help => cli::arguments::HELP.to_owned(),
        Command::Usage(usage) => usage,
        Command::Backup(to) => cli::backup::backup(&load()?, &to)?,
        Command::Reload => server_commands::reload(&client()?)?,
        Command::Explain(call) => server_commands::explain(&client()?, &call)?,
        Command::Trace(what) => return cli::trace::trace(&client()?, &what),
        Command::Forward(what) => server_commands::forward(&client()?, &what)?,
        Command::Bindings(what) => server_commands::bindings(&client()?, &what)?,
        Command::Groups => server_commands::groups(&client()?)?,
        Command::Trunks => server_commands::trunks(&client()?)?,
        Command::Nodes => server_commands::nodes(&client()?)?,
        Command::RotateKeys => server_commands::rotate_keys(&client()?)?,
        Command::Bans(what) => server_commands::bans(&client()?, &what)?,
        Command::Account { command, password_stdin } => {
            let loaded = config::load_for_accounts(config.as_deref(), &node)?;
            let message = cli::account::edit(&loaded, &command, password_stdin)?;
            print!("{message}");
            server_commands::after_edit(&loaded, admin.as_deref(), &command)?
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
    match supervisor::prepare(loaded, files)? {
        Some(prepared) => supervisor::run(prepared, level, &log_thread, metrics),
        None => Ok(()),
    }
}

/// The only output to standard error besides the log, which may not have been started.
#[expect(clippy::print_stderr, reason = "the log may not have been started")]
fn print_error(error: &CliError) {
    eprintln!("frontdesk: {error}");
}
