//! Requests that are too long for UDP (RFC 3261 18.1.1).
//!
//! Values only; `large` applies them.

use std::time::Duration;

/// How a request that is too long for UDP is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeRequests {
    /// Whether it goes over TCP if its target accepts that.
    pub over_tcp: bool,
    /// How long TCP is not tried again where it was refused.
    pub udp_for: Duration,
}

impl Default for LargeRequests {
    fn default() -> Self {
        Self { over_tcp: true, udp_for: Duration::from_secs(600) }
    }
}
