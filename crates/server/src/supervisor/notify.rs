//! Messages to the service manager (sd_notify(3)): ready, reloading, stopping, watchdog.
//!
//! Decides when the watchdog is notified: only while every worker answers. Does nothing without a service manager.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::worker::Health;

/// The server is ready.
pub(crate) fn ready() {
    send(&[NotifyState::Ready]);
}

/// The server is not ready yet, and needs up to this much longer than the service manager grants.
pub(crate) fn starting(longer: Duration) {
    send(&[NotifyState::ExtendTimeoutUsec(u32::try_from(longer.as_micros()).unwrap_or(u32::MAX))]);
}

/// The configuration is being reloaded; [`ready`] follows.
pub(crate) fn reloading() {
    // systemd 253 requires the time.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// The server is shutting down.
pub(crate) fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Notifies the watchdog if there is one and every worker answers. Has to be called more often than its timeout: once
/// a second.
pub(crate) fn watchdog(health: &Health) {
    if sd_notify::watchdog_enabled().is_some() && health.liveness_problems().is_empty() {
        send(&[NotifyState::Watchdog]);
    }
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "cannot notify the service manager");
    }
}
