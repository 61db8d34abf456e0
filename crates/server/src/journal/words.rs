//! Names, addresses and numbers as they stand in a log line.
//!
//! Decides what is masked, and that nothing a peer wrote can forge a line or reach a terminal as a command.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use location::Aor;

use crate::config::{Config, Masked};
use crate::printable;

/// The longest text of a peer that is shown.
const LONGEST: usize = 64;

/// How names and addresses are shown.
#[derive(Debug)]
pub(crate) struct Names {
    home: Box<str>,
    users: bool,
    addresses: bool,
    /// Another one at every start, so that a stand-in says nothing beyond one run.
    hasher: RandomState,
}

impl Names {
    /// As the configuration wants it.
    pub(crate) fn new(config: &Config) -> Self {
        let mut names = Self { home: "".into(), users: false, addresses: false, hasher: RandomState::new() };
        names.reconfigure(config);
        names
    }

    /// As it wants it now; the stand-ins stay.
    pub(crate) fn reconfigure(&mut self, config: &Config) {
        self.home = config.first_domain().into();
        self.users = config.log.mask.contains(&Masked::Users);
        self.addresses = config.log.mask.contains(&Masked::Addresses);
    }

    /// A user; without the domain that goes without saying.
    pub(crate) fn user(&self, aor: &Aor) -> String {
        let at_home = aor.domain() == self.home.as_bytes();
        if self.users {
            let domain = if at_home { String::new() } else { format!("@{}", clean(aor.domain())) };
            return format!("user-{:04x}{domain}", self.hasher.hash_one(aor.user()) & 0xffff);
        }
        clean(if at_home { aor.user() } else { aor.as_bytes() })
    }

    /// An address.
    pub(crate) fn address(&self, ip: IpAddr) -> String {
        match self.addresses {
            true => format!("address-{:04x}", self.hasher.hash_one(ip) & 0xffff),
            false => ip.to_string(),
        }
    }
}

/// What a peer wrote, without what could deceive, and not all of it if it is long.
pub(crate) fn clean(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut clean = String::with_capacity(text.len().min(LONGEST));
    text.chars().take(LONGEST).for_each(|c| printable::push_printable(&mut clean, c));
    if text.chars().nth(LONGEST).is_some() {
        clean.push('…');
    }
    clean
}

/// So many phones.
pub(crate) struct Phones(pub(crate) usize);

impl fmt::Display for Phones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 phone"),
            count => write!(f, "{count} phones"),
        }
    }
}

/// ", 3rd time", which goes without saying for the first.
pub(crate) struct Time(pub(crate) u32);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str(","),
            2 => f.write_str(", 2nd time"),
            3 => f.write_str(", 3rd time"),
            count => write!(f, ", {count}th time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aor(user: &str, domain: &str) -> Aor {
        Aor::new(user.as_bytes(), domain.as_bytes())
    }

    #[test]
    fn the_domain_goes_without_saying() {
        let names = Names::new(&Config::default());
        assert_eq!(names.user(&aor("101", "office.example")), "101");
        assert_eq!(names.user(&aor("101", "branch.example")), "101@branch.example");
    }

    #[test]
    fn masks() {
        let mut config = Config::default();
        config.log.mask = vec![Masked::Users, Masked::Addresses];
        let names = Names::new(&config);
        let one = names.user(&aor("101", "office.example"));
        assert!(one.starts_with("user-") && !one.contains("101"), "{one}");
        assert_eq!(one, names.user(&aor("101", "office.example")), "one user, one stand-in");
        assert!(names.user(&aor("101", "branch.example")).ends_with("@branch.example"));
        assert!(names.address([192, 0, 2, 7].into()).starts_with("address-"));
    }

    #[test]
    fn nothing_of_a_peer_breaks_a_line() {
        assert_eq!(clean(b"a\r\n\x1b[31mb\xff"), "a\\u000d\\u000a\\u001b[31mb\u{fffd}");
        assert_eq!(clean("a\u{202e}b".as_bytes()), "a\\u202eb");
        assert_eq!(clean(&[b'x'; 100]).chars().count(), LONGEST + 1);
    }
}
