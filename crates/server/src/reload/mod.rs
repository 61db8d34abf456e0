//! Reload: reads the configuration again, and applies what can be changed at run time.
//!
//! `active` holds the configuration in force, `restart` the keys that a reload does not change, `settings` converts the
//! configuration to the settings of the core, `trunks` what trunks keep across reloads.

mod active;
mod restart;
mod settings;
mod trunks;

pub(crate) use active::{ActiveConfig, Reload, ReloadOutcome};
#[cfg(test)]
pub(crate) use settings::settings;
pub(crate) use trunks::TrunkAddresses;
