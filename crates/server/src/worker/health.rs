//! Health: whether every worker answers, the store accepts changes, and the program is not stopping.
//!
//! Decides the results of `/health`, `/ready` and the watchdog. A worker answers through its inbox, so a worker whose
//! inbox is full, or whose event loop hangs, counts as one that does not answer.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use location::StoreError;
use tokio::sync::mpsc;

use crate::transport::Inbound;

/// Checks in a row that a worker may leave unanswered; there is one per second.
const MAX_MISSED_ROUNDS: u64 = 5;

/// Shared by the workers, the store's thread and the main thread.
#[derive(Debug)]
pub(crate) struct Health {
    round: AtomicU64,
    answered: Box<[AtomicU64]>,
    /// One of `STORE_…`.
    store: AtomicU8,
    stopping: AtomicBool,
}

impl Health {
    /// Without problems, for this number of workers.
    pub(crate) fn new(workers: u8) -> Self {
        Self {
            round: AtomicU64::new(0),
            answered: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            store: AtomicU8::new(STORE_USABLE),
            stopping: AtomicBool::new(false),
        }
    }

    /// Begins a round: sends a health check to every worker.
    pub(crate) fn check_workers(&self, inboxes: &[mpsc::Sender<Inbound>]) {
        let round = self.round.fetch_add(1, Ordering::Relaxed) + 1;
        for inbox in inboxes {
            // A worker with a full inbox has not answered for a while either.
            let _ = inbox.try_send(Inbound::HealthCheck(round));
        }
    }

    /// Records the answer of a worker.
    pub(crate) fn worker_answered(&self, worker: u8, round: u64) {
        if let Some(answered) = self.answered.get(usize::from(worker)) {
            answered.store(round, Ordering::Relaxed);
        }
    }

    /// Records whether the store could make changes durable.
    pub(crate) fn set_store_state(&self, outcome: Result<(), &StoreError>) {
        let state = match outcome {
            Ok(()) => STORE_USABLE,
            Err(StoreError::Lost { .. }) => STORE_LOST,
            Err(StoreError::Unreachable { .. }) => STORE_UNREACHABLE,
            Err(_) => STORE_FAILED,
        };
        self.store.store(state, Ordering::Relaxed);
    }

    /// Whether the store accepts changes, as far as is known.
    pub(crate) fn is_store_usable(&self) -> bool {
        self.store.load(Ordering::Relaxed) == STORE_USABLE
    }

    /// The program is shutting down.
    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Problems that a restart would solve.
    pub(crate) fn liveness_problems(&self) -> Vec<&'static str> {
        let round = self.round.load(Ordering::Relaxed);
        let late = |answered: &AtomicU64| answered.load(Ordering::Relaxed) + MAX_MISSED_ROUNDS < round;
        if self.answered.iter().any(late) { vec!["a worker does not answer"] } else { Vec::new() }
    }

    /// Problems that prevent phones from registering or calling.
    pub(crate) fn readiness_problems(&self) -> Vec<&'static str> {
        let mut problems = self.liveness_problems();
        match self.store.load(Ordering::Relaxed) {
            STORE_USABLE => {}
            STORE_LOST => problems.push("the location store's files were deleted, cut or replaced"),
            STORE_UNREACHABLE => problems.push("the database that the servers share cannot be used: see the log"),
            _ => problems.push("the last registrations could not be stored"),
        }
        if self.stopping.load(Ordering::Relaxed) {
            problems.push("the program is ending");
        }
        problems
    }
}

const STORE_USABLE: u8 = 0;
const STORE_FAILED: u8 = 1;
const STORE_LOST: u8 = 2;
const STORE_UNREACHABLE: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hung_worker_fails_liveness() {
        let health = Health::new(2);
        for round in 1..=20 {
            health.check_workers(&[]);
            health.worker_answered(0, round);
            if round <= 10 {
                health.worker_answered(1, round);
            }
            assert_eq!(health.liveness_problems().is_empty(), round <= 15, "{round}");
        }
    }

    #[test]
    fn a_failed_store_is_not_ready_until_it_recovers() {
        let health = Health::new(1);
        assert!(health.readiness_problems().is_empty());
        let path = std::path::PathBuf::new;
        for error in [StoreError::Full { path: path() }, StoreError::Lost { path: path() }] {
            health.set_store_state(Err(&error));
            assert!(!health.is_store_usable(), "{error}");
            assert!(health.readiness_problems().len() == 1 && health.liveness_problems().is_empty(), "{error}");
        }
        health.set_store_state(Ok(()));
        assert!(health.is_store_usable() && health.readiness_problems().is_empty());
        health.set_stopping();
        assert_eq!(health.readiness_problems(), ["the program is ending"]);
    }
}
