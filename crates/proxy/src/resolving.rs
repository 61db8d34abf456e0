//! Requests that wait for DNS. A retransmission of one is no new request (RFC 3261 17.2.1, 17.2.2): it would be resolved
//! and forwarded again, or refused because its credentials were used, although the first copy is still being handled.
//!
//! A request has neither a response context nor a pin until its next hop is known. Must not keep the requests: their
//! continuations do.

use hashbrown::HashSet;

use crate::request::TransactionKey;

/// The keys of the requests that wait for DNS.
#[derive(Debug, Default)]
pub(crate) struct Resolving(HashSet<TransactionKey>);

impl Resolving {
    /// The request begins to wait. False if `max` requests wait already: then its retransmissions count as new requests.
    pub(crate) fn begin(&mut self, key: TransactionKey, max: usize) -> bool {
        let has_room = self.0.len() < max;
        if has_room {
            self.0.insert(key);
        }
        has_room
    }

    /// The answer for the request has come.
    pub(crate) fn end(&mut self, key: TransactionKey) {
        self.0.remove(&key);
    }

    /// Whether a request with this key waits.
    pub(crate) fn contains(&self, key: TransactionKey) -> bool {
        self.0.contains(&key)
    }
}
