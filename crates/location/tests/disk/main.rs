//! The disk store: restarts, foreign files, backups, a full queue, clock changes. `damage.rs`: damaged, lost and replaced
//! files.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

mod damage;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::thread;

use location::{Commit, Counts, DiskOptions, DiskStore, FlowId, Hooks, Store, StoreError, Ticket, Wall, backup};
use rusqlite::Connection;

use support::{aor, commit, live, open, ticket};

const A: &str = "sip:a@192.0.2.7";
const B: &str = "sip:b@192.0.2.7";
const NOW: Wall = Wall(1_000_000);

fn options() -> DiskOptions {
    DiskOptions::new(NOW)
}

fn open_error(path: &Path) -> StoreError {
    let hooks = Hooks::default();
    DiskStore::open(path, options(), hooks).map(|_| ()).expect_err("the store to be refused")
}

/// Creates a store with one binding and closes it.
fn create_store(path: &Path) {
    let (store, outcomes) = open(path, options());
    let cseq = 1 + support::load(&store, &aor(1)).live(NOW).map(|binding| binding.cseq()).max().unwrap_or(0);
    assert!(matches!(commit(&store, &aor(1), cseq, &[(A, 600)], NOW, 1), Commit::Pending));
    assert_eq!(outcomes.recv(), Ok((ticket(1), true)));
}

/// Changes the file with SQLite, without the store.
fn execute_sql(path: &Path, sql: &str) {
    Connection::open(path).and_then(|connection| connection.execute_batch(sql)).unwrap();
}

#[test]
fn a_restart_keeps_live_bindings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/location");
    let (store, outcomes) = open(&path, options());
    for (number, secs) in [(1, 60), (2, 600), (3, 3600)] {
        assert!(matches!(commit(&store, &aor(number), 1, &[(A, secs), (B, 600)], NOW, 1), Commit::Pending));
    }
    assert!(matches!(commit(&store, &aor(3), 2, &[(A, 0)], NOW, 1), Commit::Pending));
    store.close();
    assert!(outcomes.try_iter().all(|(_, is_durable)| is_durable));

    let later = NOW.plus_secs(600);
    let (store, _) = open(&path, DiskOptions::new(later));
    assert_eq!(store.counts(), Counts { users: 0, bindings: 0 });
    assert!(live(&store, &aor(2), later).is_empty());
    drop(store);

    let (store, _) = open(&path, DiskOptions::new(NOW.plus_secs(92)));
    assert_eq!(store.counts(), Counts { users: 3, bindings: 4 });
    assert_eq!(live(&store, &aor(1), NOW.plus_secs(92)), [(B.to_owned(), 508)]);
    assert_eq!(live(&store, &aor(3), NOW), [(B.to_owned(), 600)]);
    let record = store.load(&aor(2)).unwrap();
    let flow = record.live(NOW).next().unwrap().flow();
    assert_eq!((flow.remote, flow.local), (support::flow().remote, support::flow().local));
    // A connection of the earlier run must not be confused with one of this run with the same number.
    assert_eq!(flow.id, FlowId::None);
    drop(store);

    // All are expired by then.
    let (store, _) = open(&path, DiskOptions::new(NOW.plus_secs(9_999)));
    assert!((1..=3).all(|number| store.load(&aor(number)).is_none()));
}

#[test]
fn the_last_of_many_changes_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("location");
    let (store, _) = open(&path, options());
    for cseq in 1..=500 {
        assert!(matches!(commit(&store, &aor(cseq % 3), cseq, &[(A, 600)], NOW, 1), Commit::Pending));
    }
    drop(store);
    let (store, _) = open(&path, options());
    let cseq = |number| store.load(&aor(number)).unwrap().live(NOW).next().unwrap().cseq();
    assert_eq!([cseq(0), cseq(1), cseq(2)], [498, 499, 500]);
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("location");
    let (store, outcomes) = open(&path, options());
    assert_eq!(open_error(&path), StoreError::Locked { path: path.clone() });
    // The first process still holds the lock.
    assert_eq!(open_error(&path), StoreError::Locked { path: path.clone() });
    assert!(matches!(commit(&store, &aor(1), 1, &[(A, 600)], NOW, 1), Commit::Pending));
    assert_eq!(outcomes.recv(), Ok((ticket(1), true)));
    drop(store);
    open(&path, options());
}

