//! How to reach the shared store, who this server is among those that share it, and every limit.
//!
//! Plain values with defaults. Must not open anything.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How to open a [`RedisStore`](super::RedisStore).
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://user:password@host:port/database`, `rediss://…` with TLS, or, to ask Sentinels for the server,
    /// `redis+sentinel://user:password@host:port,host:port/name/database` (`rediss+sentinel://…` with TLS).
    pub url: String,
    /// The password of the Sentinels themselves, if they ask for one.
    pub sentinel_password: Option<String>,
    /// Every key begins with it.
    pub prefix: String,
    /// Authorities of `rediss://`, as PEM; `None` for those of the system.
    pub authorities: Option<Vec<u8>>,
    /// Maximum time to connect, to wait for an answer, and for a replica.
    pub timeout: Duration,
    /// A commit is done when this many replicas have it.
    pub replicas: u32,
    /// The name of this server, different at each one.
    pub node: String,
    /// Where the other servers reach this one. Told to them unchanged.
    pub advertise: String,
    /// How long the others believe in this server without a sign of it. Renewed at a third of it.
    pub lease: Duration,
    /// Maximum of changes that wait for Redis; above it a commit is [`Commit::Full`](crate::Commit::Full). At least 1.
    pub queue: usize,
    /// Maximum of changes that are sent at once.
    pub group: usize,
    /// Minimum time from the start of one group to the start of the next.
    pub pace: Duration,
    /// Minimum time from one look at the changes of others to the next: larger portions cost less each.
    pub read_pace: Duration,
    /// Changes that Redis keeps for servers that missed some, approximately. A server that missed more compares all records.
    pub changes: u32,
    /// Time in which all records are compared with those in Redis once; zero for never.
    pub compare: Duration,
    /// Longest pause between two attempts to reach Redis. The first is a hundredth of it; they double, each with jitter.
    pub retry: Duration,
    /// Maximum of octets of a value, see [`RedisStore::put_value`](super::RedisStore::put_value).
    pub max_value: usize,
    /// Maximum of values.
    pub max_values: usize,
    /// Time since boot, or another clock that nobody sets. `None` for the clock of `std::time::Instant`, which may stand
    /// still while the machine is suspended.
    pub elapsed: Option<fn() -> Duration>,
    /// Whether this server receives datagrams at this address. Only then a phone behind a NAT that registered there in an
    /// earlier run can still be reached.
    pub is_local: Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>,
}

impl RedisOptions {
    /// `frontdesk:` before each key, a timeout of 2 s, no replicas, a lease of 10 s, 16,384 changes in the queue, 1,024 in a
    /// group, 4 ms from one to the next, 10 ms from one look to the next, 100,000 changes kept, all records compared in ten
    /// minutes, 2 s between attempts, 10,000 values of 64 KiB.
    pub fn new(url: &str, node: &str, advertise: &str) -> Self {
        Self {
            url: url.to_owned(),
            sentinel_password: None,
            prefix: "frontdesk:".to_owned(),
            authorities: None,
            timeout: Duration::from_secs(2),
            replicas: 0,
            node: node.to_owned(),
            advertise: advertise.to_owned(),
            lease: Duration::from_secs(10),
            queue: 16_384,
            group: 1_024,
            pace: Duration::from_millis(4),
            read_pace: Duration::from_millis(10),
            changes: 100_000,
            compare: Duration::from_secs(600),
            retry: Duration::from_secs(2),
            max_value: 64 * 1024,
            max_values: 10_000,
            elapsed: None,
            is_local: Arc::new(|_| true),
        }
    }
}

// The URL contains a password.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions").field("prefix", &self.prefix).field("node", &self.node).finish_non_exhaustive()
    }
}
