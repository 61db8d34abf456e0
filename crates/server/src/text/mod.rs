//! How values are written as text: numbers of things, the end of a call, errors of the system, and text of peers made
//! safe to print.
//!
//! This file only lists the modules.

pub(crate) mod counted;
pub(crate) mod ending;
pub(crate) mod io_error;
pub(crate) mod printable;
