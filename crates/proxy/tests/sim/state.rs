//! The driver of the cores in a world: the clock, the store, DNS, and who gets which packet.
//!
//! Does what the server's worker loop does, one event at a time; decides nothing a core should decide.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use location::{Commit, Flow, MemoryStore, Store, Ticket};
use parser::{Message, Transport};
use proxy::{Answer, Core, Event, Hop, Instant, Now, Outbox, Parked, Question, Received, Settings, Wall};

use super::net::{Network, Parcel, Sent};
use super::robots::{Deed, Robot};
use super::settings::{KEYS, SERVER, at};
use super::sip::Sip;

/// How the store behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
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
    /// The connection it speaks over; 0 if none is open.
    pub(crate) connection: u64,
    /// The worker whose socket its packets reach.
    pub(crate) worker: usize,
    /// Whether anything reaches it.
    pub(crate) plugged: bool,
    pub(crate) inbox: VecDeque<Sip>,
    pub(crate) robot: Option<Box<dyn Robot>>,
    pub(crate) made: u32,
}

pub(crate) struct State {
    pub(crate) cores: Vec<Core>,
    settings: Settings,
    store: MemoryStore,
    pub(crate) store_mood: Mood,
    /// Microseconds that an answer of store or DNS takes.
    pub(crate) patience: u64,
    pub(crate) names: BTreeMap<String, Vec<SocketAddr>>,
    /// Microseconds.
    pub(crate) now: u64,
    pub(crate) net: Network,
    pub(crate) agents: Vec<Endpoint>,
    pub(crate) events: Vec<Event>,
    pub(crate) wire: Vec<Sent>,
}

/// The wall clock at the beginning, in milliseconds.
const EPOCH: u64 = 1_750_000_000_000;

impl State {
    pub(crate) fn new(settings: Settings, workers: u8, seed: u64) -> Self {
        let shared = Arc::new(settings.clone());
        Self {
            cores: (0..workers).map(|worker| Core::new(Arc::clone(&shared), &KEYS, worker, seed)).collect(),
            settings,
            store: MemoryStore::new(),
            store_mood: Mood::Good,
            patience: 0,
            names: BTreeMap::new(),
            now: 0,
            net: Network::new(seed),
            agents: Vec::new(),
            events: Vec::new(),
            wire: Vec::new(),
        }
    }

    pub(crate) fn add_agent(&mut self, name: &str, transport: Transport) -> usize {
        let id = self.agents.len();
        let address = at(u8::try_from(id + 11).expect("room in the network"));
        self.agents.push(Endpoint {
            name: name.to_owned(),
            transport,
            address,
            source: address,
            connection: 0,
            worker: 0,
            plugged: true,
            inbox: VecDeque::new(),
            robot: None,
            made: 0,
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
                true
            }
            (_, Some((at, worker))) if at <= end => {
                assert!(at > 0, "a timer before the beginning");
                self.now = self.now.max(at);
                self.drive(worker, |core, now, outbox| core.timeout(now, outbox));
                let next = self.cores[worker].next_timeout();
                assert!(next.is_none_or(|next| next.as_micros() > self.now), "a timer that is due stays due");
                true
            }
            _ => false,
        }
    }

