//! Settings of subscriptions to registrations (RFC 3680 4.4, 4.10).
//!
//! Only values.

use std::time::Duration;

/// The event package of registrations (RFC 3680 4.1).
pub(crate) const REG_PACKAGE: &[u8] = b"reg";

/// Settings of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watching {
    /// Seconds. A shorter time gets 423, unless it is at least an hour.
    pub min_expires: u32,
    /// Seconds, if the SUBSCRIBE has no Expires.
    pub default_expires: u32,
    /// Seconds. A longer time is reduced to this.
    pub max_expires: u32,
    /// The shortest time between two NOTIFYs of a subscription, except those that answer a SUBSCRIBE.
    pub interval: Duration,
}

impl Default for Watching {
    /// The values of RFC 3680.
    fn default() -> Self {
        Self { min_expires: 60, default_expires: 3761, max_expires: 7200, interval: Duration::from_secs(5) }
    }
}
