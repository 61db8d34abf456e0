//! The callbacks of a store: what it reports to the program that opened it.
//!
//! Defines when each is called. Must not decide what the program does then.

use std::time::Duration;

use super::{StoreError, Ticket};
use crate::{Aor, Binding, Node, Record, Wall};

/// Callbacks of a store whose commits become durable later. A thread of the store calls them: they must be quick and must
/// not panic. By default each does nothing.
pub struct Hooks {
    /// Called once for each pending commit, in groups.
    pub done: Done,
    /// Called for each change that no commit made, after it is in memory: when changes are undone that could not be made
    /// durable, before [`Hooks::done`] reports them; and, in a store that several servers share, when another server has
    /// changed a record.
    pub changed: Changed,
    /// Called after each group.
    pub committed: Box<dyn Fn(CommitReport) + Send + Sync>,
    /// Called when changes can no longer be made durable, and when they can again. At the start they can in the disk store,
    /// but not in one that several servers share: it reports when its database was reached and read. It must not call
    /// the store.
    pub usable: Usable,
    /// Called by a store that several servers share, once: the store's time, when its database was reached for the first time.
    /// From then on it advances with elapsed time. Before, the store has no records.
    pub time: Box<dyn Fn(Wall) + Send + Sync>,
    /// Called by a store that several servers share: the servers that are alive, this one among them, by number, whenever
    /// they change.
    pub nodes: Nodes,
    /// Called by a store that several servers share, with name and octets of a value that is new or was changed, here too.
    pub value_changed: ValueChanged,
    /// Called by a store that several servers share when it has missed more changes of the others than its database keeps. It
    /// compares all records then.
    pub missed: Box<dyn Fn() + Send + Sync>,
}

/// One of the servers that share a store, and are alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// Its number and its current run. Its connections are those of this run; its UDP flows through a NAT may be older.
    pub node: Node,
    /// Its name.
    pub name: String,
    /// Where the others reach it, as it was configured there.
    pub advertise: String,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            done: Box::new(|_, _| {}),
            changed: Box::new(|_| {}),
            committed: Box::new(|_| {}),
            usable: Box::new(|_| {}),
            time: Box::new(|_| {}),
            nodes: Box::new(|_| {}),
            value_changed: Box::new(|_, _| {}),
            missed: Box::new(|| {}),
        }
    }
}

/// Receives the tickets of commits that are durable, or why they are not: then the earlier records have been restored, or, after
/// [`StoreError::Conflict`], replaced by the one that another server has stored.
pub type Done = Box<dyn Fn(&[Ticket], Result<(), &StoreError>) + Send + Sync>;

/// Receives a change that no commit made.
pub type Changed = Box<dyn Fn(OutsideChange<'_>) + Send + Sync>;

/// Receives whether changes can be made durable from now on, or why not.
pub type Usable = Box<dyn Fn(Result<(), &StoreError>) + Send + Sync>;

/// Receives the servers that are alive.
pub type Nodes = Box<dyn Fn(&[NodeEntry]) + Send + Sync>;

/// Receives name and octets of a value.
pub type ValueChanged = Box<dyn Fn(&str, &[u8]) + Send + Sync>;

/// A change of a record that no commit made.
#[derive(Clone, Copy, Debug)]
pub struct OutsideChange<'r> {
    before: Option<&'r Record>,
    after: &'r Record,
}

impl<'r> OutsideChange<'r> {
    /// The change from `before` (`None` = there was no record) to `after`, which may have no bindings.
    pub const fn new(before: Option<&'r Record>, after: &'r Record) -> Self {
        Self { before, after }
    }

    /// The address of record.
    pub fn address(&self) -> Aor {
        self.after.address()
    }

    /// Whether a Contact became live that was not live, or that had another flow.
    pub fn adds_target(&self, now: Wall) -> bool {
        let was_live = |binding: Binding<'_>| {
            let mut before = self.before.into_iter().flat_map(|before| before.live(now));
            before.any(|old| old.is_same_target(&binding))
        };
        !self.after.live(now).all(was_live)
    }
}

/// One group commit.
#[derive(Clone, Copy, Debug)]
pub struct CommitReport {
    /// The number of changes in it.
    pub changes: usize,
    /// Time from the first write to the end of the fsync.
    pub took: Duration,
    /// Whether it was written to the disk.
    pub ok: bool,
}
