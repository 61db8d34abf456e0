//! One change of the rules of a user.
//!
//! Decides which changes are valid, and what only an administrator may set.

use location::Aor;
use proxy::{Accounts, CodeCommand, Party, Settings};
use serde::{Deserialize, Deserializer};
use tokio::sync::oneshot;

use super::rule::SetRule;
use super::shown::Forwarding;
use crate::cluster::SharedError;
use crate::config::{self, AlsoRingText, Config};
use crate::error::CliError;

/// A change of a [`SetRule`]: a field that is missing stays, and `null` clears it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RuleChange {
    #[serde(deserialize_with = "present")]
    pub(crate) always: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    pub(crate) busy: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    pub(crate) no_answer: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    pub(crate) unavailable: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    pub(crate) after: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    pub(crate) also_ring: Option<Option<Vec<AlsoRingText>>>,
    #[serde(deserialize_with = "present")]
    pub(crate) do_not_disturb: Option<Option<bool>>,
}

/// Tells `null` from a missing field.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Why a change is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RuleError {
    /// There is no such account.
    #[error("there is no account with this name")]
    NoAccount,
    /// A value is invalid.
    #[error("{key}: {message}")]
    Invalid {
        /// The key.
        key: String,
        /// What was expected.
        message: String,
    },
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] CliError),
    /// The other servers could not be told.
    #[error(transparent)]
    Shared(#[from] SharedError),
}

/// Who changes the rules of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// The administrator.
    Administrator,
    /// The user.
    User,
}

/// A change that the main loop makes.
pub(crate) struct RuleRequest {
    /// Whose rules change.
    pub(crate) user: Aor,
    /// Who changes them.
    pub(crate) author: Author,
    /// How.
    pub(crate) change: RuleChange,
    /// Gets the rules in force then.
    pub(crate) reply: oneshot::Sender<Result<Forwarding, RuleError>>,
}

impl RuleChange {
    /// Checks the values for this user, whoever sets them.
    pub(super) fn check(&self, user: &Aor, config: &Config, accounts: &Accounts) -> Result<(), RuleError> {
        accounts.find(user).ok_or(RuleError::NoAccount)?;
        let domain = String::from_utf8_lossy(user.domain());
        for (key, text) in self.forwards() {
            let checked = config::check_party_text(text, &domain, config, accounts);
            checked.map_err(|message| RuleError::Invalid { key: key.to_owned(), message })?;
        }
        let checked = config::check_also_ring_texts(self.also_ring(), &domain, config, accounts);
        checked.map_err(|conflict| RuleError::Invalid { key: conflict.key(), message: conflict.message })?;
        for (key, text) in self.parties() {
            if is_user(text, user, accounts) {
                return Err(RuleError::Invalid { key, message: format!("{text:?} is this user") });
            }
        }
        if let Some(Some(text)) = &self.after {
            let invalid = || RuleError::Invalid { key: "after".to_owned(), message: config::expected_period(text) };
            config::read_period(text).ok_or_else(invalid)?;
        }
        Ok(())
    }

    /// Makes the change.
    pub(super) fn apply_to(self, rule: &mut SetRule) {
        let Self { always, busy, no_answer, unavailable, after, also_ring, do_not_disturb } = self;
        for (own, new) in [
            (&mut rule.always, always),
            (&mut rule.busy, busy),
            (&mut rule.no_answer, no_answer),
            (&mut rule.unavailable, unavailable),
            (&mut rule.after, after),
        ] {
            if let Some(new) = new {
                *own = new;
            }
        }
        if let Some(new) = also_ring {
            rule.also_ring = new;
        }
        if let Some(new) = do_not_disturb {
            rule.do_not_disturb = new;
        }
    }

    /// The change that a feature code asks for. `None` if what follows the code is not a name or number: a user may not
    /// forward calls to a URI, which could lead to another domain, or to an address that users must not make this server
    /// send to.
    pub(crate) fn of_code(command: &CodeCommand) -> Option<Self> {
        Some(match command {
            CodeCommand::ForwardAlways(to) => {
                let name = std::str::from_utf8(to.user()).ok().filter(|text| config::is_called_name(text))?;
                Self { always: Some(Some(name.to_owned())), ..Self::default() }
            }
            CodeCommand::ForwardOff => Self { always: Some(Some("off".to_owned())), ..Self::default() },
            CodeCommand::DoNotDisturb(is_on) => Self { do_not_disturb: Some(Some(*is_on)), ..Self::default() },
        })
    }

