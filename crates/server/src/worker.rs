//! The driver of one core: waits for sockets, its inbox and its timer, calls a verb of the core for each thing that
//! came, and does what the core then says. One thread, one event loop, no lock but the location map's.
//!
//! Decides fairness: of each source a bounded batch a turn. Both clocks are read once a turn. The core's outbox is
//! drained after each verb until it is quiet, so answers that memory has cost no wait.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use location::Flow;
use parser::{Message, Transport};
use proxy::{Answer, Continuation, Core, CoreMessage, Event, Now, Outbox, Question, Received};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::answers::Answers;
use crate::clock::Clock;
use crate::defence::{Banned, Defence, Failure};
use crate::health::Health;
use crate::inbox::{Completions, Inbound, Returned, Safety};
use crate::journal::Notes;
use crate::loads::Loads;
use crate::metrics::{Cap, Series, Tally};
use crate::refusal;
use crate::transport::{self, Datagram, Inlet, Transports};

/// Things taken from the inbox in one turn.
const BATCH: usize = 64;

/// One worker.
pub(crate) struct Worker {
    /// Its number.
    pub(crate) number: u8,
    /// What it decides with.
    pub(crate) core: Core,
    /// What it sends over.
    pub(crate) transports: Transports,
    /// What it receives datagrams into.
    pub(crate) inlet: Inlet,
    /// What answers its core's questions.
    pub(crate) answers: Answers,
    /// What waits for it.
    pub(crate) inbox: mpsc::Receiver<Inbound>,
    /// The inboxes of all workers.
    pub(crate) inboxes: Arc<[mpsc::Sender<Inbound>]>,
    /// Commits that have become safe.
    pub(crate) completions: Arc<[Completions]>,
    /// Where it shows how much it holds.
    pub(crate) loads: Arc<Loads>,
    /// Where it shows that it is alive.
    pub(crate) health: Arc<Health>,
    /// Who is not answered.
    pub(crate) defence: Arc<Defence>,
    /// Who is not answered, as it was when this worker looked last.
    pub(crate) banned: Banned,
    /// Where all workers note what happens.
    pub(crate) notes: Arc<[Notes]>,
    /// Time.
    pub(crate) clock: Clock,
    /// Ends it.
    pub(crate) stop: CancellationToken,
    /// Its counters.
    pub(crate) tally: Tally,
    /// Lists that are empty between turns and keep their memory.
    pub(crate) spare: Spare,
}

/// Memory that is used again.
#[derive(Default)]
pub(crate) struct Spare {
    outbox: Outbox,
    questions: Vec<(Question, Continuation)>,
    failed: Vec<Bytes>,
    datagrams: Vec<Datagram>,
    inbound: Vec<Inbound>,
    committed: Vec<(u64, Safety)>,
}

