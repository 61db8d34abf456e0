//! The main thread while the server runs: signals, the sweep of the store, the gauges, the machine's addresses, the
//! metrics endpoint.
//!
//! Decides when the server is ready, when it reloads and when it ends.

use std::time::Duration;

use location::Store as _;
use metrics_exporter_prometheus::PrometheusHandle;
use proxy::Listener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::config::{Listen, Loaded};
use crate::error::Fatal;
use crate::first_run::Made;
use crate::log::LevelSwitch;
use crate::metrics::{self, Levels};
use crate::reload::Reload;
use crate::server::{Prepared, Server};
use crate::{clock, first_run, interfaces};

/// How often bindings expire, gauges are set and histograms are folded.
const ROUND: Duration = Duration::from_secs(1);

/// How often it is looked whether the machine has other addresses.
const GLANCE: Duration = Duration::from_secs(10);

/// Serves until a signal ends it.
pub(crate) fn keep(prepared: Prepared, level: LevelSwitch, metrics: Option<PrometheusHandle>) -> Result<(), Fatal> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Fatal::Thread)?;
    let outcome = runtime.block_on(serve(prepared, level, metrics));
    // A disk that hangs must not keep the program from ending.
    runtime.shutdown_background();
    outcome
}

async fn serve(mut prepared: Prepared, level: LevelSwitch, metrics: Option<PrometheusHandle>) -> Result<(), Fatal> {
    let caught = |kind| signal(kind).map_err(Fatal::Thread);
    let (mut terminate, mut interrupt) = (caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?);
    let mut hangup = caught(SignalKind::hangup())?;
    let made = prepared.made.take();
    let restored = prepared.restored();
    let mut reload = Reload::new(prepared.loaded.clone(), prepared.listeners(), prepared.interfaces.clone(), level);
    let mut server = prepared.start()?;
    if let (Some(listener), Some(handle)) = (server.metrics.take(), metrics.clone()) {
        let address = listener.local_addr().map_err(Fatal::Thread)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(Fatal::Thread)?;
        tokio::spawn(metrics::serve(listener, handle));
        tracing::info!("metrics at http://{address}/metrics");
    }
    announce(&server, reload.loaded(), restored);
    if let Some(made) = made {
        introduce(&made, &server.listeners, &reload);
    }
    let started = Instant::now();
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut glances = interval(GLANCE);
    glances.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let outcome = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            _ = hangup.recv() => reload.run(&server.inboxes).await,
            fatal = server.failed() => break Err(fatal),
            _ = glances.tick() => reload.look_around(&server.inboxes).await,
            _ = rounds.tick() => {
                round(&server, reload.loaded(), started);
                if let Some(metrics) = &metrics {
                    metrics.run_upkeep();
                }
            }
        }
    };
    tracing::info!("stopping");
    server.stop().await;
    outcome
}

fn round(server: &Server, loaded: &Loaded, started: Instant) {
    server.store.sweep(clock::wall());
    let (counts, load) = (server.store.counts(), server.loads.sum());
    let levels = Levels {
        users: counts.users,
        bindings: counts.bindings,
        store_queue: server.store.queue_len(),
        transactions: load.transactions,
        pins: load.pins,
        nonces: load.nonces,
        connections: server.directory.open(),
        accounts: loaded.accounts.len(),
        uptime: started.elapsed(),
    };
    levels.show();
}

fn announce(server: &Server, loaded: &Loaded, restored: location::Counts) {
    let config = match &loaded.file {
        Some(file) => file.display().to_string(),
        None => "defaults".to_owned(),
    };
    tracing::info!(
        "frontdesk {} with {} accounts, {} phones of {} users restored, configuration: {config}",
        env!("CARGO_PKG_VERSION"),
        loaded.accounts.len(),
        restored.bindings,
        restored.users,
    );
    for listener in &server.listeners {
        tracing::info!("listening on {}", Listen { transport: listener.transport, address: listener.address });
    }
}

/// Says how phones can register, on standard output the first time, in the log later.
fn introduce(made: &Made, listeners: &[Listener], reload: &Reload) {
    if let (Some(file), true) = (&made.file, made.fresh.is_empty()) {
        tracing::info!("no accounts are configured: those of the first start are in {}", file.display());
        return;
    }
    let port = listeners.first().map_or(5060, |listener| listener.address.port());
    let own = listeners.iter().map(|listener| listener.address.ip()).find(|ip| !ip.is_unspecified());
    let server = own.or_else(|| interfaces::reachable(reload.interfaces()));
    println!("{}", first_run::hint(made, server, port));
}
