//! The stream connections of all workers: how many there are, and which one leads to a peer. It is locked only when a
//! connection is opened, closed or looked up.
//!
//! Decides the ids of connections, and how many may be open. The id contains the worker that owns the connection.

use std::hash::RandomState;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hashbrown::HashMap;
use location::ConnectionId;
use parking_lot::Mutex;
use parser::Transport;
use proxy::{Connections, Source};

use crate::metrics::DriverLimit;

/// All stream connections of the server.
#[derive(Debug)]
pub(crate) struct Directory {
    max: usize,
    max_per_source: usize,
    inner: Mutex<Inner>,
    /// The open connections, for the cores.
    connections: Arc<Connections>,
}

#[derive(Debug, Default)]
struct Inner {
    by_peer: HashMap<Peer, ConnectionId, RandomState>,
    by_source: HashMap<Source, usize, RandomState>,
    open: usize,
}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    /// The transport.
    pub(crate) transport: Transport,
    /// The address.
    pub(crate) remote: SocketAddr,
    /// The host that the peer has proved to be (RFC 5922 7.3). `None`: none, or over TLS its address.
    pub(crate) host: Option<Arc<str>>,
}

/// Counts one connection until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    directory: Arc<Directory>,
    source: Source,
}

impl Directory {
    /// With limits in total and per source address.
    pub(crate) fn new(max: usize, max_per_source: usize) -> Self {
        Self { max, max_per_source, inner: Mutex::default(), connections: Arc::default() }
    }

    /// Counts a connection with this peer, or returns the limit that was reached.
    pub(crate) fn admit(self: &Arc<Self>, source: IpAddr) -> Result<ConnectionPermit, DriverLimit> {
        let mut inner = self.inner.lock();
        if inner.open >= self.max {
            return Err(DriverLimit::Connections);
        }
        let source = Source::from(source);
        let own = inner.by_source.entry(source).or_insert(0);
        if *own >= self.max_per_source {
            return Err(DriverLimit::ConnectionsPerSource);
        }
        *own += 1;
        inner.open += 1;
        Ok(ConnectionPermit { directory: Arc::clone(self), source })
    }

    /// The number of permits.
    pub(crate) fn open_count(&self) -> usize {
        self.inner.lock().open
    }

    /// The ids of the open connections.
    pub(crate) const fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Adds a connection that messages to its peer may use. It replaces an earlier one in the list, since it is more likely
    /// to be open.
    pub(crate) fn list(&self, peer: Peer, connection: ConnectionId) {
        self.connections.opened(connection);
        self.inner.lock().by_peer.insert(peer, connection);
    }

    /// Adds a connection that its peer has opened and offers for requests to it (RFC 5923), unless there is another one.
    pub(crate) fn list_alias(&self, peer: Peer, connection: ConnectionId) {
        self.inner.lock().by_peer.entry(peer).or_insert(connection);
    }

    /// Adds a connection that only messages of its own flow may use.
    pub(crate) fn list_for_flow(&self, connection: ConnectionId) {
        self.connections.opened(connection);
    }

    /// Removes a connection.
    pub(crate) fn unlist(&self, peer: &Peer, connection: ConnectionId) {
        self.connections.closed(connection);
        let mut inner = self.inner.lock();
        if inner.by_peer.get(peer) == Some(&connection) {
            inner.by_peer.remove(peer);
        }
    }

    /// An open connection to this peer, if there is one.
    pub(crate) fn find(&self, peer: &Peer) -> Option<ConnectionId> {
        self.inner.lock().by_peer.get(peer).copied()
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut inner = self.directory.inner.lock();
        inner.open = inner.open.saturating_sub(1);
        if let Some(own) = inner.by_source.get_mut(&self.source) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                inner.by_source.remove(&self.source);
            }
        }
    }
}

/// Ids for the connections of one worker: never reused, not even after a restart, because bindings that
/// were registered over a connection outlive the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionIds {
    next: ConnectionId,
}

/// The highest octet is the worker, the next three are random at each start, the rest is a counter.
const WORKER_SHIFT: u32 = 56;
const EPOCH_SHIFT: u32 = 32;

impl ConnectionIds {
    /// For a worker; `epoch` is random at each start.
    pub(crate) const fn new(worker: u8, epoch: u32) -> Self {
        let epoch = (epoch & 0x00ff_ffff) as u64;
        Self { next: ConnectionId::FIRST.plus(((worker as u64) << WORKER_SHIFT) | (epoch << EPOCH_SHIFT)) }
    }

    /// A new id.
    pub(crate) const fn next_id(&mut self) -> ConnectionId {
        let id = self.next;
        self.next = id.plus(1);
        id
    }
}

/// The worker that owns a connection.
pub(crate) const fn owner(connection: ConnectionId) -> u8 {
    connection.get().to_be_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_contain_their_worker() {
        let mut ids = ConnectionIds::new(3, u32::MAX);
        let (first, second) = (ids.next_id(), ids.next_id());
        assert_ne!(first, second);
        assert_eq!((owner(first), owner(second)), (3, 3));
    }

    #[test]
    fn limits_hold_and_permits_are_returned() {
        let directory = Arc::new(Directory::new(3, 2));
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let first = directory.admit(one).expect("the first");
        let _second = directory.admit(one).expect("the second");
        assert_eq!(directory.admit(one).expect_err("too many of one"), DriverLimit::ConnectionsPerSource);
        let _third = directory.admit(two).expect("the third");
        assert_eq!(directory.admit(two).expect_err("too many"), DriverLimit::Connections);
        drop(first);
        assert_eq!(directory.open_count(), 2);
        assert!(directory.admit(one).is_ok());
    }

    #[test]
    fn the_latest_connection_is_found() {
        let directory = Directory::new(1, 1);
        let peer = |host: Option<&str>| Peer {
            transport: Transport::Tls,
            remote: SocketAddr::from(([192, 0, 2, 1], 5061)),
            host: host.map(Into::into),
        };
        let (first, second) = (ConnectionId::FIRST, ConnectionId::FIRST.plus(1));
        directory.list(peer(Some("office.example")), first);
        directory.list(peer(Some("office.example")), second);
        directory.unlist(&peer(Some("office.example")), first);
        assert_eq!(directory.find(&peer(Some("office.example"))), Some(second));
        // RFC 5922 7.3: the peer has not proved another name, nor its address.
        assert_eq!((directory.find(&peer(Some("branch.example"))), directory.find(&peer(None))), (None, None));
        directory.unlist(&peer(Some("office.example")), second);
        assert_eq!(directory.find(&peer(Some("office.example"))), None);
    }
}
