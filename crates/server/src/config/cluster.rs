//! `cluster`, and the keys of `location` for Redis: several servers that share the registrations.
//!
//! Decides the syntax of these values, and which of them need each other. Must not connect to Redis.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use parser::Transport;

use super::error::{Conflict, PathStep};
use super::keys::section;
use super::scalar::{Period, Scalar, scalars};
use super::{Authentication, Config, StoreKind};

section! {
    /// `cluster`: several servers that share the registrations in Redis.
    pub(crate) struct Cluster {
        /// the name of this server among those that share the registrations; it keeps the name over a restart
        node: Option<NodeName> = None,
        /// where the other servers reach this one: an IP address with port, one of those in `listen`
        advertise: Option<NodeAddress> = None,
        /// the transport between the servers: `tcp`, or `tls`, where each proves with its certificate that it is the host in
        /// `advertise`, or the address in `cluster.advertise`
        transport: NodeTransport = NodeTransport(Transport::Tcp),
        /// after this time without a sign of life of a server, the others no longer send to it, and its TCP and WebSocket
        /// phones count as gone until they register again; 3s to 1m
        lease: Period = Period(Duration::from_secs(10)),
    }
}

/// What the command line says in place of `cluster.node` and `cluster.advertise`, so that servers can share a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeArguments {
    /// `--node`
    pub(crate) node: Option<NodeName>,
    /// `--advertise`
    pub(crate) advertise: Option<NodeAddress>,
}

impl NodeArguments {
    /// Replaces what the file says.
    pub(super) fn apply(&self, cluster: &mut Cluster) {
        cluster.node = self.node.clone().or_else(|| cluster.node.take());
        cluster.advertise = self.advertise.or(cluster.advertise);
    }
}

/// The name of a server: up to 64 letters, digits, `-`, `.` and `_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeName(pub(crate) Box<str>);

/// An IP address with port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeAddress(pub(crate) SocketAddr);

/// A transport between servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeTransport(pub(crate) Transport);

/// The URL of Redis, or those of Sentinels.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisUrl(pub(crate) Box<str>);

/// The first characters of all keys in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPrefix(pub(crate) Box<str>);

/// A number of replicas, from 0 to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replicas(pub(crate) u8);

scalars!(NodeName, NodeAddress, NodeTransport, RedisUrl, KeyPrefix, Replicas);

impl fmt::Debug for RedisUrl {
    /// It may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisUrl")
    }
}

impl RedisUrl {
    /// The URL as it may be shown: without user and password.
    pub(crate) fn without_password(&self) -> String {
        match (self.0.split_once("://"), self.0.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
            _ => self.0.to_string(),
        }
    }
}

impl Scalar for NodeName {
    const EXPECTED: &'static str = "a name of 1 to 64 letters, digits, and -._";

    fn read(text: &str) -> Option<Self> {
        let is_valid = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
        ((1..=64).contains(&text.len()) && text.bytes().all(is_valid)).then(|| Self(text.into()))
    }
}

impl Scalar for NodeAddress {
    const EXPECTED: &'static str = "an IP address with port, like 192.0.2.11:5060, that the other servers can reach";

    fn read(text: &str) -> Option<Self> {
        let address: SocketAddr = text.parse().ok()?;
        (address.port() != 0 && !address.ip().is_unspecified()).then_some(Self(address))
    }
}

impl Scalar for NodeTransport {
    // What is lost between two servers would not be repeated for a phone that has a connection.
    const EXPECTED: &'static str = "tcp or tls";

    fn read(text: &str) -> Option<Self> {
        match text {
            "tcp" => Some(Self(Transport::Tcp)),
            "tls" => Some(Self(Transport::Tls)),
            _ => None,
        }
    }
}

impl Scalar for RedisUrl {
    const EXPECTED: &'static str = "a URL like redis://127.0.0.1:6379/0, or rediss:// with TLS";
    const SECRET: bool = true;

    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_known = ["redis", "rediss", "redis+sentinel", "rediss+sentinel"].contains(&scheme);
        (is_known && !rest.is_empty() && !rest.contains(char::is_whitespace)).then(|| Self(text.into()))
    }
}

impl Scalar for KeyPrefix {
    const EXPECTED: &'static str = "1 to 64 letters, digits, and -._:{}";

    fn read(text: &str) -> Option<Self> {
        let is_valid = |octet: u8| octet.is_ascii_alphanumeric() || b"-._:{}".contains(&octet);
        ((1..=64).contains(&text.len()) && text.bytes().all(is_valid)).then(|| Self(text.into()))
    }
}

impl Scalar for Replicas {
    const EXPECTED: &'static str = "a whole number from 0 to 16";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|count| *count <= 16).map(Self)
    }
}

/// The first conflict between `location`, `cluster` and other keys, if there is one.
pub(super) fn check(config: &Config) -> Result<(), Conflict> {
    let Cluster { node, advertise, transport, lease } = &config.cluster;
    let conflict = |section, key, message: &str| {
        Err(Conflict { path: vec![PathStep::Key(section), PathStep::Key(key)], message: message.to_owned() })
    };
    if config.location.store != StoreKind::Redis {
        return match config.cluster == Cluster::default() {
            true => Ok(()),
            false => conflict("cluster", "node", "several servers need `location: { store: redis, url: … }`"),
        };
    }
    if config.location.url.is_none() {
        return conflict("location", "store", "expected `location.url`, like redis://127.0.0.1:6379/0");
    }
    if node.is_none() {
        return conflict("location", "store", "expected `cluster.node`, the name of this server");
    }
    let Some(NodeAddress(advertise)) = advertise else {
        return conflict("location", "store", "expected `cluster.advertise`, where the other servers reach this one");
    };
    let leads_there = |address: SocketAddr| {
        address.port() == advertise.port() && (address.ip().is_unspecified() || address.ip() == advertise.ip())
    };
    if !config.listen.iter().any(|listen| listen.transport == transport.0 && leads_there(listen.address)) {
        let message = "no listener with `cluster.transport` has this port and address: see `listen`";
        return conflict("cluster", "advertise", message);
    }
    if !(Duration::from_secs(3)..=Duration::from_secs(60)).contains(&lease.0) {
        return conflict("cluster", "lease", "expected 3s to 1m");
    }
    // What servers tell each other of calls is not cut into smaller parts.
    if config.limits.message_size.0 < 32 << 10 {
        return conflict("limits", "message_size", "expected 32KiB or more with several servers");
    }
    // Each server would make accounts of its own at its first start.
    let has_accounts = !config.accounts.is_empty() || config.accounts_file.is_some();
    if config.authentication == Authentication::Required && !has_accounts {
        return conflict("location", "store", "several servers need the same accounts: expected `accounts_file`");
    }
    Ok(())
}
