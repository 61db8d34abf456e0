//! `digest`: digest authentication (RFC 8760).
//!
//! Decides the names of the algorithms.

use proxy::Algorithm;

use super::keys::section;
use super::scalar::{Count, Period, PeriodOrOff, Scalar, scalars};

section! {
    /// `digest`
    pub(crate) struct Digest {
        /// the algorithms that are offered, in this order, if the account has a secret for them (a password works for
        /// all of them); also possible: `sha-512-256`
        algorithms: Vec<AlgorithmName> = proxy::Digest::default().algorithms.into_iter().map(AlgorithmName).collect(),
        /// how long a challenge is valid
        nonce_lifetime: Period = Period(proxy::Digest::default().nonce_lifetime),
        /// after this many wrong responses to one challenge, further responses to it are rejected unread
        nonce_failures: Count = Count(usize::try_from(proxy::Digest::default().nonce_failures).unwrap_or(usize::MAX)),
        /// for phones that cannot log in with SHA-256. A phone that got a challenge, did not respond, and tries again
        /// more than 5 s later (same Call-ID) is offered MD5 alone until it succeeds, at most for this time; its calls
        /// are offered MD5 alone while that registration lasts. `off` disables this
        md5_fallback: PeriodOrOff = PeriodOrOff(proxy::Digest::default().md5_fallback),
        /// clients that know MD5 only and are offered MD5 alone at once: the beginning of their User-Agent, in upper or
        /// lower case. Only if `md5` is among `digest.algorithms` and the account has a secret for it. A list of your
        /// own replaces this one
        md5_user_agents: Vec<AgentPrefix> = proxy::Digest::default().md5_user_agents.into_iter().map(AgentPrefix).collect(),
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
