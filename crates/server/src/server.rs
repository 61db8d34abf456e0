//! The whole server: everything that must be there before it serves, in an order that leaves nothing behind when a step
//! is refused; then the threads; then the end.
//!
//! Decides that order. Addresses come before files, files before the store: what is refused was not changed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use location::{AnyStore, DiskOptions, DiskStore, Hooks, MemoryStore, StoreError, Ticket};
use proxy::{Core, Interfaces, Keys, Listener, Settings, SubscriberIndex};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::admin::Removals;
use crate::answers::{Answers, LookupLimits};
use crate::clock::{self, Clock};
use crate::config::{Endpoint, Limits, Loaded, StoreKind};
use crate::defence::{Banned, Defence};
use crate::error::Fatal;
use crate::first_run::Made;
use crate::health::{Health, watch_store};
use crate::inbox::{Completions, Inbound, Safety};
use crate::journal::Notes;
use crate::loads::Loads;
use crate::metrics::Tally;
use crate::transport::{
    self, Bound, Directory, Inlet, Outlet, Patience, Sockets, StreamLimits, Streams, Transports, Udp,
};
use crate::worker::{Spare, Worker};
use crate::{data, descriptors, first_run, interfaces, secret};

/// SIGTERM must end the program within 5 s, whatever the disk does.
const STORE_PATIENCE: Duration = Duration::from_secs(3);
const WORKER_PATIENCE: Duration = Duration::from_secs(1);

/// What is ready to serve, but does not yet.
pub(crate) struct Prepared {
    /// The configuration in force, with the accounts of the first run.
    pub(crate) loaded: Loaded,
    /// The accounts of the first run, if they are in force.
    pub(crate) made: Option<Made>,
    /// This machine's addresses.
    pub(crate) interfaces: Interfaces,
    bound: Vec<Bound>,
    metrics: Option<std::net::TcpListener>,
    keys: Keys,
    store: Arc<AnyStore>,
    completions: Arc<[Completions]>,
    health: Arc<Health>,
    /// How many connections of phones there may be.
    connections: usize,
}

/// A running server.
pub(crate) struct Server {
    /// The secrets of all workers.
    pub(crate) keys: Keys,
    /// What is listened on.
    pub(crate) listeners: Vec<Listener>,
    /// The store of all workers.
    pub(crate) store: Arc<AnyStore>,
    /// What the workers hold.
    pub(crate) loads: Arc<Loads>,
    /// Connections of all workers.
    pub(crate) directory: Arc<Directory>,
    /// Who is not answered.
    pub(crate) defence: Arc<Defence>,
    /// The inboxes of all workers.
    pub(crate) inboxes: Arc<[mpsc::Sender<Inbound>]>,
    /// Commits that have become safe: of each worker, and of the operator behind them.
    pub(crate) completions: Arc<[Completions]>,
    /// Whether all is well.
    pub(crate) health: Arc<Health>,
    /// What the workers have noted.
    pub(crate) notes: Arc<[Notes]>,
    /// Where metrics are to be served.
    pub(crate) metrics: Option<std::net::TcpListener>,
    workers: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    ended: mpsc::Receiver<u8>,
}

/// Takes hold of everything that the server needs, or says what cannot be had. `files` may be open.
pub(crate) fn prepare(mut loaded: Loaded, files: usize) -> Result<Prepared, Fatal> {
    let workers = loaded.config.worker_count();
    let on_disk = loaded.config.location.store == StoreKind::Disk;
    let folder = loaded.config.data_folder().to_owned();
    let folder = on_disk.then_some(folder.as_path());
    folder.map_or(Ok(()), data::prepare)?;
    let completions: Arc<[Completions]> = (0..=workers).map(|_| Completions::default()).collect();
    let health = Arc::new(Health::new(workers));
    let opened = clock::since_boot();
    let store = Arc::new(open_store(&loaded, &completions, &health)?);
    clock::begin(store.time().unwrap_or_else(clock::machine), opened);
    let keys = secret::keys(folder)?;
    // Not before the bindings are known: a phone must not be told that nobody is there.
    let bind = |listen| transport::bind(listen, workers).map_err(|source| Fatal::Listen { listen: *listen, source });
    let bound = loaded.config.listen.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
    let metrics = match loaded.config.metrics.listen {
        Endpoint::Off => None,
        Endpoint::On(address) => Some(listen_for_metrics(address)?),
    };
    let made = first_run::is_needed(&loaded.config).then(|| first_run::enrol(&mut loaded, folder)).transpose()?;
    let connections = connections(&loaded.config.limits, files, workers);
    let interfaces = interfaces::list();
    Ok(Prepared { loaded, made, interfaces, bound, metrics, keys, store, completions, health, connections })
}

