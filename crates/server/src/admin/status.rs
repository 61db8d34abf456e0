//! The state of the server: version, addresses, domains, load, health.
//!
//! Decides nothing: `worker::Health` decides what is a problem.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::AdminState;
use super::reply::{self, Reply};
use crate::clock;
use crate::cluster::Advert;
use crate::config::{Listen, StoreKind};
use crate::worker::Health;

#[derive(Serialize)]
struct ServerStatus {
    version: &'static str,
    started: String,
    uptime_seconds: u64,
    configuration: Option<String>,
    listen: Vec<String>,
    domains: Vec<String>,
    aliases: Vec<String>,
    store: &'static str,
    workers: u8,
    accounts: usize,
    users: u64,
    phones: u64,
    calls: usize,
    connections: usize,
    troubles: Vec<&'static str>,
}

#[derive(Serialize)]
struct HealthReport {
    well: bool,
    troubles: Vec<&'static str>,
}

/// GET /api/v1/server
pub(crate) fn server(state: &AdminState) -> Reply {
    let active_config = state.active_config.borrow().clone();
    let config = &active_config.loaded.config;
    let names = |names: &[crate::config::HostName]| names.iter().map(|name| name.0.to_string()).collect();
    let listen = state.listeners.iter();
    let listen = listen.map(|own| Listen { transport: own.transport, address: own.address }.to_string()).collect();
    let (counts, uptime) = (state.store.counts(), state.started.elapsed());
    let began = location::Wall(clock::wall().millis().saturating_sub(u64::try_from(uptime.as_millis()).unwrap_or(0)));
    let status = ServerStatus {
        version: env!("CARGO_PKG_VERSION"),
        started: clock::rfc3339(began),
        uptime_seconds: uptime.as_secs(),
        configuration: active_config.loaded.file.as_ref().map(|file| file.display().to_string()),
        listen,
        domains: names(&config.domains),
        aliases: names(&config.aliases),
        store: match config.location.store {
            StoreKind::Disk => "disk",
            StoreKind::Memory => "memory",
            StoreKind::Redis => "redis",
        },
        workers: config.worker_count(),
        accounts: active_config.loaded.accounts.len(),
        users: counts.users,
        phones: counts.bindings,
        calls: state.call_table.len(),
        connections: state.directory.open_count(),
        troubles: state.health.readiness_problems(),
    };
    reply::json(StatusCode::OK, &status)
}

/// The servers that share the registrations.
#[derive(Deserialize, Serialize)]
pub(crate) struct NodeList {
    /// False while this server cannot use the database that they share: then it does not notice who comes and goes.
    pub(crate) is_current: bool,
    pub(crate) nodes: Vec<NodeState>,
}

/// One server.
#[derive(Deserialize, Serialize)]
pub(crate) struct NodeState {
    pub(crate) name: String,
    pub(crate) address: Option<String>,
    pub(crate) alive: bool,
    /// Whether it is this one.
    pub(crate) own: bool,
}

/// GET /api/v1/nodes
pub(crate) fn nodes(state: &AdminState) -> Reply {
    let own = state.active_config.borrow().loaded.config.cluster.node.as_ref().map(|node| node.0.to_string());
    let node = |(name, advert, alive): (String, Option<Advert>, bool)| {
        let address = advert.map(|advert| advert.address().to_string());
        NodeState { own: own.as_ref() == Some(&name), name, address, alive }
    };
    let nodes = state.nodes.list().into_iter().map(node).collect();
    reply::json(StatusCode::OK, &NodeList { is_current: state.health.is_store_usable(), nodes })
}

/// GET /health: liveness.
pub(crate) fn health(health: &Health) -> Reply {
    health_reply(health.liveness_problems())
}

/// GET /ready: whether phones can register and call.
pub(crate) fn ready(health: &Health) -> Reply {
    health_reply(health.readiness_problems())
}

fn health_reply(troubles: Vec<&'static str>) -> Reply {
    let well = troubles.is_empty();
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    reply::json(status, &HealthReport { well, troubles })
}
