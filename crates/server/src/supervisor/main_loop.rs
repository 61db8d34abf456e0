//! The loop of the main thread: signals, expiry of bindings, gauges, the log of events, the machine's addresses, the
//! admin API.
//!
//! Decides when the server is ready, when it reloads and when it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use location::Store as _;
use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::Mutex;
use parser::Transport;
use proxy::Listener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::certificates::Certificates;
use super::server::{Prepared, Server};
use super::shared_state::SharedState;
use super::signals::EndSignals;
use super::trunk_gauges::TrunkGauges;
use super::trunk_names::TrunkNames;
use super::{notify, unknown_users};
use crate::admin::{self, AdminCommand, AdminState, Removals};
use crate::clock::{self, ClockShift};
use crate::cluster::SharedValues;
use crate::config::Listen;
use crate::data::first_start::{self, InitialAccounts};
use crate::error::CliError;
use crate::journal::{Activity, CallFile, EventLog, Refusals};
use crate::metrics::{self, Gauge, Series, UnwrittenLine};
use crate::process::interfaces;
use crate::process::log::{LevelSwitch, LogThread};
use crate::reload::{ActiveConfig, Reload, ReloadOutcome, TrunkAddresses};
use crate::text::counted;

/// Interval of expiry, gauges, health checks and histogram upkeep.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(1);

/// Interval at which the event queues of the workers are read.
const LOG_DRAIN_INTERVAL: Duration = Duration::from_millis(100);

/// How long the start and a reload wait for the removal of registrations without an account.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Interval at which the addresses of the machine are read again.
const INTERFACE_POLL_INTERVAL: Duration = Duration::from_secs(10);

/// Interval at which the files of the certificates are looked at.
const CERTIFICATE_POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Runs the server until SIGTERM, SIGINT or the end of a worker.
pub(crate) fn run(
    prepared: Prepared,
    level: LevelSwitch,
    log: &LogThread,
    metrics: Option<PrometheusHandle>,
) -> Result<(), CliError> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(CliError::Thread)?;
    let outcome = runtime.block_on(serve(prepared, level, log, metrics));
    // A blocking write that hangs must not delay the exit.
    runtime.shutdown_background();
    outcome
}

async fn serve(
    mut prepared: Prepared,
    level: LevelSwitch,
    log: &LogThread,
    metrics: Option<PrometheusHandle>,
) -> Result<(), CliError> {
    let mut end = EndSignals::listen()?;
    let mut hangup = signal(SignalKind::hangup()).map_err(CliError::Thread)?;
    let initial_accounts = prepared.initial_accounts.take();
    let (loaded, set_rules) = (prepared.loaded.clone(), std::mem::take(&mut prepared.set_rules));
    let call_file = prepared.call_file.take();
    let addresses = (prepared.listeners(), prepared.interfaces.clone(), prepared.nodes.clone());
    let mut reload = Reload::new(loaded, set_rules, addresses, level);
    remove_at_start(&prepared, &reload).await;
    let restored = prepared.restored();
    let (mut server, mut rule_requests) = prepared.start(reload.subscribe())?;
    let mut certificates = Certificates::new(&reload.active_config().loaded, &server.tls);
    let (calls, seen) = (server.calls.clone(), Seen::default());
    let mut event_log = start_event_log(&server, call_file, &seen, &reload);
    let removals = start_removals(&server);
    tokio::spawn(Arc::clone(&server.trace).run());
    let admin_address = server.metrics.as_ref().and_then(|listener| listener.local_addr().ok());
    let shared_state = SharedState::new(&mut server, &reload);
    let mut commands = spawn_admin(&mut server, &reload, metrics.clone(), &seen, &removals, &shared_state, log)?;
    apply_to_defence(&server, &reload.active_config());
    log_start(&server, &reload.active_config(), restored);
    initial_accounts.iter().for_each(|accounts| show_accounts(accounts, &server.listeners, admin_address, &reload));
    notify::ready();
    let started = Instant::now();
    let [mut maintenance, mut log_drains] = [MAINTENANCE_INTERVAL, LOG_DRAIN_INTERVAL].map(ticker);
    let [mut interface_polls, mut certificate_polls] = [INTERFACE_POLL_INTERVAL, CERTIFICATE_POLL_INTERVAL].map(ticker);
    let values = server.values.clone();
    let (mut trunk_names, mut trunk_gauges) = (TrunkNames::new(&server.resolver), TrunkGauges::default());
    let outcome = loop {
        tokio::select! {
            () = end.received() => break Ok(()),
            _ = hangup.recv() => drop(reload_now(&mut reload, &server, &mut certificates, &removals).await),
            Some(command) = commands.recv() => match command {
                AdminCommand::Reload(reply) => {
                    drop(reply.send(reload_now(&mut reload, &server, &mut certificates, &removals).await));
                }
                AdminCommand::RotateKeys(reply) => drop(reply.send(shared_state.rotate_keys(&mut server, &reload).await)),
            },
            names = values.next() => shared_state.take_over(&names, &mut server, &mut reload).await,
            Some(request) = rule_requests.recv() => reload.change_rules(request, &server.inboxes).await,
            error = server.failed() => break Err(error),
            _ = interface_polls.tick() => reload.poll_interfaces(&server.inboxes).await,
            _ = certificate_polls.tick() => certificates.poll(&reload.active_config().loaded, &server.tls),
            found = trunk_names.next(&reload) => use_trunk_addresses(&mut reload, &server, found).await,
            _ = log_drains.tick() => event_log.drain(),
            _ = maintenance.tick() => {
                follow_clock(&mut reload, &server).await;
                calls.maintain(&reload.active_config().loaded.config, &server.inboxes);
                maintain(&server, &reload.active_config(), log, started);
                seen.1.lock().set_phones(clock::wall(), server.store.counts().bindings);
                shared_state.maintain(&mut server, &reload).await;
                trunk_gauges.publish(&reload.active_config().settings);
                metrics.iter().for_each(PrometheusHandle::run_upkeep);
            }
        }
    };
    stop(server, event_log).await;
    calls.close();
    outcome
}

