//! The start of a server whose registrations are in Redis: it waits until they have been read.
//!
//! Decides that no SIP socket is open before: a phone that finds the port closed tries the next server at once (RFC 3263
//! 4.3). `/health` and `/ready` are answered meanwhile.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use location::{StoreError, Wall};
use tokio::runtime::Builder;
use tokio::sync::Notify;

use super::notify;
use super::signals::EndSignals;
use crate::admin;
use crate::clock;
use crate::error::CliError;
use crate::worker::Health;

/// Interval at which the service manager is told that the start takes longer.
const NOTIFY_INTERVAL: Duration = Duration::from_secs(10);

/// What the store has reported.
#[derive(Debug, Default)]
pub(crate) struct Started {
    /// The store's time, and the time since boot then.
    time: OnceLock<(Wall, Duration)>,
    is_usable: AtomicBool,
    wake: Notify,
}

impl Started {
    /// For the `time` hook of the store.
    pub(crate) fn set_time(&self, time: Wall) {
        // The store calls its hook once.
        let _ = self.time.set((time, clock::since_boot()));
    }

    /// For the `usable` hook of the store.
    pub(crate) fn set_usable(&self, outcome: Result<(), &StoreError>) {
        if outcome.is_ok() {
            self.is_usable.store(true, Ordering::Release);
            self.wake.notify_one();
        }
    }

    /// The store's time, and the time since boot at which it was that time.
    pub(crate) fn time(&self) -> Option<(Wall, Duration)> {
        self.time.get().copied()
    }

    async fn usable(&self) {
        while !self.is_usable.load(Ordering::Acquire) {
            self.wake.notified().await;
        }
    }
}

/// Waits until the store can be used. False if the server is to end before.
pub(crate) fn wait(started: &Started, health: &Arc<Health>, http: Option<&TcpListener>) -> Result<bool, CliError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(CliError::Thread)?;
    let http = http.map(TcpListener::try_clone).transpose().map_err(CliError::Thread)?;
    runtime.block_on(async {
        let mut end = EndSignals::listen()?;
        let http = http.map(tokio::net::TcpListener::from_std).transpose().map_err(CliError::Thread)?;
        let serving = async {
            match http {
                Some(listener) => admin::serve_start(listener, Arc::clone(health)).await,
                None => std::future::pending().await,
            }
        };
        let keeping_alive = async {
            loop {
                notify::starting(2 * NOTIFY_INTERVAL);
                tokio::time::sleep(NOTIFY_INTERVAL).await;
            }
        };
        tokio::select! {
            biased;
            () = started.usable() => Ok(true),
            () = end.received() => Ok(false),
            () = serving => Ok(false),
            () = keeping_alive => Ok(false),
        }
    })
}
