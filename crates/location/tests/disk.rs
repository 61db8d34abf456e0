//! The disk store: restarts, damaged and foreign files, backups, a full queue, clock changes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::thread;

use location::{Aor, Commit, Counts, DiskOptions, DiskStore, FlowId, Hooks, Store, StoreError, Ticket, Wall, backup};
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
fn damage_is_reported_and_the_file_left_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let corrupt = |path: &Path| StoreError::Corrupt { path: path.to_owned() };
    let table: [(&str, &str); 3] = [
        ("octets", "UPDATE journal SET records = x'0200000001'"),
        ("type", "UPDATE journal SET records = 'text'"),
        ("empty", "UPDATE journal SET records = x''"),
    ];
    for (name, sql) in table {
        let path = folder.path().join(name);
        create_store(&path);
        execute_sql(&path, sql);
        let before = fs::read(&path).unwrap();
        assert_eq!(open_error(&path), corrupt(&path), "{name}");
        assert_eq!(fs::read(&path).unwrap(), before, "{name}");
    }
    let path = folder.path().join("page");
    create_store(&path);
    let mut octets = fs::read(&path).unwrap();
    octets[4096..].fill(0x5A);
    fs::write(&path, &octets).unwrap();
    assert_eq!(open_error(&path), corrupt(&path));
    assert_eq!(fs::read(&path).unwrap(), octets);
}

/// Creates a file that the previous version wrote, with the bindings that the test expects.
fn create_format1(path: &Path) {
    fs::write(path, include_bytes!("data/location-1")).unwrap();
}

#[test]
fn a_file_of_format_1_keeps_its_bindings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("location");
    create_format1(&path);
    let of = |user: &[u8]| Aor::new(user, b"office.example");
    // At the second start it is a file of the current format.
    for _ in 0..2 {
        let (store, _) = open(&path, options());
        assert_eq!(store.counts(), Counts { users: 3, bindings: 4 });
        assert_eq!(live(&store, &of(b"alice"), NOW), [("sip:alice@192.0.2.7:5062".to_owned(), 3600)]);
        let bob = store.load(&of(b"bob")).unwrap();
        let soft = bob.bindings().get(0).unwrap();
        assert_eq!((soft.contact(), soft.remaining(NOW)), (&b"sip:bob@[2001:db8::7]:40001;transport=tls"[..], 7200));
        assert_eq!((soft.call_id(), soft.cseq(), soft.q()), (&b"2@laptop"[..], 3, Some(700)));
        assert_eq!((soft.user_agent(), soft.reg_id()), (&b"soft phone"[..], Some(1)));
        assert_eq!(soft.path(), b"<sip:edge.example;lr>,<sip:inner.example;lr>");
        assert_eq!(soft.instance(), Some(&b"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>"[..]));
        assert_eq!((soft.transaction(), soft.registered_at()), (0x0102_0304_0506_0703, NOW));
        assert_eq!((soft.flow().transport, soft.flow().id), (parser::Transport::Tls, FlowId::None));
        assert_eq!(soft.flow().remote, "[2001:db8::7]:40001".parse().unwrap());
        assert_eq!(bob.bindings().get(1).map(|phone| phone.contact()), Some(&b"tel:+4930123456"[..]));
        // The tombstone is kept: a late retransmission must not restore the removed binding.
        let carol = store.load(&of(b"carol")).unwrap();
        assert_eq!((carol.bindings().len(), carol.live(NOW).count()), (2, 1));
    }
}

