//! The timeout of one flow with a Flow-Timer (RFC 5626 5.4). The worker sets it while the reader waits.
//!
//! Decides nothing: the core chooses the time, and the reader closes the connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// The timeout; it has an effect if it is shorter than `limits.connection_idle`.
#[derive(Debug, Default)]
pub(super) struct FlowTimeout {
    /// In seconds; 0: none.
    seconds: AtomicU64,
    changed: Notify,
}

impl FlowTimeout {
    /// Sets the timeout, and restarts it.
    pub(super) fn set(&self, timeout: Duration) {
        self.seconds.store(timeout.as_secs(), Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// The timeout, if there is one.
    pub(super) fn get(&self) -> Option<Duration> {
        Some(self.seconds.load(Ordering::Relaxed)).filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }

    /// Waits until it is set.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}
