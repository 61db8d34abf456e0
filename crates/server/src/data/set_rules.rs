//! Forwarding and do-not-disturb as users or administrators set them while the server runs.
//!
//! What was set takes precedence over the configuration until it is cleared, also after a restart. With `store: memory` it
//! is lost at the end. Decides nothing about calls: the result is the rules of the accounts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use location::Aor;
use proxy::{Accounts, CodeCommand, Party, Settings, UserRules};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::sync::oneshot;

use super::files;
use crate::cluster::{SharedError, SharedValues};
use crate::config::{self, Config, ConfigError};
use crate::error::CliError;

/// The file in the data folder.
const FILE: &str = "rules.yaml";

/// The value that all servers share, of the same form.
pub(crate) const VALUE: &str = "rules";

/// What was set for one user; a field that is missing was not set.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SetRule {
    #[serde(skip_serializing_if = "Option::is_none")]
    always: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    busy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unavailable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    do_not_disturb: Option<bool>,
}

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
        key: &'static str,
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

/// What was set, by address of record.
#[derive(Clone, Default)]
pub(crate) struct SetRules {
    place: Place,
    users: Users,
}

type Users = BTreeMap<String, SetRule>;

/// Where it is stored.
#[derive(Clone, Default)]
enum Place {
    /// Nowhere.
    #[default]
    Memory,
    /// In the data folder.
    File(PathBuf),
    /// Where all servers find it.
    Shared(SharedValues),
}