/// How many connections of phones there may be: as configured, or fewer if the system grants too few files.
fn connections(limits: &Limits, files: usize, workers: u8) -> usize {
    let configured = limits.connections.0;
    let open = descriptors::open();
    let most = descriptors::connections(configured, files, open, workers, limits.admin_connections.0);
    if most < configured {
        tracing::warn!(
            "limits.connections is {configured}, but the system lets this process open {files} files only: \
             at most {most} connections are taken (see `ulimit -n`, LimitNOFILE)"
        );
    }
    most
}

fn listen_for_metrics(address: SocketAddr) -> Result<std::net::TcpListener, Fatal> {
    let listen = |address: SocketAddr| -> io::Result<_> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let fail = |source| Fatal::Metrics { address, source };
    match listen(address) {
        // Prometheus itself likes this port. Phones that cannot call are worse than metrics at another one.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && Endpoint::On(address) == Endpoint::default() => {
            tracing::warn!("{address} is in use by another program: metrics take a free port (see `metrics: listen`)");
            listen(SocketAddr::new(address.ip(), 0)).map_err(fail)
        }
        outcome => outcome.map_err(fail),
    }
}

fn open_store(loaded: &Loaded, completions: &Arc<[Completions]>, health: &Arc<Health>) -> Result<AnyStore, Fatal> {
    if loaded.config.location.store == StoreKind::Memory {
        return Ok(AnyStore::Memory(MemoryStore::new()));
    }
    let completions = Arc::clone(completions);
    let done = move |group: &[Ticket], outcome: Result<(), &StoreError>| {
        let safety = match outcome {
            Ok(()) => Safety::Safe,
            Err(StoreError::Full { .. }) => Safety::Full,
            Err(_) => Safety::Lost,
        };
        for ticket in group {
            if let Some(worker) = completions.get(usize::from(ticket.worker)) {
                worker.push(ticket.id, safety);
            }
        }
        completions.iter().for_each(Completions::announce);
    };
    let hooks =
        Hooks { done: Box::new(done), committed: Box::new(crate::metrics::committed), usable: watch_store(health) };
    let mut options = DiskOptions::new(clock::machine());
    let section = &loaded.config.location;
    (options.queue, options.pace) = (loaded.config.limits.store_queue.0, section.pace.0);
    Ok(AnyStore::Disk(DiskStore::open(&section.path, options, hooks)?))
}

impl Prepared {
    /// What the store has kept from earlier runs.
    pub(crate) fn restored(&self) -> location::Counts {
        self.store.counts()
    }

    /// The store.
    pub(crate) fn store(&self) -> Arc<AnyStore> {
        Arc::clone(&self.store)
    }

    /// What removes registrations while there are no workers.
    pub(crate) fn removals(&self) -> Removals {
        Removals::new(self.store(), Arc::clone(&self.completions), Arc::new([]))
    }

    /// The addresses as they are bound.
    pub(crate) fn listeners(&self) -> Vec<Listener> {
        self.bound.iter().map(|bound| bound.listener).collect()
    }

    /// Starts the workers, which decide with `settings`.
    pub(crate) fn start(mut self, settings: Arc<Settings>) -> Result<Server, Fatal> {
        let (count, limits, listeners) =
            (self.loaded.config.worker_count(), self.loaded.config.limits.clone(), self.listeners());
        let (inboxes, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(limits.worker_queue.0)).unzip();
        let (ending, ended) = mpsc::channel(usize::from(count));
        let notes = (0..count).map(|_| Notes::new(limits.journal_queue.0)).collect();
        let shared = Shared {
            settings,
            keys: self.keys.clone(),
            watched: Arc::new(SubscriberIndex::new(count)),
            store: Arc::clone(&self.store),
            completions: Arc::clone(&self.completions),
            directory: Arc::new(Directory::new(self.connections, limits.connections_per_source.0)),
            defence: Arc::new(Defence::new(&self.loaded.config, Arc::clone(&self.store))),
            inboxes: inboxes.into(),
            loads: Arc::new(Loads::new(count)),
            health: Arc::clone(&self.health),
            notes,
            clock: Clock::start(),
            stop: CancellationToken::new(),
            limits,
        };
        let mut workers = Vec::with_capacity(usize::from(count));
        for (number, inbox) in (0..count).zip(receivers) {
            let own = |bound: &mut Bound| Some((bound.listener, bound.sockets.pop()?));
            let sockets = self.bound.iter_mut().filter_map(own).collect();
            let seed = u64::from_ne_bytes(secret::random()?);
            let seat = Seat { number, seed, sockets, inbox, ending: Ending(number, ending.clone()) };
            workers.push(shared.clone().start(seat)?);
        }
        Ok(Server {
            keys: self.keys,
            listeners,
            store: self.store,
            loads: shared.loads,
            directory: shared.directory,
            defence: shared.defence,
            inboxes: shared.inboxes,
            completions: shared.completions,
            health: shared.health,
            notes: shared.notes,
            metrics: self.metrics.take(),
            workers,
            stop: shared.stop,
            ended,
        })
    }
}

