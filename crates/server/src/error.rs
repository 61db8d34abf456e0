//! Errors that end a command or the server, in words that an administrator can act on.
//!
//! Decides the exit code: 2 for errors in the command line or the configuration, 1 for the rest. Faults of peers are
//! never errors of this kind.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use hyper::StatusCode;
use location::StoreError;

use crate::cluster::SharedError;
use crate::config::{ConfigError, Listen};
use crate::text::io_error::{describe_io_error, full};

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
        /// The listener.
        listen: Listen,
        /// The error of the system.
        source: io::Error,
    },
    /// The address of the admin API cannot be listened on.
    #[error("cannot serve metrics on {address}: {}", describe_io_error(source))]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// A file cannot be read or written.
    #[error("{}: {}", full(path), describe_io_error(source))]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file of the secret key has other content.
    #[error("{}: expected a key of 64 hexadecimal digits: restore the file, or move it away", full(path))]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// A backup cannot be written.
    #[error("no backup was written: {0}")]
    Backup(StoreError),
    /// There is no file to copy.
    #[error("there is nothing to copy: the registrations are in memory only (`location: {{ store: memory }}`)")]
    NothingToCopy,
    /// The location store cannot be opened.
    #[error("the location store cannot be used: {0}")]
    Store(#[from] StoreError),
    /// What several servers share cannot be used.
    #[error(transparent)]
    Shared(#[from] SharedError),
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

/// Why an account was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    /// The accounts are in the configuration itself.
    #[error(
        "the accounts are in the configuration itself: edit them there, or set `accounts_file: accounts.yaml`, which \
         this command creates if it is missing"
    )]
    Inline,
    /// There is no file: the server keeps its accounts in memory.
    #[error("with `location: {{ store: memory }}` accounts live as long as the server: set `accounts_file`")]
    Memory,
    /// The file is not a block list of entries, or the password is not where it usually is.
    #[error(
        "{}: this file cannot be edited by this command: expected lines that begin with \"- \", and keys in braces or one \
         on each line",
        .0.display()
    )]
    Layout(PathBuf),
    /// Its folder does not exist.
    #[error("{}: there is no such folder; a relative path starts at the working directory of the server", .0.display())]
    NoFolder(PathBuf),
    /// The name is invalid, or of an unknown domain.
    #[error("{0:?}: expected a user like 105, or 105@ and one of `domains`")]
    Name(String),
    /// The account is in the configuration itself.
    #[error("{name} has an account in the configuration itself ({}): change it there", file.display())]
    InConfiguration {
        /// The configuration file.
        file: PathBuf,
        /// The user.
        name: String,
    },
    /// The server would refuse the accounts with this change. The message has no position: the line is not written.
    #[error("nothing was changed, since the server would refuse it: {0}")]
    Refused(String),
    /// The user has an account already.
    #[error("{0} has an account already: `frontdesk account passwd {0}` sets another password")]
    Present(String),
    /// The user has no account.
    #[error("{} has no account {name}", file.display())]
    Absent {
        /// The file.
        file: PathBuf,
        /// The user.
        name: String,
    },
    /// Standard input has no password.
    #[error("standard input: expected a password as the first line")]
    Password,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// No server answers, or another program does.
    #[error("no frontdesk answers at http://{0}/ (see metrics.listen, or use --admin URL)")]
    NoServer(SocketAddr),
    /// The server has no API, or a port that only its log contains.
    #[error("metrics.listen does not contain the address of the running server: use --admin URL")]
    NoAddress,
    /// The URL is invalid.
    #[error("--admin: expected http:// and an IP address with port, like http://127.0.0.1:9090")]
    InvalidUrl,
    /// A live trace has ended.
    #[error("the server at http://{0}/ does not send any more: it was stopped, or cannot be reached")]
    Ended(SocketAddr),
    /// The server refused.
    #[error("the server says: {1} ({0})")]
    Refused(StatusCode, String),
}