    fn hand_out(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::ToServer { from, connection, bytes } => self.server_hears(from, connection, bytes),
            Parcel::ToAgent { agent, connection, bytes } => {
                let endpoint = &mut self.agents[agent];
                if endpoint.plugged {
                    endpoint.connection = connection;
                    let sip = Sip::parse(&bytes);
                    match endpoint.robot.take() {
                        Some(robot) => self.act(agent, robot, |robot, now, deeds| robot.hear(now, &sip, deeds)),
                        None => endpoint.inbox.push_back(sip),
                    }
                }
            }
            Parcel::Answer { worker, parked, answer } => {
                self.drive(worker, |core, now, outbox| core.answer(now, parked, answer, outbox));
            }
            Parcel::Wake { agent, token } => {
                if let Some(robot) = self.agents[agent].robot.take() {
                    self.act(agent, robot, |robot, now, deeds| robot.wake(now, token, deeds));
                }
            }
        }
    }

    fn act(&mut self, agent: usize, mut robot: Box<dyn Robot>, act: impl FnOnce(&mut dyn Robot, u64, &mut Vec<Deed>)) {
        let mut deeds = Vec::new();
        act(&mut *robot, self.now, &mut deeds);
        self.agents[agent].robot = Some(robot);
        for deed in deeds {
            match deed {
                Deed::Send(sip) => self.agent_sends(agent, sip.bytes().into()),
                Deed::Wake { micros, token } => self.net.at(self.now + micros, Parcel::Wake { agent, token }),
            }
        }
    }

    pub(crate) fn agent_sends(&mut self, from: usize, bytes: Bytes) {
        let endpoint = &self.agents[from];
        let mut connection = endpoint.connection;
        if endpoint.transport.is_reliable() && self.net.connection(connection).is_none() {
            let remote = SocketAddr::new(endpoint.source.ip(), 40_000 + u16::try_from(from).expect("few agents"));
            connection = self.net.connect(from, remote);
            self.agents[from].connection = connection;
        }
        self.wire.push(Sent { micros: self.now, agent: from, by_server: false, bytes: bytes.clone() });
        self.net.send(self.now, connection, || Parcel::ToServer { from, connection, bytes: bytes.clone() });
    }

    fn server_hears(&mut self, from: usize, connection: u64, bytes: Bytes) {
        let Endpoint { transport, source, worker, .. } = self.agents[from];
        let remote = self.net.connection(connection).map_or(source, |connection| connection.remote);
        let flow = Flow { transport, remote, local: SERVER, connection };
        match Message::parse(bytes) {
            Ok(message) => {
                self.drive(worker, |core, now, outbox| core.receive(now, Received { message, flow }, outbox));
            }
            Err(_) => self.drive(worker, |core, _, outbox| core.garbage(&flow, outbox)),
        }
    }

    /// Calls one verb of a core, and does what it says.
    fn drive(&mut self, worker: usize, verb: impl FnOnce(&mut Core, Now, &mut Outbox)) {
        let now = Now { mono: Instant::from_micros(self.now), wall: Wall(EPOCH + self.now / 1000) };
        let mut outbox = Outbox::new();
        verb(&mut self.cores[worker], now, &mut outbox);
        self.carry_out(worker, outbox);
    }

    fn carry_out(&mut self, worker: usize, mut outbox: Outbox) {
        self.events.append(&mut outbox.events);
        for transmit in std::mem::take(&mut outbox.transmits) {
            let bytes = Bytes::copy_from_slice(outbox.text(&transmit));
            let delivered = self.transmit(&transmit.hop, &bytes);
            if transmit.report_failure && !delivered {
                let parked = Parked::undelivered(bytes);
                self.drive(worker, |core, now, outbox| core.answer(now, parked, Answer::Undelivered, outbox));
            }
        }
        for (question, parked) in outbox.questions {
            self.ask(worker, question, parked);
        }
        for handover in outbox.handovers {
            let addressees = match handover.worker {
                Some(worker) => vec![usize::from(worker)],
                None => (0..self.cores.len()).filter(|other| *other != worker).collect(),
            };
            for addressee in addressees {
                assert!(addressee < self.cores.len(), "a letter for a worker that does not exist");
                let letter = handover.letter.clone();
                self.drive(addressee, |core, now, outbox| core.deliver(now, letter, outbox));
            }
        }
    }

    /// False if it cannot be sent at all.
    fn transmit(&mut self, hop: &Hop, bytes: &Bytes) -> bool {
        assert_eq!(hop.local, SERVER, "sent from an address that is not ours");
        let (agent, connection) = if hop.transport.is_reliable() {
            let open = self.net.connection(hop.connection).map(|_| hop.connection);
            let Some(number) = open.or_else(|| self.net.connection_to(hop.remote)).or_else(|| self.connect(hop)) else {
                return false;
            };
            (self.net.connection(number).expect("it is open").agent, number)
        } else {
            let Some(agent) = self.listening(hop) else { return true };
            (agent, 0)
        };
        self.wire.push(Sent { micros: self.now, agent, by_server: true, bytes: bytes.clone() });
        self.net.send(self.now, connection, || Parcel::ToAgent { agent, connection, bytes: bytes.clone() });
        true
    }

    fn connect(&mut self, hop: &Hop) -> Option<u64> {
        let agent = self.listening(hop).filter(|agent| self.agents[*agent].plugged)?;
        Some(self.net.connect(agent, hop.remote))
    }

    fn listening(&self, hop: &Hop) -> Option<usize> {
        self.agents.iter().position(|agent| agent.transport == hop.transport && agent.source == hop.remote)
    }

    fn ask(&mut self, worker: usize, question: Question, parked: Parked) {
        let answer = match question {
            _ if self.store_mood == Mood::Broken => Answer::Failed,
            Question::Load(aor) => Answer::Loaded(self.store.load(&aor)),
            Question::Commit { .. } if self.store_mood == Mood::ReadOnly => Answer::Failed,
            Question::Commit { .. } if self.store_mood == Mood::Full => Answer::Full,
            Question::Commit { expected, record } => {
                match self.store.commit(expected.as_ref(), record, Ticket { worker: 0, id: 0 }) {
                    Commit::Done => Answer::Committed,
                    Commit::Conflict => Answer::Conflict,
                    _ => Answer::Failed,
                }
            }
            Question::Resolve(names) => {
                let addresses = |name: &proxy::Name| {
                    let found = self.names.get(&*name.host).into_iter().flatten();
                    found.map(|address| SocketAddr::new(address.ip(), name.port)).collect()
                };
                Answer::Resolved(names.iter().map(addresses).collect())
            }
        };
        match self.patience {
            0 => self.drive(worker, |core, now, outbox| core.answer(now, parked, answer, outbox)),
            patience => self.net.at(self.now + patience, Parcel::Answer { worker, parked, answer }),
        }
    }

    /// What was said so far, for a scenario that went wrong.
    pub(crate) fn transcript(&self) -> String {
        let mut text = String::new();
        for sent in self.wire.iter().rev().take(60).rev() {
            let sip = Sip::parse(&sent.bytes);
            let arrow = if sent.by_server { "<-" } else { "->" };
            let (seconds, millis) = (sent.micros / 1_000_000, sent.micros / 1000 % 1000);
            let name = &self.agents[sent.agent].name;
            let _ = writeln!(text, "{seconds:5}.{millis:03} {name:>12} {arrow} {} ({})", sip.start, sip.value("CSeq"));
        }
        text
    }
}
