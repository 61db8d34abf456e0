//! The command line of the load generator.

use std::net::SocketAddr;
use std::path::PathBuf;
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
    /// A new connection with its handshake, and a refresh over it.
    Handshake,
    /// Registered phones that send nothing: the memory of their connections.
    Idle,
}

impl Scenario {
    const ALL: [Self; 6] = [Self::Options, Self::Register, Self::Message, Self::Invite, Self::Handshake, Self::Idle];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Options => "options",
            Self::Register => "register",
            Self::Message => "message",
            Self::Invite => "invite",
            Self::Handshake => "handshake",
            Self::Idle => "idle",
        }
    }
}

/// A server, and how its phones are connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its name in the output.
    pub(crate) name: String,
    pub(crate) transport: Transport,
    pub(crate) server: SocketAddr,
    /// The process id of the server.
    pub(crate) pid: u32,
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) scenario: Scenario,
    pub(crate) targets: Vec<Target>,
    pub(crate) domain: String,
    /// The number of phones of each target, each with its own user and socket.
    pub(crate) phones: usize,
    /// How many of them have a transaction or call pending at a time.
    pub(crate) pending: usize,
    /// The length of a turn.
    pub(crate) time: Duration,
    /// The number of turns of each target.
    pub(crate) rounds: usize,
    /// The certificate that a server must have.
    pub(crate) certificate: Option<PathBuf>,
}

const USAGE: &str = "usage: load options|register|message|invite|handshake|idle NAME=TRANSPORT/ADDRESS:PORT/PID...
            [--domain office.example] [--phones 1000] [--pending 64] [--seconds 1] [--rounds 9] [--certificate FILE]
       load certificate FOLDER
TRANSPORT: udp, tcp, tls or wss. PID: the process of the server, or the parent of its processes.";

/// What to do.
pub(crate) enum Command {
    /// Generate load.
    Load(Arguments),
    /// Write a new certificate and its key into this folder.
    Certificate(PathBuf),
}

impl Command {
    pub(crate) fn read(words: impl Iterator<Item = String>) -> Result<Self, &'static str> {
        let mut places = Vec::new();
        let mut arguments = Arguments {
            scenario: Scenario::Options,
            targets: Vec::new(),
            domain: "office.example".to_owned(),
            phones: 1000,
            pending: 64,
            time: Duration::from_secs(1),
            rounds: 9,
            certificate: None,
        };
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(USAGE);
            match word.as_str() {
                "--domain" => arguments.domain = value()?,
                "--phones" => arguments.phones = number(&value()?, 20_000)?,
                "--pending" => arguments.pending = number(&value()?, 10_000)?,
                "--seconds" => arguments.time = Duration::from_secs(number(&value()?, 600)? as u64),
                "--rounds" => arguments.rounds = number(&value()?, 100)?,
                "--certificate" => arguments.certificate = Some(value()?.into()),
                _ => places.push(word),
            }
        }
        let (what, rest) = places.split_first().ok_or(USAGE)?;
        if let ("certificate", [folder]) = (what.as_str(), rest) {
            return Ok(Self::Certificate(folder.into()));
        }
        arguments.scenario = Scenario::ALL.into_iter().find(|known| known.name() == what).ok_or(USAGE)?;
        arguments.targets = rest.iter().map(|text| target(text)).collect::<Option<_>>().ok_or(USAGE)?;
        if arguments.targets.is_empty() {
            return Err(USAGE);
        }
        Ok(Self::Load(arguments))
    }
}

fn number(text: &str, most: usize) -> Result<usize, &'static str> {
    text.parse().ok().filter(|number| (1..=most).contains(number)).ok_or(USAGE)
}

/// `None` also for a server on another machine.
fn target(text: &str) -> Option<Target> {
    let (name, place) = text.split_once('=')?;
    let mut parts = place.split('/');
    let (transport, server, pid) = (parts.next()?, parts.next()?, parts.next()?);
    let transport = match transport {
        "udp" => Transport::Udp,
        "tcp" => Transport::Tcp,
        "tls" => Transport::Tls,
        "wss" => Transport::Wss,
        _ => return None,
    };
    let server: SocketAddr = server.parse().ok()?;
    let pid = pid.parse().ok()?;
    server.ip().is_loopback().then(|| Target { name: name.to_owned(), transport, server, pid })
}