#[test]
fn a_file_that_is_not_a_store_is_left_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("location");
    for text in [&b"domains: [office.example]\n"[..], &[0xA5; 100_000]] {
        fs::write(&path, text).unwrap();
        assert_eq!(open_error(&path), StoreError::NotAStore { path: path.clone() });
        assert_eq!(fs::read(&path).unwrap(), text);
    }
    assert_eq!(open_error(folder.path()), StoreError::NotAStore { path: folder.path().to_owned() });

    let foreign = folder.path().join("foreign");
    execute_sql(&foreign, "CREATE TABLE song (name TEXT); INSERT INTO song VALUES ('la');");
    let before = fs::read(&foreign).unwrap();
    assert_eq!(open_error(&foreign), StoreError::NotAStore { path: foreign.clone() });
    assert_eq!(fs::read(&foreign).unwrap(), before);
}

#[test]
fn a_backup_is_taken_while_phones_register() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("location"), folder.path().join("copy"));
    let (store, outcomes) = open(&path, options());
    let register_500 = |first: u32| {
        let numbers = first..first + 500;
        numbers.clone().for_each(|number| {
            assert!(matches!(commit(&store, &aor(number), 1, &[(A, 600)], NOW, 1), Commit::Pending));
        });
        assert!(outcomes.iter().take(numbers.len()).all(|(_, is_durable)| is_durable));
    };
    register_500(0);
    thread::scope(|scope| {
        let backup = scope.spawn(|| backup(&path, &copy));
        (1..10).for_each(|turn| register_500(500 * turn));
        assert!(backup.join().unwrap().is_ok_and(|octets| octets > 0));
    });
    let exists = StoreError::Exists { path: copy.clone() };
    assert_eq!(backup(&path, &copy), Err(exists));
    // The copy is a store, and the original is unchanged.
    let (copied, _) = open(&copy, options());
    assert!((0..500).all(|number| copied.load(&aor(number)).is_some()));
    drop(store);
    let (store, _) = open(&path, options());
    assert_eq!(store.counts().users, 5_000);
}

#[test]
fn no_backup_is_made_of_a_damaged_or_foreign_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("location"), folder.path().join("copy"));
    assert!(matches!(backup(&path, &copy), Err(StoreError::Io { kind: ErrorKind::NotFound, .. })));
    fs::write(&path, "domains: [office.example]\n").unwrap();
    assert_eq!(backup(&path, &copy), Err(StoreError::NotAStore { path: path.clone() }));
    fs::remove_file(&path).unwrap();
    create_store(&path);
    execute_sql(&path, "UPDATE journal SET records = substr(records, 1, 40)");
    assert_eq!(backup(&path, &copy), Err(StoreError::Corrupt { path: path.clone() }));
    assert!(!copy.exists());
    create_store(&copy);
    assert!(matches!(backup(&copy, Path::new("/proc/self/copy")), Err(StoreError::Io { .. })));
}

#[test]
fn the_file_is_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("location");
    let (store, _) = open(&path, options());
    // One user in ten registers only once: compaction has to copy these records.
    let (once, often) = (0..20, 20..200);
    once.clone().for_each(|number| drop(commit(&store, &aor(number), 1, &[(A, 600)], NOW, 1)));
    for cseq in 1..=120 {
        for number in often.clone() {
            while let Commit::Full = commit(&store, &aor(number), cseq, &[(A, 600), (B, 600)], NOW, 1) {
                thread::yield_now();
            }
        }
    }
    store.close();
    // 21,600 changes of about 250 octets were written; 200 current records and a mebibyte may remain.
    let octets = fs::metadata(&path).unwrap().len();
    assert!(octets < 3 << 20, "{octets}");
    let (store, _) = open(&path, options());
    let cseq = |number| store.load(&aor(number)).unwrap().live(NOW).next().unwrap().cseq();
    assert!(once.into_iter().all(|number| cseq(number) == 1));
    assert!(often.into_iter().all(|number| cseq(number) == 120));
    assert_eq!(store.counts(), Counts { users: 200, bindings: 380 });
}

#[test]
fn an_unwritable_path_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let path = folder.path().join("file/location");
    assert!(matches!(open_error(&path), StoreError::Io { kind: ErrorKind::NotADirectory, .. }));
    // Not even root can create files here.
    let refusal = open_error(Path::new("/proc/self/location"));
    assert!(matches!(refusal, StoreError::Io { .. }), "{refusal:?}");
}

