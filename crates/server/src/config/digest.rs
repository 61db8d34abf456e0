//! `digest`: digest authentication (RFC 8760).
//!
//! Decides names and defaults, among them the clients that are known to fail at a challenge for any algorithm but
//! MD5.

use std::time::Duration;

use proxy::Algorithm;
use serde::Deserialize;

use super::scalar::{Count, Period, PeriodOrOff, Scalar, scalars};

/// These clients support only MD5, and fail at a SHA-256 challenge or are too old to have been tested with one.
/// SHA-256 is supported since Asterisk 20.12, FreeSWITCH 1.10.7, PJSIP 2.11, Twinkle 1.10.3, Linphone 4 and baresip
/// 3.12.
const OLD_CLIENTS: [&str; 20] = [
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
];

/// `digest`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Digest {
    /// Algorithms in the order of the challenges, as far as the account has a hash for them; default sha-256, md5.
    /// Also sha-512-256.
    pub(crate) algorithms: Vec<AlgorithmName>,
    /// Lifetime of a nonce; default 5m.
    pub(crate) nonce_lifetime: Period,
    /// Wrong responses after which a nonce is stale; default 5.
    pub(crate) nonce_failures: Count,
    /// How long a phone that did not answer a challenge with several algorithms is offered MD5 only; default 5m, or
    /// off.
    pub(crate) md5_fallback: PeriodOrOff,
    /// Prefixes of the User-Agent of clients that are offered MD5 only; default: old clients that are known to need
    /// it.
    pub(crate) md5_user_agents: Vec<AgentPrefix>,
}

impl Default for Digest {
    fn default() -> Self {
        let minutes = Duration::from_secs(300);
        Self {
            algorithms: vec![AlgorithmName(Algorithm::Sha256), AlgorithmName(Algorithm::Md5)],
            nonce_lifetime: Period(minutes),
            nonce_failures: Count(5),
            md5_fallback: PeriodOrOff(Some(minutes)),
            md5_user_agents: OLD_CLIENTS.map(|prefix| AgentPrefix(prefix.into())).into(),
        }
    }
}

impl Digest {
    /// The settings of the core.
    pub(crate) fn settings(&self) -> proxy::Digest {
        proxy::Digest {
            algorithms: self.algorithms.iter().map(|name| name.0).collect(),
            nonce_lifetime: self.nonce_lifetime.0,
            nonce_failures: u32::try_from(self.nonce_failures.0).unwrap_or(u32::MAX),
            md5_fallback: self.md5_fallback.0,
            md5_user_agents: self.md5_user_agents.iter().map(|prefix| prefix.0.clone()).collect(),
        }
    }
}

/// A digest algorithm by its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AlgorithmName(pub(crate) Algorithm);

/// A prefix of a User-Agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentPrefix(pub(crate) Box<str>);

scalars!(AlgorithmName, AgentPrefix);

impl AlgorithmName {
    /// Its name in the configuration.
    pub(crate) const fn as_str(self) -> &'static str {
        match self.0 {
            Algorithm::Md5 => "md5",
            Algorithm::Sha256 => "sha-256",
            Algorithm::Sha512t256 => "sha-512-256",
        }
    }
}

impl Scalar for AlgorithmName {
    const EXPECTED: &'static str = "sha-256, sha-512-256 or md5";

    fn read(text: &str) -> Option<Self> {
        let all = [Algorithm::Sha256, Algorithm::Sha512t256, Algorithm::Md5].map(Self);
        all.into_iter().find(|name| name.as_str().eq_ignore_ascii_case(text))
    }
}

impl Scalar for AgentPrefix {
    const EXPECTED: &'static str = "the beginning of a User-Agent, like \"baresip v1.\"";

    fn read(text: &str) -> Option<Self> {
        // An empty prefix would match every client.
        let is_valid = !text.trim().is_empty() && !text.contains(char::is_control);
        is_valid.then(|| Self(text.into()))
    }
}
