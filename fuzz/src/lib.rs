//! Code that several fuzz targets use: a reader that calls every accessor of a message, and a simulated network with
//! two cores.

mod network;
mod read;

pub use network::{Network, splice};
pub use read::{parse, read_all, read_number, read_target};
