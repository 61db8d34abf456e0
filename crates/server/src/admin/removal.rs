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
use crate::inbox::{Completions, Inbound, Safety};

/// Races that may be lost before it is given up.
const MAX_ATTEMPTS: usize = 16;

/// Users whose phones are removed at a time: far fewer than the store's queue takes.
const BATCH: usize = 256;

/// For the disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// Removals that wait for the disk.
pub(crate) struct Removals {
    store: Arc<AnyStore>,
    completions: Arc<[Completions]>,
    inboxes: Arc<[mpsc::Sender<Inbound>]>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Safety>>>,
    next: AtomicU64,
}

/// A removal that is done in memory.
struct Begun {
    /// How many phones.
    removed: usize,
    /// What the disk will say; none if it has nothing to say.
    outcome: Option<oneshot::Receiver<Safety>>,
}

/// Which phones.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which<'a> {
    /// All of the user.
    All,
    /// The one with this Contact URI.
    Contact(&'a [u8]),
}

/// Why nothing was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotRemoved {
    /// There is no such phone.
    #[error("no such phone is registered")]
    Absent,
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
    pub(crate) async fn settle(&self) {
        let Some(own) = self.completions.last() else { return };
        let mut done = Vec::new();
        loop {
            own.announced().await;
            own.take(&mut done);
            for (id, safety) in done.drain(..) {
                // Whoever asked may have lost patience.
                let _ = self.waiting.lock().remove(&id).map(|waiting| waiting.send(safety));
            }
        }
    }

    /// Removes phones; says how many, once it is safe.
    pub(crate) async fn remove(&self, aor: &Aor, which: Which<'_>) -> Result<usize, NotRemoved> {
        let begun = self.commit(aor, which, |_| true)?;
        let removed = self.made_safe(begun).await?;
        self.notify(aor).await;
        Ok(removed)
    }

    /// Removes all phones of these users, unless `is_meant` says no any more. Which users, with how many phones each, and for
    /// how many it failed.
    pub(crate) async fn remove_all(&self, aors: &[Aor], is_meant: impl Fn(&Aor) -> bool) -> (Vec<(Aor, usize)>, usize) {
        let (mut removed, mut failed) = (Vec::new(), 0);
        for batch in aors.chunks(BATCH) {
            // All of them wait for the disk together.
            let begun: Vec<_> = batch.iter().map(|aor| self.commit(aor, Which::All, &is_meant)).collect();
            for (aor, begun) in batch.iter().zip(begun) {
                let outcome = match begun {
                    Ok(begun) => self.made_safe(begun).await,
                    Err(error) => Err(error),
                };
                match outcome {
                    Ok(phones) => {
                        self.notify(aor).await;
                        removed.push((aor.clone(), phones));
                    }
                    // Somebody else was first, or it is not meant any more.
                    Err(NotRemoved::Absent) => {}
                    Err(NotRemoved::Store) => failed += 1,
                }
            }
        }
        (removed, failed)
    }

    /// Tells the workers, who tell those who watch (RFC 3680).
    async fn notify(&self, aor: &Aor) {
        for inbox in &*self.inboxes {
            // A worker that has ended watches nobody.
            let _ = inbox.send(Inbound::Letter(Letter::Registration(aor.clone()))).await;
        }
    }

    /// Removes them in memory. `is_meant` is asked after the record was read: if something is registered after it has
    /// said yes, the commit finds out.
    fn commit(&self, aor: &Aor, which: Which<'_>, is_meant: impl Fn(&Aor) -> bool) -> Result<Begun, NotRemoved> {
        for _ in 0..MAX_ATTEMPTS {
            let old = self.store.load(aor).ok_or(NotRemoved::Absent)?;
            if !is_meant(aor) {
                return Err(NotRemoved::Absent);
            }
            let now = clock::wall();
            let record = without(&old, which, now)?;
            let removed = old.live(now).count() - record.live(now).count();
            let (id, outcome) = self.wait();
            match self.store.commit(Some(&old), record, self.ticket(id)) {
                Commit::Done => {
                    self.waiting.lock().remove(&id);
                    return Ok(Begun { removed, outcome: None });
                }
                Commit::Pending => return Ok(Begun { removed, outcome: Some(outcome) }),
                Commit::Conflict => drop(self.waiting.lock().remove(&id)),
                Commit::Full | Commit::Failed(_) => {
                    self.waiting.lock().remove(&id);
                    return Err(NotRemoved::Store);
                }
            }
        }
        Err(NotRemoved::Store)
    }

    async fn made_safe(&self, begun: Begun) -> Result<usize, NotRemoved> {
        let Begun { removed, outcome: Some(outcome) } = begun else { return Ok(begun.removed) };
        match timeout(PATIENCE, outcome).await {
            Ok(Ok(Safety::Safe)) => Ok(removed),
            _ => Err(NotRemoved::Store),
        }
    }

    fn wait(&self) -> (u64, oneshot::Receiver<Safety>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().insert(id, sender);
        (id, receiver)
    }

    fn ticket(&self, id: u64) -> Ticket {
        Ticket { worker: u16::try_from(self.completions.len().saturating_sub(1)).unwrap_or(u16::MAX), id }
    }
}

fn without(old: &Record, which: Which<'_>, now: Wall) -> Result<Record, NotRemoved> {
    let change = Change::administrative(match which {
        Which::All => Ask::RemoveAll,
        Which::Contact(uri) => Ask::Update(smallvec![ContactChange::plain(uri, 0)]),
    });
    let limits = Limits { max_contacts: usize::MAX, ..Limits::DEFAULT };
    old.apply(&change, now, &limits).map_err(|_| NotRemoved::Store)?.changed().ok_or(NotRemoved::Absent)
}
