//! What was set for all users, and where it is stored: in the data folder, where all servers find it, or nowhere.
//!
//! Decides nothing about calls: the result is the rules of the accounts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use location::Aor;
use proxy::{Accounts, UserRules};

use super::change::{RuleChange, RuleError};
use super::rule::SetRule;
use crate::cluster::{SharedError, SharedValues};
use crate::config::{Config, ConfigError};
use crate::data::files;
use crate::error::CliError;

/// The file in the data folder.
const FILE: &str = "rules.yaml";

/// The value that all servers share, of the same form.
pub(crate) const VALUE: &str = "rules";

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
        change.check(user, config, accounts)?;
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
    pub(crate) fn apply(&self, accounts: &mut Accounts, config: &Config) {
        for (name, rule) in &self.users {
            let Some((user, domain)) = name.rsplit_once('@') else { continue };
            let user = Aor::new(user.as_bytes(), domain.as_bytes());
            let Some(account) = accounts.find(&user) else { continue };
            let mut rules = account.rules.as_deref().cloned().unwrap_or_default();
            rule.merge_into(&mut rules, domain, config);
            accounts.set_rules(&user, (rules != UserRules::default()).then(|| Box::new(rules)));
        }
    }
}

fn apply_to(users: &mut Users, name: String, change: RuleChange) {
    let mut rule = users.remove(&name).unwrap_or_default();
    change.apply_to(&mut rule);
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

const FILE_HEADER: &str = "\
# Written by frontdesk: what was set with `frontdesk forward`, `frontdesk dnd` or the API. It takes precedence over the
# configuration. Clear it with `frontdesk forward USER busy default`, or remove this file while the server is stopped.
";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proxy::{Account, AlsoRing, Party};

    use super::super::shown::Forwarding;
    use super::*;

    fn aor(user: &str) -> Aor {
        Aor::new(user.as_bytes(), b"office.example")
    }

    fn accounts() -> Accounts {
        let mut accounts = Accounts::default();
        let busy = Some(Party::Name(aor("102")));
        let forward = proxy::Forward { busy, ..Default::default() };
        let beside = AlsoRing { to: Party::Name(aor("103")), after: Duration::ZERO, hours: None };
        let rules = UserRules { forward, also_ring: vec![beside], ..UserRules::default() };
        accounts.insert(aor("101"), Account { rules: Some(Box::new(rules)), ..Account::default() });
        accounts.insert(aor("102"), Account::default());
        accounts.insert(aor("103"), Account::default());
        accounts
    }

    fn config() -> Config {
        serde_yaml::from_str("hours: { office: { zone: UTC, open: [mon-fri 08:00-18:00] } }\nlimits: { targets: 2 }\n")
            .expect("a configuration")
    }

    fn change(json: &str) -> RuleChange {
        serde_json::from_str(json).expect("a change")
    }

    fn shown(set: &SetRules) -> String {
        let mut accounts = accounts();
        set.apply(&mut accounts, &config());
        let Forwarding { always, busy, after, do_not_disturb, also_ring, .. } =
            Forwarding::new(&aor("101"), &accounts, set.of(&aor("101"))).expect("an account");
        let also_ring = serde_json::to_string(&also_ring).expect("JSON").replace('"', "");
        format!("{always:?} {busy:?} {after} {do_not_disturb} {also_ring}")
    }

    #[tokio::test]
    async fn what_was_set_wins_until_it_is_cleared_and_survives_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let (config, accounts) = (config(), accounts());
        let mut set = SetRules::open(Some(folder.path())).expect("rules");
        assert_eq!(shown(&set), "None Some(\"102\") 20s false [{to:103}]");
        for (json, expected) in [
            (r#"{"busy":"off"}"#, "None None 20s false [{to:103}]"),
            (r#"{"always":"102","do_not_disturb":true}"#, "Some(\"102\") None 20s true [{to:103}]"),
            (r#"{"busy":null,"after":"5s","also_ring":[]}"#, "Some(\"102\") Some(\"102\") 5s true []"),
            (
                r#"{"also_ring":[{"to":"103","after":"10s","hours":"office"},{"to":"102"}]}"#,
                "Some(\"102\") Some(\"102\") 5s true [{to:102},{to:103,after:10s,hours:office}]",
            ),
            (
                r#"{"always":null,"after":null,"do_not_disturb":null,"also_ring":null}"#,
                "None Some(\"102\") 20s false [{to:103}]",
            ),
        ] {
            set.change(&aor("101"), change(json), &config, &accounts).await.expect(json);
            assert_eq!(shown(&set), expected, "{json}");
            assert_eq!(shown(&SetRules::open(Some(folder.path())).expect("rules")), expected, "after a restart");
        }
        assert!(set.users.is_empty());
    }

    #[test]
    fn what_an_earlier_version_has_stored_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "# Written by frontdesk.\n101@office.example:\n  always: '102'\n  do_not_disturb: true\n";
        std::fs::write(folder.path().join(FILE), text).expect("a file");
        let set = SetRules::open(Some(folder.path())).expect("rules");
        assert_eq!(shown(&set), "Some(\"102\") Some(\"102\") 20s true [{to:103}]");
    }

    #[tokio::test]
    async fn a_party_whose_hours_are_gone_does_not_ring() {
        let (mut set, accounts) = (SetRules::default(), accounts());
        let json = r#"{"also_ring":[{"to":"102","hours":"office"},{"to":"103","after":"1m"}]}"#;
        set.change(&aor("101"), change(json), &config(), &accounts).await.expect("valid");
        let mut accounts = accounts;
        set.apply(&mut accounts, &Config::default());
        let rules = accounts.find(&aor("101")).and_then(|account| account.rules.as_deref()).expect("rules");
        let parties: Vec<_> = rules.also_ring.iter().map(|party| party.to.clone()).collect();
        assert_eq!(parties, [Party::Name(aor("103"))]);
    }

    #[tokio::test]
    async fn invalid_changes_are_refused() {
        let (config, accounts) = (config(), accounts());
        for (user, json, expected) in [
            ("199", "{}", "no account"),
            ("101", r#"{"busy":"199"}"#, "busy: \"199\" is no user"),
            ("101", r#"{"busy":"voicemail"}"#, "`voicemail`"),
            ("101", r#"{"after":"5"}"#, "after: "),
            ("101", r#"{"busy":"a b"}"#, "expected a user"),
            ("101", r#"{"always":"101"}"#, "always: \"101\" is this user"),
            ("101", r#"{"also_ring":[{"to":"102"},{"to":"101"}]}"#, "also_ring[1].to: \"101\" is this user"),
            ("101", r#"{"also_ring":[{"to":"199"}]}"#, "also_ring[0].to: \"199\" is no user"),
            ("101", r#"{"also_ring":[{"to":"voicemail"}]}"#, "also_ring[0].to: expected a party that can ring"),
            ("101", r#"{"also_ring":[{"to":"off"}]}"#, "also_ring[0].to: \"off\" is no user"),
            ("101", r#"{"also_ring":[{"to":"102","after":"0s"}]}"#, "also_ring[0].after: invalid value \"0s\""),
            ("101", r#"{"also_ring":[{"to":"102","hours":"night"}]}"#, "also_ring[0].hours: \"night\" is not defined"),
            (
                "101",
                r#"{"also_ring":[{"to":"102"},{"to":"103"},{"to":"102"}]}"#,
                "also_ring: expected at most 2 parties (limits.targets)",
            ),
        ] {
            let outcome = SetRules::default().change(&aor(user), change(json), &config, &accounts).await;
            let error = outcome.expect_err(json).to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
        for json in [r#"{"bussy":"102"}"#, r#"{"also_ring":[{"to":"102","follow":true}]}"#, r#"{"also_ring":"102"}"#] {
            assert!(serde_json::from_str::<RuleChange>(json).is_err(), "{json}");
        }
    }
}
