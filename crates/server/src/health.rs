//! Whether all is well: every worker answers, the store takes changes, the program is not ending.
//!
//! Decides what `/health`, `/ready` and the watchdog say. A worker answers through its inbox, so that one whose inbox is
//! full or whose loop hangs does not count as alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::inbox::Inbound;

/// Rounds that a worker may owe an answer; a round is a second.
const PATIENCE: u64 = 5;

/// Seen by the workers, the store's thread and the main thread.
#[derive(Debug)]
pub(crate) struct Health {
    round: AtomicU64,
    answered: Box<[AtomicU64]>,
    store_failed: AtomicBool,
    ending: AtomicBool,
}

impl Health {
    /// All is well with so many workers.
    pub(crate) fn new(workers: u8) -> Self {
        Self {
            round: AtomicU64::new(0),
            answered: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            store_failed: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        }
    }

    /// Asks every worker.
    pub(crate) fn ask(&self, inboxes: &[mpsc::Sender<Inbound>]) {
        let round = self.round.fetch_add(1, Ordering::Relaxed) + 1;
        for inbox in inboxes {
            // One that has no room has not answered for a while either.
            let _ = inbox.try_send(Inbound::Pulse(round));
        }
    }

    /// A worker answers.
    pub(crate) fn answer(&self, worker: u8, round: u64) {
        if let Some(answered) = self.answered.get(usize::from(worker)) {
            answered.store(round, Ordering::Relaxed);
        }
    }

    /// A group of changes is safe, or is not.
    pub(crate) fn committed(&self, ok: bool) {
        self.store_failed.store(!ok, Ordering::Relaxed);
    }

    /// The program ends: nothing new should come.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// What makes a restart worth while.
    pub(crate) fn lifelessness(&self) -> Vec<&'static str> {
        let round = self.round.load(Ordering::Relaxed);
        let late = |answered: &AtomicU64| answered.load(Ordering::Relaxed) + PATIENCE < round;
        if self.answered.iter().any(late) { vec!["a worker does not answer"] } else { Vec::new() }
    }

    /// What keeps phones from registering or calling.
    pub(crate) fn troubles(&self) -> Vec<&'static str> {
        let mut troubles = self.lifelessness();
        if self.store_failed.load(Ordering::Relaxed) {
            troubles.push("the last registrations could not be stored");
        }
        if self.ending.load(Ordering::Relaxed) {
            troubles.push("the program is ending");
        }
        troubles
    }
}

/// What the store calls after each group of changes.
pub(crate) fn watch_commits(health: &Arc<Health>) -> Box<dyn Fn(location::CommitReport) + Send + Sync> {
    let health = Arc::clone(health);
    Box::new(move |report| {
        health.committed(report.ok);
        crate::metrics::committed(report);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_that_does_not_answer_is_enough() {
        let health = Health::new(2);
        for round in 1..=20 {
            health.ask(&[]);
            health.answer(0, round);
            if round <= 10 {
                health.answer(1, round);
            }
            assert_eq!(health.lifelessness().is_empty(), round <= 15, "{round}");
        }
    }

    #[test]
    fn a_store_that_fails_is_not_ready_until_it_works_again() {
        let health = Health::new(1);
        assert!(health.troubles().is_empty());
        health.committed(false);
        assert!(!health.troubles().is_empty() && health.lifelessness().is_empty());
        health.committed(true);
        assert!(health.troubles().is_empty());
        health.end();
        assert_eq!(health.troubles(), ["the program is ending"]);
    }
}
