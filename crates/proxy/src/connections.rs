//! Which stream connections are open: kept by the driver, read by every core.
//!
//! A core sees messages, not connections. Whether the connection that a request or a registration came over is still open
//! matters where its sender comes back over another one. Looked at only in such a case, so one lock is enough.

use hashbrown::HashSet;
use location::ConnectionId;
use parking_lot::RwLock;

/// The numbers of the connections that are open now.
#[derive(Debug, Default)]
pub struct Connections {
    open: RwLock<HashSet<ConnectionId>>,
}

impl Connections {
    /// A connection is open from now on.
    pub fn opened(&self, connection: ConnectionId) {
        self.open.write().insert(connection);
    }

    /// A connection is closed, or about to be.
    pub fn closed(&self, connection: ConnectionId) {
        self.open.write().remove(&connection);
    }

    /// Whether a connection is open.
    pub fn is_open(&self, connection: ConnectionId) -> bool {
        self.open.read().contains(&connection)
    }
}
