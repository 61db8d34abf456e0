//! How the tasks of trunks went; shared by all workers. A trunk with a failing task is tried after the others.

use hashbrown::HashMap;
use location::Wall;
use parking_lot::Mutex;

use crate::event::TrunkTask;

/// The state of the tasks of all trunks.
#[derive(Debug, Default)]
pub struct TrunkHealth(Mutex<HashMap<(Box<str>, TrunkTask), TaskState>>);

/// How a task of a trunk went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskState {
    /// Whether it works now.
    pub works: bool,
    /// The status of the last failure, 408 without response, and when that was.
    pub last_failure: Option<(u16, Wall)>,
    /// Until when the trunk has this server registered.
    pub registered_until: Option<Wall>,
}

impl TrunkHealth {
    /// Notes how a task went: `failure` has the status if it failed. Returns whether it works now and did not before, or the
    /// other way round. A task that was not noted before is taken for one that works.
    pub(crate) fn set(
        &self,
        (trunk, task): (&str, TrunkTask),
        failure: Option<u16>,
        registered_until: Option<Wall>,
        now: Wall,
    ) -> bool {
        let works = failure.is_none();
        let mut tasks = self.0.lock();
        let state = tasks.entry((trunk.into(), task)).or_insert(TaskState { works: true, ..TaskState::default() });
        let is_new = state.works != works;
        state.last_failure = failure.map(|status| (status, now)).or(state.last_failure);
        (state.works, state.registered_until) = (works, registered_until);
        is_new
    }

    /// A task begins whose trunk is not used before it has worked, unless there is no other.
    pub(crate) fn begin(&self, trunk: &str, task: TrunkTask) {
        self.0.lock().insert((trunk.into(), task), TaskState::default());
    }

    /// Forgets a task that is no longer carried out.
    pub(crate) fn forget(&self, trunk: &str, task: TrunkTask) {
        self.0.lock().remove(&(trunk.into(), task));
    }

    /// Whether a task of this trunk fails.
    pub fn is_down(&self, trunk: &str) -> bool {
        self.0.lock().iter().any(|((name, _), state)| **name == *trunk && !state.works)
    }

    /// How a task of a trunk went; `None` if it is not carried out, or has not ended for the first time.
    pub fn state(&self, trunk: &str, task: TrunkTask) -> Option<TaskState> {
        self.0.lock().get(&(trunk.into(), task)).copied()
    }

    /// The number of trunks whose task fails.
    pub fn failing(&self, task: TrunkTask) -> usize {
        self.0.lock().iter().filter(|((_, kind), state)| *kind == task && !state.works).count()
    }
}
