//! What every store owes its callers: one list of cases, run on each store.

#![allow(clippy::expect_used, reason = "test code outside of test functions")]

#[path = "../support/mod.rs"]
mod support;

mod cases;

use location::{AnyStore, Commit, DiskOptions, MemoryStore, Wall};

use support::Told;

/// A store, and the answers that it still owes.
struct Subject {
    store: AnyStore,
    told: Option<Told>,
    _folder: Option<tempfile::TempDir>,
}

impl Subject {
    fn memory() -> Self {
        Self { store: AnyStore::Memory(MemoryStore::new()), told: None, _folder: None }
    }

    fn disk() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (store, told) = support::open(&folder.path().join("location"), DiskOptions::new(Wall(0)));
        Self { store: AnyStore::Disk(store), told: Some(told), _folder: Some(folder) }
    }

    /// True once the commit is safe, false if it was not the first.
    fn safe(&self, commit: Commit) -> bool {
        match (commit, &self.told) {
            (Commit::Done, None) => true,
            (Commit::Pending, Some(told)) => told.recv().expect("an answer").1,
            (Commit::Conflict, _) => false,
            (other, _) => unreachable!("{other:?}"),
        }
    }
}

macro_rules! battery {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $case() { crate::cases::$case(&crate::Subject::memory()); })*
        }
        mod disk {
            $(#[test] fn $case() { crate::cases::$case(&crate::Subject::disk()); })*
        }
    };
}

battery![
    nothing_is_there_at_first,
    what_is_committed_is_loaded,
    the_second_of_two_is_refused,
    what_went_and_came_again_is_another,
    a_commit_that_changes_nothing_waits_like_others,
    an_empty_record_is_gone,
    expiry_is_counted_then_forgotten,
    a_refresh_outlives_its_first_wake_up,
    a_removal_is_due_before_the_old_expiry,
    one_of_two_expires,
    a_large_sweep_ends,
    list_shows_all_and_locks_nothing,
    racing_threads_lose_no_change,
];
