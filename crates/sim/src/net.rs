//! The network between agents and server: packets on their way, connections, and the weather.
//!
//! Decides when a packet arrives, if it does; every decision comes from a seed. Loss, doubling and reordering are for
//! datagrams; a connection keeps its order and loses nothing, unless it breaks: then it loses what is on its way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use location::ConnectionId;
use proxy::{Answer, Connections, Continuation, CoreMessage};

use crate::dice::Dice;
use crate::sip::Sip;
use crate::state::Mood;
use crate::watch::Cause;

/// What datagrams suffer.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Milliseconds on the way: at least, at most. Packets overtake each other when these differ.
    pub delay: (u64, u64),
    /// Out of a thousand.
    pub lost: u64,
    /// Out of a thousand.
    pub doubled: u64,
    /// Out of a thousand: comes seconds late, but within T4, which is how long RFC 3261 17.1.2.2 lets a packet live.
    pub straggling: u64,
    /// Letters between workers that find no room, out of a thousand.
    pub letters_lost: u64,
}

/// The longest that a straggler is on its way, in microseconds.
const LONGEST_WAY: u64 = 4_500_000;

impl Weather {
    /// A millisecond, and nothing gets lost.
    pub const FAIR: Self = Self { delay: (1, 1), lost: 0, doubled: 0, straggling: 0, letters_lost: 0 };
}

/// Something on its way.
#[derive(Debug)]
pub(crate) enum Parcel {
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
    /// What the core of one worker tells that of another; for a message, who sent it and what it says.
    CoreMessage {
        worker: usize,
        core_message: CoreMessage,
        message: Option<Cause>,
    },
    Fault(Fault),
    /// The answer to a question of this worker's core.
    Answer {
        worker: usize,
        parked: Continuation,
        answer: Answer,
        cause: Option<Cause>,
    },
    /// An agent wanted to be woken.
    Wake {
        agent: usize,
        token: u64,
    },
}

/// What befalls the world besides the weather.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// No packet comes or goes, connections break, and who connects is refused.
    Unplug(usize),
    /// Ends `Unplug`.
    Plug(usize),
    /// The connections of this agent break.
    Disconnect(usize),
    /// The wall clock is set: by so many milliseconds.
    StepClock(i64),
    /// The store behaves like this from now on.
    Store(Mood),
}

/// One line of the record of all that was sent.
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

/// All that was ever sent, lost copies included; whoever can read the wire shares it.
pub type Wire = Rc<RefCell<Vec<Sent>>>;

/// A TCP connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) agent: usize,
    pub(crate) remote: SocketAddr,
    pub(crate) open: bool,
    pub(crate) last: u64,
}

/// All that is on its way, in order of arrival.
pub(crate) struct Network {
    agenda: BTreeMap<(u64, u64), Parcel>,
    order: u64,
    dice: Dice,
    pub(crate) weather: Weather,
    pub(crate) connections: Vec<Connection>,
    /// The numbers of those that are open, for the cores.
    pub(crate) open: Arc<Connections>,
    /// Agents whose packets do not straggle.
    pub(crate) near: Vec<usize>,
    /// Agents whose packets have dice of their own: what they send changes nothing of what happens to others.
    pub(crate) apart: Vec<usize>,
    dice_apart: Dice,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            agenda: BTreeMap::new(),
            order: 0,
            dice: Dice::new(seed),
            weather: Weather::FAIR,
            connections: Vec::new(),
            open: Arc::default(),
            near: Vec::new(),
            apart: Vec::new(),
            dice_apart: Dice::new(seed ^ 0x5eed),
        }
    }

    /// When the next parcel arrives.
    pub(crate) fn next(&self) -> Option<u64> {
        self.agenda.first_key_value().map(|((micros, _), _)| *micros)
    }

    pub(crate) fn arrive(&mut self) -> Option<Parcel> {
        self.agenda.pop_first().map(|(_, parcel)| parcel)
    }

    /// Will arrive for sure at this moment.
    pub(crate) fn at(&mut self, micros: u64, parcel: Parcel) {
        self.order += 1;
        self.agenda.insert((micros, self.order), parcel);
    }

    /// Sends a packet of or to an agent into the weather; over a connection, none. Returns how many copies of it will arrive.
    pub(crate) fn send(&mut self, now: u64, agent: usize, connection: u64, parcel: impl Fn() -> Parcel) -> u8 {
        if connection != 0 {
            let arrival = now + 1000;
            let arrival = self.connection(connection).map_or(arrival, |line| {
                line.last = line.last.max(arrival);
                line.last
            });
            self.at(arrival, parcel());
            return 1;
        }
        let mut arrivals = [0; 2];
        let dice = if self.apart.contains(&agent) { &mut self.dice_apart } else { &mut self.dice };
        let copies = if dice.happens(self.weather.lost) {
            0
        } else if dice.happens(self.weather.doubled) {
            2
        } else {
            1
        };
        for arrival in &mut arrivals[..copies] {
            let (least, most) = self.weather.delay;
            let delay = if dice.happens(self.weather.straggling) && !self.near.contains(&agent) {
                dice.roll(LONGEST_WAY)
            } else {
                1000 * (least + dice.roll(most - least + 1))
            };
            *arrival = now + delay;
        }
        arrivals[..copies].iter().for_each(|arrival| self.at(*arrival, parcel()));
        u8::try_from(copies).unwrap_or(u8::MAX)
    }

    /// Whether a message between workers finds no room; the agent is the one whose message led to it.
    pub(crate) fn loses_letter(&mut self, agent: Option<usize>) -> bool {
        let dice = match agent {
            Some(agent) if self.apart.contains(&agent) => &mut self.dice_apart,
            _ => &mut self.dice,
        };
        self.weather.letters_lost > 0 && dice.happens(self.weather.letters_lost)
    }

    /// Opens a connection; its number.
    pub(crate) fn connect(&mut self, agent: usize, remote: SocketAddr) -> u64 {
        self.connections.push(Connection { agent, remote, open: true, last: 0 });
        let number = self.connections.len() as u64;
        ConnectionId::new(number).into_iter().for_each(|id| self.open.opened(id));
        number
    }

    pub(crate) fn connection(&mut self, number: u64) -> Option<&mut Connection> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.connections.get_mut(index).filter(|connection| connection.open)
    }

    /// Breaks all connections of an agent.
    pub(crate) fn disconnect(&mut self, agent: usize) {
        for (connection, number) in
            self.connections.iter_mut().zip(1..).filter(|(connection, _)| connection.agent == agent)
        {
            connection.open = false;
            ConnectionId::new(number).into_iter().for_each(|id| self.open.closed(id));
        }
    }

    /// The number of an open connection to this address, if there is one.
    pub(crate) fn connection_to(&self, remote: SocketAddr) -> Option<u64> {
        let index = self.connections.iter().position(|connection| connection.open && connection.remote == remote)?;
        Some(index as u64 + 1)
    }
}
