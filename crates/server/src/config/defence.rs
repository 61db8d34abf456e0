//! `defence`: bans of addresses with too many failures.

use std::time::Duration;

use super::keys::section;
use super::scalar::{Count, Period, PeriodOrOff};

section! {
    /// `defence`
    pub(crate) struct Defence {
        /// an address is banned after this many failures: wrong passwords, unknown users, unreadable messages; at most
        /// `1000`
        failures: Count = Count(20),
        /// the time within which these failures are counted
        within: Period = Period(Duration::from_secs(60)),
        /// how long a banned address gets no response at all; `off`: the server only logs it. See
        /// [security.md](security.md#password-guessing)
        ban: PeriodOrOff = PeriodOrOff(Some(Duration::from_secs(600))),
    }
}
