//! What the worker tells the reader of a connection while that waits for the peer.
//!
//! Decides nothing: the core chooses the timeout of a flow, and the reader closes the connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// The signals for one reader.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// In seconds; 0: none.
    flow_timeout: AtomicU64,
    wake: Notify,
}

impl Signals {
    /// Sets the timeout of a flow with a Flow-Timer (RFC 5626 5.4), and restarts it. It has an effect if it is shorter
    /// than `limits.connection_idle`.
    pub(super) fn set_flow_timeout(&self, timeout: Duration) {
        self.flow_timeout.store(timeout.as_secs(), Ordering::Relaxed);
        self.wake();
    }

    /// The timeout of the flow, if it has one.
    pub(super) fn flow_timeout(&self) -> Option<Duration> {
        Some(self.flow_timeout.load(Ordering::Relaxed)).filter(|seconds| *seconds > 0).map(Duration::from_secs)
    }

    /// Wakes the reader.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits for a signal, also for one that was given before.
    pub(super) fn woken(&self) -> impl Future<Output = ()> {
        self.wake.notified()
    }
}
