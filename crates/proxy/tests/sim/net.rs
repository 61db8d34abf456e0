//! The network between agents and server: packets on their way, connections, and the weather.
//!
//! Decides when a packet arrives, if it does; every decision comes from a seed. Loss, doubling and reordering are for
//! datagrams; a connection keeps its order and loses nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use proxy::{Answer, Parked};

/// What datagrams suffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Milliseconds on the way: at least, at most. Packets overtake each other when these differ.
    pub(crate) delay: (u64, u64),
    /// Out of a thousand.
    pub(crate) lost: u64,
    /// Out of a thousand.
    pub(crate) doubled: u64,
}

impl Weather {
    /// A millisecond, and nothing gets lost.
    pub(crate) const FAIR: Self = Self { delay: (1, 1), lost: 0, doubled: 0 };
    /// A bad wireless network.
    pub(crate) const STORM: Self = Self { delay: (1, 120), lost: 100, doubled: 50 };
}

/// Something on its way.
#[derive(Debug)]
pub(crate) enum Parcel {
    ToServer {
        from: usize,
        connection: u64,
        bytes: Bytes,
    },
    ToAgent {
        agent: usize,
        connection: u64,
        bytes: Bytes,
    },
    /// The answer to a question of this worker's core.
    Answer {
        worker: usize,
        parked: Parked,
        answer: Answer,
    },
    /// An agent wanted to be woken.
    Wake {
        agent: usize,
        token: u64,
    },
}

/// One line of the record of all that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) micros: u64,
    /// The agent at the other end of the wire.
    pub(crate) agent: usize,
    pub(crate) by_server: bool,
    pub(crate) bytes: Bytes,
}

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
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            agenda: BTreeMap::new(),
            order: 0,
            dice: Dice::new(seed),
            weather: Weather::FAIR,
            connections: Vec::new(),
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

    /// Sends a packet into the weather; over a connection, none.
    pub(crate) fn send(&mut self, now: u64, connection: u64, parcel: impl Fn() -> Parcel) {
        if connection != 0 {
            let arrival = now + 1000;
            let arrival = self.connection(connection).map_or(arrival, |line| {
                line.last = line.last.max(arrival);
                line.last
            });
            return self.at(arrival, parcel());
        }
        let copies = if self.dice.happens(self.weather.lost) {
            0
        } else if self.dice.happens(self.weather.doubled) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let (least, most) = self.weather.delay;
            let delay = 1000 * (least + self.dice.roll(most - least + 1));
            self.at(now + delay, parcel());
        }
    }

    /// Opens a connection; its number.
    pub(crate) fn connect(&mut self, agent: usize, remote: SocketAddr) -> u64 {
        self.connections.push(Connection { agent, remote, open: true, last: 0 });
        self.connections.len() as u64
    }

    pub(crate) fn connection(&mut self, number: u64) -> Option<&mut Connection> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.connections.get_mut(index).filter(|connection| connection.open)
    }

    /// The number of an open connection to this address, if there is one.
    pub(crate) fn connection_to(&self, remote: SocketAddr) -> Option<u64> {
        let index = self.connections.iter().position(|connection| connection.open && connection.remote == remote)?;
        Some(index as u64 + 1)
    }
}

/// Chance from a seed (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub(crate) fn roll(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit.max(1)
    }

    /// Whether something happens that happens so often in a thousand times.
    pub(crate) fn happens(&mut self, per_mille: u64) -> bool {
        self.roll(1000) < per_mille
    }
}
