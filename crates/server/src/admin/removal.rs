//! Removal of bindings by the administrator, or because an account was removed: the same rules and store as an
//! unregistering REGISTER, and the same guarantee: a removal that was confirmed is durable.
//!
//! A phone that is still running comes back with its next REGISTER, if its user may register.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use location::{AnyStore, Aor, Change, Commit, ContactChange, Limits, Operation, Record, Store as _, Ticket, Wall};
use parking_lot::Mutex;
use proxy::CoreMessage;
use smallvec::smallvec;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::clock;
use crate::transport::Inbound;
use crate::worker::{CommitOutcome, Completions};

/// Commits that may conflict before the removal fails.
const MAX_CONFLICTS: usize = 16;

/// Users per group commit: far below the capacity of the store's queue.
const BATCH: usize = 256;

/// How long a removal waits for the disk.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Removes bindings, and waits for the commits.
pub(crate) struct Removals {
    store: Arc<AnyStore>,
    completions: Arc<[Completions]>,
    inboxes: Arc<[mpsc::Sender<Inbound>]>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<CommitOutcome>>>,
    next: AtomicU64,
}

/// A removal that is committed in memory.
struct PendingRemoval {
    /// How many bindings it removes.
    removed: usize,
    /// Whether it became durable; `None` if there is nothing to wait for.
    outcome: Option<oneshot::Receiver<CommitOutcome>>,
}

/// Which bindings of a user are removed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RemovalScope<'a> {
    /// All of them.
    All,
    /// The one with this Contact URI.
    Contact(&'a [u8]),
}

/// Why nothing was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RemovalError {
    /// There is no such binding.
    #[error("no such phone is registered")]
    NotFound,
    /// The store refused the commit, or did not finish in time.
    #[error("the store did not accept the change")]
    Store,
}

impl Removals {
    /// `completions`: one for each worker, and the last one for this type. `inboxes`: of the workers, which notify the
    /// subscribers.
    pub(crate) fn new(
        store: Arc<AnyStore>,
        completions: Arc<[Completions]>,
        inboxes: Arc<[mpsc::Sender<Inbound>]>,
    ) -> Self {
        Self { store, completions, inboxes, waiting: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// Delivers the outcomes of commits to their waiters, until the task is dropped.
    pub(crate) async fn dispatch_completions(&self) {
        let Some(own) = self.completions.last() else { return };
        let mut done = Vec::new();
        loop {
            own.notified().await;
            own.take_all(&mut done);
            for (id, outcome) in done.drain(..) {
                // The waiter may have timed out.
                let _ = self.waiting.lock().remove(&id).map(|waiting| waiting.send(outcome));
            }
        }
    }

    /// Removes bindings and returns their number once the removal is durable.
    pub(crate) async fn remove(&self, aor: &Aor, scope: RemovalScope<'_>) -> Result<usize, RemovalError> {
        let pending = self.commit(aor, scope, |_| true)?;
        let removed = self.wait_until_durable(pending).await?;
        self.notify(aor).await;
        Ok(removed)
    }

    /// Removes all bindings of these users, except users for whom `should_remove` is no longer true. Returns the users
    /// with their number of bindings, and how many users failed.
    pub(crate) async fn remove_all(
        &self,
        aors: &[Aor],
        should_remove: impl Fn(&Aor) -> bool,
    ) -> (Vec<(Aor, usize)>, usize) {
        let (mut removed, mut failed) = (Vec::new(), 0);
        for batch in aors.chunks(BATCH) {
            // Committed first and awaited afterwards, so that the batch shares a group commit.
            let pending: Vec<_> = batch.iter().map(|aor| self.commit(aor, RemovalScope::All, &should_remove)).collect();
            for (aor, pending) in batch.iter().zip(pending) {
                let outcome = match pending {
                    Ok(pending) => self.wait_until_durable(pending).await,
                    Err(error) => Err(error),
                };
                match outcome {
                    Ok(phones) => {
                        self.notify(aor).await;
                        removed.push((aor.clone(), phones));
                    }
                    // Already removed, or no longer to be removed.
                    Err(RemovalError::NotFound) => {}
                    Err(RemovalError::Store) => failed += 1,
                }
            }
        }
        (removed, failed)
    }

    /// Notifies the workers, which notify the subscribers (RFC 3680).
    async fn notify(&self, aor: &Aor) {
        for inbox in &*self.inboxes {
            // A worker that has ended has no subscriptions.
            let _ = inbox.send(Inbound::CoreMessage(CoreMessage::RegistrationChanged(aor.clone()))).await;
        }
    }

    /// Commits the removal in memory. `should_remove` is called after the record is loaded: a REGISTER after that call
    /// makes the commit conflict.
    fn commit(
        &self,
        aor: &Aor,
        scope: RemovalScope<'_>,
        should_remove: impl Fn(&Aor) -> bool,
    ) -> Result<PendingRemoval, RemovalError> {
        for _ in 0..MAX_CONFLICTS {
            let old = self.store.load(aor).ok_or(RemovalError::NotFound)?;
            if !should_remove(aor) {
                return Err(RemovalError::NotFound);
            }
            let now = clock::wall();
            let record = record_without(&old, scope, now)?;
            let removed = old.live(now).count() - record.live(now).count();
            let (id, outcome) = self.add_waiter();
            match self.store.commit(old.version(), record, self.ticket(id)) {
                Commit::Done => {
                    self.waiting.lock().remove(&id);
                    return Ok(PendingRemoval { removed, outcome: None });
                }
                Commit::Pending => return Ok(PendingRemoval { removed, outcome: Some(outcome) }),
                Commit::Conflict => drop(self.waiting.lock().remove(&id)),
                Commit::Full | Commit::Failed(_) => {
                    self.waiting.lock().remove(&id);
                    return Err(RemovalError::Store);
                }
            }
        }
        Err(RemovalError::Store)
    }

    async fn wait_until_durable(&self, pending: PendingRemoval) -> Result<usize, RemovalError> {
        let PendingRemoval { removed, outcome: Some(outcome) } = pending else { return Ok(pending.removed) };
        match timeout(COMMIT_TIMEOUT, outcome).await {
            Ok(Ok(CommitOutcome::Durable)) => Ok(removed),
            _ => Err(RemovalError::Store),
        }
    }

    fn add_waiter(&self) -> (u64, oneshot::Receiver<CommitOutcome>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().insert(id, sender);
        (id, receiver)
    }

    fn ticket(&self, id: u64) -> Ticket {
        Ticket { worker: u16::try_from(self.completions.len().saturating_sub(1)).unwrap_or(u16::MAX), id }
    }
}

fn record_without(old: &Record, scope: RemovalScope<'_>, now: Wall) -> Result<Record, RemovalError> {
    let change = Change::administrative(match scope {
        RemovalScope::All => Operation::RemoveAll,
        RemovalScope::Contact(uri) => Operation::Update(smallvec![ContactChange::plain(uri, 0)]),
    });
    let limits = Limits { max_contacts: usize::MAX, ..Limits::DEFAULT };
    old.apply(&change, now, &limits).map_err(|_| RemovalError::Store)?.changed().ok_or(RemovalError::NotFound)
}