    /// Checks what only an administrator may set. A user may not have calls sent to a URI, which could lead to another domain or
    /// to an address that users must not make this server send to, nor to a number that the user may not dial.
    pub(crate) fn check_author(&self, author: Author, user: &Aor, settings: &Settings) -> Result<(), RuleError> {
        if author == Author::Administrator {
            return Ok(());
        }
        for (key, text) in self.parties() {
            let invalid =
                |message: &str| RuleError::Invalid { key: key.clone(), message: format!("{text:?} {message}") };
            match config::read_party(text, &String::from_utf8_lossy(user.domain())) {
                Some(Party::Uri(_)) => return Err(invalid("is a SIP URI, which only the administrator may set")),
                Some(Party::Name(name)) if !settings.may_forward_to(user, &name) => {
                    return Err(invalid("is a number that you may not dial"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The parties that are named, each with its key.
    fn parties(&self) -> impl Iterator<Item = (String, &str)> {
        let forwards = self.forwards().map(|(key, text)| (key.to_owned(), text));
        let also_ring = self.also_ring().iter().enumerate();
        forwards.chain(also_ring.map(|(item, party)| (format!("also_ring[{item}].to"), &*party.to)))
    }

    fn also_ring(&self) -> &[AlsoRingText] {
        self.also_ring.iter().flatten().next().map_or(&[], Vec::as_slice)
    }

    fn forwards(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("always", &self.always),
            ("busy", &self.busy),
            ("no_answer", &self.no_answer),
            ("unavailable", &self.unavailable),
        ];
        all.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?.as_deref()?)))
    }
}

/// Whether the text of a party is this user, by its name or by one of its numbers.
fn is_user(text: &str, user: &Aor, accounts: &Accounts) -> bool {
    let domain = String::from_utf8_lossy(user.domain());
    let Some(Party::Name(name)) = config::read_party(text, &domain) else { return false };
    name == *user || accounts.with_number(&name) == Some(user)
}

#[cfg(test)]
mod tests {
    use proxy::Account;

    use super::*;

    fn aor(user: &str) -> Aor {
        Aor::new(user.as_bytes(), b"office.example")
    }

    fn change(json: &str) -> RuleChange {
        serde_json::from_str(json).expect("a change")
    }

    #[test]
    fn a_user_may_not_set_what_only_an_administrator_may() {
        let mut accounts = Accounts::default();
        accounts.insert(aor("101"), Account::default());
        accounts.insert(aor("102"), Account::default());
        let settings = Settings { accounts, ..Settings::default() };
        let uri = change(r#"{"busy":"sip:a@192.0.2.66"}"#);
        assert!(uri.check_author(Author::Administrator, &aor("101"), &settings).is_ok());
        let error = uri.check_author(Author::User, &aor("101"), &settings).expect_err("a URI").to_string();
        assert!(error.contains("busy: \"sip:a@192.0.2.66\" is a SIP URI"), "{error}");
        let uri = change(r#"{"also_ring":[{"to":"102"},{"to":"sip:a@192.0.2.66"}]}"#);
        assert!(uri.check_author(Author::Administrator, &aor("101"), &settings).is_ok());
        let error = uri.check_author(Author::User, &aor("101"), &settings).expect_err("a URI").to_string();
        assert!(error.contains("also_ring[1].to: \"sip:a@192.0.2.66\" is a SIP URI"), "{error}");
        for good in [
            r#"{"busy":"102"}"#,
            r#"{"always":"voicemail"}"#,
            r#"{"always":"off"}"#,
            r#"{"always":null}"#,
            r#"{"also_ring":[{"to":"102"}]}"#,
            r#"{"also_ring":[]}"#,
        ] {
            assert!(change(good).check_author(Author::User, &aor("101"), &settings).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_feature_code_names_a_user_group_or_number_only() {
        let to = |name: &str| RuleChange::of_code(&CodeCommand::ForwardAlways(aor(name)));
        let forwards_to = |name: &str| Some(change(&format!("{{\"always\":\"{name}\"}}")));
        for name in ["102", "+4989123450", "sales"] {
            assert_eq!(to(name), forwards_to(name), "{name}");
        }
        // A URI could lead to an address that the user must not make this server send to.
        for other in ["sip:a@127.0.0.1:9", "sips:a@b.example", "voicemail", "off", "false", "a b"] {
            assert_eq!(to(other), None, "{other}");
        }
    }
}
