//! Bounds of subscriptions to registrations: how long they last and how often they notify (RFC 3680 4.4, 4.10).

use std::time::Duration;

/// The event package of registrations (RFC 3680 4.1).
pub(crate) const REG_PACKAGE: &[u8] = b"reg";

/// Settings of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watching {
    /// Seconds; a shorter time gets 423, unless it is an hour.
    pub min_expires: u32,
    /// Seconds for who does not ask.
    pub default_expires: u32,
    /// Seconds; a longer time is shortened.
    pub max_expires: u32,
    /// How long after a NOTIFY the next one of the same subscription may be sent, if nobody asked for it.
    pub interval: Duration,
}

impl Default for Watching {
    /// As RFC 3680 has it.
    fn default() -> Self {
        Self { min_expires: 60, default_expires: 3761, max_expires: 7200, interval: Duration::from_secs(5) }
    }
}
