//! The contract of `Store`: one list of cases, run on each store.

#![allow(clippy::expect_used, reason = "test code outside of test functions")]

#[path = "../support/mod.rs"]
mod support;

mod cases;

use location::{AnyStore, Commit, DiskOptions, MemoryStore, Wall};

use support::Outcomes;

/// A store and the outcomes of its pending commits.
struct Subject {
    store: AnyStore,
    outcomes: Option<Outcomes>,
    _folder: Option<tempfile::TempDir>,
}

impl Subject {
    fn memory() -> Self {
        Self { store: AnyStore::Memory(MemoryStore::new()), outcomes: None, _folder: None }
    }

    fn disk() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (store, outcomes) = support::open(&folder.path().join("location"), DiskOptions::new(Wall(0)));
        Self { store: AnyStore::Disk(store), outcomes: Some(outcomes), _folder: Some(folder) }
    }

    /// Waits until the commit is durable. False if it conflicted.
    fn is_durable(&self, commit: Commit) -> bool {
        match (commit, &self.outcomes) {
            (Commit::Done, None) => true,
            (Commit::Pending, Some(outcomes)) => outcomes.recv().expect("an answer").1,
            (Commit::Conflict, _) => false,
            (other, _) => unreachable!("{other:?}"),
        }
    }
}

macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $case() { crate::cases::$case(&crate::Subject::memory()); })*
        }
        mod disk {
            $(#[test] fn $case() { crate::cases::$case(&crate::Subject::disk()); })*
        }
    };
}

contract![
    a_new_store_is_empty,
    a_committed_record_is_loaded,
    a_commit_from_an_old_record_conflicts,
    a_recreated_record_is_another_record,
    each_change_gets_a_higher_version,
    a_commit_that_changes_nothing_is_pending_like_others,
    an_empty_record_is_swept,
    an_expired_binding_is_uncounted_then_removed,
    a_refreshed_record_survives_its_old_expiry,
    a_removed_record_is_swept_before_its_old_expiry,
    one_of_two_bindings_expires,
    a_large_sweep_removes_all_records,
    list_visits_all_records_without_a_lock,
    racing_threads_lose_no_change,
];
