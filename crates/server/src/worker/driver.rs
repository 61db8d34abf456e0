//! The driver of one core: waits for sockets, its inbox and its timer, calls the core for each input, and carries out
//! what the core puts into its outbox. One thread, one event loop; the only lock is the location map's.
//!
//! Decides fairness: each batch takes a limited amount from each source. Both clocks are read once per batch. The
//! outbox is processed after each call until it is empty, so answers that are in memory take no extra wait.
//!
//! Keeps the order of cause and effect between workers: a core message is in the other worker's inbox before anything
//! is sent, and the inbox is handled before what the sockets have received in the same batch. Otherwise the ACK of a failure could
//! reach the worker that forwarded the INVITE before this worker's message that the failure was forwarded.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use location::Flow;
use parser::{Message, Transport};
use proxy::{Answer, Continuation, Core, Event, Now, Outbox, Question, Received, Settings};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::answers::Answers;
use super::bad_request;
use super::completions::{CommitOutcome, Completions};
use super::health::Health;
use super::loads::Loads;
use crate::clock::Clock;
use crate::defence::{BanList, Defence};
use crate::journal::EventQueue;
use crate::metrics::{DriverLimit, Loss, Series, Tally};
use crate::transport::{self, Datagram, Inbound, StreamEvent, Transports, UdpReceiver, UndeliveredMessage};

/// Items that the inbox passes on when it wakes the worker. The others follow in the same batch.
const BATCH: usize = 64;

/// How long the end of a registration at a trunk is waited for; shorter than the time that a worker has to stop.
const TRUNK_PATIENCE: Duration = Duration::from_millis(700);

/// Interval at which the responses are looked for then.
const TRUNK_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// One worker.
pub(crate) struct Worker {
    /// Its number.
    pub(crate) number: u8,
    /// Its core.
    pub(crate) core: Core,
    /// Its sockets and connections.
    pub(crate) transports: Transports,
    /// Its receive buffers.
    pub(crate) udp_receiver: UdpReceiver,
    /// Answers its core's questions.
    pub(crate) answers: Answers,
    /// Its inbox.
    pub(crate) inbox: mpsc::Receiver<Inbound>,
    /// The inboxes of all workers.
    pub(crate) inboxes: Arc<[mpsc::Sender<Inbound>]>,
    /// Outcomes of commits, by worker.
    pub(crate) completions: Arc<[Completions]>,
    /// Load figures, by worker.
    pub(crate) loads: Arc<Loads>,
    /// Health of the workers and the store.
    pub(crate) health: Arc<Health>,
    /// Failures and bans.
    pub(crate) defence: Arc<Defence>,
    /// Its copy of the ban list.
    pub(crate) banned: BanList,
    /// Event queues, by worker.
    pub(crate) event_queues: Arc<[EventQueue]>,
    /// The clocks.
    pub(crate) clock: Clock,
    /// Stops it.
    pub(crate) stop: CancellationToken,
    /// Its counters.
    pub(crate) tally: Tally,
    /// Empty between batches; kept for their memory.
    pub(crate) scratch: Scratch,
}

/// Reused memory.
#[derive(Default)]
pub(crate) struct Scratch {
    outbox: Outbox,
    questions: Vec<(Question, Continuation)>,
    failed: Vec<Bytes>,
    datagrams: Vec<Datagram>,
    stream_events: Vec<StreamEvent>,
    inbound: Vec<Inbound>,
    committed: Vec<(u64, CommitOutcome)>,
}