#[test]
fn every_error_names_the_file() {
    let path = Path::new("data/location").to_owned();
    let kind = ErrorKind::StorageFull;
    for error in [
        StoreError::Locked { path: path.clone() },
        StoreError::NotAStore { path: path.clone() },
        StoreError::Corrupt { path: path.clone() },
        StoreError::Format { path: path.clone(), found: 2, known: 1 },
        StoreError::Io { path, kind },
    ] {
        assert!(error.to_string().contains("data/location"), "{error}");
    }
}

#[test]
fn a_closed_store_refuses_commits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("location");
    create_store(&path);
    let (store, _) = open(&path, options());
    store.close();
    store.close();
    assert!(matches!(commit(&store, &aor(1), 2, &[(A, 600)], NOW, 1), Commit::Failed(StoreError::Closed)));
    // Reads still work, and nothing was changed.
    assert_eq!(store.load(&aor(1)).unwrap().live(NOW).next().unwrap().cseq(), 1);
    open(&path, options());
}

#[test]
fn a_full_queue_refuses_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (release, hold) = sync_channel::<()>(0);
    let (sender, outcomes) = sync_channel::<Vec<Ticket>>(100);
    let hold = parking_lot::Mutex::new(hold);
    let hooks = Hooks {
        done: Box::new(move |group, _| {
            sender.send(group.to_vec()).unwrap();
            let _ = hold.lock().recv();
        }),
        ..Hooks::default()
    };
    let options = DiskOptions { queue: 4, ..options() };
    let store = DiskStore::open(&folder.path().join("location"), options, hooks).unwrap();
    // Dropped before the store if an assertion fails, so that the writer does not wait forever.
    let release = release;
    let register = |number| commit(&store, &aor(number), 1, &[(A, 600)], NOW, u64::from(number));
    assert!(matches!(register(0), Commit::Pending));
    assert_eq!(outcomes.recv().unwrap(), [ticket(0)]);
    // The writer waits in its hook: the queue has room for four, not for the fifth.
    for number in 1..=4 {
        assert!(matches!(register(number), Commit::Pending));
    }
    assert!(matches!(register(5), Commit::Full));
    assert!(store.load(&aor(5)).is_none());
    assert_eq!((store.queue_len(), store.counts().users), (4, 5));
    drop(release);
    assert_eq!(outcomes.recv().unwrap(), [1, 2, 3, 4].map(ticket));
    store.close();
    assert_eq!(store.queue_len(), 0);
}

const HOURS_3: i64 = 3 * 3_600_000;

#[test]
fn a_set_clock_does_not_change_expiry_after_a_restart() {
    for (ahead, clock) in [(HOURS_3, NOW.0 + 10_800_000 + 10_000), (-500_000, NOW.0 - 500_000 + 10_000)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("location");
        let (store, outcomes) = open(&path, options());
        assert_eq!(store.time(), NOW);
        store.set_ahead(ahead);
        assert!(matches!(commit(&store, &aor(1), 1, &[(A, 600)], NOW, 1), Commit::Pending));
        assert_eq!(outcomes.recv(), Ok((ticket(1), true)));
        drop(store);
        let (store, _) = open(&path, DiskOptions::new(Wall(clock)));
        assert_eq!(store.time(), NOW.plus_secs(10), "{ahead}");
        assert_eq!(live(&store, &aor(1), store.time()), [(A.to_owned(), 590)]);
    }
}

#[test]
fn a_clock_offset_is_saved_without_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("location");
    let (store, _) = open(&path, options());
    store.set_ahead(HOURS_3);
    thread::sleep(std::time::Duration::from_millis(1_500));
    // As after a kill: only what is in the file by now counts.
    let copy = folder.path().join("copy");
    backup(&path, &copy).unwrap();
    let (copy, _) = open(&copy, DiskOptions::new(NOW.plus_millis(10_800_000)));
    assert_eq!(copy.time(), NOW);
}

#[test]
fn a_clock_behind_at_the_start_prolongs_no_binding() {
    for clock in [Wall(0), Wall(1), NOW] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("location");
        create_store(&path);
        let (store, _) = open(&path, DiskOptions::new(clock));
        assert_eq!(store.time(), NOW, "{clock:?}");
        assert_eq!(live(&store, &aor(1), store.time()), [(A.to_owned(), 600)], "{clock:?}");
    }
}
