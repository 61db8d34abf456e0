//! The faults of a simulation, besides those of the network.

/// A fault that a test injects.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The agent is disconnected: no packet reaches it or leaves it, its connections are closed, and new ones are
    /// refused.
    Unplug(usize),
    /// Ends `Unplug`.
    Plug(usize),
    /// The connections of this agent are closed.
    Disconnect(usize),
    /// The wall clock is set forward by so many milliseconds, or back.
    StepClock(i64),
    /// From now on the store behaves like this.
    Store(StoreState),
}

/// How the store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// It loads and commits.
    Working,
    /// It loads, and refuses commits.
    ReadOnly,
    /// It loads, and refuses commits because it is full.
    Full,
    /// It answers no question.
    Broken,
}
