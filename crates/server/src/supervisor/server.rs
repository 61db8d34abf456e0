//! Starts and stops the server: opens its files and sockets, starts the worker threads, ends them.
//!
//! Decides the order of these steps. A step that fails must leave nothing behind: the store is opened before the
//! sockets are bound, and accounts are created last.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use location::AnyStore;
use proxy::{Interfaces, Listener, Nodes, SubscriberIndex};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::admin::Removals;
use crate::clock::{self, Clock};
use crate::cluster::{Advert, NodeTable, SharedValues, ValueChanges};
use crate::config::{Config, Endpoint, Limits, Loaded, StoreKind};
use crate::data::first_start::{self, InitialAccounts};
use crate::data::set_rules::{RuleRequest, SetRules};
use crate::data::{files, secret};
use crate::defence::Defence;
use crate::error::CliError;
use crate::journal::{CallFile, EventQueue};
use crate::me::{self, MePages};
use crate::process::{descriptors, interfaces};
use crate::reload::ActiveConfig;
use crate::resolver::{Resolver, ResolverSettings};
use crate::text::counted::counted;
use crate::tls::ActiveTls;
use crate::trace::Trace;
use crate::transport::{self, BoundListener, ClientRules, Directory, HandshakeLimits, Inbound, PageReply, Pages};
use crate::worker::{Completions, Health, Loads};

use super::calls::{ServerCalls, call_file};
use super::keys::KeyKeeper;
use super::store::{self, Observers};
use super::wait;
use super::worker_thread::{Shared, WorkerExitGuard, WorkerParts};

/// Together below 5 s, within which SIGTERM must end the program even if the disk hangs.
const STORE_CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
const WORKER_STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Everything that was prepared before the workers start.
pub(crate) struct Prepared {
    /// The configuration in force, with the accounts of the first start.
    pub(crate) loaded: Loaded,
    /// The accounts of the first start, if they are in force.
    pub(crate) initial_accounts: Option<InitialAccounts>,
    /// The rules of users that were set at run time.
    pub(crate) set_rules: SetRules,
    /// This machine's addresses.
    pub(crate) interfaces: Interfaces,
    /// What the cores know of the servers that share the store.
    pub(crate) nodes: Nodes,
    bound: Vec<BoundListener>,
    metrics: Option<std::net::TcpListener>,
    keys: KeyKeeper,
    store: Arc<AnyStore>,
    observers: Observers,
    /// Limit of SIP connections.
    connections: usize,
    dns_queries: usize,
    calls: ServerCalls,
    /// Where the CSV lines of calls go.
    pub(crate) call_file: Option<CallFile>,
}

/// A running server.
pub(crate) struct Server {
    /// The keys of all workers.
    pub(crate) keys: KeyKeeper,
    /// The servers that share the store.
    pub(crate) nodes: Arc<NodeTable>,
    /// Changes of what they share besides registrations.
    pub(crate) values: Arc<ValueChanges>,
    /// The listeners.
    pub(crate) listeners: Vec<Listener>,
    /// The store of all workers.
    pub(crate) store: Arc<AnyStore>,
    /// The calls of all workers.
    pub(crate) calls: ServerCalls,
    /// The load of each worker.
    pub(crate) loads: Arc<Loads>,
    /// The connections of all workers.
    pub(crate) directory: Arc<Directory>,
    /// Failures and bans.
    pub(crate) defence: Arc<Defence>,
    /// Which clients may open WebSocket connections.
    pub(crate) client_rules: Arc<ClientRules>,
    /// The page of a user.
    pub(crate) me: Arc<MePages>,
    /// The resolver of all workers.
    pub(crate) resolver: Arc<Resolver>,
    /// The certificates.
    pub(crate) tls: Arc<ActiveTls>,
    /// The traces of messages.
    pub(crate) trace: Arc<Trace>,
    /// The inboxes of all workers.
    pub(crate) inboxes: Arc<[mpsc::Sender<Inbound>]>,
    /// Outcomes of commits: of each worker, and of [`Removals`] as the last one.
    pub(crate) completions: Arc<[Completions]>,
    /// Health of the workers and the store.
    pub(crate) health: Arc<Health>,
    /// Queued events of the workers.
    pub(crate) event_queues: Arc<[EventQueue]>,
    /// Changes of the rules of users, for the main loop.
    pub(crate) rule_requests: mpsc::Sender<RuleRequest>,
    /// The listener of the admin API.
    pub(crate) metrics: Option<std::net::TcpListener>,
    workers: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    ended: mpsc::Receiver<u8>,
}