impl Worker {
    /// Serves until it is stopped.
    pub(crate) async fn run(mut self) {
        let mut timer = pin!(sleep_until(tokio::time::Instant::now()));
        let completions = Arc::clone(&self.completions);
        let mut inbound = std::mem::take(&mut self.spare.inbound);
        loop {
            let wound = self.wind(timer.as_mut());
            let stopped = {
                let announced = async {
                    match completions.get(usize::from(self.number)) {
                        Some(own) => own.announced().await,
                        None => std::future::pending().await,
                    }
                };
                let (mut announced, mut stopped) = (pin!(announced), pin!(self.stop.cancelled()));
                let (udp, inbox) = (&self.transports.udp, &mut self.inbox);
                poll_fn(|cx| {
                    // Everything is polled, so that everything wakes us.
                    let stopped = stopped.as_mut().poll(cx).is_ready();
                    let mut ready = announced.as_mut().poll(cx).is_ready();
                    ready |= wound && timer.as_mut().poll(cx).is_ready();
                    ready |= udp.iter().fold(false, |ready, udp| ready | udp.socket().poll_recv_ready(cx).is_ready());
                    ready |= inbox.poll_recv_many(cx, &mut inbound, BATCH).is_ready();
                    if stopped || ready { Poll::Ready(stopped) } else { Poll::Pending }
                })
                .await
            };
            let now = self.clock.now();
            let more = self.turn(now, &mut inbound);
            if stopped {
                return;
            }
            if more {
                // The tasks of connections run on this thread too.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Sets the timer to the core's next timeout; says whether there is one.
    fn wind(&self, timer: Pin<&mut Sleep>) -> bool {
        let Some(next) = self.core.next_timeout() else { return false };
        let next = self.clock.at(next);
        if timer.deadline() != next {
            timer.reset(next);
        }
        true
    }

    /// One batch of everything; says whether something was left.
    fn turn(&mut self, now: Now, inbound: &mut Vec<Inbound>) -> bool {
        let mut more = inbound.len() >= BATCH;
        let mut committed = std::mem::take(&mut self.spare.committed);
        if let Some(own) = self.completions.get(usize::from(self.number)) {
            own.take(&mut committed);
        }
        for (id, safety) in committed.drain(..) {
            if let Some((parked, answer)) = self.answers.committed(id, safety) {
                self.answer(now, parked, answer);
            }
        }
        self.spare.committed = committed;
        if self.core.next_timeout().is_some_and(|moment| moment <= now.mono) {
            self.core.timeout(now, &mut self.spare.outbox);
            self.drain(now);
        }
        self.heed_bans();
        for inbound in inbound.drain(..) {
            if !self.is_refused(&inbound) {
                self.take(now, inbound);
            }
        }
        let mut datagrams = std::mem::take(&mut self.spare.datagrams);
        for udp in &self.transports.udp {
            more |= self.inlet.receive(udp, &self.banned, &mut datagrams, &mut self.tally);
        }
        for Datagram { bytes, flow } in datagrams.drain(..) {
            // Again: what came before it in this batch may have led to a ban.
            if self.is_banned(flow.remote.ip()) {
                self.tally.count(Series::Banned(flow.transport));
            } else {
                self.receive(now, bytes, flow);
            }
        }
        self.spare.datagrams = datagrams;
        // First: who asks for the metrics after an answer finds it counted.
        self.tally.publish();
        self.flush(now);
        self.loads.show(self.number, &self.core.load());
        more
    }

    fn take(&mut self, now: Now, inbound: Inbound) {
        let streams = &mut self.transports.streams;
        match inbound {
            Inbound::Message { bytes, flow } => self.receive(now, bytes, flow),
            Inbound::Accepted { stream, remote, admission } => {
                streams.accepted(stream, remote, admission, &mut self.tally);
            }
            Inbound::Connected { connection, outcome } => {
                let failed = streams.connected(connection, outcome, &mut self.tally);
                failed.into_iter().for_each(|concerned| self.fail(now, concerned));
            }
            Inbound::Broken { flow, head, error } => {
                self.defence.failed(flow.remote.ip(), Failure::Unreadable);
                let answer = refusal::write(head, &flow, error);
                let event = Event::ParseError { answered: !answer.is_empty(), flow };
                self.tally.event(&event);
                streams.farewell(flow.connection, &answer);
                self.note(now, event);
            }
            Inbound::Closed { connection, cap } => {
                cap.into_iter().for_each(|cap| self.tally.count(Series::CapReached(cap)));
                streams.close(connection);
            }
            Inbound::Ping { flow, refused } => {
                self.tally.count(Series::KeepAlive(flow.transport));
                if refused {
                    streams.close(flow.connection);
                }
            }
            Inbound::Capped(cap) => self.tally.count(Series::CapReached(cap)),
            Inbound::Relay(relay) => {
                if let Err(loss) = streams.send_relayed(&relay, &mut self.tally) {
                    self.tally.count(Series::Lost(loss));
                    if let Some(worker) = relay.concerned {
                        self.fail(now, Returned { worker, text: relay.text });
                    }
                }
            }
            Inbound::Undelivered(text) => self.answer(now, Continuation::undelivered(text), Answer::Undelivered),
            Inbound::Letter(letter) => {
                self.core.deliver(now, letter, &mut self.spare.outbox);
                self.drain(now);
            }
            Inbound::Resolved { id, addresses } => {
                if let Some((parked, answer)) = self.answers.resolved(id, addresses, &mut self.tally) {
                    self.answer(now, parked, answer);
                }
            }
            Inbound::Pulse(round) => self.health.answer(self.number, round),
            Inbound::Reconfigure(settings, taken) => {
                self.answers.reconfigure(&settings);
                self.core.reconfigure(settings);
                // Whoever asked may have lost patience.
                let _ = taken.send(());
            }
        }
    }

    /// For the log.
    fn note(&mut self, now: Now, event: Event) {
        let notes = self.notes.get(usize::from(self.number));
        if notes.is_some_and(|notes| !notes.take(now.wall, event)) {
            self.tally.count(Series::CapReached(Cap::JournalQueue));
        }
    }

    /// Drops what a banned address sends over a connection, or the connection itself.
    fn is_refused(&mut self, inbound: &Inbound) -> bool {
        let (peer, transport) = match inbound {
            Inbound::Message { flow, .. } | Inbound::Broken { flow, .. } => (flow.remote, flow.transport),
            Inbound::Accepted { remote, .. } => (*remote, Transport::Tcp),
            _ => return false,
        };
        let refused = self.is_banned(peer.ip());
        if refused {
            self.tally.count(Series::Banned(transport));
        }
        refused
    }

    fn is_banned(&mut self, ip: IpAddr) -> bool {
        self.heed_bans();
        self.banned.covers(ip)
    }

    /// After each ban closes the connections that banned addresses still have open. Each worker has a turn every second.
    fn heed_bans(&mut self) {
        if self.banned.update(&self.defence) {
            let banned = &self.banned;
            self.transports.streams.close_with(|peer| banned.covers(peer));
        }
    }

    fn receive(&mut self, now: Now, bytes: Bytes, flow: Flow) {
        match Message::parse(bytes) {
            Ok(message) => self.core.receive(now, Received { message, flow }, &mut self.spare.outbox),
            Err(_) => self.core.garbage(&flow, &mut self.spare.outbox),
        }
        self.drain(now);
    }

    fn answer(&mut self, now: Now, parked: Continuation, answer: Answer) {
        self.core.answer(now, parked, answer, &mut self.spare.outbox);
        self.drain(now);
    }

    /// A message could not be sent: tells the core that sent it.
    fn fail(&mut self, now: Now, Returned { worker, text }: Returned) {
        if worker == self.number {
            self.answer(now, Continuation::undelivered(text), Answer::Undelivered);
        } else {
            self.hand_over(worker, Inbound::Undelivered(text));
        }
    }

    fn hand_over(&mut self, worker: u8, inbound: Inbound) {
        let inbox = self.inboxes.get(usize::from(worker));
        if inbox.is_none_or(|inbox| inbox.try_send(inbound).is_err()) {
            self.tally.count(Series::CapReached(Cap::WorkerQueue));
        }
    }

    fn tell_others(&mut self, letter: &CoreMessage) {
        let all = u8::try_from(self.inboxes.len()).unwrap_or(u8::MAX);
        let own = self.number;
        for worker in (0..all).filter(|worker| *worker != own) {
            self.hand_over(worker, Inbound::Letter(letter.clone()));
        }
    }

    /// Does what the core said, and what it says to that, until it is quiet.
    fn drain(&mut self, now: Now) {
        loop {
            self.dispatch(now);
            let Spare { outbox, questions, failed, .. } = &mut self.spare;
            std::mem::swap(&mut outbox.questions, questions);
            outbox.clear();
            for (question, parked) in questions.drain(..) {
                if let Some((parked, answer)) = self.answers.ask(question, parked, &mut self.tally) {
                    self.core.answer(now, parked, answer, outbox);
                }
            }
            for text in failed.drain(..) {
                self.core.answer(now, Continuation::undelivered(text), Answer::Undelivered, outbox);
            }
            let Outbox { transmits, questions, events, handovers, .. } = outbox;
            if transmits.is_empty() && questions.is_empty() && events.is_empty() && handovers.is_empty() {
                return;
            }
        }
    }

    /// Sends what waits for the end of the turn, and what the core says to what could not be sent.
    fn flush(&mut self, now: Now) {
        loop {
            self.transports.flush(&mut self.spare.failed, &mut self.tally);
            if self.spare.failed.is_empty() {
                return self.tally.publish();
            }
            self.drain(now);
        }
    }

    /// Sends, counts and hands over what is in the outbox; questions stay.
    fn dispatch(&mut self, now: Now) {
        let mut outbox = std::mem::take(&mut self.spare.outbox);
        for transmit in &outbox.transmits {
            let concerned = transmit.report_failure.then_some(self.number);
            let text = outbox.text(transmit);
            let silence = transmit.silence.map(|seconds| Duration::from_secs(seconds.into()));
            let letter = transport::Letter { hop: &transmit.hop, text, concerned, silence };
            if let Err(loss) = self.transports.send(letter, &mut self.tally) {
                self.tally.count(Series::Lost(loss));
                self.spare.failed.extend(concerned.map(|_| Bytes::copy_from_slice(text)));
            }
        }
        if self.transports.outlet.is_full() {
            self.transports.flush(&mut self.spare.failed, &mut self.tally);
        }
        for event in outbox.events.drain(..) {
            self.tally.event(&event);
            self.defence.see(&event);
            self.note(now, event);
        }
        for handover in outbox.handovers.drain(..) {
            match handover.worker {
                Some(worker) => self.hand_over(worker, Inbound::Letter(handover.core_message)),
                None => self.tell_others(&handover.core_message),
            }
        }
        self.spare.outbox = outbox;
    }
}
