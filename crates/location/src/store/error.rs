//! Why a store cannot be opened or written.
//!
//! Defines the error messages for the operator. Each names the file.

use std::io;
use std::path::PathBuf;

/// Why a store cannot be used. The file is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the store open.
    #[error("{path:?} is in use by another process")]
    Locked {
        /// The store's file.
        path: PathBuf,
    },
    /// The file that a backup should be written to exists.
    #[error("{path:?} exists already, and a backup is written to a new file only")]
    Exists {
        /// That file.
        path: PathBuf,
    },
    /// The path is not a location store.
    #[error("{path:?} is not a location store")]
    NotAStore {
        /// The store's file.
        path: PathBuf,
    },
    /// The file was a store, but its content is damaged.
    #[error("{path:?} is damaged: restore it from a backup or move it away")]
    Corrupt {
        /// The store's file.
        path: PathBuf,
    },
    /// The file was written by another version of the program.
    #[error("{path:?} holds records of format {found}, this program reads {known}")]
    Format {
        /// The store's file.
        path: PathBuf,
        /// The format number in the file.
        found: u8,
        /// The format that this program reads.
        known: u8,
    },
    /// The files are not the ones that were opened. The records in memory are unchanged.
    #[error("{path:?}, or a file beside it, was deleted, cut or replaced while it was in use")]
    Lost {
        /// The store's file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("{path:?}: the disk is full")]
    Full {
        /// The store's file.
        path: PathBuf,
    },
    /// An error of the operating system, such as missing permissions or a defective disk.
    #[error("{path:?}: {kind}")]
    Io {
        /// The store's file, or its folder.
        path: PathBuf,
        /// The kind of the error.
        kind: io::ErrorKind,
    },
    /// Another server that shares the store has changed the record meanwhile. It is in memory now: load and apply again.
    #[error("another server has changed the record")]
    Conflict,
    /// The database that several servers share does not answer, or not in time, or refuses changes, or this server has not
    /// read it yet. Answer 503 with Retry-After. Changes are possible again when `Hooks::usable` says so.
    #[error("the shared location store cannot be used: {reason}")]
    Unreachable {
        /// What is missing.
        reason: &'static str,
    },
    /// The URL or an option of the shared store is not valid.
    #[error("the shared location store: {reason}")]
    Options {
        /// What is wrong; no secrets.
        reason: String,
    },
    /// The store has been closed.
    #[error("the location store is closed")]
    Closed,
}
