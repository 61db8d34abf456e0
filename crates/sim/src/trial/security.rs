//! What must be authenticated in a trial: drawn from its seed, and the settings for it.

use std::time::Duration;

use proxy::{Algorithm, Authentication, Foreign, Settings, Strangers};

use super::credentials::{Credentials, account};
use crate::Random;

/// The users that have an account. `ghost` never registers.
pub(super) const USERS: [&str; 12] =
    ["alice", "anna", "adam", "bob", "carol", "dave", "eve", "frank", "ghost", "grace", "mallory", "tina"];

/// The security settings of a trial, and its adversary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Security {
    /// Whether requests need credentials.
    pub(crate) required: bool,
    pub(crate) strangers: bool,
    pub(crate) foreign: bool,
    /// Whether the looping proxies and the gateway are in a trusted network.
    pub(crate) trusts: bool,
    pub(crate) adversary: Adversary,
    sha256: bool,
    nonce_lifetime: Duration,
}

/// The kinds of adversary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adversary {
    Absent,
    /// Attacks only with what it reads from the wire. The others must not notice any effect.
    Outsider,
    /// Has an account, registers and calls, and uses it for attacks.
    User,
}

impl Security {
    pub(super) fn draw(random: &mut Random) -> Self {
        let required = random.chance(700);
        let adversary = match random.below(100) {
            0..15 => Adversary::Absent,
            15..35 => Adversary::Outsider,
            _ => Adversary::User,
        };
        let strangers = random.chance(250) && adversary != Adversary::Outsider;
        Self {
            required,
            strangers: required && strangers,
            foreign: required && random.chance(250),
            trusts: required && random.chance(700),
            adversary: if required { adversary } else { Adversary::Absent },
            sha256: random.chance(500),
            nonce_lifetime: Duration::from_secs([300, 300, 20][random.index(3)]),
        }
    }

    /// The longest response, as a multiple of its request. Without authentication it is not limited, since the judge
    /// counts every retransmission of Timer G.
    pub(super) const fn amplification(&self) -> usize {
        if self.required && !self.strangers { 3 } else { 1000 }
    }

    pub(super) fn apply_to(&self, settings: &mut Settings) {
        settings.limits.amplification = self.amplification();
        if !self.required {
            return;
        }
        settings.authentication = Authentication::Required;
        settings.digest.nonce_lifetime = self.nonce_lifetime;
        if !self.sha256 {
            settings.digest.algorithms = vec![Algorithm::Md5];
        }
        settings.strangers = if self.strangers { Strangers::Accept } else { Strangers::Refuse };
        settings.foreign = if self.foreign { Foreign::Authenticated } else { Foreign::Refuse };
        for (aor, account) in USERS.map(account) {
            settings.accounts.insert(aor, account);
        }
    }

    /// The credentials of an agent of this user; `None` if requests need none.
    pub(super) fn credentials(&self, user: &str) -> Option<Credentials> {
        let algorithm = if self.sha256 { "SHA-256" } else { "MD5" };
        self.required.then(|| Credentials::new(user, algorithm))
    }
}
