//! The settings of the simulated server: the timers of RFC 3261, no authentication, no calls from strangers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use parser::Transport;
use proxy::{
    Accounts, Authentication, Digest, Foreign, Forking, Interfaces, Keys, Limits, Listener, Registrar, Settings,
    SingleTarget, Strangers, Strategy, Timers, Watching,
};

/// The domain of the simulated server.
pub const DOMAIN: &str = "office.example";

/// Where the server listens, on UDP and TCP.
pub const SERVER: SocketAddr = at(1);

/// Port 5060 of a host in the network of the server.
pub const fn at(host: u8) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)), 5060)
}

/// The long-lived keys of every simulated server.
pub const KEYS: Keys = Keys { route: [1; 16], gruu: [3; 32], nonce: [2; 16] };

/// All phones are called at once.
const FORKING: Forking = Forking {
    strategy: Strategy::Parallel,
    ring_time: Duration::from_secs(30),
    recurse: true,
    late_registration: true,
    single_target: SingleTarget::Stateless,
};

/// Groups of phones with equal q are called one after the other, each for this many seconds.
pub const fn sequential(ring_time: u64) -> Forking {
    Forking { strategy: Strategy::Sequential, ring_time: Duration::from_secs(ring_time), ..FORKING }
}

/// The default settings of a simulated server.
pub fn default_settings() -> Settings {
    let listener = |transport| Listener { transport, address: SERVER };
    Settings {
        domains: vec![DOMAIN.into()],
        aliases: vec!["sip.office.example".into()],
        listeners: vec![listener(Transport::Udp), listener(Transport::Tcp)],
        advertise: None,
        interfaces: Interfaces::default(),
        authentication: Authentication::Off,
        digest: Digest::default(),
        accounts: Accounts::default(),
        trusted: Vec::new(),
        strangers: Strangers::Refuse,
        foreign: Foreign::Refuse,
        registrar: Registrar::default(),
        watching: Watching::default(),
        forking: FORKING,
        timers: Timers {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            c: Duration::from_secs(181),
        },
        limits: Limits {
            transactions: 10_000,
            transaction_memory: 1 << 30,
            targets: 50,
            pins: 10_000,
            nonces: 10_000,
            unanswered_challenges: 10_000,
            subscriptions: 100,
            subscriptions_per_user: 50,
            moved_dialogs: 1_000,
            amplification: 3,
        },
    }
}
