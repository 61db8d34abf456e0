//! How the phones of a user ring (RFC 3261 16.6, 16.7).
//!
//! Values only; `response_context` and `route` apply them.

use std::time::Duration;

/// How several targets of a request are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forking {
    /// Which targets are tried together.
    pub strategy: Strategy,
    /// How long each group may ring.
    pub ring_time: Duration,
    /// Whether the server follows redirections (RFC 3261 16.7 step 4), if the caller may call their targets.
    pub recurse: bool,
    /// Whether a phone that registers while its user is being called rings too.
    pub late_registration: bool,
    /// How a request to a user with one phone is forwarded.
    pub single_target: SingleTarget,
}

impl Default for Forking {
    fn default() -> Self {
        Self {
            strategy: Strategy::Parallel,
            ring_time: Duration::from_secs(30),
            recurse: true,
            late_registration: true,
            single_target: SingleTarget::Stateless,
        }
    }
}

/// How a request with a single target is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SingleTarget {
    /// Without a transaction (RFC 3261 16.11): the ring time does not apply, the caller gets its redirections, and no
    /// other phone can join.
    Stateless,
    /// With a response context, like a request with several targets.
    Stateful,
}

/// How targets are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// All together, whatever their q value.
    Parallel,
    /// By descending q value; targets with equal values together. A group is cancelled before the next one is tried.
    Sequential,
    /// Like `Sequential`, but a phone that has begun to ring keeps ringing until the ring time of the last group is
    /// over.
    Wave,
}
