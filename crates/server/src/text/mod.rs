//! How values are written as text: the end of a call, octets as hexadecimal digits, text of peers made safe to print.
//!
//! This file only lists the modules.

pub(crate) mod ending;
pub(crate) mod hex;
pub(crate) mod printable;
