//! What several servers share besides registrations, as far as the main loop acts on it: keys, rules and bans.
//!
//! Decides which of the changes of other servers are taken over when, and tells the others of the bans that began here.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use location::{AnyStore, FlowId, Store as _};
use proxy::{CoreMessage, Keys};
use tokio::sync::{Semaphore, watch};

use super::keys;
use super::main_loop::apply_to_defence;
use super::server::Server;
use super::store::NODES;
use crate::clock;
use crate::cluster::{SharedError, SharedValues};
use crate::data::secret::RotationError;
use crate::data::set_rules;
use crate::defence::{SHARED_BANS, SharedBans};
use crate::metrics::Gauge;
use crate::reload::Reload;
use crate::transport::Inbound;

/// Every so many seconds the phones that this server holds are counted.
const COUNT_ROUNDS: u32 = 15;

/// How long a worker may take to make room for the keys.
const WORKER_TIMEOUT: Duration = Duration::from_secs(1);

/// What the main loop knows of it.
pub(super) struct SharedState {
    values: Option<SharedValues>,
    keys: watch::Sender<Keys>,
    /// One permit: held while the bans of this server are being told.
    telling: Arc<Semaphore>,
    /// One permit: held while the phones are being counted.
    counting: Arc<Semaphore>,
    /// The number of calls of [`SharedState::maintain`].
    counted: Cell<u32>,
}

impl SharedState {
    /// As of the start.
    pub(super) fn new(server: &mut Server, reload: &Reload) -> Self {
        let keys = watch::Sender::new(server.keys.keys(clock::wall(), max_expires(reload)));
        let permit = || Arc::new(Semaphore::new(1));
        Gauge::HeldBindings.set_count(0_u64);
        let values = SharedValues::of(&server.store);
        let this = Self { values, keys, telling: permit(), counting: permit(), counted: Cell::new(0) };
        this.read_bans(server);
        this
    }

    /// The keys in force.
    pub(super) fn keys(&self) -> watch::Receiver<Keys> {
        self.keys.subscribe()
    }

    /// Takes over what another server, or another thread, has changed.
    pub(super) async fn take_over(&self, names: &BTreeSet<String>, server: &mut Server, reload: &mut Reload) {
        if names.contains(NODES) {
            apply_to_defence(server, &reload.active_config());
            if let Some(inbox) = server.inboxes.first() {
                // If the worker is busy, it looks at the nodes itself within ten seconds.
                let _ = inbox.try_send(Inbound::CoreMessage(CoreMessage::NodesChanged));
            }
        }
        if names.contains(keys::VALUE) && server.keys.read_shared() {
            tracing::info!("another server has replaced the keys");
            self.publish_keys(server, reload).await;
        }
        if names.contains(set_rules::VALUE) {
            reload.read_shared_rules(&server.inboxes).await;
        }
        if names.contains(SHARED_BANS) {
            self.read_bans(server);
        }
    }

    /// Replaces the keys.
    pub(super) async fn rotate_keys(&self, server: &mut Server, reload: &Reload) -> Result<(), RotationError> {
        server.keys.rotate(clock::wall(), max_expires(reload)).await?;
        tracing::info!("the keys were replaced by the administrator");
        self.publish_keys(server, reload).await;
        Ok(())
    }

    /// Once a second: drops keys whose time is over, and tells the other servers about new bans.
    pub(super) async fn maintain(&self, server: &mut Server, reload: &Reload) {
        if server.keys.previous_have_ended(clock::wall()) {
            self.publish_keys(server, reload).await;
        }
        let Some(values) = &self.values else { return };
        let due = self.counted.replace(self.counted.get() + 1).is_multiple_of(COUNT_ROUNDS);
        if due && let Ok(counting) = Arc::clone(&self.counting).try_acquire_owned() {
            let store = Arc::clone(&server.store);
            // A large store takes long to scan.
            tokio::task::spawn_blocking(move || {
                Gauge::HeldBindings.set_count(held_bindings(&store));
                drop(counting);
            });
        }
        // If the last ones are still being told, these wait.
        let Ok(telling) = Arc::clone(&self.telling).try_acquire_owned() else { return };
        let bans = server.defence.take_unshared();
        if bans.is_empty() {
            return;
        }
        let (values, max) = (values.clone(), reload.active_config().loaded.config.limits.bans.0);
        tokio::task::spawn_blocking(move || {
            let _telling = telling;
            let add = |current: Option<&[u8]>| {
                let mut shared = SharedBans::read(current.unwrap_or_default()).ok_or(SharedError::Unreadable)?;
                shared.add(&bans, max);
                Ok(shared.text())
            };
            // The address stays banned here, and each server counts its failures.
            if let Err(error) = values.change_blocking(SHARED_BANS, add) {
                tracing::warn!("bans: {error}");
            }
        });
    }

    fn read_bans(&self, server: &Server) {
        let Some(text) = self.values.as_ref().and_then(|values| values.get(SHARED_BANS)) else { return };
        match SharedBans::read(&text) {
            Some(bans) => server.defence.take_over(&bans),
            None => tracing::error!("bans: {}", SharedError::Unreadable),
        }
    }

    async fn publish_keys(&self, server: &mut Server, reload: &Reload) {
        let keys = server.keys.keys(clock::wall(), max_expires(reload));
        for (worker, inbox) in server.inboxes.iter().enumerate() {
            let sent = tokio::time::timeout(WORKER_TIMEOUT, inbox.send(Inbound::Keys(Box::new(keys.clone())))).await;
            if !matches!(sent, Ok(Ok(()))) {
                tracing::error!("worker {worker} keeps the old keys: it does not respond");
            }
        }
        self.keys.send_replace(keys);
    }
}

/// The phones whose flow ends at this server.
fn held_bindings(store: &AnyStore) -> usize {
    let (now, mut held) = (clock::wall(), 0);
    store.list(&mut |record| {
        held +=
            record.live(now).filter(|binding| matches!(binding.flow().id, FlowId::Nat | FlowId::Connection(_))).count();
    });
    held
}

fn max_expires(reload: &Reload) -> Duration {
    Duration::from_secs(reload.active_config().loaded.config.registrar.max_expires.0.into())
}
