//! What a name is, in the order in which the names of an office are looked up.

use location::Aor;

use super::{Meaning, Settings};

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// An emergency number.
    Emergency,
    /// The name of an account.
    Account,
    /// A further number of an account.
    AccountNumber,
    /// A ring group or a number of one.
    Group,
    /// A number that leads elsewhere.
    Number,
    /// A number outside of the office, which is dialled by a trunk.
    Outside,
    /// Nobody.
    Unknown,
}

impl Settings {
    /// What a name is: emergency numbers come first, then the names of this server, then the numbers of `outgoing`.
    pub fn kind_of(&self, name: &Aor) -> NameKind {
        match self.dialled(name) {
            Some(dialled) if dialled.line.is_emergency => return NameKind::Emergency,
            Some(_) => return NameKind::Outside,
            None => {}
        }
        match self.meaning(name) {
            Some(Meaning::User(_)) => NameKind::AccountNumber,
            Some(Meaning::Group(_)) => NameKind::Group,
            Some(Meaning::Number(_)) => NameKind::Number,
            None if self.accounts.find(name).is_some() => NameKind::Account,
            None => NameKind::Unknown,
        }
    }
}
