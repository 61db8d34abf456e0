//! The thread that makes commits durable: all waiting changes become one transaction with one fsync.
//!
//! If a transaction fails, its changes are undone in memory. Rows are only appended to the file; when more than half of
//! it is obsolete, the oldest rows are deleted and their records that are still current are written again. Before each
//! group and once a second the thread checks that the files are still the ones that were opened, so that no commit into a
//! deleted file is reported as durable. Must not resolve conflicts: the map has done that, and the queue has the order of
//! its changes. The clock is read only for durations.

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
use super::{CommitReport, DiskOptions, Hooks, OutsideChange, StoreError, Ticket};
use crate::Record;

/// One change of one record, already applied in memory.
pub(crate) struct QueuedChange {
    pub(crate) before: Option<Record>,
    pub(crate) after: Record,
    pub(crate) ticket: Ticket,
}

#[cfg(feature = "redis")]
impl QueuedChange {
    /// The current record was committed again: there is nothing to write and nothing to undo.
    pub(crate) fn is_same(&self) -> bool {
        self.before.as_ref().is_some_and(|before| before.is_clone_of(&self.after))
    }
}

/// State shared by the workers and the writer thread.
pub(crate) struct Shared {
    pub(crate) map: Map,
    pub(crate) queue: Queue<QueuedChange>,
    /// Each commit holds it for reading from its swap until it is queued. Held for writing while a failed group is
    /// undone, so that no new change is computed from one that is being undone.
    pub(crate) undo_lock: RwLock<()>,
    /// Milliseconds by which the machine's clock is ahead of the store's time.
    pub(crate) ahead: AtomicI64,
    pub(crate) hooks: Hooks,
}

/// The writer thread's view of the file.
pub(crate) struct Journal {
    pub(crate) file: File,
    /// The numbers of the rows in the file.
    pub(crate) rows: Range<i64>,
    /// The octets of all rows together.
    pub(crate) octets: u64,
    /// [`Shared::ahead`] as stored in the file.
    pub(crate) ahead: i64,
    /// When the file was last found to be damaged by another program.
    pub(crate) damaged_at: Option<Instant>,
}

/// Runs until the queue is closed and empty.
pub(crate) fn run(mut journal: Journal, shared: &Shared, options: DiskOptions) {
    let _guard = CloseOnExit(&shared.queue);
    let (mut group, mut tickets) = (Vec::new(), Vec::new());
    let mut usability = Usability::default();
    loop {
        let taken = shared.queue.take(&mut group, options.group, CHECK_INTERVAL);
        let ahead = shared.ahead.load(Ordering::Relaxed);
        match taken {
            TakeResult::Closed => return,
            TakeResult::TimedOut => {
                usability.on_check(journal.check(), &shared.hooks);
                if ahead != journal.ahead && usability.is_usable() {
                    let written = journal.write(std::iter::empty(), ahead, &shared.map);
                    usability.on_write(written.as_ref().copied(), &shared.hooks);
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
        // Before any commit is answered, so that a later query reports the new state.
        usability.on_write(written.as_ref().copied(), &shared.hooks);
        shared.queue.mark_done(group.len());
        tickets.extend(group.drain(..).map(|op| op.ticket));
        (shared.hooks.done)(&tickets, written.as_ref().copied());
        (shared.hooks.committed)(report);
        tickets.clear();
        thread::sleep(options.pace.saturating_sub(start.elapsed()));
    }
}

/// Whether changes can be made durable, as last reported to the hook.
#[derive(Default)]
struct Usability {
    failure: Option<StoreError>,
    logged: Option<Instant>,
}

impl Usability {
    fn is_usable(&self) -> bool {
        self.failure.is_none()
    }

    /// Handles the result of a check of the files. A good result does not end the state of a full disk.
    fn on_check(&mut self, outcome: Result<(), StoreError>, hooks: &Hooks) {
        match (&outcome, &self.failure) {
            (Ok(()), None) => {}
            (Ok(()), Some(StoreError::Lost { .. })) | (Err(_), _) => self.on_write(outcome.as_ref().copied(), hooks),
            (Ok(()), Some(_)) => {}
        }
    }

    /// Handles the result of a transaction.
    fn on_write(&mut self, outcome: Result<(), &StoreError>, hooks: &Hooks) {
        let failure = outcome.err();
        if failure == self.failure.as_ref() && failure.is_none() {
            return;
        }
        // Log a failure once, not for each group.
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
    /// Appends these records, all or none, and stores `ahead`.
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
        // Last, because the transaction is in the file even if this fails: if the file is put back, it is valid.
        self.file.confirm_written()
    }

    /// Checks that the files are still those that were opened. If another program has written to them, every row is
    /// verified.
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

    /// Converts a file of format 1 to the current format, with these records.
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
            // The current record may be a later one that is not durable yet. Its row is that of the latest durable one.
            map.with(record.aor(), |current| current.meta().set_row(row_tag(row)));
        }
    }
}

/// Whether a file contains exactly these rows, undamaged.
fn has_rows(path: &Path, rows: &Range<i64>, octets: u64) -> bool {
    let (mut count, mut sum) = (0, 0);
    let read = File::read_only(path).and_then(|file| {
        file.quick_check()?;
        file.for_each_row(|number, row| {
            let is_whole = journal::entries(row).is_ok_and(|mut entries| entries.all(|entry| entry.is_ok()));
            (count, sum) = (count + 1, sum + row.len() as u64);
            if is_whole && rows.contains(&number) { Ok(()) } else { Err(file.corrupt()) }
        })
    });
    read.is_ok() && (count, sum) == (rows.end - rows.start, octets)
}

/// Writes rows in one transaction.
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

    /// Deletes the oldest rows while more than half of the file is obsolete, a limited number per transaction.
    fn compact(&mut self, table: &Rows<'_>, map: &Map) -> Result<(), StoreError> {
        let mut left = COMPACT_BATCH;
        let old = self.rows.end;
        while self.rows.start < old && left > 0 && self.octets > 2 * map.octets() + COMPACT_MIN {
            let number = self.rows.start;
            let row = table.read(number)?;
            // The row was undamaged when it was last read or written. If it is not now, the transaction must fail.
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

// Queued changes may have been computed from those that failed: they are undone as well, the latest first.
fn undo(shared: &Shared, group: &mut Vec<QueuedChange>) {
    let guard = shared.undo_lock.write();
    shared.queue.drain(group);
    for op in group.iter().rev() {
        match &op.before {
            Some(before) => shared.map.restore(before.clone()),
            None => shared.map.remove(op.after.aor()),
        }
    }
    drop(guard);
    // Others may have acted on the changes meanwhile: a subscriber may have been notified of them.
    for op in group.iter().rev() {
        let removed = || Record::empty(&op.after.address());
        let after = op.before.clone().unwrap_or_else(removed);
        (shared.hooks.changed)(OutsideChange::new(Some(&op.after), &after));
    }
}

/// The low half of a row number. It is unique: the rows in the file at one time are fewer than 2^32.
pub(crate) fn row_tag(row: i64) -> u32 {
    row as u32
}

/// Closes the queue if the thread panics, so that commits fail instead of waiting forever.
struct CloseOnExit<'a>(&'a Queue<QueuedChange>);

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Interval of checking the files while nothing is written.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Interval of verifying a file that another program has damaged: it may be large.
const VERIFY_INTERVAL: Duration = Duration::from_secs(10);

/// Interval of logging a persisting failure.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Obsolete octets below which the file is not compacted.
const COMPACT_MIN: u64 = 1 << 20;

/// Octets of old rows that one transaction reads.
const COMPACT_BATCH: usize = 512 * 1024;
