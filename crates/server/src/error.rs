//! Why the program cannot start, in words that an operator can act on.
//!
//! Decides the exit code: 2 for what he wrote (command line, configuration), 1 for what the machine refuses. What a
//! peer does wrong is never an error of this kind.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use location::StoreError;

use crate::account::AccountError;
use crate::client::ClientError;
use crate::config::{ConfigError, Listen};

/// The program must end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The command line makes no sense.
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
    /// The address for metrics cannot be listened on.
    #[error("cannot serve metrics on {address}: {}", describe_io_error(source))]
    Metrics {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A file of the data folder cannot be read or made.
    #[error("{}: {}", path.display(), describe_io_error(source))]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The secret key's file holds something else.
    #[error("{}: this is no key of frontdesk (64 hexadecimal digits): restore it, or move it away", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The location store cannot be opened.
    #[error("the location store cannot be used: {0}")]
    Store(#[from] StoreError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// A thread or its event loop cannot be made.
    #[error("cannot start a thread: {}", describe_io_error(.0))]
    Thread(io::Error),
    /// An account stays as it is.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The running server does not answer, or refuses.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The running server did not take the configuration.
    #[error("the server keeps its configuration: {0}")]
    NotReloaded(String),
    /// A worker ended while the program should have gone on.
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

/// The common refusals in plain words; the number of the system's error adds nothing to them.
fn describe_io_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use by another program".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
