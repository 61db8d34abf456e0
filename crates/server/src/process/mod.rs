//! What the operating system gives to the process: file descriptors, network interfaces, standard error for the log.
//!
//! This file only lists the modules.

pub(crate) mod descriptors;
pub(crate) mod interfaces;
pub(crate) mod log;
mod recent_lines;

pub(crate) use recent_lines::RecentLines;
