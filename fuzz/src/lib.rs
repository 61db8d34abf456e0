//! What the fuzz targets share: a reader that asks a message everything, and a small office to throw messages at.

mod office;
mod read;

pub use office::{Office, splice};
pub use read::{parse, read_all, read_number, read_target};
