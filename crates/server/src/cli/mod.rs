//! The commands of the program.
//!
//! This file only lists the modules.

pub(crate) mod account;
pub(crate) mod arguments;
pub(crate) mod backup;
pub(crate) mod client;
pub(crate) mod server_commands;
pub(crate) mod summary;
