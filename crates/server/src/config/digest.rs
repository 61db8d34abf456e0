//! `digest`: how users prove who they are (RFC 8760).
//!
//! Decides names and defaults, among them the clients that are known to give up at a challenge for anything but MD5.

use std::time::Duration;

use proxy::Algorithm;
use serde::Deserialize;

use super::scalar::{Count, Period, PeriodOrOff, Scalar, scalars};

/// Each knows MD5 only, so nothing is lost by offering it alone, and gives up at SHA-256, or is too old to have been
/// tried with it. Asterisk learnt SHA-256 with 20.12, FreeSWITCH with 1.10.7, PJSIP with 2.11, Twinkle with 1.10.3,
/// Linphone with 4, baresip with 3.12.
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
    /// Offered in this order, one challenge each, as far as the account has a secret for it; default sha-256, md5. Also
    /// sha-512-256.
    pub(crate) algorithms: Vec<AlgorithmName>,
    /// How long a nonce is good; default 5m.
    pub(crate) nonce_lifetime: Period,
    /// Wrong responses that a nonce takes before it is stale; default 5.
    pub(crate) nonce_failures: Count,
    /// How long a phone that gave up at a challenge with several algorithms is offered MD5 alone; default 5m, or off.
    pub(crate) md5_fallback: PeriodOrOff,
    /// How the User-Agent of clients begins that are offered MD5 alone at once; default: old ones that are known to need it.
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
    /// As the core knows it.
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

/// How a User-Agent begins.
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
        // An empty one would mean everybody.
        let good = !text.trim().is_empty() && !text.contains(char::is_control);
        good.then(|| Self(text.into()))
    }
}
