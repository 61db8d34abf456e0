//! Limits of subscriptions to registrations: their duration, and the interval of NOTIFYs (RFC 3680 4.4, 4.10).
//!
//! Values only; `watch` applies them.

use std::time::Duration;

/// The event package of registrations (RFC 3680 4.1).
pub(crate) const REG_PACKAGE: &[u8] = b"reg";

/// Settings of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watching {
    /// Shortest expiration in seconds; a shorter one gets 423. At most one hour (RFC 6665 4.2.1.1).
    pub min_expires: u32,
    /// Expiration in seconds of a SUBSCRIBE without Expires.
    pub default_expires: u32,
    /// Longest expiration in seconds; a longer one is shortened.
    pub max_expires: u32,
    /// Shortest interval between two NOTIFYs of a subscription. The NOTIFY after a SUBSCRIBE is sent at once.
    pub interval: Duration,
}

impl Default for Watching {
    /// The default expiration and the interval of RFC 3680.
    fn default() -> Self {
        Self { min_expires: 60, default_expires: 3761, max_expires: 7200, interval: Duration::from_secs(5) }
    }
}
