//! Errors that end a command or the server, in words that an operator can act on.
//!
//! Decides the exit code: 2 for errors of the operator (command line, configuration), 1 for the rest. Faults of peers
//! are never errors of this kind.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use location::StoreError;

use crate::account::AccountError;
use crate::client::ClientError;
use crate::config::{ConfigError, Listen};

/// Why a command failed or the server cannot run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The command line is invalid.
    #[error("{0}\nTry `frontdesk --help`.")]
    Usage(String),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address cannot be listened on.
    #[error("cannot listen on {listen}: {}", describe_io_error(source))]
    Listen {
        /// Which.
        listen: Listen,
        /// Why.
        source: io::Error,
    },
    /// The address of the admin API cannot be listened on.
    #[error("cannot serve metrics on {address}: {}", describe_io_error(source))]
    Metrics {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be read or written.
    #[error("{}: {}", path.display(), describe_io_error(source))]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of the secret key has other content.
    #[error("{}: expected a key of 64 hexadecimal digits: restore the file, or move it away", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The location store cannot be opened.
    #[error("the location store cannot be used: {0}")]
    Store(#[from] StoreError),
    /// The system has no random numbers.
    #[error("the system has no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// A thread or its event loop cannot be created.
    #[error("cannot start a thread: {}", describe_io_error(.0))]
    Thread(io::Error),
    /// An account could not be changed.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A request to the running server failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The running server refused the configuration.
    #[error("the server refused the configuration: {0}")]
    NotReloaded(String),
    /// A worker ended while the server was running.
    #[error("worker {0} has ended")]
    Worker(u8),
}

impl CliError {
    /// 2 for a bad command line or configuration, 1 for the rest.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Config(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Common errors in plain words, without the error number.
fn describe_io_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use by another program".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
