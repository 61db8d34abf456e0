//! The durable store: the map in memory, and every change on disk before it is acknowledged.
//!
//! Loads the file at the start and queues changes. Reads never access the disk. Must not write to the file: the writer
//! thread does.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::file::File;
use super::journal::{self, Entry, RowError};
use super::map::Map;
use super::queue::{PushError, Queue};
use super::writer::{self, Journal, QueuedChange, Shared, row_tag};
use super::{Commit, Counts, Hooks, SWEEP_MAX, Store, StoreError, Ticket};
use crate::{Aor, Record, Version, Wall, format1};

/// How to open a [`DiskStore`].
#[derive(Clone, Copy, Debug)]
pub struct DiskOptions {
    /// The time of the machine's clock. See [`DiskStore::time`].
    pub now: Wall,
    /// Maximum of changes that wait for the disk; above it a commit is [`Commit::Full`]. At least 1.
    pub queue: usize,
    /// Maximum of changes in one transaction: limits how long the first of them waits for the last.
    pub group: usize,
    /// Minimum time from the start of one group to the start of the next. A transaction costs as much as the rest of ten
    /// REGISTERs, so larger groups are worth a short wait.
    pub pace: Duration,
}

impl DiskOptions {
    /// 16,384 in the queue, 1,024 in a group, 4 ms from one to the next.
    pub fn new(now: Wall) -> Self {
        Self { now, queue: 16_384, group: 1_024, pace: Duration::from_millis(4) }
    }
}

