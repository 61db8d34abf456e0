//! What the service manager is told (sd_notify(3)): ready, reloading, stopping, and that all workers are alive.
//!
//! Decides when the watchdog is fed: only while every worker answers. Without a service manager all of it is nothing.

use sd_notify::NotifyState;

use crate::health::Health;

/// The server can be used.
pub(crate) fn ready() {
    send(&[NotifyState::Ready]);
}

/// The configuration is being read; [`ready`] follows.
pub(crate) fn reloading() {
    // systemd 253 wants to know since when.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// The end has begun.
pub(crate) fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Feeds the watchdog, if it wants to be and deserves it. To be called more often than it bites: once a second.
pub(crate) fn feed_watchdog(health: &Health) {
    if sd_notify::watchdog_enabled().is_some() && health.liveness_problems().is_empty() {
        send(&[NotifyState::Watchdog]);
    }
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}