fn start_event_log(
    server: &Server,
    call_file: Option<CallFile>,
    (refusals, activity): &Seen,
    reload: &Reload,
) -> EventLog {
    let sources = (server.event_queues.clone(), server.defence.clone());
    let lists = (server.calls.history.clone(), call_file, refusals.clone());
    EventLog::new(sources, lists, activity.clone(), reload.subscribe())
}

/// For the admin API and for registrations without an account.
fn start_removals(server: &Server) -> Arc<Removals> {
    let removals = Arc::new(Removals::new(server.store.clone(), server.completions.clone(), server.inboxes.clone()));
    let dispatcher = removals.clone();
    tokio::spawn(async move { dispatcher.dispatch_completions().await });
    removals
}

async fn stop(server: Server, mut event_log: EventLog) {
    tracing::info!("stopping");
    notify::stopping();
    server.health.set_stopping();
    server.stop().await;
    event_log.finish();
}

/// What the status page shows of the past besides the calls: the senders that were refused, and numbers of the last day.
type Seen = (Arc<Mutex<Refusals>>, Arc<Mutex<Activity>>);

/// Reloads, between the `RELOADING` and `READY` notifications for the service manager.
async fn reload_now(
    reload: &mut Reload,
    server: &Server,
    certificates: &mut Certificates,
    removals: &Arc<Removals>,
) -> ReloadOutcome {
    notify::reloading();
    let outcome = reload.run(&server.inboxes).await;
    if outcome.reloaded {
        certificates.apply(&reload.active_config().loaded, &server.tls);
        let (store, removals, active_config) = (server.store.clone(), removals.clone(), reload.subscribe());
        let removing = tokio::spawn(async move { unknown_users::remove(store, &removals, &active_config).await });
        // The removal continues in its task after the timeout.
        let _ = timeout(REMOVAL_TIMEOUT, removing).await;
    }
    apply_to_defence(server, &reload.active_config());
    server.client_rules.reconfigure(&reload.active_config().loaded.config);
    server.trace.reconfigure(&reload.active_config().loaded.config);
    notify::ready();
    outcome
}

/// Applies a change of the machine's clock.
async fn follow_clock(reload: &mut Reload, server: &Server) {
    if let Some(ClockShift { by, ahead }) = clock::detect_shift() {
        server.store.set_ahead(ahead);
        log_clock_shift(by);
        reload.republish(&server.inboxes).await;
    }
}

/// Applies the addresses of trunks.
async fn use_trunk_addresses(reload: &mut Reload, server: &Server, found: TrunkAddresses) {
    if reload.set_trunk_addresses(found, &server.inboxes).await {
        apply_to_defence(server, &reload.active_config());
    }
}

/// Tells the defence where the calls of trunks come from, and the other servers.
pub(super) fn apply_to_defence(server: &Server, active_config: &ActiveConfig) {
    let trunks = active_config.settings.trunks.all.iter().flat_map(|trunk| trunk.networks.clone());
    let trunks: Vec<_> = trunks.chain(server.nodes.addresses().map(IpNet::from)).collect();
    server.defence.reconfigure(&active_config.loaded.config, &trunks);
}

/// Runs before the workers start, so that no call reaches a user whose account was removed.
async fn remove_at_start(prepared: &Prepared, reload: &Reload) {
    let removals = prepared.removals();
    let active_config = reload.subscribe();
    tokio::select! {
        () = removals.dispatch_completions() => {}
        removed = timeout(REMOVAL_TIMEOUT, unknown_users::remove(prepared.store(), &removals, &active_config)) => {
            if removed.is_err() {
                tracing::error!("the removal of registrations without an account is not yet durable");
            }
        }
    }
}

