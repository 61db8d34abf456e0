//! Trunks, by which the office reaches the telephone network, and the lines that say which dialled number takes which trunk.
//!
//! Values only; `route::office` decides who may dial what. All names exist: the server checks the configuration.

mod calls;
mod health;
mod numbers;

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use location::Aor;

use super::Settings;
use super::office::{Meaning, plain};

pub(crate) use calls::Direction;
pub use calls::TrunkCalls;
pub use health::TrunkHealth;
pub use numbers::SentNumbers;

/// The trunks and the outgoing lines.
#[derive(Clone, Debug, Default)]
pub struct Trunks {
    /// The trunks.
    pub all: Vec<Arc<Trunk>>,
    /// The lines, in the order of the configuration.
    pub outgoing: Vec<Outgoing>,
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

/// Which trunks numbers with this prefix take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// What the dialled number begins with.
    pub prefix: Box<str>,
    /// So many characters at its start are left out.
    pub strip: usize,
    /// What is put before the rest.
    pub add: Box<str>,
    /// How many digits may be dialled; any number of them if `None`. An emergency number without this has to be dialled
    /// exactly.
    pub digits: Option<RangeInclusive<usize>>,
    /// The class in `may_dial` of accounts that such calls belong to.
    pub class: Option<Box<str>>,
    /// The trunks, the preferred one first. Never empty.
    pub trunks: Vec<Arc<Trunk>>,
    /// Whether it is an emergency number, which every registered phone may call.
    pub is_emergency: bool,
}

impl Trunk {
    /// A hash of its name, by which a dialog token names it (FNV-1a). It is the same after a reload.
    pub(crate) fn id(&self) -> u32 {
        self.name.bytes().fold(0x811c_9dc5, |sum, octet| (sum ^ u32::from(octet)).wrapping_mul(0x0100_0193))
    }
}

impl Outgoing {
    /// Whether this line is for this number, which has no visual separators.
    fn is_for(&self, number: &str) -> bool {
        let digits = number.bytes().filter(u8::is_ascii_digit).count();
        let fits = match &self.digits {
            Some(range) => range.contains(&digits),
            None => !self.is_emergency || number.len() == self.prefix.len(),
        };
        fits && number.starts_with(&*self.prefix)
    }

    /// The number that the trunk gets for a dialled one.
    pub(crate) fn number(&self, dialled: &str) -> String {
        format!("{}{}", self.add, dialled.get(self.strip..).unwrap_or_default())
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

    /// The line for a number without visual separators: the one with the longest prefix, and of these the first.
    fn line(&self, number: &str) -> Option<&Outgoing> {
        let lines = self.outgoing.iter().rev().filter(|line| line.is_for(number));
        // `max_by_key` returns the last of several equal ones.
        lines.max_by_key(|line| line.prefix.len())
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
    pub(crate) fn trunk_at(&self, source: IpAddr) -> Option<&Arc<Trunk>> {
        self.trunks.all.iter().find(|trunk| trunk.networks.iter().any(|network| network.contains(&source)))
    }

    /// The line that a name takes that nobody here has; emergency numbers come first.
    pub(crate) fn dialled(&self, name: &Aor) -> Option<Dialled<'_>> {
        if self.trunks.outgoing.is_empty() {
            return None;
        }
        let plain = plain(name);
        let number = str::from_utf8(plain.as_ref().unwrap_or(name).user()).ok()?;
        let is_number = number.strip_prefix('+').unwrap_or(number).bytes().all(|octet| octet.is_ascii_digit());
        let line = self.trunks.line(number).filter(|_| is_number)?;
        let is_ours = || self.accounts.find(name).is_some() || self.meaning(name).is_some();
        if !line.is_emergency && is_ours() {
            return None;
        }
        Some(Dialled { line, number: number.to_owned() })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn line(prefix: &str, digits: Option<RangeInclusive<usize>>, name: &str) -> Outgoing {
        Outgoing {
            prefix: prefix.into(),
            strip: 0,
            add: "".into(),
            digits,
            class: Some(name.into()),
            trunks: Vec::new(),
            is_emergency: name == "emergency",
        }
    }

    #[test]
    fn the_longest_prefix_wins_then_the_first_line() {
        let lines = [
            ("0", Some(4..=15), "national"),
            ("00", None, "international"),
            ("00", None, "never"),
            ("0049", Some(6..=15), "home"),
            ("112", None, "emergency"),
            ("+", None, "e164"),
        ];
        let outgoing = lines.map(|(prefix, digits, name)| line(prefix, digits, name)).to_vec();
        let trunks = Trunks { outgoing, ..Trunks::default() };
        for (number, expected) in [
            ("0891234", Some("national")),
            ("089", None),
            ("0891234567890123", None),
            ("00441234", Some("international")),
            ("00498912", Some("home")),
            ("00491", Some("international")),
            ("112", Some("emergency")),
            ("1123", None),
            ("+49", Some("e164")),
            ("89", None),
        ] {
            assert_eq!(trunks.line(number).and_then(|line| line.class.as_deref()), expected, "{number}");
        }
    }

    #[test]
    fn the_number_for_the_trunk() {
        for (prefix, strip, add, dialled, expected) in [
            ("0", 1, "+49", "0891234", "+49891234"),
            ("00", 2, "+", "00441234", "+441234"),
            ("9", 1, "", "9", ""),
            ("112", 0, "", "112", "112"),
        ] {
            let line = Outgoing { strip, add: add.into(), ..line(prefix, None, "") };
            assert_eq!(line.number(dialled), expected);
        }
    }
}