/// Opens everything that the server needs. `files`: the limit of open files. `None` if the server was told to end while it
/// waited for a shared store.
pub(crate) fn prepare(mut loaded: Loaded, files: usize) -> Result<Option<Prepared>, CliError> {
    let workers = loaded.config.worker_count();
    let on_disk = loaded.config.location.store == StoreKind::Disk;
    let folder = loaded.config.data_folder().to_owned();
    let folder = on_disk.then_some(folder.as_path());
    folder.map_or(Ok(()), files::prepare)?;
    let observers = Observers {
        completions: (0..=workers).map(|_| Completions::default()).collect(),
        outside_changes: Arc::default(),
        health: Arc::new(Health::new(workers)),
        started: Arc::default(),
        nodes: Arc::new(NodeTable::new(loaded.config.limits.gone_nodes.0)),
        values: Arc::default(),
    };
    let interfaces = interfaces::list();
    let opened = clock::since_boot();
    let store = Arc::new(store::open(&loaded, &observers, &interfaces)?);
    let metrics = match loaded.config.metrics.listen {
        Endpoint::Off => None,
        Endpoint::On(address) => Some(listen_for_metrics(address)?),
    };
    let shared = SharedValues::of(&store);
    if shared.is_some() && !wait::wait(&observers.started, &observers.health, metrics.as_ref())? {
        store.close();
        return Ok(None);
    }
    let time = observers.started.time();
    let (time, since_boot) = time.unwrap_or_else(|| (store.time().unwrap_or_else(clock::machine_time), opened));
    clock::init(time, since_boot);
    let nodes = connect_nodes(&store, &observers, &loaded.config, &interfaces);
    let (keys, set_rules) = match shared {
        Some(values) => (KeyKeeper::shared(values.clone())?, SetRules::shared(values)),
        None => (KeyKeeper::open(folder)?, SetRules::open(folder)?),
    };
    // After the bindings have been loaded: otherwise a call could get 480 although the phone is registered.
    let bound = transport::bind_all(&loaded.config.listen, workers);
    let bound = bound.map_err(|(listen, source)| CliError::Listen { listen, source })?;
    let calls = ServerCalls::open(&loaded.config, folder);
    let call_file = call_file(&loaded.config)?;
    let initial_accounts =
        first_start::is_needed(&loaded.config).then(|| first_start::add_accounts(&mut loaded, folder)).transpose()?;
    let connections = connections(&loaded.config.limits, files, workers);
    Ok(Some(Prepared {
        loaded,
        initial_accounts,
        set_rules,
        interfaces,
        nodes,
        bound,
        metrics,
        keys,
        store,
        observers,
        connections,
        dns_queries: descriptors::dns_queries(files),
        calls,
        call_file,
    }))
}

/// What the cores know of the servers that share the store; empty without such a store.
fn connect_nodes(store: &AnyStore, observers: &Observers, config: &Config, interfaces: &Interfaces) -> Nodes {
    let AnyStore::Redis(redis) = store else { return Nodes::default() };
    let address = Advert::of(config, interfaces).and_then(|advert| advert.node_address());
    // The store can be used, so this server has a number; its transport has been checked.
    let nodes = redis.node().zip(address).and_then(|(own, address)| Nodes::new(own, address)).unwrap_or_default();
    observers.nodes.connect(nodes.clone());
    nodes
}

