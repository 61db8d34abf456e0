//! The driver of the cores in a world: the clock, the store, DNS, and who gets which packet.
//!
//! Does what the server's worker loop does, one event at a time; decides nothing a core should decide.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use location::{
    Aor, Change, Commit, ConnectionId, ContactChange, Flow, FlowId, Limits, MemoryStore, Operation, Store, Ticket,
};
use parser::{Message, Transport};
use proxy::{
    Connections, Core, CoreMessage, Event, Handover, Instant, Keys, Now, Outbox, Received, Settings, SubscriberIndex,
    Wall,
};

use super::ladder;
use super::net::{Fault, Network, Parcel, Sent, Wire};
use super::settings::{DOMAIN, KEYS, SERVER, at};
use super::sip::Sip;
use super::watch::{Cause, Deed, Robot, Turn, Watcher};

/// How the store behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    /// It loads, but takes no commit.
    ReadOnly,
    /// The same, because it has no room.
    Full,
    /// It answers nothing.
    Broken,
}

/// A phone or another peer.
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) transport: Transport,
    /// What it says its address is.
    pub(crate) address: SocketAddr,
    /// Where its packets come from, and where it can be reached.
    pub(crate) source: SocketAddr,
    /// The connection that it opened, for its requests; 0 if it opened none.
    pub(crate) own_connection: u64,
    /// The connection over which it was spoken to last, for its responses (RFC 3261 18.2.2); 0 if none.
    pub(crate) connection: u64,
    /// The worker whose socket its packets reach.
    pub(crate) worker: usize,
    /// Whether anything reaches it.
    pub(crate) plugged: bool,
    pub(crate) inbox: VecDeque<Sip>,
    pub(crate) robot: Option<Box<dyn Robot>>,
}

pub(crate) struct State {
    pub(crate) cores: Vec<Core>,
    settings: Settings,
    pub(super) store: MemoryStore,
    pub(crate) store_mood: Mood,
    /// Microseconds that an answer of store or DNS takes.
    pub(crate) patience: u64,
    /// Microseconds that a message to another worker takes.
    pub(crate) core_messages: u64,
    /// Microseconds that a change takes to be safe.
    pub(crate) commits: u64,
    /// How far the wall clock has been set off, in milliseconds.
    wall_step: i64,
    pub(crate) names: BTreeMap<String, Vec<SocketAddr>>,
    /// Microseconds.
    pub(crate) now: u64,
    pub(crate) net: Network,
    pub(crate) agents: Vec<Endpoint>,
    pub(crate) events: Vec<Event>,
    pub(crate) wire: Wire,
    pub(crate) watcher: Option<Box<dyn Watcher>>,
    /// The message that what happens now is a consequence of, and its sender. None for a timer.
    pub(crate) cause: Option<Cause>,
    /// The network of agents that are still to come.
    pub(super) network: [u8; 3],
    /// How often all cores were replaced by new ones.
    restarts: u8,
}

/// The wall clock at the beginning, in milliseconds.
const EPOCH: u64 = 1_750_000_000_000;

impl State {
    pub(crate) fn new(settings: Settings, workers: u8, seed: u64) -> Self {
        let net = Network::new(seed);
        Self {
            cores: cores(&settings, &KEYS, workers, seed, &net.open),
            settings,
            store: MemoryStore::new(),
            store_mood: Mood::Good,
            patience: 0,
            core_messages: 0,
            commits: 0,
            wall_step: 0,
            names: BTreeMap::new(),
            now: 0,
            net,
            agents: Vec::new(),
            events: Vec::new(),
            wire: Wire::default(),
            watcher: None,
            cause: None,
            restarts: 0,
            network: [192, 0, 2],
        }
    }

