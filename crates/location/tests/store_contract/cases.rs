//! The cases, each a short script.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use std::collections::BTreeSet;
use std::thread;

use location::{Commit, Counts, Record, Store, Wall};

use crate::Subject;
use crate::support::{aor, commit, live, load, register, ticket};

const A: &str = "sip:a@192.0.2.7";
const B: &str = "sip:b@192.0.2.7";
const NOW: Wall = Wall(1_000_000);

fn after(secs: u32) -> Wall {
    NOW.plus_secs(secs)
}

fn counts(users: u64, bindings: u64) -> Counts {
    Counts { users, bindings }
}

pub(crate) fn a_new_store_is_empty(subject: &Subject) {
    assert!(subject.store.load(&aor(1)).is_none());
    assert_eq!(subject.store.counts(), counts(0, 0));
    assert_eq!(subject.store.sweep(NOW), 0);
}

pub(crate) fn a_committed_record_is_loaded(subject: &Subject) {
    let store = &subject.store;
    assert!(subject.is_durable(commit(store, &aor(1), 1, &[(A, 60), (B, 90)], NOW, 1)));
    assert_eq!(live(store, &aor(1), NOW), [(A.to_owned(), 60), (B.to_owned(), 90)]);
    assert!(store.load(&aor(2)).is_none());
    assert_eq!(store.counts(), counts(1, 2));
}

pub(crate) fn a_commit_from_an_old_record_conflicts(subject: &Subject) {
    let store = &subject.store;
    let change = |current: Option<&Record>, cseq| {
        let old = current.cloned().unwrap_or_else(|| Record::empty(&aor(1)));
        store.commit(old.version(), register(&old, cseq, &[(A, 60)], NOW), ticket(u64::from(cseq)))
    };
    assert!(subject.is_durable(change(None, 1)));
    assert!(!subject.is_durable(change(None, 2)));
    let first = store.load(&aor(1)).unwrap();
    assert!(subject.is_durable(change(Some(&first), 3)));
    assert!(!subject.is_durable(change(Some(&first), 4)));
    assert_eq!(store.load(&aor(1)).unwrap().live(NOW).next().unwrap().cseq(), 3);
    // There never was a record of the second address.
    let second = register(&Record::empty(&aor(2)), 5, &[(A, 60)], NOW);
    assert!(matches!(store.commit(first.version(), second, ticket(5)), Commit::Conflict));
}

pub(crate) fn a_recreated_record_is_another_record(subject: &Subject) {
    let store = &subject.store;
    assert!(subject.is_durable(commit(store, &aor(1), 1, &[(A, 60)], NOW, 1)));
    let first = store.load(&aor(1)).unwrap();
    assert_eq!((store.sweep(after(60)), store.sweep(after(60 + 32))), (0, 1));
    assert!(store.load(&aor(1)).is_none());
    assert!(subject.is_durable(commit(store, &aor(1), 1, &[(A, 60)], NOW, 2)));
    // It has the same content, but a change computed from the first record must conflict.
    let late = register(&first, 2, &[(A, 60)], NOW);
    assert!(matches!(store.commit(first.version(), late, ticket(3)), Commit::Conflict));
}

pub(crate) fn each_change_gets_a_higher_version(subject: &Subject) {
    let store = &subject.store;
    assert_eq!(Record::empty(&aor(1)).version(), None);
    assert_eq!(register(&Record::empty(&aor(1)), 1, &[(A, 60)], NOW).version(), None);
    let mut last = None;
    for cseq in 1..=3 {
        assert!(subject.is_durable(commit(store, &aor(1), cseq, &[(A, 60)], NOW, 1)));
        let version = store.load(&aor(1)).unwrap().version();
        assert!(version > last, "{version:?} after {last:?}");
        last = version;
    }
    // Also if the record was removed in between.
    store.sweep(after(60));
    assert_eq!(store.sweep(after(60 + 32)), 1);
    assert!(subject.is_durable(commit(store, &aor(1), 1, &[(A, 60)], NOW, 1)));
    assert!(store.load(&aor(1)).unwrap().version() > last);
}

pub(crate) fn a_commit_that_changes_nothing_is_pending_like_others(subject: &Subject) {
    let store = &subject.store;
    assert!(subject.is_durable(commit(store, &aor(1), 1, &[(A, 60)], NOW, 1)));
    let current = store.load(&aor(1)).unwrap();
    assert!(subject.is_durable(store.commit(current.version(), current.clone(), ticket(2))));
    assert_eq!(store.load(&aor(1)).unwrap().version(), current.version());
    assert_eq!((store.sweep(after(60)), store.sweep(after(60 + 32))), (0, 1));
}

pub(crate) fn an_empty_record_is_swept(subject: &Subject) {
    let store = &subject.store;
    assert!(subject.is_durable(commit(store, &aor(1), 1, &[(A, 60)], NOW, 1)));
    let current = store.load(&aor(1)).unwrap();
    assert!(subject.is_durable(store.commit(current.version(), Record::empty(&aor(1)), ticket(2))));
    assert_eq!(store.counts(), counts(0, 0));
    assert_eq!(store.sweep(after(1)), 0);
    assert!(store.load(&aor(1)).is_none());
    assert!(subject.is_durable(commit(store, &aor(1), 1, &[(A, 60)], NOW, 3)));
}

