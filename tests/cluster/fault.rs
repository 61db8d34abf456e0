//! One fault of a round: what happens, for how long, and how it ends.

use std::time::Duration;

use crate::LEASE;
use crate::network::{self, Direction, NODES};
use crate::random::Random;
use crate::world::World;

/// What happens. Servers by their number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Nothing,
    /// Packets between a server and Redis are lost, as the server sees it.
    RedisCutOff {
        node: usize,
        direction: Direction,
    },
    /// Packets between two servers are lost.
    NodesCut {
        a: usize,
        b: usize,
        direction: Direction,
    },
    /// What a server sends is late.
    NodeSlow {
        node: usize,
        by: Duration,
    },
    RedisSlow {
        by: Duration,
    },
    NodeLoses {
        node: usize,
        percent: u8,
    },
    RedisLoses {
        percent: u8,
    },
    RedisKilled,
    RedisPaused,
    RedisEmpty,
    /// The replica takes over from a Redis that was killed, or from one that stands still.
    FailOver {
        is_paused: bool,
    },
    ReplicaPaused,
    NodeKilled {
        node: usize,
    },
    NodePaused {
        node: usize,
    },
    /// SIGTERM, as for an upgrade.
    NodeStopped {
        node: usize,
    },
}

impl Fault {
    /// Any fault, and how long it lasts.
    pub(crate) fn any(random: &mut Random) -> (Self, Duration) {
        let (node, by) = (random.below(NODES.len()), random.millis(30, 300));
        let other = (node + 1 + random.below(NODES.len() - 1)) % NODES.len();
        let direction = random.one_of(&[Direction::To, Direction::From, Direction::Both]);
        let percent = u8::try_from(5 + random.below(26)).expect("a percentage");
        let fault = match random.below(22) {
            0 => Self::Nothing,
            1..=3 => Self::RedisCutOff { node, direction },
            4 | 5 => Self::NodesCut { a: node, b: other, direction },
            6 => Self::NodeSlow { node, by },
            7 => Self::RedisSlow { by },
            8 => Self::NodeLoses { node, percent },
            9 => Self::RedisLoses { percent },
            10 | 11 => Self::RedisKilled,
            12 | 13 => Self::RedisPaused,
            14 => Self::RedisEmpty,
            15 => Self::FailOver { is_paused: false },
            16 => Self::FailOver { is_paused: true },
            17 => Self::ReplicaPaused,
            18 | 19 => Self::NodeKilled { node },
            20 => Self::NodePaused { node },
            _ => Self::NodeStopped { node },
        };
        // A third of the faults is shorter than the lease.
        let time = match fault {
            Self::NodePaused { .. } => LEASE + random.millis(500, 4000),
            _ if random.below(3) == 0 => random.millis(300, 2500),
            _ => random.millis(3500, 8000),
        };
        (fault, time)
    }

    /// Whether a call can be ended while it lasts: no packets are lost between parts that still run.
    pub(crate) const fn lets_calls_end(&self) -> bool {
        matches!(
            self,
            Self::Nothing
                | Self::RedisKilled
                | Self::RedisPaused
                | Self::RedisEmpty
                | Self::FailOver { .. }
                | Self::NodeKilled { .. }
                | Self::NodePaused { .. }
                | Self::NodeStopped { .. }
        )
    }

    /// Whether the replica has to be connected again afterwards.
    pub(crate) const fn needs_replica(&self) -> bool {
        matches!(self, Self::FailOver { .. } | Self::ReplicaPaused | Self::RedisEmpty | Self::RedisKilled)
    }

    pub(crate) fn begin(self, world: &mut World) {
        match self {
            Self::Nothing => {}
            Self::RedisCutOff { node, direction } => network::cut(NODES[node], world.redis.machine(), direction),
            Self::NodesCut { a, b, direction } => network::cut(NODES[a], NODES[b], direction),
            Self::NodeSlow { node, by } => world.has_netem = network::delay(NODES[node], by),
            Self::RedisSlow { by } => world.has_netem = network::delay(world.redis.machine(), by),
            Self::NodeLoses { node, percent } => network::lose(NODES[node], percent),
            Self::RedisLoses { percent } => network::lose(world.redis.machine(), percent),
            Self::RedisKilled | Self::RedisEmpty => world.redis.kill(),
            Self::RedisPaused => world.redis.process().expect("Redis").signal("STOP"),
            Self::FailOver { is_paused: false } => world.redis.kill(),
            Self::FailOver { is_paused: true } => world.redis.process().expect("Redis").signal("STOP"),
            Self::ReplicaPaused => world.redis.signal_replica("STOP"),
            Self::NodeKilled { node } => world.nodes[node].kill(),
            Self::NodePaused { node } => world.nodes[node].signal("STOP"),
            Self::NodeStopped { node } => world.nodes[node].stop(),
        }
    }

    /// What happens again and again while it lasts.
    pub(crate) fn pulse(self, world: &World) {
        match self {
            Self::NodeSlow { node, by } if !world.has_netem => stutter(by, |name| world.nodes[node].signal(name)),
            Self::RedisSlow { by } if !world.has_netem => {
                stutter(by, |name| world.redis.process().expect("Redis").signal(name))
            }
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }

    pub(crate) fn end(self, world: &mut World) {
        network::heal();
        match self {
            Self::RedisKilled => world.redis.restart(),
            Self::RedisEmpty => world.redis.restart_empty(),
            Self::RedisPaused => world.redis.process().expect("Redis").signal("CONT"),
            Self::FailOver { is_paused } => {
                world.redis.fail_over();
                if is_paused {
                    // The old one goes on, and does not know yet that it was replaced.
                    world.redis.signal_replica("CONT");
                }
            }
            Self::ReplicaPaused => world.redis.signal_replica("CONT"),
            Self::NodeKilled { node } | Self::NodeStopped { node } => world.nodes[node].run(),
            Self::NodePaused { node } => world.nodes[node].signal("CONT"),
            _ => {}
        }
    }
}

/// Without `sch_netem` a delay is made by stopping the process again and again.
fn stutter(by: Duration, signal: impl Fn(&str)) {
    signal("STOP");
    std::thread::sleep(by);
    signal("CONT");
    std::thread::sleep(Duration::from_millis(20));
}
