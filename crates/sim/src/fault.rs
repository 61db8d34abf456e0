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
    /// From now on DNS behaves like this.
    Dns(DnsState),
    /// The server ends its registrations at trunks, as it does before it stops.
    EndRegistrations,
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

/// How DNS behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsState {
    /// It answers with its records.
    #[default]
    Answering,
    /// It answers that no name exists.
    Empty,
    /// It answers no query, until the resolver gives up.
    Silent,
}
