//! The data folder: its files, the key of the server, the file of accounts, those of the first start, and the rules that were set at run
//! time.
//!
//! This file only lists the modules. The location store has the remaining files of the folder.

pub(crate) mod accounts_file;
mod entry_text;
pub(crate) mod files;
pub(crate) mod first_start;
pub(crate) mod secret;
pub(crate) mod set_rules;
