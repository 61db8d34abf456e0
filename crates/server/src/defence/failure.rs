//! Kinds of failures of an address, and the notice that is logged.
//!
//! Decides how many details are kept.

use std::time::Duration;

use location::Aor;
use proxy::Source;

/// Users that are listed for one address.
const MAX_USERS: usize = 5;

/// A log line about an address with too many failures.
#[derive(Clone, Debug)]
pub(crate) struct BanNotice {
    /// The address.
    pub(crate) source: Source,
    /// What was done.
    pub(crate) outcome: BanOutcome,
    /// Number of failures.
    pub(crate) failures: usize,
    /// The period in which they occurred.
    pub(crate) within: Duration,
    /// Their kinds.
    pub(crate) summary: FailureSummary,
}

/// What is done about an address with too many failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BanOutcome {
    /// Banned for this long.
    Banned(Duration),
    /// Exempt: in a `trusted` network.
    Trusted,
    /// Exempt: a phone is registered from there.
    Registered,
    /// Not banned: `defence.ban` is off.
    Off,
}

/// A failure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure<'a> {
    /// Wrong credentials for this user, or a user that does not exist.
    Credentials(&'a Aor),
    /// A message that cannot be parsed, over a connection.
    Unreadable,
    /// A wrong token in a request to the admin API.
    Token,
}

/// The kinds of failures of one address.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailureSummary {
    /// The first users with refused credentials, with or without an account.
    pub(crate) users: Vec<Aor>,
    /// Whether there were more users.
    pub(crate) others: bool,
    /// Whether there were unparseable messages.
    pub(crate) unreadable: bool,
    /// Whether there were wrong tokens.
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
