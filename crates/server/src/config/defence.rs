//! `defence`: who guesses is not answered for a while.

use std::time::Duration;

use serde::Deserialize;

use super::scalar::{Count, Period, PeriodOrOff};

/// `defence`
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Defence {
    /// Wrong passwords, unknown users and unreadable messages of one address that are too many; default 20, at most 1000.
    pub(crate) failures: Count,
    /// If they come within this time; default 1m.
    pub(crate) within: Period,
    /// How long the address is not answered then; default 10m, or off: it is only logged.
    pub(crate) ban: PeriodOrOff,
}

impl Default for Defence {
    fn default() -> Self {
        let [within, ban] = [60, 600].map(Duration::from_secs);
        Self { failures: Count(20), within: Period(within), ban: PeriodOrOff(Some(ban)) }
    }
}
