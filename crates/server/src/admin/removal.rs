//! Phones that an operator removes, or that are removed with their account: the same rules and the same store as a REGISTER
//! that does it, and the same promise: what was answered is safe on disk.
//!
//! A phone that is still there comes back with its next REGISTER, if its user may register.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use location::{AnyStore, Aor, Ask, Change, Commit, ContactChange, Limits, Record, Store as _, Ticket, Wall};
use parking_lot::Mutex;
use proxy::Letter;
use smallvec::smallvec;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::clock;
use crate::inbox::{CommitOutcome, Completions, Inbound};

/// Races that may be lost before it is given up.
const MAX_CONFLICTS: usize = 16;

/// Users whose phones are removed at a time: far fewer than the store's queue takes.
const BATCH: usize = 256;

/// For the disk.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Removals that wait for the disk.
pub(crate) struct Removals {
    store: Arc<AnyStore>,
    completions: Arc<[Completions]>,
    inboxes: Arc<[mpsc::Sender<Inbound>]>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<CommitOutcome>>>,
    next: AtomicU64,
}

/// A removal that is done in memory.
struct PendingRemoval {
    /// How many phones.
    removed: usize,
    /// What the disk will say; none if it has nothing to say.
    outcome: Option<oneshot::Receiver<CommitOutcome>>,
}

/// Which phones.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RemovalScope<'a> {
    /// All of the user.
    All,
    /// The one with this Contact URI.
    Contact(&'a [u8]),
}

/// Why nothing was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RemovalError {
    /// There is no such phone.
    #[error("no such phone is registered")]
    NotFound,
    /// The store did not take it, or not in time.
    #[error("the store did not take it")]
    Store,
}

impl Removals {
    /// `completions`: one for each worker, and ours behind them; `inboxes`: of the workers, who tell those who watch.
    pub(crate) fn new(
        store: Arc<AnyStore>,
        completions: Arc<[Completions]>,
        inboxes: Arc<[mpsc::Sender<Inbound>]>,
    ) -> Self {
        Self { store, completions, inboxes, waiting: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// Passes on what the store says, until the task is dropped.
    pub(crate) async fn dispatch_completions(&self) {
        let Some(own) = self.completions.last() else { return };
        let mut done = Vec::new();
        loop {
            own.notified().await;
            own.take_all(&mut done);
            for (id, outcome) in done.drain(..) {
                // Whoever asked may have lost patience.
                let _ = self.waiting.lock().remove(&id).map(|waiting| waiting.send(outcome));
            }
        }
    }

    /// Removes phones; says how many, once it is safe.
    pub(crate) async fn remove(&self, aor: &Aor, scope: RemovalScope<'_>) -> Result<usize, RemovalError> {
        let pending = self.commit(aor, scope, |_| true)?;
        let removed = self.wait_until_durable(pending).await?;
        self.notify(aor).await;
        Ok(removed)
    }

    /// Removes all phones of these users, unless `should_remove` says no any more. Which users, with how many phones each, and for
    /// how many it failed.
    pub(crate) async fn remove_all(
        &self,
        aors: &[Aor],
        should_remove: impl Fn(&Aor) -> bool,
    ) -> (Vec<(Aor, usize)>, usize) {
        let (mut removed, mut failed) = (Vec::new(), 0);
        for batch in aors.chunks(BATCH) {
            // All of them wait for the disk together.
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
                    // Somebody else was first, or it is not meant any more.
                    Err(RemovalError::NotFound) => {}
                    Err(RemovalError::Store) => failed += 1,
                }
            }
        }
        (removed, failed)
    }

    /// Tells the workers, who tell those who watch (RFC 3680).
    async fn notify(&self, aor: &Aor) {
        for inbox in &*self.inboxes {
            // A worker that has ended watches nobody.
            let _ = inbox.send(Inbound::CoreMessage(Letter::Registration(aor.clone()))).await;
        }
    }

    /// Removes them in memory. `should_remove` is asked after the record was read: if something is registered after it has
    /// said yes, the commit finds out.
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
            match self.store.commit(Some(&old), record, self.ticket(id)) {
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
    let change = Change::by_hand(match scope {
        RemovalScope::All => Ask::RemoveAll,
        RemovalScope::Contact(uri) => Ask::Update(smallvec![ContactChange::plain(uri, 0)]),
    });
    let limits = Limits { max_contacts: usize::MAX, ..Limits::DEFAULT };
    old.apply(&change, now, &limits).map_err(|_| RemovalError::Store)?.changed().ok_or(RemovalError::NotFound)
}
