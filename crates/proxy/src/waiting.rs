//! Requests that wait: for DNS, or for a change that a feature code asks for. Until their next hop is known they have
//! neither a response context nor a pin, so this table recognises what belongs to them:
//!
//! - A retransmission is no new request (RFC 3261 17.2.1, 17.2.2): it would be resolved and forwarded again, or refused
//!   because its credentials were used, although the first copy is still being handled.
//! - A CANCEL ends its INVITE (9.2, 16.10), if it comes from where the INVITE came from: everybody who has read an
//!   INVITE can write its CANCEL.
//!
//! A request that waits for bindings is not here, because the driver loads them before it handles the next message.
//! Must not continue with the requests: that is done by their continuations.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use parser::Method;

use crate::connections::Connections;
use crate::pin::Match;
use crate::request::{Request, TransactionKey};

/// The requests that wait. An INVITE is kept here too: if it is cancelled, the answer to it cannot wait until the driver
/// returns the continuation.
#[derive(Debug, Default)]
pub(crate) struct Waiting(HashMap<TransactionKey, Option<Box<Request>>>);

impl Waiting {
    /// The request begins to wait. False if `max` requests wait already.
    pub(crate) fn begin(&mut self, request: &Request, max: usize) -> bool {
        let has_room = self.0.len() < max;
        if has_room {
            let invite = (request.method() == Method::Invite).then(|| Box::new(request.clone()));
            self.0.insert(request.key, invite);
        }
        has_room
    }

    /// The answer for the request has come. False if the request does not wait any more, because it was cancelled.
    pub(crate) fn end(&mut self, key: TransactionKey) -> bool {
        self.0.remove(&key).is_some()
    }

    /// Whether a request with this key waits.
    pub(crate) fn contains(&self, key: TransactionKey) -> bool {
        self.0.contains_key(&key)
    }

    /// Removes and returns the INVITE that a CANCEL is for.
    pub(crate) fn cancel(&mut self, cancel: &Request, connections: &Connections) -> Result<Box<Request>, Match> {
        let Entry::Occupied(entry) = self.0.entry(cancel.key) else { return Err(Match::Unknown) };
        match entry.get() {
            Some(invite) if invite.source().is_same_as(&cancel.source(), connections) => {
                entry.remove().ok_or(Match::Other)
            }
            _ => Err(Match::Other),
        }
    }
}