impl Worker {
    /// Runs until it is stopped.
    pub(crate) async fn run(mut self) {
        let mut timer = pin!(sleep_until(tokio::time::Instant::now()));
        // Each poll locks the token, so the worker has one of its own.
        let stop = self.stop.child_token();
        let mut stop = pin!(stop.cancelled());
        let completions = Arc::clone(&self.completions);
        let mut inbound = std::mem::take(&mut self.scratch.inbound);
        loop {
            let has_timer = self.arm_timer(timer.as_mut());
            let stopped = {
                let notified = async {
                    match completions.get(usize::from(self.number)) {
                        Some(own) => own.notified().await,
                        None => std::future::pending().await,
                    }
                };
                let mut notified = pin!(notified);
                let (Transports { udp, streams, .. }, inbox) = (&self.transports, &mut self.inbox);
                poll_fn(|cx| {
                    // Every source is polled, so that each of them registers the waker.
                    let stopped = stop.as_mut().poll(cx).is_ready();
                    let mut ready = notified.as_mut().poll(cx).is_ready();
                    ready |= has_timer && timer.as_mut().poll(cx).is_ready();
                    ready |= udp.iter().fold(false, |ready, udp| ready | udp.socket().poll_recv_ready(cx).is_ready());
                    ready |= streams.poll_ready(cx).is_ready();
                    ready |= inbox.poll_recv_many(cx, &mut inbound, BATCH).is_ready();
                    if stopped || ready { Poll::Ready(stopped) } else { Poll::Pending }
                })
                .await
            };
            let now = self.clock.now();
            let has_more = self.run_batch(now, &mut inbound);
            if stopped {
                return self.end_trunk_registrations(&mut inbound).await;
            }
            if has_more {
                // Handshakes and look-ups run on this thread too.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Ends the registrations at trunks, and waits a little for the responses: a trunk may ask for credentials again.
    async fn end_trunk_registrations(&mut self, inbound: &mut Vec<Inbound>) {
        let now = self.clock.now();
        let mut waits = self.core.stop(now, &mut self.scratch.outbox);
        self.run_until_idle(now);
        self.flush_transports(now);
        let until = tokio::time::Instant::now() + TRUNK_PATIENCE;
        while waits && tokio::time::Instant::now() < until {
            tokio::time::sleep(TRUNK_POLL_INTERVAL).await;
            self.run_batch(self.clock.now(), inbound);
            waits = self.core.is_stopping();
        }
    }

    /// Sets the timer to the next timeout; returns whether there is one.
    fn arm_timer(&self, timer: Pin<&mut Sleep>) -> bool {
        let timeouts = [self.core.next_timeout(), self.transports.streams.next_deadline()];
        let Some(next) = timeouts.into_iter().flatten().min() else { return false };
        let next = self.clock.at(next);
        if timer.deadline() != next {
            timer.reset(next);
        }
        true
    }

    /// Handles one batch of each source; returns whether something was left.
    fn run_batch(&mut self, now: Now, inbound: &mut Vec<Inbound>) -> bool {
        let mut has_more = false;
        // Before the sockets: datagrams of an address whose ban was lifted are received again.
        self.apply_bans(now);
        let mut stream_events = std::mem::take(&mut self.scratch.stream_events);
        self.transports.streams.receive(now.mono, &mut stream_events, &mut self.tally);
        let mut datagrams = std::mem::take(&mut self.scratch.datagrams);
        for udp in &self.transports.udp {
            has_more |= self.udp_receiver.receive(udp, &self.banned, &mut datagrams, &mut self.tally);
        }
        // After the sockets: what they received may be the effect of a core message that has only just arrived.
        // All of them, but not those that come meanwhile.
        while inbound.len() < self.inbox.max_capacity()
            && let Ok(next) = self.inbox.try_recv()
        {
            inbound.push(next);
        }
        let mut committed = std::mem::take(&mut self.scratch.committed);
        if let Some(own) = self.completions.get(usize::from(self.number)) {
            own.take_all(&mut committed);
        }
        for (id, outcome) in committed.drain(..) {
            if let Some((continuation, answer)) = self.answers.committed(id, outcome) {
                self.answer(now, continuation, answer);
            }
        }
        self.scratch.committed = committed;
        if self.core.next_timeout().is_some_and(|moment| moment <= now.mono) {
            self.core.timeout(now, &mut self.scratch.outbox);
            self.run_until_idle(now);
        }
        inbound.drain(..).for_each(|inbound| self.handle_inbound(now, inbound));
        stream_events.drain(..).for_each(|event| self.handle_stream_event(now, event));
        self.scratch.stream_events = stream_events;
        // Bans are checked again: an earlier message of this batch may have caused one.
        datagrams.drain(..).for_each(|Datagram { bytes, flow }| self.receive(now, bytes, flow));
        self.scratch.datagrams = datagrams;
        self.flush_transports(now);
        self.loads.publish(self.number, &self.core.load());
        has_more || self.transports.streams.has_more()
    }

    fn handle_inbound(&mut self, now: Now, inbound: Inbound) {
        let streams = &mut self.transports.streams;
        match inbound {
            Inbound::Accepted { stream, transport, remote, received, hosts, permit } => {
                if !self.is_from_banned(now, remote, transport) {
                    let counted = (now.mono, &mut self.tally);
                    let streams = &mut self.transports.streams;
                    streams.accepted(stream, transport, remote, (received, hosts), permit, counted);
                }
            }
            Inbound::Connected { connection, outcome } => {
                let failed = streams.connected(connection, outcome, (now.mono, &mut self.tally));
                failed.into_iter().for_each(|message| self.report_undelivered(now, message));
            }
            Inbound::LimitReached(limit) => self.tally.count(limit),
            Inbound::Send(request) => {
                if let Err(loss) = streams.send_for_worker(&request, now.mono, &mut self.tally) {
                    self.tally.count(loss);
                    if let Some(worker) = request.report_to {
                        self.report_undelivered(now, UndeliveredMessage { worker, bytes: request.bytes });
                    }
                }
            }
            Inbound::Undelivered(bytes) => self.answer(now, Continuation::undelivered(bytes), Answer::Undelivered),
            Inbound::Unreached { to, quoted, is_shared } => self.report_unreached(now, to, quoted, is_shared),
            Inbound::CoreMessage(message) => {
                self.core.deliver(now, message, &mut self.scratch.outbox);
                self.run_until_idle(now);
            }
            Inbound::Resolved { id, endpoints } => {
                let answered = self.answers.resolved(id, endpoints, &mut self.tally);
                answered.into_iter().for_each(|(continuation, answer)| self.answer(now, continuation, answer));
            }
            Inbound::RulesChanged { id, changed } => {
                let answered = self.answers.rules_changed(id, changed);
                answered.into_iter().for_each(|(continuation, answer)| self.answer(now, continuation, answer));
            }
            Inbound::HealthCheck(round) => self.health.worker_answered(self.number, round),
            Inbound::Keys(keys) => self.core.set_keys(&keys),
            Inbound::Reconfigure(settings, applied) => self.reconfigure(settings, applied),
        }
    }

    fn reconfigure(&mut self, settings: Arc<Settings>, applied: oneshot::Sender<()>) {
        self.answers.reconfigure(&settings);
        self.core.reconfigure(settings);
        // The reload may have timed out.
        let _ = applied.send(());
    }

    /// Queues an event for the log.
    fn queue_event(&mut self, now: Now, event: Event) {
        let queue = self.event_queues.get(usize::from(self.number));
        if queue.is_some_and(|queue| !queue.record(now.wall, event)) {
            self.tally.count(DriverLimit::JournalQueue);
        }
    }

    fn handle_stream_event(&mut self, now: Now, event: StreamEvent) {
        match event {
            StreamEvent::Message { bytes, flow } => self.receive(now, bytes, flow),
            StreamEvent::FramingError { flow, unread } => {
                if self.is_from_banned(now, flow.remote, flow.transport) {
                    return;
                }
                self.defence.unreadable(&flow);
                if let Some((head, _)) = &unread {
                    self.transports.tap.received(&flow, head);
                }
                let answer = unread.map(|(head, error)| bad_request::write(head, &flow, error)).unwrap_or_default();
                let event = Event::ParseError { answered: !answer.is_empty(), flow };
                self.tally.event(&event);
                // The responses to the messages before it are sent first.
                self.flush_transports(now);
                if let Some(connection) = flow.id.connection() {
                    self.transports.streams.reply_and_close(connection, &answer, now.mono);
                }
                self.queue_event(now, event);
            }
            StreamEvent::Closed { connection, limit } => {
                limit.into_iter().for_each(|limit| self.tally.count(limit));
                // A peer that has closed only its side still gets the responses to its messages.
                self.flush_transports(now);
                self.transports.streams.close(connection, now.mono);
            }
        }
    }

    /// Whether a banned address sent something, or opened a connection.
    fn is_from_banned(&mut self, now: Now, peer: SocketAddr, transport: Transport) -> bool {
        self.apply_bans(now);
        let is_banned = self.banned.is_banned(peer.ip());
        if is_banned {
            self.tally.count(Series::Banned { transport });
        }
        is_banned
    }

    /// After a change of the bans, closes the open connections of banned addresses. Each worker runs at least every
    /// second.
    fn apply_bans(&mut self, now: Now) {
        if self.banned.update(&self.defence) {
            // Otherwise a response that is queued for one of them would open a new connection.
            self.flush_transports(now);
            let banned = &self.banned;
            self.transports.streams.close_matching(|peer| banned.is_banned(peer), now.mono);
        }
    }

    fn receive(&mut self, now: Now, bytes: Bytes, flow: Flow) {
        if self.is_from_banned(now, flow.remote, flow.transport) {
            return;
        }
        self.transports.tap.received(&flow, &bytes);
        match Message::parse(bytes) {
            Ok(message) => self.core.receive(now, Received { message, flow }, &mut self.scratch.outbox),
            Err(_) => self.core.garbage(&flow, &mut self.scratch.outbox),
        }
        self.run_until_idle(now);
    }

    fn answer(&mut self, now: Now, continuation: Continuation, answer: Answer) {
        self.core.answer(now, continuation, answer, &mut self.scratch.outbox);
        self.run_until_idle(now);
    }

    /// Reports an undelivered message to the core that sent it.
    fn report_undelivered(&mut self, now: Now, UndeliveredMessage { worker, bytes }: UndeliveredMessage) {
        if worker == self.number {
            self.answer(now, Continuation::undelivered(bytes), Answer::Undelivered);
        } else {
            self.send_to_worker(worker, Inbound::Undelivered(bytes));
        }
    }

    /// Reports a request that did not arrive to its core, here or at another worker.
    fn report_unreached(&mut self, now: Now, to: SocketAddr, quoted: Bytes, is_shared: bool) {
        let requests = self.transports.udp_send_queue.take_sent(to, &quoted);
        let is_known = !requests.is_empty();
        for bytes in requests {
            self.tally.count(Loss::Unreachable);
            self.answer(now, Continuation::undelivered(bytes), Answer::Undelivered);
        }
        if !is_known && !is_shared {
            self.broadcast(|| Inbound::Unreached { to, quoted: quoted.clone(), is_shared: true });
        }
    }

    fn send_to_worker(&mut self, worker: u8, inbound: Inbound) {
        let inbox = self.inboxes.get(usize::from(worker));
        if inbox.is_none_or(|inbox| inbox.try_send(inbound).is_err()) {
            self.tally.count(DriverLimit::WorkerQueue);
        }
    }

    fn broadcast(&mut self, inbound: impl Fn() -> Inbound) {
        let worker_count = u8::try_from(self.inboxes.len()).unwrap_or(u8::MAX);
        let own = self.number;
        for worker in (0..worker_count).filter(|worker| *worker != own) {
            self.send_to_worker(worker, inbound());
        }
    }

    /// Processes the outbox, and what the core adds in response, until it is empty.
    fn run_until_idle(&mut self, now: Now) {
        loop {
            self.flush_outbox(now);
            let Scratch { outbox, questions, failed, .. } = &mut self.scratch;
            std::mem::swap(&mut outbox.questions, questions);
            outbox.clear();
            for (question, continuation) in questions.drain(..) {
                if let Some((continuation, answer)) = self.answers.ask(question, continuation, &mut self.tally) {
                    self.core.answer(now, continuation, answer, outbox);
                }
            }
            for bytes in failed.drain(..) {
                self.core.answer(now, Continuation::undelivered(bytes), Answer::Undelivered, outbox);
            }
            let Outbox { transmits, questions, events, handovers, .. } = outbox;
            if transmits.is_empty() && questions.is_empty() && events.is_empty() && handovers.is_empty() {
                return;
            }
        }
    }

    /// Sends the queued messages, and what the core adds for undelivered ones.
    fn flush_transports(&mut self, now: Now) {
        // Published before anything is sent, so that a peer that reads the metrics after a response finds it counted.
        self.tally.publish();
        loop {
            self.transports.flush(now.mono, &mut self.scratch.failed, &mut self.tally);
            if self.scratch.failed.is_empty() {
                return self.tally.publish();
            }
            self.run_until_idle(now);
        }
    }

    /// Passes on core messages, queues messages to send and counts events from the outbox; questions stay.
    fn flush_outbox(&mut self, now: Now) {
        // Only the lists whose loops need the whole worker are taken: the outbox is larger.
        let mut handovers = std::mem::take(&mut self.scratch.outbox.handovers);
        for handover in handovers.drain(..) {
            match handover.worker {
                Some(worker) => self.send_to_worker(worker, Inbound::CoreMessage(handover.core_message)),
                None => self.broadcast(|| Inbound::CoreMessage(handover.core_message.clone())),
            }
        }
        self.scratch.outbox.handovers = handovers;
        let Scratch { outbox, failed, .. } = &mut self.scratch;
        for alias in outbox.aliases.drain(..) {
            self.transports.streams.add_alias(alias);
        }
        for transmit in &outbox.transmits {
            let report_to = transmit.report_failure.then_some(self.number);
            let bytes = outbox.text(transmit);
            let flow_timeout = transmit.silence.map(|seconds| Duration::from_secs(seconds.into()));
            let message = transport::OutgoingMessage { hop: &transmit.hop, bytes, report_to, flow_timeout };
            if let Err(loss) = self.transports.send(&message) {
                self.tally.count(loss);
                failed.extend(report_to.map(|_| Bytes::copy_from_slice(bytes)));
            }
            if self.transports.is_full() {
                self.transports.flush(now.mono, failed, &mut self.tally);
            }
        }
        let mut events = std::mem::take(&mut outbox.events);
        for event in &events {
            self.tally.event(event);
            self.defence.observe(event);
        }
        // An event is large, and few are logged.
        for event in events.extract_if(.., |event| EventQueue::takes(event)) {
            self.queue_event(now, event);
        }
        events.clear();
        self.scratch.outbox.events = events;
    }
}