    pub(crate) fn add_agent(&mut self, name: &str, transport: Transport) -> usize {
        let id = self.agents.len();
        let [a, b, c] = self.network;
        let host = u8::try_from(id + 11).expect("room in the network");
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
            inbox: VecDeque::new(),
            robot: None,
        });
        id
    }

    pub(crate) fn reconfigure(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        let shared = Arc::new(self.settings.clone());
        for core in &mut self.cores {
            core.reconfigure(Arc::clone(&shared));
        }
    }

    /// The program ends and starts again: nothing is kept but the store and the long-lived keys.
    pub(crate) fn restart(&mut self) {
        self.restarts += 1;
        let workers = u8::try_from(self.cores.len()).expect("few workers");
        let keys = Keys { nonce: [2 + self.restarts; 16], ..KEYS };
        self.cores = cores(&self.settings, &keys, workers, u64::from(self.restarts), &self.net.open);
    }

    pub(crate) fn remove(&mut self, user: &str, contact: &str) {
        let aor = Aor::new(user.as_bytes(), DOMAIN.as_bytes());
        let old = self.store.load(&aor).expect("a registered user");
        let operation = Operation::Update([ContactChange::plain(contact.as_bytes(), 0)].into_iter().collect());
        let applied = old.apply(&Change::administrative(operation), self.wall(), &Limits::DEFAULT).expect("good");
        let record = applied.changed().expect("a phone of his");
        assert!(matches!(self.store.commit(old.version(), record, Ticket { worker: 0, id: 0 }), Commit::Done));
        for worker in 0..self.cores.len() {
            self.deliver(worker, CoreMessage::RegistrationChanged(aor.clone()), None);
        }
    }

    fn wall(&self) -> Wall {
        Wall((EPOCH + self.now / 1000).saturating_add_signed(self.wall_step))
    }

    /// Lets time pass, and everything happen that is due in it.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + u64::try_from(time.as_micros()).expect("a short time");
        while self.step(end) {}
        self.now = end;
    }

    /// Until nothing is due any more; false if that takes longer than `most`.
    pub(crate) fn run_until_quiet(&mut self, most: Duration) -> bool {
        self.run(most);
        self.net.next().is_none() && self.cores.iter().all(|core| core.next_timeout().is_none())
    }

    /// The next thing that happens by `end`, if there is one.
    pub(crate) fn step(&mut self, end: u64) -> bool {
        let timer = (0..self.cores.len())
            .filter_map(|worker| self.cores[worker].next_timeout().map(|at| (at.as_micros(), worker)))
            .min();
        let arrival = self.net.next();
        match (arrival, timer) {
            (Some(arrival), _) if arrival <= end && timer.is_none_or(|(at, _)| arrival <= at) => {
                self.now = self.now.max(arrival);
                let parcel = self.net.arrive().expect("it was there");
                self.hand_out(parcel);
                self.watch(|watcher, now| watcher.settled(now));
                true
            }
            (_, Some((at, worker))) if at <= end => {
                assert!(at > 0, "a timer before the beginning");
                self.now = self.now.max(at);
                self.cause = None;
                self.drive(worker, |core, now, outbox| core.timeout(now, outbox));
                let next = self.cores[worker].next_timeout();
                assert!(next.is_none_or(|next| next.as_micros() > self.now), "a timer that is due stays due");
                self.watch(|watcher, now| watcher.settled(now));
                true
            }
            _ => false,
        }
    }

    fn hand_out(&mut self, parcel: Parcel) {
        self.cause = None;
        match parcel {
            Parcel::ToServer { from, connection, bytes, sip } => self.server_hears(from, connection, bytes, sip),
            Parcel::ToAgent { agent, connection, sip } => self.agent_hears(agent, connection, sip),
            Parcel::CoreMessage { worker, core_message, message } => self.deliver(worker, core_message, message),
            Parcel::Answer { worker, parked, answer, cause } => {
                self.cause = cause;
                self.drive(worker, |core, now, outbox| core.answer(now, parked, answer, outbox));
            }
            Parcel::Wake { agent, token } => {
                if let Some(robot) = self.agents[agent].robot.take() {
                    self.act(agent, robot, |robot, turn| robot.wake(token, turn));
                }
            }
            Parcel::Fault(fault) => self.befall(fault),
        }
    }

    fn befall(&mut self, fault: Fault) {
        match fault {
            Fault::Unplug(agent) => {
                self.agents[agent].plugged = false;
                self.net.disconnect(agent);
            }
            Fault::Plug(agent) => self.agents[agent].plugged = true,
            Fault::Disconnect(agent) => self.net.disconnect(agent),
            Fault::StepClock(millis) => self.wall_step += millis,
            Fault::Store(mood) => self.store_mood = mood,
        }
    }

    fn act(&mut self, agent: usize, mut robot: Box<dyn Robot>, act: impl FnOnce(&mut dyn Robot, &mut Turn)) {
        let mut turn = Turn { now: self.now, deeds: Vec::new() };
        act(&mut *robot, &mut turn);
        self.agents[agent].robot = Some(robot);
        for deed in turn.deeds {
            match deed {
                Deed::Send(sip) => self.agent_says(agent, sip.bytes().into(), sip),
                Deed::Wake { micros, token } => self.net.at(self.now + micros, Parcel::Wake { agent, token }),
            }
        }
    }

    pub(crate) fn agent_sends(&mut self, from: usize, bytes: Bytes) {
        let sip = Rc::new(Sip::parse(&bytes));
        self.agent_says(from, bytes, sip);
    }

    fn agent_says(&mut self, from: usize, bytes: Bytes, sip: Rc<Sip>) {
        let endpoint = &self.agents[from];
        let mut connection = if sip.is_request() { endpoint.own_connection } else { endpoint.connection };
        let mut copies = 0;
        if endpoint.plugged {
            if endpoint.transport.is_reliable() && self.net.connection(connection).is_none() {
                let remote = SocketAddr::new(endpoint.source.ip(), 40_000 + u16::try_from(from).expect("few agents"));
                connection = self.net.connect(from, remote);
                self.agents[from].own_connection = connection;
            }
            let parcel = || Parcel::ToServer { from, connection, bytes: bytes.clone(), sip: Rc::clone(&sip) };
            copies = self.net.send(self.now, from, connection, parcel);
        }
        self.wire.borrow_mut().push(Sent { micros: self.now, agent: from, by_server: false, sip, copies });
    }

    fn agent_hears(&mut self, agent: usize, connection: u64, sip: Rc<Sip>) {
        let lost = connection != 0 && self.net.connection(connection).is_none();
        let endpoint = &mut self.agents[agent];
        if lost || !endpoint.plugged {
            return;
        }
        endpoint.connection = connection;
        match endpoint.robot.take() {
            Some(robot) => self.act(agent, robot, |robot, turn| robot.hear(&sip, turn)),
            None => endpoint.inbox.push_back(Rc::unwrap_or_clone(sip)),
        }
    }

    fn server_hears(&mut self, from: usize, connection: u64, bytes: Bytes, sip: Rc<Sip>) {
        let Endpoint { transport, source, worker, plugged, .. } = self.agents[from];
        let line = self.net.connection(connection).map(|line| line.remote);
        if connection != 0 && line.is_none() || !plugged {
            return;
        }
        let id = ConnectionId::new(connection).map(FlowId::Connection).unwrap_or_default();
        let flow = Flow { transport, remote: line.unwrap_or(source), local: SERVER, id };
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

    fn deliver(&mut self, worker: usize, core_message: CoreMessage, message: Option<Cause>) {
        self.cause.clone_from(&message);
        self.drive_with(worker, message, |core, now, outbox| core.deliver(now, core_message, outbox));
    }

    /// Calls one verb of a core, and does what it says.
    pub(super) fn drive(&mut self, worker: usize, verb: impl FnOnce(&mut Core, Now, &mut Outbox)) {
        self.drive_with(worker, None, verb);
    }

    /// The same with a message, which its sender's agent and its text go along with.
    fn drive_with(&mut self, worker: usize, message: Option<Cause>, verb: impl FnOnce(&mut Core, Now, &mut Outbox)) {
        let now = Now { mono: Instant::from_micros(self.now), wall: self.wall() };
        let mut outbox = Outbox::new();
        verb(&mut self.cores[worker], now, &mut outbox);
        // What another worker will deal with is heard when that one gets it.
        let passed_on =
            |core_message: &CoreMessage| matches!(core_message, CoreMessage::Request(_) | CoreMessage::Response(_));
        let mine = !outbox.handovers.iter().any(|handover| passed_on(&handover.core_message));
        if let Some((from, sip)) = message.as_ref().filter(|_| mine) {
            self.watch(|watcher, now| watcher.heard(now, *from, sip));
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
            None => (0..self.cores.len()).filter(|other| *other != from).collect(),
        };
        for worker in workers {
            assert!(worker < self.cores.len(), "a core_message for a worker that does not exist");
            let sender = self.cause.as_ref().map(|(agent, _)| *agent);
            if self.net.loses_letter(sender) {
                continue;
            }
            let (core_message, message) = (handover.core_message.clone(), message.clone());
            match self.core_messages {
                0 => self.deliver(worker, core_message, message),
                micros => self.net.at(self.now + micros, Parcel::CoreMessage { worker, core_message, message }),
            }
        }
    }

    pub(super) fn watch(&mut self, see: impl FnOnce(&mut dyn Watcher, u64)) {
        if let Some(watcher) = &mut self.watcher {
            see(&mut **watcher, self.now);
        }
    }

    /// What was said so far, for a scenario that went wrong.
    pub(crate) fn transcript(&self) -> String {
        let wire = self.wire.borrow();
        ladder::draw(wire.iter().rev().take(60).rev(), |agent| &self.agents[agent].name)
    }
}

fn cores(settings: &Settings, keys: &Keys, workers: u8, seed: u64, open: &Arc<Connections>) -> Vec<Core> {
    let (shared, watched) = (Arc::new(settings.clone()), Arc::new(SubscriberIndex::new(workers)));
    let core = |worker| {
        let core = Core::new(Arc::clone(&shared), keys, worker, seed, Arc::clone(&watched));
        core.with_connections(Arc::clone(open))
    };
    (0..workers).map(core).collect()
}
