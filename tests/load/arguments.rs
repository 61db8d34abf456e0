//! The command line of the load generator.

use std::net::SocketAddr;
use std::time::Duration;

use parser::Transport;

/// The kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// OPTIONS to the server.
    Options,
    /// Refreshes of the phones' own registrations.
    Register,
    /// MESSAGE from phone to phone.
    Message,
    /// INVITE 200 ACK BYE 200 from phone to phone.
    Invite,
}

impl Scenario {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Options => "options",
            Self::Register => "register",
            Self::Message => "message",
            Self::Invite => "invite",
        }
    }
}

/// One run.
pub(crate) struct Arguments {
    pub(crate) server: SocketAddr,
    pub(crate) domain: String,
    pub(crate) transport: Transport,
    pub(crate) scenario: Scenario,
    /// The number of phones, each with its own user and socket.
    pub(crate) phones: usize,
    /// How many of them call, each one call at a time.
    pub(crate) callers: usize,
    pub(crate) time: Duration,
    /// The process id of the server.
    pub(crate) pid: u32,
}

const USAGE: &str = "usage: load udp|tcp options|register|message|invite SERVER PID [--domain office.example] [--phones 1000] [--callers 64] [--seconds 5]";

impl Arguments {
    pub(crate) fn read(words: impl Iterator<Item = String>) -> Result<Self, &'static str> {
        let (mut places, mut domain, mut phones, mut callers, mut seconds) =
            (Vec::new(), "office.example".to_owned(), 1000, 64, 5);
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(USAGE);
            match word.as_str() {
                "--domain" => domain = value()?,
                "--phones" => phones = value()?.parse().map_err(|_| USAGE)?,
                "--callers" => callers = value()?.parse().map_err(|_| USAGE)?,
                "--seconds" => seconds = value()?.parse().map_err(|_| USAGE)?,
                _ => places.push(word),
            }
        }
        let [transport, scenario, server, pid] = places.as_slice() else { return Err(USAGE) };
        let server: SocketAddr = server.parse().map_err(|_| USAGE)?;
        let transport = match transport.as_str() {
            "udp" => Transport::Udp,
            "tcp" => Transport::Tcp,
            _ => return Err(USAGE),
        };
        let all = [Scenario::Options, Scenario::Register, Scenario::Message, Scenario::Invite];
        let scenario = all.into_iter().find(|known| known.name() == scenario).ok_or(USAGE)?;
        if !server.ip().is_loopback() || !(1..=10_000).contains(&phones) || !(1..=600).contains(&seconds) {
            return Err(USAGE);
        }
        Ok(Self {
            server,
            domain,
            transport,
            scenario,
            phones,
            callers,
            time: Duration::from_secs(seconds),
            pid: pid.parse().map_err(|_| USAGE)?,
        })
    }
}
