//! `defence`: bans of addresses with too many failures.

use std::time::Duration;

use serde::Deserialize;

use super::scalar::{Count, Period, PeriodOrOff};

/// `defence`
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Defence {
    /// Failures (wrong passwords, unknown users, unparseable messages) of one address that lead to a ban; default 20,
    /// at most 1000.
    pub(crate) failures: Count,
    /// The period in which they are counted; default 1m.
    pub(crate) within: Period,
    /// Duration of a ban; default 10m, or off: only logged.
    pub(crate) ban: PeriodOrOff,
}

impl Default for Defence {
    fn default() -> Self {
        let [within, ban] = [60, 600].map(Duration::from_secs);
        Self { failures: Count(20), within: Period(within), ban: PeriodOrOff(Some(ban)) }
    }
}
