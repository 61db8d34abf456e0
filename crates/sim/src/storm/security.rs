//! Who has to prove what in a storm: a draw for each seed, and the settings that it makes.

use std::time::Duration;

use proxy::{Algorithm, Authentication, Foreign, Settings, Strangers};

use super::credentials::{Credentials, account};
use crate::Dice;

/// Everybody who has an account. `ghost` never registers.
pub(super) const USERS: [&str; 10] =
    ["alice", "anna", "adam", "bob", "carol", "dave", "eve", "frank", "ghost", "mallory"];

/// What a seed asks of its callers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Security {
    /// Digest authentication.
    pub(crate) required: bool,
    pub(crate) strangers: bool,
    pub(crate) foreign: bool,
    /// Whether the mirrors and the gateway are in a trusted network.
    pub(crate) trusts: bool,
    pub(crate) adversary: Adversary,
    sha256: bool,
    nonce_lifetime: Duration,
}

/// Whether somebody attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adversary {
    Absent,
    /// Attacks with nothing but what is on the wire, so that nothing of it may have any effect: the honest agents see what
    /// they would see without it, to the microsecond.
    Outsider,
    /// Has an account, registers and calls, and attacks with it.
    User,
}

impl Security {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let required = dice.happens(700);
        let adversary = match dice.roll(100) {
            0..15 => Adversary::Absent,
            15..35 => Adversary::Outsider,
            _ => Adversary::User,
        };
        let strangers = dice.happens(250) && adversary != Adversary::Outsider;
        Self {
            required,
            strangers: required && strangers,
            foreign: required && dice.happens(250),
            trusts: required && dice.happens(700),
            adversary: if required { adversary } else { Adversary::Absent },
            sha256: dice.happens(500),
            nonce_lifetime: Duration::from_secs([300, 300, 20][dice.below(3)]),
        }
    }

    /// How many times as long as its request an answer may be, where nobody proves anything: the judge counts every copy of
    /// Timer G.
    pub(super) const fn amplification(&self) -> usize {
        if self.required && !self.strangers { 3 } else { 1000 }
    }

    pub(super) fn settle_in(&self, settings: &mut Settings) {
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

    /// What an agent of this user proves itself with; none where nobody is asked.
    pub(super) fn credentials(&self, user: &str) -> Option<Credentials> {
        let algorithm = if self.sha256 { "SHA-256" } else { "MD5" };
        self.required.then(|| Credentials::new(user, algorithm))
    }
}
