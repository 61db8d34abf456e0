//! The settings of the simulated server: the defaults, but without authentication and with small tables.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use parser::Transport;
use proxy::{Authentication, Digest, Forking, Keys, Limits, Listener, Settings, Strategy};

/// The domain of the simulated server.
pub const DOMAIN: &str = "office.example";

/// Where the server listens, on UDP and TCP.
pub const SERVER: SocketAddr = at(1);

/// Port 5060 of a host in the network of the server.
pub const fn at(host: u8) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)), 5060)
}

/// The long-lived keys of every simulated server.
pub const KEYS: Keys = Keys { route: [1; 16], gruu: [3; 32], nonce: [2; 16], previous: None };

/// Groups of phones with equal q are called one after the other, each for this many seconds.
pub fn sequential(ring_time: u64) -> Forking {
    Forking { strategy: Strategy::Sequential, ring_time: Duration::from_secs(ring_time), ..Forking::default() }
}

/// The default settings of a simulated server.
pub fn default_settings() -> Settings {
    let listener = |transport| Listener { transport, address: SERVER };
    Settings {
        aliases: vec!["sip.office.example".into()],
        listeners: vec![listener(Transport::Udp), listener(Transport::Tcp)],
        authentication: Authentication::Off,
        // No client is recognised by its User-Agent.
        digest: Digest { md5_user_agents: Vec::new(), ..Digest::default() },
        limits: Limits {
            transactions: 10_000,
            transaction_memory: 1 << 30,
            pins: 10_000,
            nonces: 10_000,
            unanswered_challenges: 10_000,
            subscriptions: 100,
            moved_dialogs: 1_000,
            ..Limits::default()
        },
        ..Settings::default()
    }
}