/// What all workers share.
#[derive(Clone)]
struct Shared {
    settings: Arc<Settings>,
    keys: Keys,
    watched: Arc<SubscriberIndex>,
    store: Arc<AnyStore>,
    completions: Arc<[Completions]>,
    directory: Arc<Directory>,
    defence: Arc<Defence>,
    inboxes: Arc<[mpsc::Sender<Inbound>]>,
    loads: Arc<Loads>,
    health: Arc<Health>,
    notes: Arc<[Notes]>,
    clock: Clock,
    stop: CancellationToken,
    limits: Limits,
}

/// What one worker has for itself.
struct Seat {
    number: u8,
    seed: u64,
    sockets: Vec<(Listener, Sockets)>,
    inbox: mpsc::Receiver<Inbound>,
    ending: Ending,
}

/// Tells that a worker has ended, even by a panic.
struct Ending(u8, mpsc::Sender<u8>);

impl Drop for Ending {
    fn drop(&mut self) {
        // There is room for every worker's one word.
        let _ = self.1.try_send(self.0);
    }
}

impl Shared {
    fn start(self, seat: Seat) -> Result<JoinHandle<()>, Fatal> {
        let name = format!("worker-{}", seat.number);
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(8).build();
        let runtime = runtime.map_err(Fatal::Thread)?;
        let thread = thread::Builder::new().name(name).spawn(move || {
            let Seat { number, seed, sockets, inbox, ending } = seat;
            runtime.block_on(async {
                match self.worker(number, seed, sockets, inbox) {
                    Ok(worker) => worker.run().await,
                    Err(error) => tracing::error!(%error, "worker {number} cannot serve its sockets"),
                }
            });
            // A DNS lookup that still runs is left alone.
            runtime.shutdown_background();
            drop(ending);
        });
        thread.map_err(Fatal::Thread)
    }

    fn worker(
        self,
        number: u8,
        seed: u64,
        sockets: Vec<(Listener, Sockets)>,
        inbox: mpsc::Receiver<Inbound>,
    ) -> io::Result<Worker> {
        let own = self.inboxes.get(usize::from(number)).cloned().unwrap_or_else(|| mpsc::channel(1).0);
        let mut udp = Vec::new();
        for (listener, sockets) in sockets {
            match sockets {
                Sockets::Udp(socket) => udp.push(Udp::new(socket, listener.address)?),
                Sockets::Tcp(listener) => {
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    tokio::spawn(transport::accept(
                        listener,
                        Arc::clone(&self.directory),
                        Arc::clone(&self.defence),
                        own.clone(),
                    ));
                }
            }
        }
        let epoch = (seed >> 32) as u32;
        let connections = Arc::clone(self.directory.connections());
        let limits = stream_limits(&self.limits);
        let streams = Streams::new(number, epoch, self.directory, Arc::clone(&self.inboxes), limits);
        let lookups = LookupLimits { most: self.limits.lookups.0, time: self.limits.lookup_time.0 };
        Ok(Worker {
            number,
            answers: Answers::new(number, self.store, lookups, self.limits.users.0, &self.settings, own),
            core: Core::new(self.settings, &self.keys, number, seed, self.watched).with_connections(connections),
            transports: Transports { udp, outlet: Outlet::default(), streams },
            inlet: Inlet::new(self.limits.message_size.0),
            inbox,
            inboxes: self.inboxes,
            completions: self.completions,
            loads: self.loads,
            health: self.health,
            defence: self.defence,
            banned: Banned::default(),
            notes: self.notes,
            clock: self.clock,
            stop: self.stop,
            tally: Tally::new(),
            spare: Spare::default(),
        })
    }
}

fn stream_limits(limits: &Limits) -> StreamLimits {
    StreamLimits {
        patience: Patience {
            longest: limits.message_size.0,
            idle: limits.connection_idle.0,
            message: limits.message_time.0,
        },
        queue: limits.connection_queue.0,
        connect: limits.connect_time.0,
    }
}

impl Server {
    /// Waits for a worker to end, which it never should.
    pub(crate) async fn failed(&mut self) -> Fatal {
        Fatal::Worker(self.ended.recv().await.unwrap_or_default())
    }

    /// Makes every change safe, lets the workers say so, and ends them.
    pub(crate) async fn stop(mut self) {
        if !self.health.is_store_usable() {
            tracing::error!("the location store could not be written: the last registrations end with this run");
        }
        let store = Arc::clone(&self.store);
        let closed = tokio::task::spawn_blocking(move || store.close());
        if timeout(STORE_PATIENCE, closed).await.is_err() {
            tracing::error!("the location store cannot be closed: the last registrations may be lost");
        }
        self.stop.cancel();
        let all_ended = async {
            for _ in &self.workers {
                self.ended.recv().await;
            }
        };
        if timeout(WORKER_PATIENCE, all_ended).await.is_err() {
            tracing::error!("a worker does not end");
            return;
        }
        for worker in self.workers {
            if worker.join().is_err() {
                tracing::error!("a worker ended by a panic");
            }
        }
    }
}