/// Limit of SIP connections: as configured, or lower if the system grants too few open files.
fn connections(limits: &Limits, files: usize, workers: u8) -> usize {
    let configured = limits.connections.0;
    let open = descriptors::open();
    let limit = descriptors::connections(configured, files, open, workers, limits.admin_connections.0);
    if limit < configured {
        tracing::warn!(
            "limits.connections is {configured}, but the system lets this process open {} only: at most {} accepted (see \
             `ulimit -n`, LimitNOFILE)",
            counted(files, "file", "files"),
            counted(limit, "connection is", "connections are"),
        );
    }
    limit
}

fn listen_for_metrics(address: SocketAddr) -> Result<std::net::TcpListener, CliError> {
    let listen = |address: SocketAddr| -> io::Result<_> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let fail = |source| CliError::Metrics { address, source };
    match listen(address) {
        // Prometheus itself uses this port by default. It is better to serve metrics at another port than to refuse
        // calls.
        Err(error)
            if error.kind() == io::ErrorKind::AddrInUse
                && Endpoint::On(address) == Config::default().metrics.listen =>
        {
            tracing::warn!("{address} is in use by another program: metrics take a free port (see `metrics: listen`)");
            listen(SocketAddr::new(address.ip(), 0)).map_err(fail)
        }
        outcome => outcome.map_err(fail),
    }
}

impl Prepared {
    /// The bindings that were loaded from disk.
    pub(crate) fn restored(&self) -> location::Counts {
        self.store.counts()
    }

    /// The store.
    pub(crate) fn store(&self) -> Arc<AnyStore> {
        Arc::clone(&self.store)
    }

    /// For removals before the workers are started.
    pub(crate) fn removals(&self) -> Removals {
        Removals::new(self.store(), Arc::clone(&self.observers.completions), Arc::new([]))
    }

    /// The listeners with their actual ports.
    pub(crate) fn listeners(&self) -> Vec<Listener> {
        self.bound.iter().map(|bound| bound.listener).collect()
    }

    /// Starts the workers.
    pub(crate) fn start(
        mut self,
        active_config: watch::Receiver<Arc<ActiveConfig>>,
    ) -> Result<(Server, mpsc::Receiver<RuleRequest>), CliError> {
        let config = &self.loaded.config;
        let (count, limits) = (config.worker_count(), config.limits.clone());
        let (inboxes, receivers) = worker_inboxes(count, limits.worker_queue.0);
        let (rule_requests, requested) = mpsc::channel(limits.rule_changes.0);
        self.observers.outside_changes.connect(Arc::clone(&inboxes));
        let settings = active_config.borrow().settings.clone();
        let defence = Arc::new(Defence::new(config, Arc::clone(&self.store)));
        let me = Arc::new(MePages::new(active_config, self.store(), Arc::clone(&defence), rule_requests.clone())?);
        let shared = Shared {
            settings,
            keys: self.keys.keys(clock::wall(), max_expires(config)),
            subscriber_index: Arc::new(SubscriberIndex::new(count)),
            store: Arc::clone(&self.store),
            calls: Arc::clone(&self.calls.table),
            completions: Arc::clone(&self.observers.completions),
            directory: Arc::new(Directory::new(self.connections, limits.connections_per_source.0)),
            defence,
            client_rules: Arc::new(ClientRules::new(config)),
            pages: pages(&me),
            handshakes: HandshakeLimits::of(&limits),
            tls: Arc::new(ActiveTls::new(self.loaded.tls.clone())),
            trace: Trace::new(config),
            inboxes,
            rule_requests: rule_requests.clone(),
            loads: Arc::new(Loads::new(count)),
            health: Arc::clone(&self.observers.health),
            event_queues: (0..count).map(|_| EventQueue::new(limits.journal_queue.0)).collect(),
            clock: Clock::start(),
            stop: CancellationToken::new(),
            resolver: Arc::new(resolver(config, self.dns_queries)),
            limits,
            silence: config.cluster.node.as_ref().map(|_| config.cluster.lease.0),
        };
        let (workers, ended) = start_workers(&shared, &mut self.bound, receivers)?;
        let server = Server {
            keys: self.keys,
            nodes: self.observers.nodes,
            values: self.observers.values,
            listeners: self.bound.iter().map(|bound| bound.listener).collect(),
            store: self.store,
            calls: self.calls,
            loads: shared.loads,
            directory: shared.directory,
            defence: shared.defence,
            client_rules: shared.client_rules,
            me,
            resolver: shared.resolver,
            tls: shared.tls,
            trace: shared.trace,
            inboxes: shared.inboxes,
            completions: shared.completions,
            health: shared.health,
            event_queues: shared.event_queues,
            metrics: self.metrics.take(),
            workers,
            stop: shared.stop,
            ended,
            rule_requests,
        };
        Ok((server, requested))
    }
}

