//! The thread of one worker: its event loop, its core and its sockets.
//!
//! Decides what all workers share and what each of them owns. Must not decide when workers start and stop: `server` does.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use location::AnyStore;
use proxy::{CallTable, Core, Keys, Listener, Settings, SubscriberIndex};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Limits;
use crate::data::set_rules::RuleRequest;
use crate::defence::{BanList, Defence};
use crate::error::CliError;
use crate::journal::EventQueue;
use crate::metrics::Tally;
use crate::resolver::Resolver;
use crate::tls::ActiveTls;
use crate::trace::Trace;
use crate::transport::{
    Acceptor, ClientRules, Directory, HandshakeLimits, Inbound, Pages, StreamLimits, Streams, Transports, Udp,
    UdpReceiver, UdpSendQueue, WorkerSocket, report_icmp,
};
use crate::worker::{Answers, Completions, Health, Loads, LookupLimits, Scratch, Worker};
/// Shared by all workers.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) settings: Arc<Settings>,
    pub(super) keys: Keys,
    pub(super) subscriber_index: Arc<SubscriberIndex>,
    pub(super) store: Arc<AnyStore>,
    pub(super) calls: Arc<CallTable>,
    pub(super) completions: Arc<[Completions]>,
    pub(super) directory: Arc<Directory>,
    pub(super) defence: Arc<Defence>,
    pub(super) client_rules: Arc<ClientRules>,
    pub(super) pages: Pages,
    pub(super) handshakes: HandshakeLimits,
    pub(super) tls: Arc<ActiveTls>,
    pub(super) trace: Arc<Trace>,
    pub(super) inboxes: Arc<[mpsc::Sender<Inbound>]>,
    pub(super) rule_requests: mpsc::Sender<RuleRequest>,
    pub(super) loads: Arc<Loads>,
    pub(super) health: Arc<Health>,
    pub(super) event_queues: Arc<[EventQueue]>,
    pub(super) clock: Clock,
    pub(super) stop: CancellationToken,
    pub(super) resolver: Arc<Resolver>,
    pub(super) limits: Limits,
    /// See [`StreamLimits::silence`].
    pub(super) silence: Option<Duration>,
}

/// Owned by one worker.
pub(super) struct WorkerParts {
    pub(super) number: u8,
    pub(super) seed: u64,
    pub(super) sockets: Vec<(Listener, WorkerSocket)>,
    pub(super) inbox: mpsc::Receiver<Inbound>,
    pub(super) exit_guard: WorkerExitGuard,
}

/// Reports on drop that a worker has ended, also after a panic.
pub(super) struct WorkerExitGuard(pub(super) u8, pub(super) mpsc::Sender<u8>);

impl Drop for WorkerExitGuard {
    fn drop(&mut self) {
        // The channel has room for every worker.
        let _ = self.1.try_send(self.0);
    }
}

impl Shared {
    /// Starts the thread of a worker.
    pub(super) fn start(self, parts: WorkerParts) -> Result<JoinHandle<()>, CliError> {
        let name = format!("worker-{}", parts.number);
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(8).build();
        let runtime = runtime.map_err(CliError::Thread)?;
        let thread = thread::Builder::new().name(name).spawn(move || {
            let WorkerParts { number, seed, sockets, inbox, exit_guard } = parts;
            runtime.block_on(async {
                match self.worker(number, seed, sockets, inbox) {
                    Ok(worker) => worker.run().await,
                    Err(error) => tracing::error!(%error, "worker {number} cannot serve its sockets"),
                }
            });
            // A DNS lookup in progress is not waited for.
            runtime.shutdown_background();
            drop(exit_guard);
        });
        thread.map_err(CliError::Thread)
    }

    fn worker(
        self,
        number: u8,
        seed: u64,
        sockets: Vec<(Listener, WorkerSocket)>,
        inbox: mpsc::Receiver<Inbound>,
    ) -> io::Result<Worker> {
        let own_inbox = self.inboxes.get(usize::from(number)).cloned().unwrap_or_else(|| mpsc::channel(1).0);
        let udp = self.listen(sockets, &own_inbox)?;
        let epoch = (seed >> 32) as u32;
        let connections = Arc::clone(self.directory.connections());
        let limits = StreamLimits::of(&self.limits, self.silence);
        let shared = (self.tls, Arc::clone(self.trace.tap()));
        let streams = Streams::new(number, epoch, self.directory, Arc::clone(&self.inboxes), limits, shared)?;
        let lookups = LookupLimits {
            max: self.limits.lookups.0,
            max_per_source: self.limits.lookups_per_source.0,
            timeout: self.limits.lookup_time.0,
        };
        Ok(Worker {
            number,
            answers: Answers::new(
                number,
                self.store,
                (self.resolver, lookups),
                self.limits.users.0,
                &self.settings,
                (own_inbox, self.rule_requests),
            ),
            core: Core::new(self.settings, &self.keys, number, seed, self.subscriber_index)
                .with_connections(connections)
                .with_calls(self.calls),
            transports: Transports {
                udp,
                udp_send_queue: UdpSendQueue::new(self.limits.sent_memory.0),
                streams,
                tap: Arc::clone(self.trace.tap()),
            },
            udp_receiver: UdpReceiver::new(self.limits.message_size.0),
            inbox,
            inboxes: self.inboxes,
            completions: self.completions,
            loads: self.loads,
            health: self.health,
            defence: self.defence,
            banned: BanList::default(),
            event_queues: self.event_queues,
            clock: self.clock,
            stop: self.stop,
            tally: Tally::default(),
            scratch: Scratch::default(),
        })
    }

    /// Accepts connections at the stream sockets. Returns the UDP sockets.
    fn listen(
        &self,
        sockets: Vec<(Listener, WorkerSocket)>,
        own_inbox: &mpsc::Sender<Inbound>,
    ) -> io::Result<Vec<Udp>> {
        let mut udp = Vec::new();
        for (listener, socket) in sockets {
            match socket {
                WorkerSocket::Udp(socket) => {
                    let socket = Udp::new(socket, listener.address)?;
                    tokio::spawn(report_icmp(Arc::clone(socket.shared()), own_inbox.clone()));
                    udp.push(socket);
                }
                WorkerSocket::Stream(socket) => {
                    let acceptor = Acceptor {
                        transport: listener.transport,
                        directory: Arc::clone(&self.directory),
                        defence: Arc::clone(&self.defence),
                        handshakes: self.handshakes.clone(),
                        rules: Arc::clone(&self.client_rules),
                        pages: Arc::clone(&self.pages),
                        tls: Arc::clone(&self.tls),
                        inbox: own_inbox.clone(),
                    };
                    tokio::spawn(acceptor.run(tokio::net::TcpListener::from_std(socket)?));
                }
            }
        }
        Ok(udp)
    }
}
