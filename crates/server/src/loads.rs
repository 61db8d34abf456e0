//! How much each worker holds, shown to the thread that serves the metrics.

use std::sync::atomic::{AtomicUsize, Ordering};

use proxy::Load;

/// One cell for each worker.
#[derive(Debug)]
pub(crate) struct Loads(Box<[Cell]>);

#[derive(Debug, Default)]
struct Cell {
    transactions: AtomicUsize,
    pins: AtomicUsize,
    nonces: AtomicUsize,
    subscriptions: AtomicUsize,
    moved_dialogs: AtomicUsize,
}

impl Loads {
    /// For so many workers.
    pub(crate) fn new(workers: u8) -> Self {
        Self((0..workers).map(|_| Cell::default()).collect())
    }

    /// What a worker holds now.
    pub(crate) fn show(&self, worker: u8, load: &Load) {
        let Some(cell) = self.0.get(usize::from(worker)) else { return };
        cell.transactions.store(load.transactions, Ordering::Relaxed);
        cell.pins.store(load.pins, Ordering::Relaxed);
        cell.nonces.store(load.nonces, Ordering::Relaxed);
        cell.subscriptions.store(load.subscriptions, Ordering::Relaxed);
        cell.moved_dialogs.store(load.moved_dialogs, Ordering::Relaxed);
    }

    /// What all of them hold.
    pub(crate) fn sum(&self) -> Load {
        let sum = |part: fn(&Cell) -> &AtomicUsize| self.0.iter().map(|cell| part(cell).load(Ordering::Relaxed)).sum();
        Load {
            transactions: sum(|cell| &cell.transactions),
            pins: sum(|cell| &cell.pins),
            nonces: sum(|cell| &cell.nonces),
            subscriptions: sum(|cell| &cell.subscriptions),
            moved_dialogs: sum(|cell| &cell.moved_dialogs),
        }
    }
}
