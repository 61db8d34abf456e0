//! Numbers of things in sentences: `1 phone`, `2 phones`.
//!
//! Decides singular or plural, so that no other module writes "1 phones".

use std::fmt;

/// A number and what it counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    count: u64,
    one: &'static str,
    many: &'static str,
}

/// `count` of these things; `one` and `many` are the singular and the plural.
pub(crate) fn counted(count: usize, one: &'static str, many: &'static str) -> Counted {
    Counted { count: u64::try_from(count).unwrap_or(u64::MAX), one, many }
}

/// Accounts.
pub(crate) fn accounts(count: usize) -> Counted {
    counted(count, "account", "accounts")
}

/// Phones.
pub(crate) fn phones(count: usize) -> Counted {
    counted(count, "phone", "phones")
}

/// Users.
pub(crate) fn users(count: usize) -> Counted {
    counted(count, "user", "users")
}

/// Failures of an address.
pub(crate) fn failures(count: usize) -> Counted {
    counted(count, "failure", "failures")
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.count, if self.count == 1 { self.one } else { self.many })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 18: "1 phones of 1 users".
    #[test]
    fn one_thing_is_singular() {
        let text = |count| format!("{} of {}, {}", phones(count), users(count), accounts(count));
        assert_eq!(text(1), "1 phone of 1 user, 1 account");
        assert_eq!(text(0), "0 phones of 0 users, 0 accounts");
        assert_eq!(text(2), "2 phones of 2 users, 2 accounts");
    }
}
