//! The simulated network between the agents and the server: packets that are on their way, and connections.
//!
//! It decides when a packet arrives and whether it does, by random numbers from the seed. Only datagrams are lost,
//! duplicated and reordered. A connection keeps the order and loses nothing, except what is on its way when it is
//! closed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use location::{ConnectionId, Record};
use proxy::{Answer, Connections, Continuation, CoreMessage};

use crate::behaviour::Cause;
use crate::fault::Fault;
use crate::random::Random;
use crate::sip::Sip;

/// A message that one node sent to another.
#[derive(Clone, Debug)]
pub struct NodeMessage {
    /// The index of the node that sent it.
    pub from: usize,
    /// The index of the node that it was sent to.
    pub to: usize,
    /// Its octets.
    pub bytes: Bytes,
    /// The same message.
    pub sip: Rc<Sip>,
}

/// What happens to datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Impairments {
    /// The shortest and the longest delay in milliseconds. Packets are reordered if these differ.
    pub delay: (u64, u64),
    /// How many of a thousand are lost.
    pub lost: u64,
    /// How many of a thousand arrive twice.
    pub duplicated: u64,
    /// How many of a thousand arrive seconds late, but within T4, the longest time that a packet lives (RFC 3261
    /// 17.1.2.2).
    pub late: u64,
    /// How many of a thousand messages between workers are lost because the queue is full.
    pub core_messages_lost: u64,
}

/// The longest delay of a late packet in microseconds.
const LONGEST_DELAY: u64 = 4_500_000;

impl Impairments {
    /// Each packet arrives after a millisecond.
    pub const NONE: Self = Self { delay: (1, 1), lost: 0, duplicated: 0, late: 0, core_messages_lost: 0 };
}

/// What is on its way and arrives at a known time.
#[derive(Debug)]
pub(crate) enum InFlight {
    ToServer {
        from: usize,
        connection: u64,
        bytes: Bytes,
        sip: Rc<Sip>,
    },
    ToAgent {
        agent: usize,
        connection: u64,
        sip: Rc<Sip>,
    },
    /// A message from the core of one worker to that of another. If it contains a SIP message, this is that message and
    /// its sender.
    CoreMessage {
        worker: usize,
        core_message: CoreMessage,
        message: Option<Cause>,
    },
    /// The report that a datagram of this worker could not be delivered.
    Refused {
        worker: usize,
        bytes: Bytes,
        sip: Rc<Sip>,
    },
    Fault(Fault),
    /// The answer to a question of this worker's core.
    Answer {
        worker: usize,
        parked: Continuation,
        answer: Answer,
        cause: Option<Cause>,
    },
    /// A message of one node to another.
    ToNode(NodeMessage),
    /// A change of the store that a node sees now.
    Change {
        node: usize,
        record: Record,
    },
    /// A timer of a behaviour.
    Timer {
        agent: usize,
        token: u64,
    },
}

/// A message that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When it was sent, in microseconds since the beginning.
    pub micros: u64,
    /// The agent at the other end of the wire.
    pub agent: usize,
    /// Whether the server sent it, and not the agent.
    pub by_server: bool,
    /// The message.
    pub sip: Rc<Sip>,
    /// How many copies of it arrive.
    pub copies: u8,
}

/// All messages that were sent, lost ones included. Everything that holds this sees later messages too.
pub type Wire = Rc<RefCell<Vec<Sent>>>;

/// A TCP connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) agent: usize,
    pub(crate) remote: SocketAddr,
    pub(crate) open: bool,
    pub(crate) last: u64,
    /// The node that it leads to.
    pub(crate) node: usize,
    /// Its number there. Other nodes have the same numbers.
    pub(crate) id: ConnectionId,
}

