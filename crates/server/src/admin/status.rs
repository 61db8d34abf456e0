//! The state of the server: version, addresses, domains, load, health.
//!
//! Decides nothing: `worker::Health` decides what is a problem.

use hyper::StatusCode;
use serde::Serialize;

use super::AdminState;
use super::reply::{self, Reply};
use crate::clock;
use crate::config::{Listen, StoreKind};

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
        },
        workers: config.worker_count(),
        accounts: active_config.loaded.accounts.len(),
        users: counts.users,
        phones: counts.bindings,
        calls: state.calls.lock().active_count(),
        connections: state.directory.open_count(),
        troubles: state.health.readiness_problems(),
    };
    reply::json(StatusCode::OK, &status)
}

/// GET /health: liveness.
pub(crate) fn health(state: &AdminState) -> Reply {
    health_reply(state.health.liveness_problems())
}

/// GET /ready: whether phones can register and call.
pub(crate) fn ready(state: &AdminState) -> Reply {
    health_reply(state.health.readiness_problems())
}

fn health_reply(troubles: Vec<&'static str>) -> Reply {
    let well = troubles.is_empty();
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    reply::json(status, &HealthReport { well, troubles })
}
