//! Why a store cannot be opened or written.
//!
//! Decides the words that an operator reads: each names the file. Must not carry more than he can act on.

use std::io;
use std::path::PathBuf;

/// A store that cannot be used. The file is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has it open.
    #[error("{path:?} is in use by another process")]
    Locked {
        /// The store's file.
        path: PathBuf,
    },
    /// Something else is at this path.
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
    /// Written by another version of the program.
    #[error("{path:?} holds records of format {found}, this program reads {known}")]
    Format {
        /// The store's file.
        path: PathBuf,
        /// The number that the file gives.
        found: u8,
        /// The format known here.
        known: u8,
    },
    /// Its files are not the ones that were opened. What is in memory is as it was.
    #[error("{path:?}, or a file beside it, was deleted, cut or replaced while it was in use")]
    Lost {
        /// The store's file.
        path: PathBuf,
    },
    /// No room on the disk.
    #[error("{path:?}: the disk is full")]
    Full {
        /// The store's file.
        path: PathBuf,
    },
    /// The operating system refuses: permissions, a defect…
    #[error("{path:?}: {kind}")]
    Io {
        /// The store's file, or the folder that it should be in.
        path: PathBuf,
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// The store was closed.
    #[error("the location store is closed")]
    Closed,
}
