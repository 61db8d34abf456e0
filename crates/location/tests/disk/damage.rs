//! Damaged, lost and replaced files of the disk store: each is noticed, reported and left unchanged.

use std::fs;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::thread;

use location::{Aor, Commit, Counts, DiskStore, FlowId, Hooks, Store, StoreError};

use crate::support::{self, aor, commit, live, open, ticket};
use crate::{A, NOW, create_store, execute_sql, open_error, options};

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
    fs::write(path, include_bytes!("../data/location-1")).unwrap();
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