#[test]
fn a_damaged_file_of_format_1_is_left_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("location");
    create_format1(&path);
    execute_sql(
        &path,
        "UPDATE location SET record = substr(record, 1, 40) WHERE aor = CAST('bob@office.example' AS BLOB)",
    );
    let before = fs::read(&path).unwrap();
    assert_eq!(open_error(&path), StoreError::Corrupt { path: path.clone() });
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn no_flipped_bit_loses_a_binding_unnoticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("location");
    let mut refusals = 0;
    for round in 1..=4 {
        let (store, outcomes) = open(&path, options());
        for number in 0..10 * round {
            // One row for each record.
            drop(commit(&store, &aor(number), round, &[(A, 600)], NOW, 1));
            assert!(outcomes.recv().unwrap().1);
        }
        drop(store);
        let whole = fs::read(&path).unwrap();
        // Every bit of the page headers, which SQLite writes, and a sample of the others.
        for bit in (0..whole.len() * 8).filter(|bit| bit / 8 % 4096 < 8 || bit % 4_801 == 0) {
            let mut octets = whole.clone();
            octets[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &octets).unwrap();
            let hooks = Hooks::default();
            match DiskStore::open(&path, options(), hooks) {
                Ok(store) => assert_eq!(store.counts().users, 10 * u64::from(round), "bit {bit} in round {round}"),
                Err(_) => refusals += 1,
            }
            for name in ["location-wal", "location-shm"] {
                let _ = fs::remove_file(folder.path().join(name));
            }
        }
        fs::write(&path, &whole).unwrap();
    }
    assert!(refusals > 100, "{refusals}");
}

#[test]
fn damage_at_runtime_is_noticed_by_the_next_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("location");
    let (store, outcomes) = open(&path, options());
    let is_durable = |number, cseq| {
        let agent = "x".repeat(6_000);
        let old = support::load(&store, &aor(number));
        let record = support::register_by(&old, cseq, &[(A, 600)], NOW, &agent);
        assert!(matches!(store.commit(old.version(), record, ticket(1)), Commit::Pending));
        outcomes.recv().unwrap().1
    };
    assert!(is_durable(0, 1) && is_durable(1, 1));
    execute_sql(&path, "UPDATE journal SET records = substr(records, 1, 3000) WHERE id = 1");
    assert!(!is_durable(1, 2));
    assert_eq!(live(&store, &aor(0), NOW), [(A.to_owned(), 600)]);
    drop(store);
    assert_eq!(open_error(&path), StoreError::Corrupt { path });
}

#[test]
fn a_log_damaged_in_the_middle_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("location"), folder.path().join("copy"));
    let (store, outcomes) = open(&path, options());
    for number in 0..20 {
        drop(commit(&store, &aor(number), 1, &[(A, 600)], NOW, 1));
        assert!(outcomes.recv().unwrap().1);
    }
    // The files as a killed process leaves them.
    let (file, log) = (fs::read(&path).unwrap(), fs::read(folder.path().join("location-wal")).unwrap());
    let opened = |log: &[u8]| {
        fs::write(&copy, &file).unwrap();
        fs::write(folder.path().join("copy-wal"), log).unwrap();
        let _ = fs::remove_file(folder.path().join("copy-shm"));
        let hooks = Hooks::default();
        DiskStore::open(&copy, options(), hooks).map(|store| store.counts().users)
    };
    assert_eq!(opened(&log), Ok(20));
    let frame = 4096 + 24;
    for at in (32..log.len() - 2 * frame).step_by(frame / 3) {
        let mut bad = log.clone();
        bad[at] ^= 1;
        assert_eq!(opened(&bad), Err(StoreError::Corrupt { path: copy.clone() }), "{at} of {}", log.len());
        assert_eq!(fs::read(folder.path().join("copy-wal")).unwrap(), bad);
    }
    // An incomplete end is the result of a power failure: the last transaction was not acknowledged.
    for less in [1, frame - 1, frame / 2] {
        assert_eq!(opened(&log[..log.len() - less]), Ok(19), "{less}");
    }
    let mut torn = log.clone();
    torn[log.len() - 100] ^= 1;
    assert_eq!(opened(&torn), Ok(19));
}

