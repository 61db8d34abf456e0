//! The outcomes of commits that waited for the disk, on their way from the store's thread to a worker.
//!
//! Decides nothing. They have a list of their own beside the inbox: the store must not wait for room, and no outcome
//! may be lost.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The outcome of a commit that waited for the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CommitOutcome {
    /// It is on disk.
    Durable,
    /// The disk is full.
    DiskFull,
    /// Another server has changed the record meanwhile.
    Conflict,
    /// The database that the servers share did not take it in time.
    Unreachable,
    /// It could not be written.
    Failed,
}

/// Outcomes of commits of one worker. Bounded by the pending commits of the worker.
///
/// Alone in its cache lines: each worker locks its own in each turn.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Completions {
    list: Mutex<Vec<(u64, CommitOutcome)>>,
    wake: Notify,
}

impl Completions {
    /// Adds an outcome. [`Completions::notify`] follows when a whole group has been added.
    pub(crate) fn push(&self, id: u64, outcome: CommitOutcome) {
        self.list.lock().push((id, outcome));
    }

    /// Wakes the worker if there are outcomes.
    pub(crate) fn notify(&self) {
        if !self.list.lock().is_empty() {
            self.wake.notify_one();
        }
    }

    /// Waits for the next notification.
    pub(crate) async fn notified(&self) {
        self.wake.notified().await;
    }

    /// Takes all of them; `outcomes` is empty before.
    pub(crate) fn take_all(&self, outcomes: &mut Vec<(u64, CommitOutcome)>) {
        std::mem::swap(&mut *self.list.lock(), outcomes);
    }
}