impl SetRules {
    /// Reads what was set before. `folder`: the data folder; `None` if nothing may be written.
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self, CliError> {
        let Some(file) = folder.map(|folder| folder.join(FILE)) else { return Ok(Self::default()) };
        let users = match std::fs::read_to_string(&file) {
            Ok(text) => serde_yaml::from_str(&text).map_err(|error| ConfigError::yaml(&file, &text, &error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(CliError::File { path: file, source }),
        };
        Ok(Self { place: Place::File(file), users })
    }

    /// Of all servers that share these values.
    pub(crate) fn shared(values: SharedValues) -> Self {
        let mut this = Self { place: Place::Shared(values), users: BTreeMap::new() };
        this.read_shared();
        this
    }

    /// Takes over what another server has set. Returns whether something has changed.
    pub(crate) fn read_shared(&mut self) -> bool {
        let Place::Shared(values) = &self.place else { return false };
        let text = values.get(VALUE).unwrap_or_default();
        let Some(users) = read_users(&text) else {
            tracing::error!("rules: {}", SharedError::Unreadable);
            return false;
        };
        let changed = users != self.users;
        self.users = users;
        changed
    }

    /// Changes the rules of a user, and stores them.
    pub(crate) async fn change(
        &mut self,
        user: &Aor,
        change: RuleChange,
        config: &Config,
        accounts: &Accounts,
    ) -> Result<(), RuleError> {
        accounts.find(user).ok_or(RuleError::NoAccount)?;
        let domain = String::from_utf8_lossy(user.domain());
        for (key, text) in change.parties() {
            let checked = config::check_party_text(text, &domain, config, accounts);
            checked.map_err(|message| RuleError::Invalid { key, message })?;
            if is_user(text, user, accounts) {
                return Err(RuleError::Invalid { key, message: format!("{text:?} is this user") });
            }
        }
        if let Some(Some(text)) = &change.after {
            let invalid = || RuleError::Invalid { key: "after", message: config::expected_period(text) };
            config::read_period(text).ok_or_else(invalid)?;
        }
        let name = String::from_utf8_lossy(user.as_bytes()).into_owned();
        match &self.place {
            Place::Memory => apply_to(&mut self.users, name, change),
            Place::File(file) => {
                let mut users = self.users.clone();
                apply_to(&mut users, name, change);
                let stored = files::replace_private(file, &format!("{FILE_HEADER}{}", text_of(&users)));
                stored.map_err(|source| CliError::File { path: file.clone(), source })?;
                self.users = users;
            }
            Place::Shared(values) => {
                let make = move |current: Option<&[u8]>| {
                    let mut users = read_users(current.unwrap_or_default()).ok_or(SharedError::Unreadable)?;
                    apply_to(&mut users, name.clone(), change.clone());
                    Ok(text_of(&users).into_bytes())
                };
                values.change(VALUE, make).await?;
                self.read_shared();
            }
        }
        Ok(())
    }

    /// What was set for a user.
    pub(crate) fn of(&self, user: &Aor) -> SetRule {
        self.users.get(&*String::from_utf8_lossy(user.as_bytes())).cloned().unwrap_or_default()
    }

    /// The accounts with the rules that were set.
    pub(crate) fn apply(&self, accounts: &mut Accounts) {
        for (name, rule) in &self.users {
            let Some((user, domain)) = name.rsplit_once('@') else { continue };
            let user = Aor::new(user.as_bytes(), domain.as_bytes());
            let Some(account) = accounts.find(&user) else { continue };
            let mut rules = account.rules.as_deref().cloned().unwrap_or_default();
            rule.merge_into(&mut rules, domain);
            accounts.set_rules(&user, (rules != UserRules::default()).then(|| Box::new(rules)));
        }
    }
}

fn apply_to(users: &mut Users, name: String, change: RuleChange) {
    let mut rule = users.remove(&name).unwrap_or_default();
    rule.apply(change);
    if rule != SetRule::default() {
        users.insert(name, rule);
    }
}

fn text_of(users: &Users) -> String {
    serde_yaml::to_string(users).unwrap_or_default()
}

fn read_users(text: &[u8]) -> Option<Users> {
    if text.is_empty() { Some(Users::default()) } else { serde_yaml::from_slice(text).ok() }
}

/// Whether the text of a party is this user, by its name or by one of its numbers.
fn is_user(text: &str, user: &Aor, accounts: &Accounts) -> bool {
    let domain = String::from_utf8_lossy(user.domain());
    let Some(Party::Name(name)) = config::read_party(text, &domain) else { return false };
    name == *user || accounts.with_number(&name) == Some(user)
}

const FILE_HEADER: &str = "\
# Written by frontdesk: what was set with `frontdesk forward`, `frontdesk dnd` or the API. It takes precedence over the
# configuration. Clear it with `frontdesk forward USER busy default`, or remove this file while the server is stopped.
";

impl SetRule {
    fn apply(&mut self, change: RuleChange) {
        let RuleChange { always, busy, no_answer, unavailable, after, do_not_disturb } = change;
        for (own, new) in [
            (&mut self.always, always),
            (&mut self.busy, busy),
            (&mut self.no_answer, no_answer),
            (&mut self.unavailable, unavailable),
            (&mut self.after, after),
        ] {
            if let Some(new) = new {
                *own = new;
            }
        }
        if let Some(new) = do_not_disturb {
            self.do_not_disturb = new;
        }
    }

    fn merge_into(&self, rules: &mut UserRules, domain: &str) {
        let forward = &mut rules.forward;
        for (own, set) in [
            (&mut forward.always, &self.always),
            (&mut forward.busy, &self.busy),
            (&mut forward.no_answer, &self.no_answer),
            (&mut forward.unavailable, &self.unavailable),
        ] {
            if let Some(text) = set {
                *own = config::read_party(text, domain);
            }
        }
        if let Some(after) = self.after.as_deref().and_then(config::read_period) {
            forward.after = after;
        }
        rules.do_not_disturb = self.do_not_disturb.unwrap_or(rules.do_not_disturb);
    }
}

impl RuleChange {
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

    /// Checks what only an administrator may set. A user may not forward calls to a URI, which could lead to another domain or
    /// to an address that users must not make this server send to, nor to a number that the user may not dial.
    pub(crate) fn check_author(&self, author: Author, user: &Aor, settings: &Settings) -> Result<(), RuleError> {
        if author == Author::Administrator {
            return Ok(());
        }
        for (key, text) in self.parties() {
            let invalid = |message: &str| RuleError::Invalid { key, message: format!("{text:?} {message}") };
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

    fn parties(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("always", &self.always),
            ("busy", &self.busy),
            ("no_answer", &self.no_answer),
            ("unavailable", &self.unavailable),
        ];
        all.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?.as_deref()?)))
    }
}

/// The rules of a user as the API shows them.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Forwarding {
    pub(crate) always: Option<String>,
    pub(crate) busy: Option<String>,
    pub(crate) no_answer: Option<String>,
    pub(crate) unavailable: Option<String>,
    pub(crate) after: String,
    pub(crate) do_not_disturb: bool,
    /// What was set at run time.
    pub(crate) set: SetRule,
}