#[test]
fn a_missing_row_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("location");
    for _ in 0..3 {
        create_store(&path);
    }
    execute_sql(&path, "DELETE FROM journal WHERE id = 2");
    assert_eq!(open_error(&path), StoreError::Corrupt { path });
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
        assert_eq!(backup.join().unwrap(), Ok(()));
    });
    let exists = StoreError::Io { path: copy.clone(), kind: ErrorKind::AlreadyExists };
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
fn an_unknown_format_is_not_reported_as_damage() {
    let folder = tempfile::tempdir().unwrap();
    for (name, sql, found) in
        [("row", "UPDATE journal SET records = x'0700000000'", 7), ("schema", "PRAGMA user_version=3", 3)]
    {
        let path = folder.path().join(name);
        create_store(&path);
        execute_sql(&path, sql);
        let before = fs::read(&path).unwrap();
        assert_eq!(open_error(&path), StoreError::Format { path: path.clone(), found, known: 2 });
        assert_eq!(fs::read(&path).unwrap(), before, "{name}");
    }
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

/// A store, the outcomes of its commits, and what its `usable` hook reports.
fn open_watched(path: &Path) -> (DiskStore, support::Outcomes, std::sync::mpsc::Receiver<bool>) {
    let (sender, outcomes) = sync_channel(100);
    let (usable_sender, usable) = sync_channel(100);
    let hooks = Hooks {
        done: Box::new(move |group, outcome| {
            group.iter().for_each(|ticket| sender.send((*ticket, outcome.is_ok())).unwrap());
        }),
        usable: Box::new(move |outcome| usable_sender.send(outcome.is_ok()).unwrap()),
        ..Hooks::default()
    };
    (DiskStore::open(path, options(), hooks).unwrap(), outcomes, usable)
}

type Damage = fn(&Path);

fn with_suffix(path: &Path, suffix: &str) -> std::path::PathBuf {
    path.with_file_name(format!("location{suffix}"))
}

fn rewrite(path: &Path) {
    let text = fs::read(path).unwrap();
    fs::copy(path, with_suffix(path, "-copy")).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn lost_or_replaced_files_are_noticed() {
    let table: [(&str, Damage); 8] = [
        ("deleted", |path| fs::remove_file(path).unwrap()),
        ("log deleted", |path| fs::remove_file(with_suffix(path, "-wal")).unwrap()),
        ("index deleted", |path| fs::remove_file(with_suffix(path, "-shm")).unwrap()),
        ("lock deleted", |path| fs::remove_file(with_suffix(path, "-lock")).unwrap()),
        ("cut", |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(4096).unwrap()),
        ("emptied log", |path| fs::write(with_suffix(path, "-wal"), b"").unwrap()),
        ("moved", |path| fs::rename(path, with_suffix(path, "-elsewhere")).unwrap()),
        ("overwritten", |path| {
            let length = fs::metadata(path).unwrap().len();
            thread::sleep(std::time::Duration::from_millis(20));
            fs::write(path, vec![7; usize::try_from(length).unwrap() + 4096]).unwrap();
        }),
    ];
    for (what, damage) in table {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("location");
        // The record is in the database file, not only in the log.
        create_store(&path);
        let (store, outcomes, usable) = open_watched(&path);
        damage(&path);
        assert!(matches!(commit(&store, &aor(2), 1, &[(A, 600)], NOW, 2), Commit::Pending));
        assert_eq!(outcomes.recv(), Ok((ticket(2), false)), "{what}");
        assert_eq!(usable.recv(), Ok(false), "{what}");
        assert_eq!((store.counts().users, usable.try_recv().is_err()), (1, true), "{what}");
    }
}

#[test]
fn a_restored_file_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("location");
    let (store, outcomes, usable) = open_watched(&path);
    assert!(matches!(commit(&store, &aor(1), 1, &[(A, 600)], NOW, 1), Commit::Pending));
    assert_eq!(outcomes.recv(), Ok((ticket(1), true)));
    fs::rename(&path, with_suffix(&path, "-elsewhere")).unwrap();
    // Noticed without a commit.
    assert_eq!(usable.recv(), Ok(false));
    fs::rename(with_suffix(&path, "-elsewhere"), &path).unwrap();
    assert_eq!(usable.recv(), Ok(true));
    assert!(matches!(commit(&store, &aor(2), 1, &[(A, 600)], NOW, 2), Commit::Pending));
    assert_eq!(outcomes.recv(), Ok((ticket(2), true)));
    // Another program may write to the file if its content stays the same.
    rewrite(&path);
    thread::sleep(std::time::Duration::from_millis(1_200));
    assert!(matches!(commit(&store, &aor(3), 1, &[(A, 600)], NOW, 3), Commit::Pending));
    assert_eq!((outcomes.recv(), usable.try_recv().is_err()), (Ok((ticket(3), true)), true));
    drop(store);
    let (store, _) = open(&path, options());
    for number in 1..=3 {
        assert_eq!(live(&store, &aor(number), NOW).len(), 1, "{number}");
    }
}
