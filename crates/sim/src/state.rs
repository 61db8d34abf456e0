//! The driver of the cores: the clock, the store, DNS, and the delivery of packets.
//!
//! It does what the worker loop of the server does, one event at a time, and nothing that a core should decide.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use location::{Aor, Change, Commit, ContactChange, Flow, FlowId, Limits, MemoryStore, Operation, Store, Ticket};
use parser::{Message, Transport};
use proxy::{
    Answer, CallTable, Continuation, Core, CoreMessage, Event, Handover, Instant, Keys, Now, Outbox, Received,
    Settings, Wall,
};

use crate::behaviour::{Action, Behaviour, Cause, Observer, Reaction};
use crate::cluster::Cluster;
use crate::cores::{MAX_CALLS, cores};
use crate::dns::Dns;
use crate::fault::{Fault, StoreState};
use crate::ladder;
use crate::net::{InFlight, Network, Sent, Wire};
use crate::settings::{DOMAIN, KEYS};
use crate::sip::Sip;

/// A phone or another peer.
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) transport: Transport,
    /// The address in its Via and Contact.
    pub(crate) address: SocketAddr,
    /// The source of its packets, where it also receives.
    pub(crate) source: SocketAddr,
    /// The connection that it opened, for its requests; 0 if there is none.
    pub(crate) own_connection: u64,
    /// The connection of the last message that it received, for its responses (RFC 3261 18.2.2); 0 if there is none.
    pub(crate) connection: u64,
    /// The worker whose socket its packets reach.
    pub(crate) worker: usize,
    /// Whether packets reach it and leave it.
    pub(crate) plugged: bool,
    /// Whether its host reports each datagram that cannot be delivered while it is disconnected (ICMP).
    pub(crate) reports: bool,
    /// Its Contact, if that is not its address.
    pub(crate) contact: Option<Rc<str>>,
    pub(crate) inbox: VecDeque<Sip>,
    pub(crate) behaviour: Option<Box<dyn Behaviour>>,
}

pub(crate) struct State {
    pub(crate) cores: Vec<Core>,
    /// The calls of all cores. Each node has its own ([`State::call_tables`]).
    pub(crate) calls: Arc<CallTable>,
    pub(crate) settings: Settings,
    /// The nodes, if there is more than one server. Each has one worker.
    pub(crate) cluster: Option<Cluster>,
    pub(crate) store: MemoryStore,
    pub(crate) store_state: StoreState,
    /// How long the store and DNS take to answer, in microseconds.
    pub(crate) answer_delay: u64,
    /// How long a message to another worker takes, in microseconds.
    pub(crate) core_messages: u64,
    /// How long a change takes to become durable, in microseconds.
    pub(crate) commits: u64,
    /// By how much the wall clock was set, in milliseconds.
    wall_step: i64,
    pub(crate) dns: Dns,
    /// The time in microseconds since the beginning.
    pub(crate) now: u64,
    pub(crate) net: Network,
    pub(crate) agents: Vec<Endpoint>,
    pub(crate) events: Vec<Event>,
    pub(crate) wire: Wire,
    pub(crate) observer: Option<Box<dyn Observer>>,
    /// The message that caused what happens now, and its sender; `None` for a timer.
    pub(crate) cause: Option<Cause>,
    /// The network of agents that are added from now on.
    pub(crate) network: [u8; 3],
    /// How often the server was restarted.
    restarts: u8,
}

/// The wall clock at the beginning, in milliseconds.
const EPOCH: u64 = 1_750_000_000_000;

impl State {
    pub(crate) fn new(settings: Settings, workers: u8, seed: u64) -> Self {
        let (net, calls) = (Network::new(seed), Arc::new(CallTable::new(MAX_CALLS)));
        Self {
            cores: cores(&settings, &KEYS, (workers, seed), &net.open[0], &calls),
            calls,
            settings,
            cluster: None,
            store: MemoryStore::new(),
            store_state: StoreState::Working,
            answer_delay: 0,
            core_messages: 0,
            commits: 0,
            wall_step: 0,
            dns: Dns::default(),
            now: 0,
            net,
            agents: Vec::new(),
            events: Vec::new(),
            wire: Wire::default(),
            observer: None,
            cause: None,
            restarts: 0,
            network: [192, 0, 2],
        }
    }

