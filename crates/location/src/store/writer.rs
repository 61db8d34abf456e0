//! The thread that makes commits safe: whatever waits becomes one transaction and one fsync.
//!
//! Decides what is written when, and what happens if it cannot be: memory goes back to what is on disk. The file only
//! grows at its end; what has been replaced there is left behind, and when that is more than what is of use, the oldest
//! rows are taken away, the records of them that still count being written again. Before each group and once a second it is
//! asked whether the files are still the ones that were opened: nothing is called safe that went into a deleted file. Must
//! not decide who wins: that was settled in memory, and the queue has the same order. Its clock only measures itself.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use super::file::{File, Rows};
use super::journal::{self, Entry, RowBuffer};
use super::map::Map;
use super::queue::{Queue, TakeResult};
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
    pub(crate) undo_lock: RwLock<()>,
    /// How far the machine's clock is ahead of the store's time, in milliseconds.
    pub(crate) ahead: AtomicI64,
    pub(crate) hooks: Hooks,
}

/// The file as the writer thread knows it.
pub(crate) struct Journal {
    pub(crate) file: File,
    /// The numbers of its rows.
    pub(crate) rows: Range<i64>,
    /// What the rows have together.
    pub(crate) octets: u64,
    /// [`Shared::ahead`] as it is in the file.
    pub(crate) ahead: i64,
    /// When somebody else's writing was last found to have damaged the file.
    pub(crate) damaged_at: Option<Instant>,
}

/// Runs until the queue is closed and empty.
pub(crate) fn run(mut journal: Journal, shared: &Shared, options: DiskOptions) {
    let _guard = CloseOnExit(&shared.queue);
    let (mut group, mut tickets) = (Vec::new(), Vec::new());
    let mut state = State::default();
    loop {
        let taken = shared.queue.take(&mut group, options.group, CHECK_INTERVAL);
        let ahead = shared.ahead.load(Ordering::Relaxed);
        match taken {
            TakeResult::Closed => return,
            TakeResult::TimedOut => {
                state.on_check(journal.check(), &shared.hooks);
                if ahead != journal.ahead && state.is_good() {
                    let written = journal.write(std::iter::empty(), ahead, &shared.map);
                    state.on_write(written.as_ref().copied(), &shared.hooks);
                }
                continue;
            }
            TakeResult::Items => {}
        }
        let (start, changes) = (Instant::now(), group.len());
        let checked = journal.check();
        let written = checked.and_then(|()| journal.write(group.iter().map(|op| &op.after), ahead, &shared.map));
        let report = CommitReport { changes, took: start.elapsed(), ok: written.is_ok() };
        if written.is_err() {
            undo(shared, &mut group);
        }
        // Before any commit is answered: whoever asks afterwards is told the new state.
        state.on_write(written.as_ref().copied(), &shared.hooks);
        shared.queue.mark_done(group.len());
        tickets.extend(group.drain(..).map(|op| op.ticket));
        (shared.hooks.done)(&tickets, written.as_ref().copied());
        (shared.hooks.committed)(report);
        tickets.clear();
        thread::sleep(options.pace.saturating_sub(start.elapsed()));
    }
}

/// Whether changes can be made safe, as the hook was last told.
#[derive(Default)]
struct State {
    failure: Option<StoreError>,
    logged: Option<Instant>,
}

impl State {
    fn is_good(&self) -> bool {
        self.failure.is_none()
    }

    /// The files were looked at. That says nothing of a disk that was full.
    fn on_check(&mut self, outcome: Result<(), StoreError>, hooks: &Hooks) {
        match (&outcome, &self.failure) {
            (Ok(()), None) => {}
            (Ok(()), Some(StoreError::Lost { .. })) | (Err(_), _) => self.on_write(outcome.as_ref().copied(), hooks),
            (Ok(()), Some(_)) => {}
        }
    }

    /// Something was written, or could not be.
    fn on_write(&mut self, outcome: Result<(), &StoreError>, hooks: &Hooks) {
        let failure = outcome.err();
        if failure == self.failure.as_ref() && failure.is_none() {
            return;
        }
        // One line for a failure, and not one for each group that meets it.
        let is_new = failure != self.failure.as_ref();
        if is_new || self.logged.is_none_or(|last| last.elapsed() >= LOG_INTERVAL) {
            self.logged = Some(Instant::now());
            match failure {
                Some(error) => tracing::error!(%error, "registrations cannot be written"),
                None => tracing::info!("registrations can be written again"),
            }
        }
        if is_new {
            self.failure = failure.cloned();
            (hooks.usable)(outcome);
        }
    }
}

