//! Trunks, by which the office reaches the telephone network, and the lines that say which dialled number takes which trunk.
//!
//! Values only; `route::office` decides who may dial what. All names exist: the server checks the configuration.

mod calls;
mod health;
mod lines;
mod numbers;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use location::Aor;

use super::Settings;
use super::office::{Meaning, plain};

pub use calls::TrunkCalls;
pub(crate) use calls::{CallSetup, Direction};
pub use health::{TaskState, TrunkHealth};
pub use lines::{Outgoing, OutgoingLines};
pub use numbers::SentNumbers;

/// The trunks and the outgoing lines.
#[derive(Clone, Debug, Default)]
pub struct Trunks {
    /// The trunks.
    pub all: Vec<Arc<Trunk>>,
    /// The lines, in the order of the configuration.
    pub outgoing: OutgoingLines,
    /// The calls of trunks that limit them; shared by all workers.
    pub calls: Arc<TrunkCalls>,
    /// The trunks that do not work; shared by all workers.
    pub health: Arc<TrunkHealth>,
    /// The numbers of INVITEs within dialogs for which challenges were answered; shared by all workers.
    pub numbers: Arc<SentNumbers>,
}

/// A peer that connects the office to the telephone network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trunk {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// Where calls are sent: a SIP URI without user part.
    pub server: Box<str>,
    /// The networks that its calls come from.
    pub networks: Vec<IpNet>,
    /// The addresses of `server`, as far as they are known. Calls of it may come from others.
    pub server_addresses: Vec<IpAddr>,
    /// How callers are shown.
    pub shows: Shows,
    /// The number that callers without one of their own are shown by.
    pub caller_id: Option<Box<str>>,
    /// The number of calls at a time, in both directions together.
    pub max_calls: Option<usize>,
    /// The user of this server at the trunk.
    pub login: Option<Login>,
    /// Whether this server registers there.
    pub registers: bool,
    /// How often it is asked whether it responds; never if `None`.
    pub probe: Option<Duration>,
}

/// A user with its password, at another server.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user name.
    pub user: Box<str>,
    /// The password in clear.
    pub password: Box<str>,
}

impl std::fmt::Debug for Login {
    /// Secrets never reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

/// Where a trunk reads the number of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// In P-Asserted-Identity (RFC 3325).
    Asserted,
    /// In From.
    From,
}

impl Trunk {
    /// A hash of its name, by which a dialog token names it (FNV-1a). It is the same after a reload.
    pub(crate) fn id(&self) -> u32 {
        self.name.bytes().fold(0x811c_9dc5, |sum, octet| (sum ^ u32::from(octet)).wrapping_mul(0x0100_0193))
    }
}

impl Trunks {
    /// Whether a trunk limits its calls.
    pub(crate) fn limits_calls(&self) -> bool {
        self.all.iter().any(|trunk| trunk.max_calls.is_some())
    }

    /// Whether a trunk reads the number of the caller in From.
    pub(crate) fn shows_from(&self) -> bool {
        self.all.iter().any(|trunk| trunk.shows == Shows::From)
    }

    /// The trunk with this [`Trunk::id`].
    pub(crate) fn with_id(&self, id: u32) -> Option<&Arc<Trunk>> {
        self.all.iter().find(|trunk| trunk.id() == id)
    }
}

/// A number that leads out of the office.
#[derive(Clone, Debug)]
pub(crate) struct Dialled<'s> {
    pub(crate) line: &'s Outgoing,
    /// The dialled number without visual separators.
    pub(crate) number: String,
}

impl Settings {
    /// The trunk that calls from this address belong to.
    pub fn trunk_at(&self, source: IpAddr) -> Option<&Arc<Trunk>> {
        self.trunks.all.iter().find(|trunk| trunk.networks.iter().any(|network| network.contains(&source)))
    }

    /// Whether calls of a trunk come from this address, or go there.
    pub(crate) fn is_of_trunk(&self, ip: IpAddr) -> bool {
        self.trunk_at(ip).is_some() || self.trunks.all.iter().any(|trunk| trunk.server_addresses.contains(&ip))
    }

    /// The line that a name takes that nobody here has; emergency numbers come first.
    pub(crate) fn dialled(&self, name: &Aor) -> Option<Dialled<'_>> {
        if self.trunks.outgoing.is_empty() {
            return None;
        }
        let plain = plain(name);
        let number = str::from_utf8(plain.as_ref().unwrap_or(name).user()).ok()?;
        let is_number = number.strip_prefix('+').unwrap_or(number).bytes().all(|octet| octet.is_ascii_digit());
        let line = self.trunks.outgoing.find(number).filter(|_| is_number)?;
        let is_ours = || self.accounts.find(name).is_some() || self.meaning(name).is_some();
        if !line.is_emergency && is_ours() {
            return None;
        }
        Some(Dialled { line, number: number.to_owned() })
    }

    /// Whether a user may have calls forwarded to a name: to any name of this server, and to the numbers outside that the user
    /// may dial. Emergency numbers are for those who need help.
    pub fn may_forward_to(&self, user: &Aor, name: &Aor) -> bool {
        let Some(Dialled { line, .. }) = self.dialled(name) else { return true };
        let dialling = self.accounts.find(user).and_then(|account| account.dialling.as_deref());
        let classes = dialling.and_then(|dialling| dialling.classes.as_ref());
        let is_allowed = line.class.as_ref().is_none_or(|class| classes.is_none_or(|classes| classes.contains(class)));
        is_allowed && !line.is_emergency
    }

    /// Whether it is an emergency number.
    pub(crate) fn is_emergency(&self, name: &Aor) -> bool {
        self.dialled(name).is_some_and(|dialled| dialled.line.is_emergency)
    }

    /// The first emergency number, which `urn:service:sos` stands for (RFC 5031 4.2).
    pub(crate) fn emergency_number(&self) -> Option<&str> {
        self.trunks.outgoing.iter().find(|line| line.is_emergency).map(|line| &*line.prefix)
    }

    /// The number of this server that a trunk calls, which it may write with or without `+`. `None` if it is none, also for
    /// the names of users and groups.
    pub(crate) fn number_called_by_trunk(&self, called: &Aor) -> Option<Aor> {
        let called = plain(called).unwrap_or_else(|| called.clone());
        let other = match called.user().strip_prefix(b"+") {
            Some(digits) => Aor::new(digits, called.domain()),
            None => Aor::new(&[b"+", called.user()].concat(), called.domain()),
        };
        [called, other].into_iter().find(|number| self.is_number(number))
    }

    fn is_number(&self, name: &Aor) -> bool {
        match self.meaning(name) {
            Some(Meaning::User(_) | Meaning::Number(_)) => name.user().iter().any(u8::is_ascii_digit),
            // The group is called by its own name inside only.
            Some(Meaning::Group(group)) => group.aor != *name,
            None => false,
        }
    }
}
