//! Errors of the operating system, and the paths of the files that they are about.
//!
//! Decides the words: common errors without their number, and whole paths.

use std::fmt;
use std::io;
use std::path::{Path, absolute};

/// The whole path of a file: a relative one depends on the working directory, which is another one under systemd.
pub(crate) fn full(path: &Path) -> impl fmt::Display {
    absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Common errors in plain words, without the error number.
pub(crate) fn describe_io_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use by another program".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::NotFound => "no such file or folder".to_owned(),
        _ => error.to_string(),
    }
}