fn ticker(time: Duration) -> Interval {
    let mut interval = interval(time);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Starts the admin API, if `metrics.listen` is not off. Returns the receiver of its commands for the main loop.
fn spawn_admin(
    server: &mut Server,
    reload: &Reload,
    metrics: Option<PrometheusHandle>,
    (refusals, activity): &Seen,
    removals: &Arc<Removals>,
    shared_state: &SharedState,
    log: &LogThread,
) -> Result<mpsc::Receiver<AdminCommand>, CliError> {
    let (commands, received) = mpsc::channel(1);
    let (Some(listener), Some(metrics)) = (server.metrics.take(), metrics) else { return Ok(received) };
    let address = listener.local_addr().map_err(CliError::Thread)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(CliError::Thread)?;
    let max_connections = reload.active_config().loaded.config.limits.admin_connections.0;
    let state = AdminState {
        store: server.store.clone(),
        removals: removals.clone(),
        keys: shared_state.keys(),
        nodes: server.nodes.clone(),
        shared: SharedValues::of(&server.store),
        call_table: server.calls.table.clone(),
        calls: server.calls.history.clone(),
        refusals: refusals.clone(),
        activity: activity.clone(),
        log: log.recent(),
        metrics,
        active_config: reload.subscribe(),
        health: server.health.clone(),
        defence: server.defence.clone(),
        directory: server.directory.clone(),
        listeners: server.listeners.clone(),
        started: Instant::now(),
        rule_requests: server.rule_requests.clone(),
        me: server.me.clone(),
        trace: server.trace.clone(),
        commands,
        listings: Semaphore::new(1),
    };
    tokio::spawn(admin::serve(listener, Arc::new(state), max_connections));
    tracing::info!("metrics at http://{address}/metrics, status at http://{address}/");
    Ok(received)
}

fn maintain(server: &Server, active_config: &ActiveConfig, log: &LogThread, started: Instant) {
    server.store.sweep(clock::wall());
    server.defence.sweep();
    server.health.check_workers(&server.inboxes);
    notify::watchdog(&server.health);
    let (counts, load) = (server.store.counts(), server.loads.sum());
    Gauge::Users.set_count(counts.users);
    Gauge::Bindings.set_count(counts.bindings);
    Gauge::StoreQueue.set_count(server.store.queue_len());
    Gauge::StoreUsable.set_flag(server.health.is_store_usable());
    Gauge::Transactions.set_count(load.transactions);
    Gauge::Pins.set_count(load.pins);
    Gauge::Nonces.set_count(load.nonces);
    Gauge::Subscriptions.set_count(load.subscriptions);
    Gauge::MovedDialogs.set_count(load.moved_dialogs);
    Gauge::Connections.set_count(server.directory.open_count());
    Gauge::Bans.set_count(server.defence.ban_count());
    Gauge::Nodes.set_count(server.nodes.alive_count());
    Gauge::Accounts.set_count(active_config.loaded.accounts.len());
    Gauge::Ready.set_flag(server.health.readiness_problems().is_empty());
    Gauge::Uptime.set_seconds(started.elapsed());
    Gauge::Time.set_seconds(Duration::from_millis(clock::machine_time().0));
    metrics::set_total(Series::LineUnwritten { reason: UnwrittenLine::Slow }, log.dropped());
}

/// Logs that the machine's clock was set. Smaller differences are drift and not logged.
fn log_clock_shift(millis: i64) {
    let by = Duration::from_secs(millis.unsigned_abs().div_ceil(1000));
    if by > MAINTENANCE_INTERVAL {
        let direction = if millis > 0 { "forward" } else { "back" };
        let by = humantime::format_duration(by);
        tracing::warn!(
            "the machine's clock was set {direction} by {by}: registrations keep the time that they were granted"
        );
    }
}

fn number(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn log_start(server: &Server, active_config: &ActiveConfig, restored: location::Counts) {
    let config = match &active_config.loaded.file {
        Some(file) => file.display().to_string(),
        None => "defaults".to_owned(),
    };
    tracing::info!(
        "frontdesk {} with {}, {} of {} restored, configuration: {config}",
        env!("CARGO_PKG_VERSION"),
        counted::accounts(active_config.loaded.accounts.len()),
        counted::phones(number(restored.bindings)),
        counted::users(number(restored.users)),
    );
    for listener in &server.listeners {
        tracing::info!("listening on {}", Listen { transport: listener.transport, address: listener.address });
    }
}

/// Prints how phones can register: on standard output when the accounts are new, else in the log.
fn show_accounts(
    initial_accounts: &InitialAccounts,
    listeners: &[Listener],
    admin_address: Option<SocketAddr>,
    reload: &Reload,
) {
    if let (Some(file), true) = (&initial_accounts.file, initial_accounts.created.is_empty()) {
        tracing::info!("no accounts are configured: those in {} may register", file.display());
        return;
    }
    // The ones that a phone on a desk uses at first.
    let is_plain = |listener: &&Listener| matches!(listener.transport, Transport::Udp | Transport::Tcp);
    let phones = || listeners.iter().filter(is_plain);
    let port = phones().next().map_or(5060, |listener| listener.address.port());
    let specific_ip = phones().map(|listener| listener.address.ip()).find(|ip| !ip.is_unspecified());
    let server = specific_ip.or_else(|| interfaces::lan_address(reload.interfaces()));
    let active = reload.active_config();
    let page = admin_address.and_then(|address| admin::local_phone_page(&active.loaded.config, address, listeners));
    println!("{}", first_start::instructions(initial_accounts, server, port, page.as_deref()));
}
