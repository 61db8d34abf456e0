//! The commands of the program.
//!
//! This file only lists the modules.

pub(crate) mod account;
pub(crate) mod arguments;
pub(crate) mod backup;
pub(crate) mod client;
mod ladder;
pub(crate) mod server_commands;
pub(crate) mod summary;
pub(crate) mod trace;
