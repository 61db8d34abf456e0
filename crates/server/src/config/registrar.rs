//! `registrar`: what a REGISTER may ask for.
//!
//! Decides names and defaults, as `sections` does for the rest.

use serde::Deserialize;

use super::scalar::{Count, Seconds};

/// `registrar`: what a REGISTER may ask for (RFC 3261 10.3).
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Registrar {
    /// Shorter ones get 423; default 60s.
    pub(crate) min_expires: Seconds,
    /// For those who do not ask; default 1h.
    pub(crate) default_expires: Seconds,
    /// Longer ones are shortened; default 2h.
    pub(crate) max_expires: Seconds,
    /// Phones per user; default 10.
    pub(crate) max_contacts: Count,
}

impl Default for Registrar {
    fn default() -> Self {
        Self {
            min_expires: Seconds(60),
            default_expires: Seconds(3600),
            max_expires: Seconds(7200),
            max_contacts: Count(10),
        }
    }
}
