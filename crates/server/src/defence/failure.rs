//! What is held against an address, and what is said of it.
//!
//! Decides how much of that is kept: a few users, whatever else by its kind.

use std::time::Duration;

use location::Aor;
use proxy::Source;

/// Users that are named beside a ban.
const MAX_USERS: usize = 5;

/// Something for the log.
#[derive(Clone, Debug)]
pub(crate) struct BanNotice {
    /// The address.
    pub(crate) source: Source,
    /// What becomes of it.
    pub(crate) outcome: BanOutcome,
    /// Failures that were too many.
    pub(crate) failures: usize,
    /// Within this time.
    pub(crate) within: Duration,
    /// What they were.
    pub(crate) summary: FailureSummary,
}

/// What becomes of an address with too many failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BanOutcome {
    /// It is not answered for so long.
    Banned(Duration),
    /// Nothing: it is one of `trusted`.
    Trusted,
    /// Nothing: a phone is registered from there.
    Registered,
    /// Nothing: `defence.ban` is off.
    Off,
}

/// One thing that is held against an address.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure<'a> {
    /// Wrong credentials for this user, or a user that does not exist.
    Credentials(&'a Aor),
    /// Something that could not be read came over a connection.
    Unreadable,
    /// A wrong token was shown to the admin API.
    Token,
}

/// What an address has shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailureSummary {
    /// The first users whose passwords were wrong, with or without an account.
    pub(crate) users: Vec<Aor>,
    /// Whether there are more of them.
    pub(crate) others: bool,
    /// Whether something came that could not be read.
    pub(crate) unreadable: bool,
    /// Whether a wrong token was shown to the admin API.
    pub(crate) token: bool,
}

impl FailureSummary {
    /// Adds a failure.
    pub(super) fn add(&mut self, failure: Failure<'_>) {
        match failure {
            Failure::Credentials(user) if self.users.contains(user) => {}
            Failure::Credentials(user) if self.users.len() < MAX_USERS => self.users.push(user.clone()),
            Failure::Credentials(_) => self.others = true,
            Failure::Unreadable => self.unreadable = true,
            Failure::Token => self.token = true,
        }
    }
}
