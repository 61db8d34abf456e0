//! How long a subscription lasts and how often it notifies (RFC 6665 4.2.1.1; for registrations RFC 3680 4.4, 4.10;
//! for dialogs RFC 4235 3.4, 3.10).

use std::time::Duration;

/// Durations of the subscriptions to one event package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionTimes {
    /// Seconds. A shorter `Expires` gets 423, unless it is an hour or more.
    pub min_expires: u32,
    /// Seconds, for a SUBSCRIBE without `Expires`.
    pub default_expires: u32,
    /// Seconds. A longer `Expires` is shortened.
    pub max_expires: u32,
    /// The shortest time from one NOTIFY of a subscription to the next. A NOTIFY that a SUBSCRIBE causes does not wait.
    pub interval: Duration,
}

impl Default for SubscriptionTimes {
    /// The values of RFC 3680.
    fn default() -> Self {
        Self { min_expires: 60, default_expires: 3761, max_expires: 7200, interval: Duration::from_secs(5) }
    }
}

impl SubscriptionTimes {
    /// The values of RFC 4235 3.4 and 3.10.
    pub fn of_dialogs() -> Self {
        Self { default_expires: 3600, interval: Duration::from_secs(1), ..Self::default() }
    }
}
