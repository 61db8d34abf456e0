//! Digest authentication (RFC 7616, RFC 8760): the offered algorithms, and the lifetime of a nonce.
//!
//! Values only; `auth` challenges and checks credentials.

use std::time::Duration;

/// The beginning of the User-Agent of clients that support only MD5. They fail at a SHA-256 challenge, or are too old
/// to have been tested with one. SHA-256 is supported since Asterisk 20.12, FreeSWITCH 1.10.7, PJSIP 2.11, Twinkle
/// 1.10.3, Linphone 4 and baresip 3.12.
const MD5_ONLY_CLIENTS: [&str; 22] = [
    "baresip v0.",
    "baresip v1.",
    "baresip v2.",
    "SIPp",
    "sipsak ",
    "Asterisk PBX 1",
    "FreeSWITCH-mod_sofia/1.6.",
    "FreeSWITCH-mod_sofia/1.8.",
    "FreeSWITCH-mod_sofia/1.10.6",
    "PJSUA v1.",
    "PJSUA v2.9",
    "PJSUA v2.10 ",
    "Twinkle/1.4",
    "Twinkle/1.9",
    "Twinkle/1.10.0",
    "Twinkle/1.10.1",
    "Twinkle/1.10.2",
    "Linphone/3.",
    "Cisco/SPA",
    "Linksys/SPA",
    "JsSIP 3.",
    "SIP.js/0.",
];

/// Digest parameters.
#[derive(Clone, Debug)]
pub struct Digest {
    /// The offered algorithms, one challenge for each, in this order. Never empty.
    pub algorithms: Vec<Algorithm>,
    /// Lifetime of a nonce.
    pub nonce_lifetime: Duration,
    /// Number of wrong responses after which a nonce is stale for every client.
    pub nonce_failures: u32,
    /// How long a phone that did not respond to a challenge with several algorithms is offered MD5 alone; `None`:
    /// never.
    pub md5_fallback: Option<Duration>,
    /// The beginning of the User-Agent of clients that are always offered MD5 alone, in any case.
    pub md5_user_agents: Vec<Box<str>>,
}

impl Default for Digest {
    fn default() -> Self {
        Self {
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            nonce_lifetime: Duration::from_secs(300),
            nonce_failures: 5,
            md5_fallback: Some(Duration::from_secs(300)),
            md5_user_agents: MD5_ONLY_CLIENTS.map(Box::from).into(),
        }
    }
}

impl Digest {
    /// Whether a client with this User-Agent is known to support only MD5.
    pub(crate) fn supports_md5_only(&self, user_agent: &[u8]) -> bool {
        let begins = |prefix: &str| {
            user_agent.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        self.md5_user_agents.iter().any(|prefix| begins(prefix))
    }
}

/// A digest algorithm (RFC 7616 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// MD5, for phones that support nothing else.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512/256.
    Sha512t256,
}

/// A set of algorithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Algorithms(u8);

impl Algorithms {
    /// Number of sets.
    pub(crate) const SETS: usize = 8;

    /// The set of all algorithms.
    pub(crate) const ALL: Self = Self(7);

    /// The set as a number below [`Algorithms::SETS`].
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// The set with this number.
    pub(crate) const fn from_index(index: u8) -> Self {
        Self(index & Self::ALL.0)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & Self::of(algorithm, true).0 != 0
    }

    /// The set of this algorithm if `is`, or else the empty set.
    pub(crate) const fn of(algorithm: Algorithm, is: bool) -> Self {
        let bit = match algorithm {
            Algorithm::Md5 => 1,
            Algorithm::Sha256 => 2,
            Algorithm::Sha512t256 => 4,
        };
        Self(if is { bit } else { 0 })
    }

    /// The union of two sets.
    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