pub(crate) fn an_expired_binding_is_uncounted_then_removed(subject: &Subject) {
    let store = &subject.store;
    assert!(subject.is_durable(commit(store, &aor(1), 1, &[(A, 60)], NOW, 1)));
    assert_eq!((store.sweep(after(59)), store.counts()), (0, counts(1, 1)));
    assert_eq!((store.sweep(after(60)), store.counts()), (0, counts(0, 0)));
    assert!(store.load(&aor(1)).is_some());
    assert_eq!(store.sweep(after(91)), 0);
    assert_eq!((store.sweep(after(92)), store.counts()), (1, counts(0, 0)));
    assert!(store.load(&aor(1)).is_none());
}

pub(crate) fn a_refreshed_record_survives_its_old_expiry(subject: &Subject) {
    let store = &subject.store;
    assert!(subject.is_durable(commit(store, &aor(1), 1, &[(A, 60)], NOW, 1)));
    assert!(subject.is_durable(commit(store, &aor(1), 2, &[(A, 60)], after(50), 2)));
    for secs in [60, 92, 109] {
        assert_eq!((store.sweep(after(secs)), store.counts()), (0, counts(1, 1)), "{secs}");
    }
    assert_eq!((store.sweep(after(110)), store.counts()), (0, counts(0, 0)));
    assert_eq!(store.sweep(after(142)), 1);
}

pub(crate) fn a_removed_record_is_swept_before_its_old_expiry(subject: &Subject) {
    let store = &subject.store;
    assert!(subject.is_durable(commit(store, &aor(1), 1, &[(A, 3600)], NOW, 1)));
    assert!(subject.is_durable(commit(store, &aor(1), 2, &[(A, 0)], after(10), 2)));
    assert_eq!(store.counts(), counts(0, 0));
    assert_eq!(store.sweep(after(41)), 0);
    assert_eq!(store.sweep(after(42)), 1);
    assert!(store.load(&aor(1)).is_none());
}

pub(crate) fn one_of_two_bindings_expires(subject: &Subject) {
    let store = &subject.store;
    assert!(subject.is_durable(commit(store, &aor(1), 1, &[(A, 60), (B, 600)], NOW, 1)));
    assert_eq!((store.sweep(after(60)), store.counts()), (0, counts(1, 1)));
    // Expired bindings of a record are removed with the last one, or by the next change.
    assert_eq!((store.sweep(after(92)), store.counts()), (0, counts(1, 1)));
    assert_eq!(live(store, &aor(1), after(92)), [(B.to_owned(), 508)]);
    assert_eq!((store.sweep(after(600)), store.counts()), (0, counts(0, 0)));
    assert_eq!(store.sweep(after(632)), 2);
}

pub(crate) fn a_large_sweep_removes_all_records(subject: &Subject) {
    let store = &subject.store;
    let many = 5_000;
    for number in 0..many {
        assert!(matches!(commit(store, &aor(number), 1, &[(A, 60)], NOW, 1), Commit::Done | Commit::Pending));
    }
    if let Some(outcomes) = &subject.outcomes {
        assert!(outcomes.iter().take(many as usize).all(|(_, is_durable)| is_durable));
    }
    assert_eq!(store.counts(), counts(u64::from(many), u64::from(many)));
    assert_eq!((store.sweep(after(60)), store.counts()), (0, counts(0, 0)));
    assert_eq!(store.sweep(after(92)), many as usize);
    let mut left = 0;
    store.list(&mut |_| left += 1);
    assert_eq!(left, 0);
}

pub(crate) fn list_visits_all_records_without_a_lock(subject: &Subject) {
    let store = &subject.store;
    for number in 0..200 {
        assert!(subject.is_durable(commit(store, &aor(number), 1, &[(A, 60)], NOW, 1)));
    }
    let mut seen = BTreeSet::new();
    store.list(&mut |record| {
        assert_eq!(record.live(NOW).count(), 1);
        seen.insert(record.aor().to_vec());
        // `visit` may use the store.
        store.sweep(NOW);
    });
    assert_eq!(seen, (0..200).map(|number| aor(number).as_bytes().to_vec()).collect());
}

pub(crate) fn racing_threads_lose_no_change(subject: &Subject) {
    let store = &subject.store;
    let contacts = ["sip:0@h", "sip:1@h", "sip:2@h", "sip:3@h"];
    let turns = 200;
    thread::scope(|scope| {
        for contact in contacts {
            scope.spawn(move || {
                for _ in 0..turns {
                    // The CSeq is the number of changes so far: a lost one would leave it short.
                    while matches!(race(store, contact), Commit::Conflict) {}
                }
            });
        }
    });
    let record = store.load(&aor(1)).unwrap();
    assert_eq!(record.live(NOW).count(), contacts.len());
    assert_eq!(record.live(NOW).map(|binding| binding.cseq()).max(), Some(turns * 4));
    if let Some(outcomes) = &subject.outcomes {
        assert!(outcomes.iter().take(turns as usize * 4).all(|(_, is_durable)| is_durable));
    }
}

fn race(store: &dyn Store, contact: &str) -> Commit {
    let old = load(store, &aor(1));
    let cseq = old.live(NOW).map(|binding| binding.cseq()).max().unwrap_or(0) + 1;
    store.commit(old.version(), register(&old, cseq, &[(contact, 600)], NOW), ticket(0))
}