impl Journal {
    /// Write these records at the end, all or none, and how far the machine's clock is ahead.
    pub(crate) fn write<'r>(
        &mut self,
        records: impl Iterator<Item = &'r Record>,
        ahead: i64,
        map: &Map,
    ) -> Result<(), StoreError> {
        let mut row_writer = self.row_writer();
        let is_other = ahead != self.ahead;
        self.file.transaction(|table| {
            row_writer.compact(table, map)?;
            row_writer.write(records, table)?;
            if is_other { table.set_ahead(ahead) } else { Ok(()) }
        })?;
        self.ahead = ahead;
        self.remember_rows(row_writer, map);
        // Only now: it is in the file, should that be put back.
        self.file.confirm_written()
    }

    /// Are the files still those that were opened? What somebody else has written must have left every row as it was.
    pub(crate) fn check(&mut self) -> Result<(), StoreError> {
        if self.damaged_at.is_some_and(|found| found.elapsed() < VERIFY_INTERVAL) {
            return Err(StoreError::Lost { path: self.file.path().to_owned() });
        }
        let (rows, octets) = (self.rows.clone(), self.octets);
        let mut damaged = false;
        let outcome = self.file.check(|path| {
            damaged = !has_rows(path, &rows, octets);
            !damaged
        });
        self.damaged_at = damaged.then(Instant::now);
        outcome
    }

    /// Make an earlier file one of today, with these records.
    pub(crate) fn migrate<'r>(
        &mut self,
        records: impl Iterator<Item = &'r Record>,
        map: &Map,
    ) -> Result<(), StoreError> {
        let mut row_writer = self.row_writer();
        self.file.migrate(|table| row_writer.write(records, table))?;
        self.remember_rows(row_writer, map);
        Ok(())
    }

    fn row_writer(&self) -> RowWriter {
        RowWriter { rows: self.rows.clone(), octets: self.octets, buffer: RowBuffer::new(), row_numbers: Vec::new() }
    }

    fn remember_rows(&mut self, row_writer: RowWriter, map: &Map) {
        (self.rows, self.octets) = (row_writer.rows, row_writer.octets);
        for (record, row) in row_writer.row_numbers {
            // What has come in its place meanwhile is not safe yet: the last one that is lies here.
            map.with(record.aor(), |current| current.meta().set_row(row_tag(row)));
        }
    }
}

/// Whether a file holds exactly these rows, each of them whole.
fn has_rows(path: &Path, rows: &Range<i64>, octets: u64) -> bool {
    let (mut count, mut sum) = (0, 0);
    let read = File::read_only(path).and_then(|file| {
        file.quick_check()?;
        file.for_each_row(|number, row| {
            let whole = journal::entries(row).is_ok_and(|mut entries| entries.all(|entry| entry.is_ok()));
            (count, sum) = (count + 1, sum + row.len() as u64);
            if whole && rows.contains(&number) { Ok(()) } else { Err(file.corrupt()) }
        })
    });
    read.is_ok() && (count, sum) == (rows.end - rows.start, octets)
}

/// A transaction that writes rows.
struct RowWriter {
    rows: Range<i64>,
    octets: u64,
    buffer: RowBuffer,
    row_numbers: Vec<(Record, i64)>,
}

impl RowWriter {
    fn write<'r>(&mut self, mut records: impl Iterator<Item = &'r Record>, table: &Rows<'_>) -> Result<(), StoreError> {
        records.try_for_each(|record| self.put(Entry::of(record), record.clone(), table))?;
        self.end_row(table)
    }

    fn put(&mut self, entry: Entry<'_>, record: Record, table: &Rows<'_>) -> Result<(), StoreError> {
        self.buffer.add(entry);
        self.row_numbers.push((record, self.rows.end));
        if self.buffer.is_full() { self.end_row(table) } else { Ok(()) }
    }

    fn end_row(&mut self, table: &Rows<'_>) -> Result<(), StoreError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let row = self.buffer.finish();
        table.append(self.rows.end, row)?;
        self.octets += row.len() as u64;
        self.rows.end += 1;
        self.buffer.clear();
        Ok(())
    }

    /// Take away the oldest rows while more than half of what is there is of no use; a few at a time.
    fn compact(&mut self, table: &Rows<'_>, map: &Map) -> Result<(), StoreError> {
        let mut left = COMPACT_BATCH;
        let old = self.rows.end;
        while self.rows.start < old && left > 0 && self.octets > 2 * map.octets() + COMPACT_MIN {
            let number = self.rows.start;
            let row = table.read(number)?;
            // It was whole when it was read or written: if it is not any more, no promise can be made.
            for entry in journal::entries(&row).map_err(|_| table.corrupt())? {
                let entry = entry.map_err(|_| table.corrupt())?;
                let is_here = |record: &Record| (record.meta().row() == row_tag(number)).then(|| record.clone());
                if let Some(record) = map.with(entry.aor(), is_here).flatten() {
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
    let _guard = shared.undo_lock.write();
    shared.queue.drain(group);
    for op in group.iter().rev() {
        match &op.before {
            Some(before) => shared.map.restore(before.clone()),
            None => shared.map.remove(op.after.aor()),
        }
    }
}

/// The note of a row: rows that are there at one time are closer together than that.
pub(crate) fn row_tag(row: i64) -> u32 {
    row as u32
}

/// Should the thread ever end by a panic, commits fail instead of waiting for ever.
struct CloseOnExit<'a>(&'a Queue<Op>);

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// How often the files are looked at while nothing is written.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How often a file that somebody else has damaged is read again: it may be large.
const VERIFY_INTERVAL: Duration = Duration::from_secs(10);

/// How often a failure that goes on is said again.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// What may be of no use in any case.
const COMPACT_MIN: u64 = 1 << 20;

/// Octets of old rows that one transaction looks at.
const COMPACT_BATCH: usize = 512 * 1024;
