//! What the servers share besides registrations: keys, rules and bans, as small values in Redis.
//!
//! Decides how a change meets one of another server: it is made again from the new value. The store keeps all values in
//! memory. Must not know what they mean.

use std::collections::BTreeSet;
use std::sync::Arc;

use location::{AnyStore, PutError, RedisStore};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::metrics::{self, DriverLimit};

/// How often a change is made again because another server was first.
const MAX_CONFLICTS: usize = 8;

/// Why a value was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SharedError {
    /// Redis does not answer, or refuses.
    #[error("the other servers cannot be told: {0}")]
    Put(#[from] PutError),
    /// The current value is of a later version of the program.
    #[error("what the servers share cannot be read: a later version may have written it")]
    Unreadable,
}

/// The values that all servers share.
#[derive(Clone)]
pub(crate) struct SharedValues {
    store: Arc<AnyStore>,
}

impl SharedValues {
    /// Of a store that several servers share; `None` for other stores.
    pub(crate) fn of(store: &Arc<AnyStore>) -> Option<Self> {
        matches!(**store, AnyStore::Redis(_)).then(|| Self { store: Arc::clone(store) })
    }

    /// A value, from memory.
    pub(crate) fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.redis()?.value(name).map(|(value, _)| value)
    }

    /// Changes a value: `make` gets the current one. Waits for Redis, so not on a thread with an event loop.
    pub(crate) fn change_blocking(
        &self,
        name: &str,
        make: impl Fn(Option<&[u8]>) -> Result<Vec<u8>, SharedError>,
    ) -> Result<(), SharedError> {
        let Some(store) = self.redis() else { return Ok(()) };
        let mut outcome = Ok(());
        for _ in 0..MAX_CONFLICTS {
            let current = store.value(name);
            let new = make(current.as_ref().map(|(value, _)| &**value))?;
            if current.as_ref().is_some_and(|(value, _)| *value == new) {
                return Ok(());
            }
            outcome = store.put_value(name, current.map(|(_, version)| version), &new).map(|_| ());
            if outcome != Err(PutError::Conflict) {
                break;
            }
        }
        if matches!(outcome, Err(PutError::TooLong { .. })) {
            metrics::count(DriverLimit::SharedValueSize);
        }
        Ok(outcome?)
    }

    /// The same, on a thread of its own.
    pub(crate) async fn change(
        &self,
        name: &'static str,
        make: impl Fn(Option<&[u8]>) -> Result<Vec<u8>, SharedError> + Send + 'static,
    ) -> Result<(), SharedError> {
        let this = self.clone();
        let changing = tokio::task::spawn_blocking(move || this.change_blocking(name, make));
        changing.await.unwrap_or(Err(SharedError::Put(PutError::Unreachable)))
    }

    fn redis(&self) -> Option<&RedisStore> {
        match &*self.store {
            AnyStore::Redis(store) => Some(store),
            AnyStore::Memory(_) | AnyStore::Disk(_) => None,
        }
    }
}

/// The names of values that have changed, until the main loop takes them. Bounded by the number of values in the store.
#[derive(Debug, Default)]
pub(crate) struct ValueChanges {
    names: Mutex<BTreeSet<String>>,
    wake: Notify,
}

impl ValueChanges {
    /// For the `value_changed` hook of the store.
    pub(crate) fn report(&self, name: &str) {
        self.names.lock().insert(name.to_owned());
        self.wake.notify_one();
    }

    /// Waits for changes, and takes their names.
    pub(crate) async fn next(&self) -> BTreeSet<String> {
        loop {
            let names = std::mem::take(&mut *self.names.lock());
            if !names.is_empty() {
                return names;
            }
            self.wake.notified().await;
        }
    }
}