    pub(crate) fn add_agent(&mut self, name: &str, transport: Transport) -> usize {
        let id = self.agents.len();
        let [a, b, c] = self.network;
        let host = u8::try_from(id + 11).expect("a free address");
        let address = SocketAddr::new([a, b, c, host].into(), 5060);
        self.agents.push(Endpoint {
            name: name.to_owned(),
            transport,
            address,
            source: address,
            own_connection: 0,
            connection: 0,
            worker: 0,
            plugged: true,
            reports: false,
            contact: None,
            inbox: VecDeque::new(),
            behaviour: None,
        });
        id
    }

    pub(crate) fn reconfigure(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        let shared = Arc::new(self.settings.clone());
        for (index, core) in self.cores.iter_mut().enumerate() {
            let of_node = self.cluster.as_ref().map(|cluster| Arc::new(cluster.settings(index, &shared)));
            core.reconfigure(of_node.unwrap_or_else(|| Arc::clone(&shared)));
        }
    }

    /// Restarts the server: it keeps only the store and the long-lived keys.
    pub(crate) fn restart(&mut self) {
        self.restarts += 1;
        let workers = u8::try_from(self.cores.len()).expect("few workers");
        let keys = Keys { nonce: [2 + self.restarts; 16], ..KEYS };
        let saved = self.calls.all();
        self.calls = Arc::new(CallTable::new(MAX_CALLS));
        for call in saved {
            // Without a tag of the caller (RFC 2543), no request would find it.
            let goes_on = call.answered.is_some() && !call.caller_tag.is_empty();
            assert_eq!(self.calls.restore(call), goes_on);
        }
        let seed = u64::from(self.restarts);
        self.cores = cores(&self.settings, &keys, (workers, seed), &self.net.open[0], &self.calls);
    }

    /// Does what the server does every few seconds with the calls whose end no message reports.
    pub(crate) fn sweep_calls(&mut self) {
        for worker in 0..self.cluster.as_ref().map_or(1, |cluster| cluster.nodes.len()) {
            self.deliver(worker, CoreMessage::SweepCalls, None);
        }
    }

    /// The calls of each server.
    pub(crate) fn call_tables(&self) -> Vec<&CallTable> {
        match &self.cluster {
            Some(cluster) => cluster.nodes.iter().map(|node| &*node.calls).collect(),
            None => vec![&self.calls],
        }
    }

    pub(crate) fn remove(&mut self, user: &str, contact: &str) {
        let aor = Aor::new(user.as_bytes(), DOMAIN.as_bytes());
        let old = self.store.load(&aor).expect("a registered user");
        let operation = Operation::Update([ContactChange::plain(contact.as_bytes(), 0)].into_iter().collect());
        let applied = old.apply(&Change::administrative(operation), self.wall(), &Limits::DEFAULT).expect("good");
        let record = applied.changed().expect("a phone of this user");
        assert!(matches!(self.store.commit(old.version(), record, Ticket { worker: 0, id: 0 }), Commit::Done));
        for worker in 0..self.cores.len() {
            self.deliver(worker, CoreMessage::RegistrationChanged(aor.clone()), None);
        }
    }

    fn wall(&self) -> Wall {
        Wall((EPOCH + self.now / 1000).saturating_add_signed(self.wall_step))
    }

