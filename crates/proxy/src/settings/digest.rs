//! Settings of digest authentication (RFC 7616, RFC 8760): the offered algorithms, and how long a nonce is valid.
//!
//! Only values.

use std::time::Duration;

/// Digest parameters.
#[derive(Clone, Debug)]
pub struct Digest {
    /// One challenge each, in this order. Never empty.
    pub algorithms: Vec<Algorithm>,
    /// How long a nonce is valid.
    pub nonce_lifetime: Duration,
    /// The number of wrong responses after which a nonce is stale.
    pub nonce_failures: u32,
    /// How long a phone that gave up at a challenge with several algorithms is offered MD5 alone; `None`: never.
    pub md5_fallback: Option<Duration>,
    /// The beginnings of the User-Agent of phones that support MD5 only and give up at other challenges.
    pub md5_user_agents: Vec<Box<str>>,
}

impl Default for Digest {
    fn default() -> Self {
        Self {
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            nonce_lifetime: Duration::from_secs(300),
            nonce_failures: 5,
            md5_fallback: Some(Duration::from_secs(300)),
            md5_user_agents: Vec::new(),
        }
    }
}

impl Digest {
    /// Whether the User-Agent is in `md5_user_agents`.
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
    /// MD5, for phones that support nothing better.
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
    /// The number of different sets.
    pub(crate) const SETS: usize = 8;

    /// The set of all algorithms.
    pub(crate) const ALL: Self = Self(7);

    /// The number of the set, below [`Algorithms::SETS`].
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

    /// The set of this algorithm if `is_in`, else the empty set.
    pub(crate) const fn of(algorithm: Algorithm, is_in: bool) -> Self {
        let bit = match algorithm {
            Algorithm::Md5 => 1,
            Algorithm::Sha256 => 2,
            Algorithm::Sha512t256 => 4,
        };
        Self(if is_in { bit } else { 0 })
    }

    /// The algorithms of both sets.
    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
