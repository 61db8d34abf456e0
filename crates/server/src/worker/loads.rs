//! The load of each worker, for the main thread, which publishes the metrics. Decides nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use proxy::Load;

/// One entry for each worker.
#[derive(Debug)]
pub(crate) struct Loads(Box<[WorkerLoad]>);

/// Alone in its cache lines: each worker writes its own in each turn.
#[derive(Debug, Default)]
#[repr(align(64))]
struct WorkerLoad {
    transactions: AtomicUsize,
    pins: AtomicUsize,
    nonces: AtomicUsize,
    subscriptions: AtomicUsize,
    moved_dialogs: AtomicUsize,
}

impl Loads {
    /// For this number of workers.
    pub(crate) fn new(workers: u8) -> Self {
        Self((0..workers).map(|_| WorkerLoad::default()).collect())
    }

    /// Sets the load of a worker.
    pub(crate) fn publish(&self, worker: u8, load: &Load) {
        let Some(worker) = self.0.get(usize::from(worker)) else { return };
        worker.transactions.store(load.transactions, Ordering::Relaxed);
        worker.pins.store(load.pins, Ordering::Relaxed);
        worker.nonces.store(load.nonces, Ordering::Relaxed);
        worker.subscriptions.store(load.subscriptions, Ordering::Relaxed);
        worker.moved_dialogs.store(load.moved_dialogs, Ordering::Relaxed);
    }

    /// The load of all workers.
    pub(crate) fn sum(&self) -> Load {
        let sum = |part: fn(&WorkerLoad) -> &AtomicUsize| {
            self.0.iter().map(|worker| part(worker).load(Ordering::Relaxed)).sum()
        };
        Load {
            transactions: sum(|worker| &worker.transactions),
            pins: sum(|worker| &worker.pins),
            nonces: sum(|worker| &worker.nonces),
            subscriptions: sum(|worker| &worker.subscriptions),
            moved_dialogs: sum(|worker| &worker.moved_dialogs),
        }
    }
}
