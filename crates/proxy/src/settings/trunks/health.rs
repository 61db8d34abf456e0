//! Which tasks of trunks fail now; shared by all workers. A trunk with such a task is tried after the others.

use hashbrown::HashSet;
use parking_lot::Mutex;

use crate::event::TrunkTask;

/// The failing tasks of all trunks.
#[derive(Debug, Default)]
pub struct TrunkHealth(Mutex<HashSet<(Box<str>, TrunkTask)>>);

impl TrunkHealth {
    /// Notes whether a task works. Returns whether that is new.
    pub(crate) fn set(&self, trunk: &str, task: TrunkTask, works: bool) -> bool {
        let mut failing = self.0.lock();
        let key = (trunk.into(), task);
        if works { failing.remove(&key) } else { failing.insert(key) }
    }

    /// Forgets a task that is no longer carried out.
    pub(crate) fn forget(&self, trunk: &str, task: TrunkTask) {
        self.0.lock().remove(&(trunk.into(), task));
    }

    /// Whether a task of this trunk fails.
    pub(crate) fn is_down(&self, trunk: &str) -> bool {
        self.0.lock().iter().any(|(name, _)| **name == *trunk)
    }

    /// The number of trunks whose task fails.
    pub fn failing(&self, task: TrunkTask) -> usize {
        self.0.lock().iter().filter(|(_, failing)| *failing == task).count()
    }
}
