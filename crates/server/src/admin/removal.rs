//! Phones that an operator removes: the same rules and the same store as a REGISTER that does it, and the same promise:
//! what was answered is safe on disk.
//!
//! A phone that is still there comes back with its next REGISTER.

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
        let removed = self.commit(aor, which).await?;
        for inbox in &*self.inboxes {
            // A worker that has ended watches nobody.
            let _ = inbox.send(Inbound::Letter(Letter::Registration(aor.clone()))).await;
        }
        Ok(removed)
    }

    async fn commit(&self, aor: &Aor, which: Which<'_>) -> Result<usize, NotRemoved> {
        for _ in 0..MAX_ATTEMPTS {
            let old = self.store.load(aor).ok_or(NotRemoved::Absent)?;
            let now = clock::wall();
            let record = without(&old, which, now)?;
            let removed = old.live(now).count() - record.live(now).count();
            let (id, outcome) = self.wait();
            match self.store.commit(Some(&old), record, self.ticket(id)) {
                Commit::Done => return Ok(removed),
                Commit::Pending => {
                    return match timeout(PATIENCE, outcome).await {
                        Ok(Ok(Safety::Safe)) => Ok(removed),
                        _ => Err(NotRemoved::Store),
                    };
                }
                Commit::Conflict => drop(self.waiting.lock().remove(&id)),
                Commit::Full | Commit::Failed(_) => {
                    self.waiting.lock().remove(&id);
                    return Err(NotRemoved::Store);
                }
            }
        }
        Err(NotRemoved::Store)
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
    let change = Change::by_hand(match which {
        Which::All => Ask::RemoveAll,
        Which::Contact(uri) => Ask::Update(smallvec![ContactChange::plain(uri, 0)]),
    });
    let limits = Limits { max_contacts: usize::MAX, ..Limits::DEFAULT };
    old.apply(&change, now, &limits).map_err(|_| NotRemoved::Store)?.changed().ok_or(NotRemoved::Absent)
}