/// The longest time of a registration.
fn max_expires(config: &Config) -> Duration {
    Duration::from_secs(config.registrar.max_expires.0.into())
}

fn resolver(config: &Config, queries: usize) -> Resolver {
    Resolver::new(ResolverSettings {
        servers: config.dns.servers.iter().map(|server| server.0).collect(),
        timeout: config.dns.timeout.0,
        queries,
        cache: config.limits.dns_cache.0,
    })
}

/// The pages that `ws` and `wss` listeners serve beside the phone in the browser.
fn pages(me: &Arc<MePages>) -> Pages {
    let me = Arc::clone(me);
    Arc::new(move |client, request| {
        if !me::is_path(request.uri().path()) {
            return None;
        }
        let me = Arc::clone(&me);
        Some(Box::pin(async move { me.answer(client, request).await }) as PageReply)
    })
}

/// The two ends of the inbox of each worker.
fn worker_inboxes(count: u8, length: usize) -> (Arc<[mpsc::Sender<Inbound>]>, Vec<mpsc::Receiver<Inbound>>) {
    let (inboxes, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(length)).unzip();
    (inboxes.into(), receivers)
}

/// Starts one worker for each inbox. Also returns the receiver of the number of a worker that ends.
fn start_workers(
    shared: &Shared,
    bound: &mut [BoundListener],
    inboxes: Vec<mpsc::Receiver<Inbound>>,
) -> Result<(Vec<JoinHandle<()>>, mpsc::Receiver<u8>), CliError> {
    let (exit_sender, ended) = mpsc::channel(inboxes.len());
    let mut workers = Vec::with_capacity(inboxes.len());
    for (number, inbox) in (0..).zip(inboxes) {
        let take_sockets = |bound: &mut BoundListener| Some((bound.listener, bound.sockets.pop()?));
        let sockets = bound.iter_mut().filter_map(take_sockets).collect();
        let seed = u64::from_ne_bytes(secret::random()?);
        let exit_guard = WorkerExitGuard(number, exit_sender.clone());
        workers.push(shared.clone().start(WorkerParts { number, seed, sockets, inbox, exit_guard })?);
    }
    Ok((workers, ended))
}

impl Server {
    /// Waits until a worker ends, which is an error.
    pub(crate) async fn failed(&mut self) -> CliError {
        CliError::Worker(self.ended.recv().await.unwrap_or_default())
    }

    /// Closes the store, which makes all commits durable; lets the workers send the responses; stops them.
    pub(crate) async fn stop(mut self) {
        if !self.health.is_store_usable() {
            match &*self.store {
                // A phone whose registration did not reach it got 503.
                AnyStore::Redis(_) => tracing::warn!("Redis cannot be used: the last registrations were refused"),
                AnyStore::Memory(_) | AnyStore::Disk(_) => {
                    tracing::error!("the location store could not be written: the last registrations are lost");
                }
            }
        }
        let store = Arc::clone(&self.store);
        let closed = tokio::task::spawn_blocking(move || store.close());
        if timeout(STORE_CLOSE_TIMEOUT, closed).await.is_err() {
            tracing::error!("the location store cannot be closed: the last registrations may be lost");
        }
        self.stop.cancel();
        let all_ended = async {
            for _ in &self.workers {
                self.ended.recv().await;
            }
        };
        if timeout(WORKER_STOP_TIMEOUT, all_ended).await.is_err() {
            tracing::error!("a worker does not stop");
            return;
        }
        for worker in self.workers {
            if worker.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}
