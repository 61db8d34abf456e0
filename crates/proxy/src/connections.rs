//! The set of open stream connections. The driver updates it, and every core reads it.
//!
//! A core sees messages, not connections. It needs this set if a phone uses another connection than the one of its
//! registration or of an earlier request: the old one is replaced only if it is closed. This is rare, so one lock for
//! all workers is enough.

use hashbrown::HashSet;
use location::ConnectionId;
use parking_lot::RwLock;

/// The identifiers of the connections that are open now.
#[derive(Debug, Default)]
pub struct Connections {
    open: RwLock<HashSet<ConnectionId>>,
}

impl Connections {
    /// Adds a connection that was opened.
    pub fn opened(&self, connection: ConnectionId) {
        self.open.write().insert(connection);
    }

    /// Removes a connection that is closed or about to be closed.
    pub fn closed(&self, connection: ConnectionId) {
        self.open.write().remove(&connection);
    }

    /// Whether a connection is open.
    pub fn is_open(&self, connection: ConnectionId) -> bool {
        self.open.read().contains(&connection)
    }
}
