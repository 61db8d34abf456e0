//! How values are written as text: the end of a call, and text of peers made safe to print.
//!
//! This file only lists the modules.

pub(crate) mod ending;
pub(crate) mod printable;
