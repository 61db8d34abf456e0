//! The values that the invariants depend on.

/// The settings that the invariants depend on, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JudgeSettings {
    pub(crate) ring_time: u64,
    pub(crate) timer_c: u64,
    /// Whether a phone goes on ringing when others begin to.
    pub(crate) rings_on: bool,
    /// Whether a phone that registers late is called too.
    pub(crate) joins: bool,
    /// How long a message between workers takes; `None` if it may be lost.
    pub(crate) core_messages: Option<u64>,
    /// How long a change takes to become durable.
    pub(crate) commits: u64,
    /// The longest time that DNS takes, or the resolver until it gives up.
    pub(crate) dns: u64,
    /// `limits.amplification`.
    pub(crate) amplification: usize,
}

/// The user that has one phone with two flows (RFC 5626). A single phone has no ring time.
pub(crate) const TWO_FLOWS: &str = "frank";

/// The timers of RFC 3261 table 4 in microseconds.
pub(crate) const T1: u64 = 500_000;
pub(crate) const T2: u64 = 4_000_000;
pub(crate) const T4: u64 = 5_000_000;
/// Timers B, F, H, J, L and M.
pub(crate) const GIVE_UP: u64 = 64 * T1;

/// For how long a server that failed is tried last: `dns.unreachable_for`.
pub(crate) const UNREACHABLE_FOR: u64 = 30_000_000;

/// Phones add this header to responses, so that the judge can tell them from responses that the server created.
pub(crate) const PHONE_MARK: &str = "Server";