/// Everything that is on its way, in order of arrival.
pub(crate) struct Network {
    queue: BTreeMap<(u64, u64), InFlight>,
    order: u64,
    random: Random,
    pub(crate) impair: Impairments,
    pub(crate) connections: Vec<Connection>,
    /// The numbers of the open connections of each node. The cores read it.
    pub(crate) open: Vec<Arc<Connections>>,
    /// The nodes that were started again.
    restarted: Vec<usize>,
    /// Agents whose packets are never late.
    pub(crate) never_late: Vec<usize>,
    /// Agents whose packets use `own_random`, so that what they send does not change what happens to the packets of
    /// others.
    pub(crate) with_own_random: Vec<usize>,
    own_random: Random,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            queue: BTreeMap::new(),
            order: 0,
            random: Random::new(seed),
            impair: Impairments::NONE,
            connections: Vec::new(),
            open: vec![Arc::default()],
            restarted: Vec::new(),
            never_late: Vec::new(),
            with_own_random: Vec::new(),
            own_random: Random::new(seed ^ 0x5eed),
        }
    }

    /// When the next packet or timer is due.
    pub(crate) fn next(&self) -> Option<u64> {
        self.queue.first_key_value().map(|((micros, _), _)| *micros)
    }

    pub(crate) fn arrive(&mut self) -> Option<InFlight> {
        self.queue.pop_first().map(|(_, in_flight)| in_flight)
    }

    /// Schedules something for this time.
    pub(crate) fn at(&mut self, micros: u64, in_flight: InFlight) {
        self.order += 1;
        self.queue.insert((micros, self.order), in_flight);
    }

    /// Sends a packet from or to an agent; only without a connection is it impaired. Returns how many copies will
    /// arrive.
    pub(crate) fn send(&mut self, now: u64, agent: usize, connection: u64, in_flight: impl Fn() -> InFlight) -> u8 {
        if connection != 0 {
            let arrival = now + 1000;
            let arrival = self.connection(connection).map_or(arrival, |line| {
                line.last = line.last.max(arrival);
                line.last
            });
            self.at(arrival, in_flight());
            return 1;
        }
        let mut arrivals = [0; 2];
        let random = if self.with_own_random.contains(&agent) { &mut self.own_random } else { &mut self.random };
        let copies = if random.chance(self.impair.lost) {
            0
        } else if random.chance(self.impair.duplicated) {
            2
        } else {
            1
        };
        for arrival in &mut arrivals[..copies] {
            let (least, most) = self.impair.delay;
            let delay = if random.chance(self.impair.late) && !self.never_late.contains(&agent) {
                random.below(LONGEST_DELAY)
            } else {
                1000 * (least + random.below(most - least + 1))
            };
            *arrival = now + delay;
        }
        arrivals[..copies].iter().for_each(|arrival| self.at(*arrival, in_flight()));
        u8::try_from(copies).unwrap_or(u8::MAX)
    }

    /// Whether a message between workers is lost because the queue is full. `agent` is the sender of the message that
    /// caused it.
    pub(crate) fn loses_core_message(&mut self, agent: Option<usize>) -> bool {
        let random = match agent {
            Some(agent) if self.with_own_random.contains(&agent) => &mut self.own_random,
            _ => &mut self.random,
        };
        self.impair.core_messages_lost > 0 && random.chance(self.impair.core_messages_lost)
    }

    /// How long DNS takes for a question that a message of `agent` caused, at most `longest`.
    pub(crate) fn dns_delay(&mut self, agent: Option<usize>, longest: u64) -> u64 {
        match agent {
            _ if longest == 0 => 0,
            Some(agent) if self.with_own_random.contains(&agent) => self.own_random.below(longest),
            _ => self.random.below(longest),
        }
    }

    /// Opens a connection. Returns its number.
    pub(crate) fn connect(&mut self, node: usize, agent: usize, remote: SocketAddr) -> u64 {
        let runs = self.restarted.iter().filter(|other| **other == node).count();
        let earlier = self.connections.iter().filter(|it| it.node == node).count();
        // As the driver: no later run has the same numbers, but another node may.
        let id = ConnectionId::FIRST.plus((1_000 * runs + earlier) as u64);
        self.connections.push(Connection { agent, remote, open: true, last: 0, node, id });
        self.open[node].opened(id);
        self.connections.len() as u64
    }

    /// Begins a new run of a node.
    pub(crate) fn new_run(&mut self, node: usize) {
        self.restarted.push(node);
    }

    /// Closes all connections of a node.
    pub(crate) fn close_node(&mut self, node: usize) {
        for connection in self.connections.iter_mut().filter(|connection| connection.node == node) {
            connection.open = false;
            self.open[node].closed(connection.id);
        }
    }

    /// What a node calls a connection.
    pub(crate) fn id_of(&mut self, number: u64) -> Option<ConnectionId> {
        self.connection(number).map(|line| line.id)
    }

    /// The number of an open connection of a node.
    pub(crate) fn number_of(&self, node: usize, id: ConnectionId) -> Option<u64> {
        let is_it = |line: &Connection| line.open && line.node == node && line.id == id;
        Some(self.connections.iter().position(is_it)? as u64 + 1)
    }

    pub(crate) fn connection(&mut self, number: u64) -> Option<&mut Connection> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.connections.get_mut(index).filter(|connection| connection.open)
    }

    /// Closes all connections of an agent.
    pub(crate) fn disconnect(&mut self, agent: usize) {
        for connection in self.connections.iter_mut().filter(|connection| connection.agent == agent) {
            connection.open = false;
            self.open[connection.node].closed(connection.id);
        }
    }

    /// The number of an open connection of a node to this address, if there is one.
    pub(crate) fn connection_to(&self, node: usize, remote: SocketAddr) -> Option<u64> {
        let is_it = |line: &Connection| line.open && line.node == node && line.remote == remote;
        let index = self.connections.iter().position(is_it)?;
        Some(index as u64 + 1)
    }
}
