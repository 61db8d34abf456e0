//! The thread that makes commits safe: whatever waits becomes one transaction and one fsync.
//!
//! Decides what is written when, and what happens if it cannot be: memory goes back to what is on disk. The file only
//! grows at its end; what has been replaced there is left behind, and when that is more than what is of use, the oldest
//! rows are taken away, the records of them that still count being written again. Must not decide who wins: that was
//! settled in memory, and the queue has the same order. Its clock only measures itself.

use std::ops::Range;
use std::thread;
use std::time::Instant;

use parking_lot::RwLock;

use super::file::{File, Rows};
use super::journal::{self, Draft, Entry};
use super::map::Map;
use super::queue::Queue;
use super::{CommitReport, DiskOptions, Hooks, StoreError, Ticket};
use crate::Record;

/// One change of one record, in memory already.
pub(crate) struct Op {
    pub(crate) before: Option<Record>,
    pub(crate) after: Record,
    pub(crate) ticket: Ticket,
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

/// The file as the writer thread knows it.
pub(crate) struct Journal {
    pub(crate) file: File,
    /// The numbers of its rows.
    pub(crate) rows: Range<i64>,
    /// What the rows have together.
    pub(crate) octets: u64,
}

/// Runs until the queue is closed and empty.
pub(crate) fn run(mut journal: Journal, shared: &Shared, options: DiskOptions) {
    let _guard = CloseOnExit(&shared.queue);
    let (mut group, mut tickets) = (Vec::new(), Vec::new());
    while shared.queue.take(&mut group, options.group) {
        let (start, changes) = (Instant::now(), group.len());
        let written = journal.write(group.iter().map(|op| &op.after), &shared.map);
        let report = CommitReport { changes, took: start.elapsed(), ok: written.is_ok() };
        if let Err(error) = &written {
            undo(shared, &mut group);
            tracing::error!(%error, lost = group.len(), "registrations could not be written");
        }
        shared.queue.finished(group.len());
        tickets.extend(group.drain(..).map(|op| op.ticket));
        (shared.hooks.done)(&tickets, written.as_ref().copied());
        (shared.hooks.committed)(report);
        tickets.clear();
        thread::sleep(options.pace.saturating_sub(start.elapsed()));
    }
}

impl Journal {
    /// Write these records at the end, all or none.
    pub(crate) fn write<'r>(&mut self, records: impl Iterator<Item = &'r Record>, map: &Map) -> Result<(), StoreError> {
        let mut pen = self.pen();
        self.file.transaction(|table| {
            pen.tidy(table, map)?;
            pen.write(records, table)
        })?;
        self.take_note(pen, map);
        Ok(())
    }

    /// Make an earlier file one of today, with these records.
    pub(crate) fn renew<'r>(&mut self, records: impl Iterator<Item = &'r Record>, map: &Map) -> Result<(), StoreError> {
        let mut pen = self.pen();
        self.file.renew(|table| pen.write(records, table))?;
        self.take_note(pen, map);
        Ok(())
    }

    fn pen(&self) -> Pen {
        Pen { rows: self.rows.clone(), octets: self.octets, draft: Draft::new(), places: Vec::new() }
    }

    fn take_note(&mut self, pen: Pen, map: &Map) {
        (self.rows, self.octets) = (pen.rows, pen.octets);
        for (record, row) in pen.places {
            // What has come in its place meanwhile is not safe yet: the last one that is lies here.
            map.with(record.aor(), |current| current.notes().set_row(low(row)));
        }
    }
}

/// A transaction that writes rows.
struct Pen {
    rows: Range<i64>,
    octets: u64,
    draft: Draft,
    places: Vec<(Record, i64)>,
}

impl Pen {
    fn write<'r>(&mut self, mut records: impl Iterator<Item = &'r Record>, table: &Rows<'_>) -> Result<(), StoreError> {
        records.try_for_each(|record| self.put(Entry::of(record), record.clone(), table))?;
        self.end_row(table)
    }

    fn put(&mut self, entry: Entry<'_>, record: Record, table: &Rows<'_>) -> Result<(), StoreError> {
        self.draft.add(entry);
        self.places.push((record, self.rows.end));
        if self.draft.is_full() { self.end_row(table) } else { Ok(()) }
    }

    fn end_row(&mut self, table: &Rows<'_>) -> Result<(), StoreError> {
        if self.draft.is_empty() {
            return Ok(());
        }
        let row = self.draft.seal();
        table.append(self.rows.end, row)?;
        self.octets += row.len() as u64;
        self.rows.end += 1;
        self.draft.clear();
        Ok(())
    }

    /// Take away the oldest rows while more than half of what is there is of no use; a few at a time.
    fn tidy(&mut self, table: &Rows<'_>, map: &Map) -> Result<(), StoreError> {
        let mut left = TIDY_AT_ONCE;
        let old = self.rows.end;
        while self.rows.start < old && left > 0 && self.octets > 2 * map.octets() + SLACK {
            let number = self.rows.start;
            let row = table.read(number)?;
            // It was whole when it was read or written: if it is not any more, no promise can be made.
            for entry in journal::entries(&row).map_err(|_| table.corrupt())? {
                let entry = entry.map_err(|_| table.corrupt())?;
                let here = |record: &Record| (record.notes().row() == low(number)).then(|| record.clone());
                if let Some(record) = map.with(entry.aor(), here).flatten() {
                    self.put(entry, record, table)?;
                }
            }
            table.delete(number)?;
            self.rows.start += 1;
            self.octets -= (row.len() as u64).min(self.octets);
            left = left.saturating_sub(row.len());
        }
        Ok(())
    }
}

// What waits was computed from what failed, or may have been: it goes back as well, the latest first.
fn undo(shared: &Shared, group: &mut Vec<Op>) {
    let _gate = shared.gate.write();
    shared.queue.drain(group);
    for op in group.iter().rev() {
        match &op.before {
            Some(before) => shared.map.restore(before.clone()),
            None => shared.map.remove(op.after.aor()),
        }
    }
}

/// The note of a row: rows that are there at one time are closer together than that.
pub(crate) fn low(row: i64) -> u32 {
    row as u32
}

/// Should the thread ever end by a panic, commits fail instead of waiting for ever.
struct CloseOnExit<'a>(&'a Queue<Op>);

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What may be of no use in any case.
const SLACK: u64 = 1 << 20;

/// Octets of old rows that one transaction looks at.
const TIDY_AT_ONCE: usize = 512 * 1024;
