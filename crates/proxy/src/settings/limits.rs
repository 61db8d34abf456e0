//! Limits of the memory of one core.
//!
//! Values only. Each table applies its own limit and reports it as [`Event::LimitReached`](crate::Event::LimitReached).

/// Limits of what the core of one worker stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Response contexts at a time.
    pub transactions: usize,
    /// Bytes that they use together; above this, no response context is created.
    pub transaction_memory: usize,
    /// Targets of one request, including those that redirections and late registrations add. At most 255.
    pub targets: usize,
    /// Pins at a time.
    pub pins: usize,
    /// Nonces in use at a time, and the same number of nonces with wrong responses.
    pub nonces: usize,
    /// Challenged REGISTERs that are remembered, to recognise a phone that does not answer a challenge.
    pub unanswered_challenges: usize,
    /// Subscriptions to registrations at a time.
    pub subscriptions: usize,
    /// Subscriptions to the registrations of one user.
    pub subscriptions_per_user: usize,
    /// Sides of dialogs whose address is no longer the one that the dialog began with.
    pub moved_dialogs: usize,
    /// Addresses of host names that failed a short time ago.
    pub unreachable: usize,
    /// Addresses that refused TCP for a request that is too long for UDP.
    pub udp_only: usize,
    /// Longest response over UDP to a sender that has not authenticated, as a multiple of the length of its request.
    pub amplification: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transactions: 400_000,
            transaction_memory: 512 << 20,
            targets: 50,
            pins: 200_000,
            nonces: 100_000,
            unanswered_challenges: 100_000,
            subscriptions: 10_000,
            subscriptions_per_user: 50,
            moved_dialogs: 10_000,
            unreachable: 256,
            udp_only: 1000,
            amplification: 3,
        }
    }
}