    /// Advances the clock and does everything that is due.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + u64::try_from(time.as_micros()).expect("a short time");
        while self.step(end) {}
        self.now = end;
    }

    /// Runs for `most`. True if nothing is due any more then.
    pub(crate) fn run_until_quiet(&mut self, most: Duration) -> bool {
        self.run(most);
        self.net.next().is_none() && self.cores.iter().all(|core| core.next_timeout().is_none())
    }

    /// Does the next thing that is due by `end`. False if there is none.
    pub(crate) fn step(&mut self, end: u64) -> bool {
        let timer = (0..self.cores.len())
            .filter_map(|worker| self.cores[worker].next_timeout().map(|at| (at.as_micros(), worker)))
            .min();
        let arrival = self.net.next();
        match (arrival, timer) {
            (Some(arrival), _) if arrival <= end && timer.is_none_or(|(at, _)| arrival <= at) => {
                self.now = self.now.max(arrival);
                let in_flight = self.net.arrive().expect("it was there");
                self.arrive(in_flight);
                self.observe(|observer, now| observer.on_step_end(now));
                true
            }
            (_, Some((at, worker))) if at <= end => {
                assert!(at > 0, "a timer at time 0");
                self.now = self.now.max(at);
                self.cause = None;
                self.drive(worker, |core, now, outbox| core.timeout(now, outbox));
                let next = self.cores[worker].next_timeout();
                assert!(next.is_none_or(|next| next.as_micros() > self.now), "a timer that is due stays due");
                self.observe(|observer, now| observer.on_step_end(now));
                true
            }
            _ => false,
        }
    }

    pub(crate) fn arrive(&mut self, in_flight: InFlight) {
        self.cause = None;
        match in_flight {
            InFlight::ToServer { from, connection, bytes, sip } => self.server_receives(from, connection, bytes, sip),
            InFlight::ToAgent { agent, connection, sip } => self.agent_receives(agent, connection, sip),
            InFlight::CoreMessage { worker, core_message, message } => self.deliver(worker, core_message, message),
            InFlight::Answer { worker, parked, answer, cause } => {
                self.cause = cause;
                self.drive(worker, |core, now, outbox| core.answer(now, parked, answer, outbox));
            }
            InFlight::Timer { agent, token } => {
                if let Some(behaviour) = self.agents[agent].behaviour.take() {
                    self.act(agent, behaviour, |behaviour, reaction| behaviour.on_timer(token, reaction));
                }
            }
            InFlight::Refused { worker, bytes, sip } => {
                self.observe(|observer, now| observer.on_refused(now, &sip));
                let parked = Continuation::undelivered(bytes);
                self.drive(worker, |core, now, outbox| core.answer(now, parked, Answer::Undelivered, outbox));
            }
            InFlight::ToNode(message) => self.node_receives(message),
            InFlight::Change { node, record } => self.change_seen(node, record),
            InFlight::Fault(fault) => self.apply_fault(fault),
        }
    }

    fn apply_fault(&mut self, fault: Fault) {
        match fault {
            Fault::Unplug(agent) => {
                self.agents[agent].plugged = false;
                self.net.disconnect(agent);
            }
            Fault::Plug(agent) => self.agents[agent].plugged = true,
            Fault::Disconnect(agent) => self.net.disconnect(agent),
            Fault::StepClock(millis) => self.wall_step += millis,
            Fault::Store(state) => self.store_state = state,
            Fault::Dns(state) => self.dns.state = state,
            Fault::EndRegistrations => self.drive(0, |core, now, outbox| {
                core.stop(now, outbox);
            }),
        }
    }

    fn act(
        &mut self,
        agent: usize,
        mut behaviour: Box<dyn Behaviour>,
        act: impl FnOnce(&mut dyn Behaviour, &mut Reaction),
    ) {
        let mut reaction = Reaction { now: self.now, actions: Vec::new() };
        act(&mut *behaviour, &mut reaction);
        self.agents[agent].behaviour = Some(behaviour);
        for action in reaction.actions {
            match action {
                Action::Send(sip) => self.agent_transmits(agent, sip.bytes().into(), sip),
                Action::SetTimer { micros, token } => self.net.at(self.now + micros, InFlight::Timer { agent, token }),
            }
        }
    }

    pub(crate) fn agent_sends(&mut self, from: usize, bytes: Bytes) {
        let sip = Rc::new(Sip::parse(&bytes));
        self.agent_transmits(from, bytes, sip);
    }

    fn agent_transmits(&mut self, from: usize, bytes: Bytes, sip: Rc<Sip>) {
        let endpoint = &self.agents[from];
        let mut connection = if sip.is_request() { endpoint.own_connection } else { endpoint.connection };
        let mut copies = 0;
        if endpoint.plugged {
            let worker = endpoint.worker;
            let node = self.cluster.as_ref().map_or(0, |_| self.node_in_via(&sip).unwrap_or(worker));
            let leads_there = self.net.connection(connection).is_some_and(|line| line.node == node);
            if self.agents[from].transport.is_reliable() && !leads_there {
                let remote =
                    SocketAddr::new(self.agents[from].source.ip(), 40_000 + u16::try_from(from).expect("few agents"));
                connection = self.net.connect(node, from, remote);
                self.agents[from].own_connection = connection;
            }
            let in_flight = || InFlight::ToServer { from, connection, bytes: bytes.clone(), sip: Rc::clone(&sip) };
            copies = self.net.send(self.now, from, connection, in_flight);
        }
        self.wire.borrow_mut().push(Sent { micros: self.now, agent: from, by_server: false, sip, copies });
    }

    fn agent_receives(&mut self, agent: usize, connection: u64, sip: Rc<Sip>) {
        let lost = connection != 0 && self.net.connection(connection).is_none();
        let endpoint = &mut self.agents[agent];
        if lost || !endpoint.plugged {
            return;
        }
        endpoint.connection = connection;
        match endpoint.behaviour.take() {
            Some(behaviour) => self.act(agent, behaviour, |behaviour, reaction| behaviour.on_message(&sip, reaction)),
            None => endpoint.inbox.push_back(Rc::unwrap_or_clone(sip)),
        }
    }

    fn server_receives(&mut self, from: usize, connection: u64, bytes: Bytes, sip: Rc<Sip>) {
        let Endpoint { transport, source, worker, plugged, .. } = self.agents[from];
        let line = self.net.connection(connection).copied();
        if connection != 0 && line.is_none() || !plugged {
            return;
        }
        let worker = line.filter(|_| self.cluster.is_some()).map_or(worker, |line| line.node);
        let worker = self.node_in_via(&sip).unwrap_or(worker);
        if self.cluster.as_ref().is_some_and(|cluster| !cluster.nodes[worker].is_running) {
            return;
        }
        let id = self.net.id_of(connection).map(FlowId::Connection).unwrap_or_default();
        let flow = Flow { transport, remote: line.map_or(source, |line| line.remote), local: self.address(worker), id };
        match Message::parse(bytes) {
            Ok(message) => {
                self.cause = Some((from, Rc::clone(&sip)));
                self.drive_with(worker, Some((from, sip)), |core, now, outbox| {
                    core.receive(now, Received { message, flow }, outbox);
                });
            }
            Err(_) => self.drive(worker, |core, _, outbox| core.garbage(&flow, outbox)),
        }
    }

    pub(crate) fn deliver(&mut self, worker: usize, core_message: CoreMessage, message: Option<Cause>) {
        self.cause.clone_from(&message);
        self.drive_with(worker, message, |core, now, outbox| core.deliver(now, core_message, outbox));
    }

    /// Calls a method of a core and carries out what it asks for.
    pub(crate) fn drive(&mut self, worker: usize, verb: impl FnOnce(&mut Core, Now, &mut Outbox)) {
        self.drive_with(worker, None, verb);
    }

    /// Like `drive`, for a message of an agent.
    fn drive_with(&mut self, worker: usize, message: Option<Cause>, verb: impl FnOnce(&mut Core, Now, &mut Outbox)) {
        let now = Now { mono: Instant::from_micros(self.now), wall: self.wall() };
        let mut outbox = Outbox::new();
        verb(&mut self.cores[worker], now, &mut outbox);
        // A message that the core hands over is received when the other worker gets it.
        let passed_on =
            |core_message: &CoreMessage| matches!(core_message, CoreMessage::Request(_) | CoreMessage::Response(_));
        let mine = !outbox.handovers.iter().any(|handover| passed_on(&handover.core_message));
        if let Some((from, sip)) = message.as_ref().filter(|_| mine) {
            self.observe(|observer, now| observer.on_received(now, *from, sip));
        }
        let handovers = std::mem::take(&mut outbox.handovers);
        self.carry_out(worker, outbox);
        for handover in handovers {
            let message = message.clone().filter(|_| passed_on(&handover.core_message));
            self.hand_over(worker, handover, message);
        }
    }

    fn hand_over(&mut self, from: usize, handover: Handover, message: Option<(usize, Rc<Sip>)>) {
        let workers = match handover.worker {
            Some(worker) => vec![usize::from(worker)],
            None if self.cluster.is_some() => Vec::new(),
            None => (0..self.cores.len()).filter(|other| *other != from).collect(),
        };
        for worker in workers {
            assert!(worker < self.cores.len(), "a message for a worker that does not exist");
            let sender = self.cause.as_ref().map(|(agent, _)| *agent);
            if self.net.loses_core_message(sender) {
                continue;
            }
            let (core_message, message) = (handover.core_message.clone(), message.clone());
            match self.core_messages {
                0 => self.deliver(worker, core_message, message),
                micros => self.net.at(self.now + micros, InFlight::CoreMessage { worker, core_message, message }),
            }
        }
    }

    pub(crate) fn observe(&mut self, see: impl FnOnce(&mut dyn Observer, u64)) {
        if let Some(observer) = &mut self.observer {
            see(&mut **observer, self.now);
        }
    }

    /// The ladder diagram of all messages, for a scenario that failed.
    pub(crate) fn transcript(&self) -> String {
        let wire = self.wire.borrow();
        ladder::draw(wire.iter().rev().take(60).rev(), |agent| &self.agents[agent].name)
    }
}
