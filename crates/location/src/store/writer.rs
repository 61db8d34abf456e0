//! The thread that makes commits safe: whatever waits becomes one transaction and one fsync.
//!
//! Decides what is written when, and what happens if it cannot be: memory goes back to what is on disk. Must not
//! decide who wins: that was settled in memory, and the queue has the same order. Its clock only measures itself.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;

use super::file::{File, Rows};
use super::map::{Key, Map};
use super::queue::Queue;
use super::{CommitReport, Hooks, StoreError, Ticket};
use crate::{Record, codec};

/// One change of one record, in memory already.
pub(crate) struct Op {
    pub(crate) key: Key,
    pub(crate) before: Option<Arc<Record>>,
    pub(crate) after: Option<Arc<Record>>,
    /// `None`: a sweep's, nobody waits for it.
    pub(crate) ticket: Option<Ticket>,
}

/// What the workers and the writer thread have in common.
pub(crate) struct Shared {
    pub(crate) map: Map,
    pub(crate) queue: Queue<Op>,
    /// Read by each commit from its swap to its place in the queue; written while a failed group is undone, so that
    /// nothing builds on what is being taken back.
    pub(crate) gate: RwLock<()>,
    pub(crate) hooks: Hooks,
}

/// Runs until the queue is closed and empty.
pub(crate) fn run(mut file: File, shared: &Shared, most: usize) {
    let _guard = CloseOnExit(&shared.queue);
    let mut group = Vec::new();
    let mut told = Vec::new();
    let mut buffer = Vec::new();
    while shared.queue.take(&mut group, most) {
        let (start, changes) = (Instant::now(), group.len());
        let written = write(&mut file, &group, &mut buffer);
        let report = CommitReport { changes, took: start.elapsed(), ok: written.is_ok() };
        if let Err(error) = &written {
            undo(shared, &mut group);
            tracing::error!(%error, lost = group.len(), "registrations could not be written");
        }
        shared.queue.finished(group.len());
        told.extend(group.drain(..).filter_map(|op| Some((op.ticket?, written.is_ok()))));
        (shared.hooks.done)(&told);
        (shared.hooks.committed)(report);
        told.clear();
    }
}

fn write(file: &mut File, group: &[Op], buffer: &mut Vec<u8>) -> Result<(), StoreError> {
    let mut order: Vec<&Op> = group.iter().collect();
    // By key: neighbours share pages. Stable, so that the last of several changes of one record is the one that counts.
    order.sort_by(|a, b| a.key.cmp(&b.key));
    let fill = |rows: &mut Rows<'_>| {
        order.chunk_by(|a, b| a.key == b.key).filter_map(<[_]>::last).try_for_each(|op| match &op.after {
            Some(record) => {
                buffer.clear();
                codec::encode(record, buffer);
                rows.put(&op.key, buffer)
            }
            None => rows.delete(&op.key),
        })
    };
    file.transaction(fill)
}

// What waits was computed from what failed, or may have been: it goes back as well, the latest first.
fn undo(shared: &Shared, group: &mut Vec<Op>) {
    let _gate = shared.gate.write();
    shared.queue.drain(group);
    for op in group.iter().rev() {
        shared.map.restore(Arc::clone(&op.key), op.before.clone());
    }
}

/// Should the thread ever end by a panic, commits fail instead of waiting for ever.
struct CloseOnExit<'a>(&'a Queue<Op>);

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