/// Records in memory and in a file. Dropping it writes the queued changes.
pub struct DiskStore {
    shared: Arc<Shared>,
    time: Wall,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl DiskStore {
    /// Opens the file at `path` and loads all of it. The file and its parent folders are created if they do not exist. The
    /// store locks the file until it is closed. The write-ahead log `<path>-wal` is part of the store.
    ///
    /// # Errors
    /// The file is in use by another process, not a store, damaged, of another format, not readable or not writable
    /// (which is tried). The file is left unchanged.
    pub fn open(path: &Path, options: DiskOptions, hooks: Hooks) -> Result<Self, StoreError> {
        Self::start(File::open(path)?, options, hooks)
    }

    fn start(file: File, options: DiskOptions, hooks: Hooks) -> Result<Self, StoreError> {
        let map = Map::new();
        let (journal, time) = load(file, &map, options.now)?;
        let queue = Queue::new(options.queue.max(1));
        let ahead = AtomicI64::new(journal.ahead);
        let shared = Arc::new(Shared { map, queue, undo_lock: RwLock::new(()), ahead, hooks });
        let (path, in_thread) = (journal.file.path().to_owned(), Arc::clone(&shared));
        let spawned =
            thread::Builder::new().name("location".to_owned()).spawn(move || writer::run(journal, &in_thread, options));
        let writer = spawned.map_err(|error| StoreError::Io { path, kind: error.kind() })?;
        Ok(Self { shared, time, writer: Mutex::new(Some(writer)) })
    }

    /// The store's time when it was opened. All times in its records are in the store's time, and every later `now` must be
    /// as well.
    ///
    /// At the first start it is the time of the machine's clock. It then advances with elapsed time, even if that clock
    /// is set (see [`set_ahead`](Self::set_ahead)). Over a restart it advances by the difference of the machine's clock,
    /// but is never earlier than the last change that was written.
    pub fn time(&self) -> Wall {
        self.time
    }

    /// Tells the store that the machine's clock was set and is now this many milliseconds ahead of the store's time. This is
    /// written to the file within a second or with the next change, for the next start.
    pub fn set_ahead(&self, millis: i64) {
        self.shared.ahead.store(millis, Ordering::Relaxed);
    }

    /// See [`AnyStore::counts`](super::AnyStore::counts).
    pub fn counts(&self) -> Counts {
        self.shared.map.counts()
    }

    /// See [`AnyStore::records`](super::AnyStore::records).
    pub fn records(&self) -> u64 {
        self.shared.map.records()
    }

    /// Changes that wait for the disk or are being written.
    pub fn queue_len(&self) -> usize {
        self.shared.queue.len()
    }

    /// Writes the queued changes, calls [`Hooks::done`] and closes the file. Later commits fail with [`StoreError::Closed`],
    /// reads still work. A second call does nothing.
    pub fn close(&self) {
        self.shared.queue.close();
        let Some(writer) = self.writer.lock().take() else { return };
        // A hook may drop the last owner of the store: the writer thread must not join itself.
        if writer.thread().id() != thread::current().id() && writer.join().is_err() {
            tracing::error!("the location writer ended by a panic");
        }
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl Store for DiskStore {
    fn load(&self, aor: &Aor) -> Option<Record> {
        self.shared.map.load(aor.as_bytes())
    }

    fn commit(&self, expected: Option<Version>, record: Record, ticket: Ticket) -> Commit {
        let _guard = self.shared.undo_lock.read();
        // Queued under the shard's lock, so that the queue has the order of the changes in memory.
        self.shared.map.swap(expected, record, |before, after| {
            match self.shared.queue.push(QueuedChange { before: before.cloned(), after: after.clone(), ticket }) {
                Ok(()) => Commit::Pending,
                Err(PushError::Full) => Commit::Full,
                Err(PushError::Closed) => Commit::Failed(StoreError::Closed),
            }
        })
    }

    // The file is not changed: the expiry times in it are enough to discard these records when it is loaded.
    fn sweep(&self, now: Wall) -> usize {
        self.shared.map.sweep(now, SWEEP_MAX)
    }

    fn list(&self, visit: &mut dyn FnMut(&Record)) {
        self.shared.map.list(visit);
    }
}

/// Loads the file into the map; returns the journal and the store's time.
fn load(file: File, map: &Map, clock: Wall) -> Result<(Journal, Wall), StoreError> {
    file.quick_check()?;
    let ahead = file.ahead()?;
    let mut now = Wall(clock.0.saturating_add_signed(ahead.saturating_neg()));
    let mut journal = Journal { file, rows: 1..1, octets: 0, ahead, damaged_at: None };
    if journal.file.is_format1()? {
        load_format1(&mut journal, map, now)?;
    } else {
        // A clock that was set back, or not yet set when the machine started, must not prolong any binding.
        now = now.max(last_change(&journal.file)?);
        load_rows(&mut journal, map, now)?;
        map.sweep(now, usize::MAX);
    }
    journal.file.allow_checkpoint_on_close()?;
    journal.ahead = i64::try_from(i128::from(clock.0) - i128::from(now.0)).unwrap_or(0);
    journal.file.start_writing(journal.ahead)?;
    Ok((journal, now))
}

/// The time of the last change in the file. The last record of the last row was changed last.
fn last_change(file: &File) -> Result<Wall, StoreError> {
    let Some(row) = file.last_row()? else { return Ok(Wall(0)) };
    let last = journal::entries(&row).ok().and_then(|entries| entries.last()).and_then(Result::ok);
    let record = last.and_then(|Entry { aor_len, octets }| Record::from_stored(aor_len, octets, Wall(0)));
    let changed = record.iter().flat_map(|record| record.bindings()).map(|binding| binding.changed_at()).max();
    Ok(changed.unwrap_or_default())
}

fn load_rows(journal: &mut Journal, map: &Map, now: Wall) -> Result<(), StoreError> {
    let Journal { file, rows, octets, .. } = journal;
    let fail = |error| match error {
        RowError::Corrupt => file.corrupt(),
        RowError::Format(found) => StoreError::Format { path: file.path().to_owned(), found, known: journal::FORMAT },
    };
    file.for_each_row(|number, row| {
        // Only the oldest rows are ever deleted, so a gap means that a row was lost.
        if !rows.is_empty() && number.checked_add(1) != Some(rows.start) {
            return Err(file.corrupt());
        }
        let first = rows.is_empty();
        let end = if first { number.checked_add(1).ok_or_else(|| file.corrupt())? } else { rows.end };
        *rows = number..end;
        *octets += row.len() as u64;
        let entries = journal::entries(row).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(fail)?;
        if first {
            // About half of the file is current. Reserving avoids that the table grows repeatedly, which would double the
            // time.
            map.reserve(file.len() / 2 * entries.len() / row.len().max(1));
        }
        for Entry { aor_len, octets } in entries.into_iter().rev() {
            // The last record of each address of record counts, even if it has no bindings left.
            map.insert_new(octets.get(..aor_len).unwrap_or_default(), || {
                let record = Record::from_stored(aor_len, octets, now).ok_or_else(|| file.corrupt())?;
                record.meta().set_row(row_tag(number));
                Ok(record)
            })?;
        }
        Ok(())
    })
}

fn load_format1(journal: &mut Journal, map: &Map, now: Wall) -> Result<(), StoreError> {
    let file = &journal.file;
    file.for_each_format1(|aor, octets| {
        let record = format1::read(aor, octets, now).ok_or_else(|| file.corrupt())?;
        if !record.bindings().is_empty() {
            map.restore(record);
        }
        Ok(())
    })?;
    let mut records = Vec::new();
    map.list(&mut |record| records.push(record.clone()));
    journal.migrate(records.iter(), map)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;
    use crate::{Applied, Change, ContactChange, Flow, Limits, Operation, OutsideChange};

    const NOW: Wall = Wall(1_000_000);

    type Group = (Vec<u64>, bool);

    /// A store limited to a number of pages.
    struct Small {
        store: DiskStore,
        outcomes: Receiver<Group>,
        /// What the `changed` hook receives: the address, and whether a target was added.
        changed: Receiver<(String, bool)>,
        /// The writer waits after each group until this sends.
        release: SyncSender<()>,
    }

    fn open_small(folder: &Path, pages: u32) -> Small {
        let (sender, outcomes) = sync_channel(100);
        let (release, hold) = sync_channel(100);
        let hold = Mutex::new(hold);
        let done = move |group: &[Ticket], outcome: Result<(), &StoreError>| {
            assert!(matches!(outcome, Ok(()) | Err(StoreError::Full { .. })), "{outcome:?}");
            sender.send((group.iter().map(|ticket| ticket.id).collect(), outcome.is_ok())).unwrap();
            let _ = hold.lock().recv();
        };
        let file = File::open(&folder.join("location")).unwrap();
        file.limit_pages(pages);
        let options = DiskOptions { group: 1, ..DiskOptions::new(NOW) };
        let (changes, changed) = sync_channel(100);
        let changed_hook = move |change: OutsideChange<'_>| {
            changes.send((change.address().to_string(), change.adds_target(NOW))).unwrap();
        };
        let hooks = Hooks { done: Box::new(done), changed: Box::new(changed_hook), ..Hooks::default() };
        let store = DiskStore::start(file, options, hooks).unwrap();
        Small { store, outcomes, changed, release }
    }

    fn commit(store: &DiskStore, user: &[u8], cseq: u32, agent: &[u8]) -> Commit {
        let limits = Limits { min_expires: 1, max_contacts: 50, ..Limits::DEFAULT };
        let address = "192.0.2.7:5060".parse().unwrap();
        let contact = |uri| ContactChange {
            uri,
            params: b"",
            expires: None,
            q: None,
            instance: None,
            reg_id: None,
            flow_id: None,
        };
        let change = Change {
            call_id: b"call",
            cseq,
            transaction: cseq.into(),
            flow: Flow { transport: parser::Transport::Udp, remote: address, local: address, id: crate::FlowId::None },
            path: b"",
            user_agent: agent,
            operation: Operation::Update(
                [b"sip:1@h", b"sip:2@h", b"sip:3@h", b"sip:4@h"].iter().map(|uri| contact(*uri)).collect(),
            ),
        };
        let aor = Aor::new(user, b"office.example");
        let old = store.load(&aor).unwrap_or_else(|| Record::empty(&aor));
        let Ok(Applied::Changed { record, .. }) = old.apply(&change, NOW, &limits) else { panic!("{change:?}") };
        store.commit(old.version(), record, Ticket { worker: 0, id: cseq.into() })
    }

    fn cseq_of(store: &DiskStore, aor: &Aor) -> u32 {
        store.load(aor).unwrap().live(NOW).next().unwrap().cseq()
    }

    #[test]
    fn a_file_moved_during_a_write_can_be_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (folder.path().join("location"), folder.path().join("elsewhere"));
        let map = Map::new();
        let (mut journal, _) = load(File::open(&path).unwrap(), &map, NOW).unwrap();
        let record = Record::empty(&Aor::new(b"alice", b"office.example"));
        let write = |journal: &mut Journal| journal.write(std::iter::once(&record), 0, &map);
        assert!(write(&mut journal).is_ok() && journal.check().is_ok());
        // After the last check, before the commit.
        std::fs::rename(&path, &elsewhere).unwrap();
        assert!(matches!(write(&mut journal), Err(StoreError::Lost { .. })));
        assert!(matches!(journal.check(), Err(StoreError::Lost { .. })));
        std::fs::rename(&elsewhere, &path).unwrap();
        assert!(journal.check().is_ok() && write(&mut journal).is_ok() && journal.check().is_ok());
    }

    #[test]
    fn a_failed_group_undoes_the_changes_computed_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let Small { store, outcomes, changed, release } = open_small(folder.path(), 8);
        let alice = Aor::new(b"alice", b"office.example");
        assert!(matches!(commit(&store, b"alice", 1, b"phone"), Commit::Pending));
        assert_eq!(outcomes.recv().unwrap(), (vec![1], true));
        let before = store.load(&alice).unwrap();

        // The writer waits. 2 is too large for the disk, 3 is computed from it, 4 is only in the same queue.
        assert!(matches!(commit(&store, b"alice", 2, &[b'x'; 8_000]), Commit::Pending));
        assert!(matches!(commit(&store, b"alice", 3, b"phone"), Commit::Pending));
        assert!(matches!(commit(&store, b"bob", 4, b"phone"), Commit::Pending));
        assert_eq!(store.counts(), Counts { users: 2, bindings: 8 });
        release.send(()).unwrap();
        assert_eq!(outcomes.recv().unwrap(), (vec![2, 3, 4], false));
        assert_eq!(store.load(&alice).unwrap().version(), before.version());
        assert_eq!(cseq_of(&store, &alice), 1);
        let undone = ["bob", "alice", "alice"].map(|user| (format!("{user}@office.example"), false));
        assert_eq!(changed.try_iter().collect::<Vec<_>>(), undone, "the latest first");
        assert!(store.load(&Aor::new(b"bob", b"office.example")).is_none());
        assert_eq!(store.counts(), Counts { users: 1, bindings: 4 });

        // The next commit succeeds.
        assert!(matches!(commit(&store, b"alice", 5, b"phone"), Commit::Pending));
        release.send(()).unwrap();
        assert_eq!(outcomes.recv().unwrap(), (vec![5], true));
        drop(release);
        drop(store);
        let Small { store, .. } = open_small(folder.path(), 8);
        assert_eq!(cseq_of(&store, &alice), 5);
    }
}