impl Forwarding {
    /// The rules in force, and which of them were set.
    pub(crate) fn new(user: &Aor, accounts: &Accounts, set: SetRule) -> Option<Self> {
        let rules = accounts.find(user)?.rules.as_deref().cloned().unwrap_or_default();
        let text = |party: &Option<Party>| party.as_ref().map(|party| party_text(party, user.domain()));
        let forward = &rules.forward;
        Some(Self {
            always: text(&forward.always),
            busy: text(&forward.busy),
            no_answer: text(&forward.no_answer),
            unavailable: text(&forward.unavailable),
            after: humantime::format_duration(forward.after).to_string(),
            do_not_disturb: rules.do_not_disturb,
            set,
        })
    }
}

/// A party as it is written in the configuration of this domain.
pub(crate) fn party_text(party: &Party, domain: &[u8]) -> String {
    match party {
        Party::Name(name) if name.domain() == domain => String::from_utf8_lossy(name.user()).into_owned(),
        Party::Name(name) => String::from_utf8_lossy(name.as_bytes()).into_owned(),
        Party::Uri(uri) => uri.to_string(),
        Party::Voicemail => "voicemail".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proxy::Account;

    use super::*;

    fn aor(user: &str) -> Aor {
        Aor::new(user.as_bytes(), b"office.example")
    }

    fn accounts() -> Accounts {
        let mut accounts = Accounts::default();
        let busy = Some(Party::Name(aor("102")));
        let rules = UserRules { forward: proxy::Forward { busy, ..Default::default() }, ..UserRules::default() };
        accounts.insert(aor("101"), Account { rules: Some(Box::new(rules)), ..Account::default() });
        accounts.insert(aor("102"), Account::default());
        accounts
    }

    fn change(json: &str) -> RuleChange {
        serde_json::from_str(json).expect("a change")
    }

    fn shown(set: &SetRules) -> String {
        let mut accounts = accounts();
        set.apply(&mut accounts);
        let Forwarding { always, busy, after, do_not_disturb, .. } =
            Forwarding::new(&aor("101"), &accounts, set.of(&aor("101"))).expect("an account");
        format!("{always:?} {busy:?} {after} {do_not_disturb}")
    }

    #[tokio::test]
    async fn what_was_set_wins_until_it_is_cleared_and_survives_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let (config, accounts) = (Config::default(), accounts());
        let mut set = SetRules::open(Some(folder.path())).expect("rules");
        assert_eq!(shown(&set), "None Some(\"102\") 20s false");
        for (json, expected) in [
            (r#"{"busy":"off"}"#, "None None 20s false"),
            (r#"{"always":"102","do_not_disturb":true}"#, "Some(\"102\") None 20s true"),
            (r#"{"busy":null,"after":"5s"}"#, "Some(\"102\") Some(\"102\") 5s true"),
            (r#"{"always":null,"after":null,"do_not_disturb":null}"#, "None Some(\"102\") 20s false"),
        ] {
            set.change(&aor("101"), change(json), &config, &accounts).await.expect(json);
            assert_eq!(shown(&set), expected, "{json}");
            assert_eq!(shown(&SetRules::open(Some(folder.path())).expect("rules")), expected, "after a restart");
        }
        assert!(set.users.is_empty());
    }

    #[tokio::test]
    async fn invalid_changes_are_refused() {
        let (config, accounts) = (Config::default(), accounts());
        for (user, json, expected) in [
            ("199", "{}", "no account"),
            ("101", r#"{"busy":"199"}"#, "busy: \"199\" is no user"),
            ("101", r#"{"busy":"voicemail"}"#, "`voicemail`"),
            ("101", r#"{"after":"5"}"#, "after: "),
            ("101", r#"{"busy":"a b"}"#, "expected a user"),
            ("101", r#"{"always":"101"}"#, "always: \"101\" is this user"),
        ] {
            let outcome = SetRules::default().change(&aor(user), change(json), &config, &accounts).await;
            let error = outcome.expect_err(json).to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
        assert!(serde_json::from_str::<RuleChange>(r#"{"bussy":"102"}"#).is_err());
    }

    #[test]
    fn a_user_may_not_set_what_only_an_administrator_may() {
        let settings = Settings { accounts: accounts(), ..Settings::default() };
        let uri = change(r#"{"busy":"sip:a@192.0.2.66"}"#);
        assert!(uri.check_author(Author::Administrator, &aor("101"), &settings).is_ok());
        let error = uri.check_author(Author::User, &aor("101"), &settings).expect_err("a URI").to_string();
        assert!(error.contains("busy: \"sip:a@192.0.2.66\" is a SIP URI"), "{error}");
        for good in [r#"{"busy":"102"}"#, r#"{"always":"voicemail"}"#, r#"{"always":"off"}"#, r#"{"always":null}"#] {
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
