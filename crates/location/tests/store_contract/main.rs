//! The contract of `Store`: one list of cases, run on each store.

#![allow(clippy::expect_used, reason = "test code outside of test functions")]

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "redis")]
#[path = "../support/redis.rs"]
mod redis_server;

mod cases;

use location::{AnyStore, Commit, DiskOptions, MemoryStore, Wall};

use support::Outcomes;

/// A store and the outcomes of its pending commits.
struct Subject {
    store: AnyStore,
    outcomes: Option<Outcomes>,
    _folder: Option<tempfile::TempDir>,
    #[cfg(feature = "redis")]
    _server: Option<redis_server::Server>,
}

impl Subject {
    fn new(store: AnyStore, outcomes: Option<Outcomes>) -> Self {
        Self {
            store,
            outcomes,
            _folder: None,
            #[cfg(feature = "redis")]
            _server: None,
        }
    }

    fn memory() -> Self {
        Self::new(AnyStore::Memory(MemoryStore::new()), None)
    }

    fn disk() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (store, outcomes) = support::open(&folder.path().join("location"), DiskOptions::new(Wall(0)));
        Self { _folder: Some(folder), ..Self::new(AnyStore::Disk(store), Some(outcomes)) }
    }

    #[cfg(feature = "redis")]
    fn redis() -> Self {
        let server = redis_server::Server::start();
        let (node, outcomes) = redis_server::Node::open(&server, "a").into_parts();
        Self { _server: Some(server), ..Self::new(AnyStore::Redis(node), Some(outcomes)) }
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
        #[cfg(feature = "redis")]
        mod redis {
            $(#[test] fn $case() { crate::cases::$case(&crate::Subject::redis()); })*
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
