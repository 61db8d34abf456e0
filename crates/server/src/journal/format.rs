//! Names, addresses and counts as they appear in log lines.
//!
//! Decides what is masked, and that no peer can forge a line or send a control sequence to a terminal.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use location::Aor;

use crate::config::{Config, Masked};
use crate::text::printable::escape_line;

/// Longest text of a peer that is shown, in characters.
const MAX_SHOWN: usize = 64;

/// How names and addresses are shown.
#[derive(Debug)]
pub(crate) struct NameFormat {
    first_domain: Box<str>,
    masks_users: bool,
    masks_addresses: bool,
    /// Random at each start, so that pseudonyms cannot be linked across restarts.
    hasher: RandomState,
}

impl NameFormat {
    /// By the configuration.
    pub(crate) fn new(config: &Config) -> Self {
        let mut names =
            Self { first_domain: "".into(), masks_users: false, masks_addresses: false, hasher: RandomState::new() };
        names.reconfigure(config);
        names
    }

    /// After a reload. The pseudonyms stay the same.
    pub(crate) fn reconfigure(&mut self, config: &Config) {
        self.first_domain = config.first_domain().into();
        self.masks_users = config.log.mask.contains(&Masked::Users);
        self.masks_addresses = config.log.mask.contains(&Masked::Addresses);
    }

    /// A user; without the domain if it is the first one.
    pub(crate) fn user(&self, aor: &Aor) -> String {
        let is_first_domain = aor.domain() == self.first_domain.as_bytes();
        if self.masks_users {
            let domain = if is_first_domain { String::new() } else { format!("@{}", sanitize(aor.domain())) };
            return format!("user-{:04x}{domain}", self.hasher.hash_one(aor.user()) & 0xffff);
        }
        sanitize(if is_first_domain { aor.user() } else { aor.as_bytes() })
    }

    /// An IP address.
    pub(crate) fn address(&self, ip: IpAddr) -> String {
        match self.masks_addresses {
            true => format!("address-{:04x}", self.hasher.hash_one(ip) & 0xffff),
            false => ip.to_string(),
        }
    }
}

/// Text of a peer: escaped, and truncated if it is long.
pub(crate) fn sanitize(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match text.char_indices().nth(MAX_SHOWN) {
        None => escape_line(&text).into_owned(),
        Some((end, _)) => format!("{}…", escape_line(&text[..end])),
    }
}

/// `, 3rd time`; only the comma for the first.
pub(crate) struct Occurrence(pub(crate) u32);

impl fmt::Display for Occurrence {
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
    fn the_first_domain_is_omitted() {
        let names = NameFormat::new(&Config::default());
        assert_eq!(names.user(&aor("101", "office.example")), "101");
        assert_eq!(names.user(&aor("101", "branch.example")), "101@branch.example");
    }

    #[test]
    fn masked_names_are_replaced() {
        let mut config = Config::default();
        config.log.mask = vec![Masked::Users, Masked::Addresses];
        let names = NameFormat::new(&config);
        let pseudonym = names.user(&aor("101", "office.example"));
        assert_eq!(pseudonym.strip_prefix("user-").map(str::len), Some(4), "{pseudonym}");
        assert_eq!(pseudonym, names.user(&aor("101", "office.example")), "a user keeps its pseudonym");
        assert!(names.user(&aor("101", "branch.example")).ends_with("@branch.example"));
        assert!(names.address([192, 0, 2, 7].into()).starts_with("address-"));
    }

    #[test]
    fn peer_text_cannot_break_a_line() {
        assert_eq!(sanitize(b"a\r\n\x1b[31mb\xff"), "a\\u000d\\u000a\\u001b[31mb\u{fffd}");
        assert_eq!(sanitize("a\u{202e}b".as_bytes()), "a\\u202eb");
        assert_eq!(sanitize(&[b'x'; 100]).chars().count(), MAX_SHOWN + 1);
    }
}
