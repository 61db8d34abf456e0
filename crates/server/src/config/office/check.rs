//! Checks the names that the office rules define and use.

use std::sync::Arc;
use std::time::Duration;

use location::Aor;
use proxy::{Accounts, NumberRule, Office, OfficeName, Party};

use super::{AlsoRingEntry, CalledName, ForwardEntry, PartyName, PartyOrOff, codes};
use crate::config::accounts::{AccountEntry, UserName};
use crate::config::error::{Conflict, PathStep};
use crate::config::scalar::{Period, Scalar as _};
use crate::config::{Config, trunks};

/// Checks the names that `groups`, `hours` and `numbers` define and use.
pub(crate) fn check(config: &Config, accounts: &Accounts) -> Result<(), Conflict> {
    check_hours(config)?;
    let names = check_definitions(config, accounts)?;
    codes::check(config, accounts)?;
    let domain = config.first_domain();
    let check = |party: &PartyName, path: Vec<PathStep>| check_party(party, path, (config, domain), &names);
    for (at, group) in config.groups.iter().enumerate() {
        let path = [PathStep::Key("groups"), PathStep::Item(at)];
        if group.members.is_empty() {
            return conflict(path.to_vec(), "members: expected at least one user, group, number or SIP URI".to_owned());
        }
        for (item, member) in group.members.iter().enumerate() {
            let path = path.iter().cloned().chain([PathStep::Key("members"), PathStep::Item(item)]).collect();
            if member.to == PartyName::Voicemail {
                return conflict(path, "expected a member that can ring; voicemail may be in `otherwise`".to_owned());
            }
            check(&member.to, path)?;
        }
        if let Some(otherwise) = &group.otherwise {
            check(otherwise, path.iter().cloned().chain([PathStep::Key("otherwise")]).collect())?;
        }
    }
    for (number, entry) in &config.numbers {
        let path = |key| vec![PathStep::Key("numbers"), PathStep::Name(number.text().into()), PathStep::Key(key)];
        check(&entry.to, path("to"))?;
        if let Some(closed) = &entry.closed {
            check(closed, path("closed"))?;
        }
        check_hours_name(entry.hours.as_ref(), path("hours"), config)?;
        if entry.hours.is_none() && entry.closed.is_some() {
            return conflict(path("closed"), "needs `hours`, which say when the office is closed".to_owned());
        }
    }
    Ok(())
}

/// Checks the parties in the rules of accounts, which are at `path` of their file.
pub(crate) fn check_rules(
    config: &Config,
    accounts: &Accounts,
    entries: &[AccountEntry],
    path: &[PathStep],
) -> Result<(), Conflict> {
    let names = Names::of_rules(accounts);
    for (at, entry) in entries.iter().enumerate() {
        let ForwardEntry { always, busy, no_answer, unavailable, .. } = &entry.forward;
        let domain = entry.domain(config);
        for (key, party) in [("always", always), ("busy", busy), ("no_answer", no_answer), ("unavailable", unavailable)]
        {
            if let Some(party) = &party.0 {
                let steps = [PathStep::Item(at), PathStep::Key("forward"), PathStep::Key(key)];
                check_party(party, path.iter().cloned().chain(steps).collect(), (config, domain), &names)?;
            }
        }
        for (item, also) in entry.also_ring.iter().enumerate() {
            let path = |key| {
                let [at, item] = [at, item].map(PathStep::Item);
                path.iter().cloned().chain([at, PathStep::Key("also_ring"), item, PathStep::Key(key)]).collect()
            };
            check_also_ring(also, path, (config, domain), accounts)?;
        }
    }
    Ok(())
}

/// Checks one party of `also_ring` of a user of this domain. `path`: where its keys are.
pub(super) fn check_also_ring(
    also: &AlsoRingEntry,
    path: impl Fn(&'static str) -> Vec<PathStep>,
    (config, domain): (&Config, &str),
    accounts: &Accounts,
) -> Result<(), Conflict> {
    if also.to == PartyName::Voicemail {
        return conflict(path("to"), "expected a party that can ring; voicemail may be in `forward`".to_owned());
    }
    check_party(&also.to, path("to"), (config, domain), &Names::of_rules(accounts))?;
    check_hours_name(also.hours.as_ref(), path("hours"), config)
}

/// Reads a party, or `off`, of a user of this domain; `None` if it is off or invalid.
pub(crate) fn read_party(text: &str, domain: &str) -> Option<Party> {
    PartyOrOff::read(text)?.0.map(|party| party.party(domain))
}

/// Whether a text is the name of a user, group or number, and nothing else that a party may be.
pub(crate) fn is_called_name(text: &str) -> bool {
    matches!(PartyOrOff::read(text), Some(PartyOrOff(Some(PartyName::Name(_)))))
}

/// Checks the text of a party of a user of this domain, or `off`; the error says what was expected.
pub(crate) fn check_party_text(text: &str, domain: &str, config: &Config, accounts: &Accounts) -> Result<(), String> {
    let Some(PartyOrOff(party)) = PartyOrOff::read(text) else {
        return Err(format!("invalid value {text:?}, expected {}", PartyOrOff::EXPECTED));
    };
    let names = Names::of_rules(accounts);
    let checked = party.map_or(Ok(()), |party| check_party(&party, Vec::new(), (config, domain), &names));
    checked.map_err(|conflict| conflict.message)
}

/// Reads a duration.
pub(crate) fn read_period(text: &str) -> Option<Duration> {
    Period::read(text).map(|period| period.0)
}

/// The error of a text that is no duration.
pub(crate) fn expected_period(text: &str) -> String {
    format!("invalid value {text:?}, expected {}", Period::EXPECTED)
}

/// The names of users.
struct Names<'a> {
    accounts: &'a Accounts,
    /// Whether there are no other users than these.
    is_complete: bool,
    /// Whether the party may be a number outside of the office: a user dials it.
    may_be_outside: bool,
}

impl<'a> Names<'a> {
    /// For the rules of a user.
    const fn of_rules(accounts: &'a Accounts) -> Self {
        Self { accounts, is_complete: true, may_be_outside: true }
    }
}

/// Checks that a party exists. Its name is of this domain; groups and `numbers` are of the first one.
fn check_party(
    party: &PartyName,
    path: Vec<PathStep>,
    (config, domain): (&Config, &str),
    names: &Names<'_>,
) -> Result<(), Conflict> {
    match party {
        PartyName::Voicemail if config.voicemail.is_none() => {
            conflict(path, "voicemail needs the key `voicemail`, the SIP URI of a voicemail server".to_owned())
        }
        PartyName::Voicemail | PartyName::Uri(_) => Ok(()),
        PartyName::Name(name) => {
            let aor = name.aor(domain);
            let is_user = names.accounts.find(&aor).is_some() || names.accounts.has_number(&aor);
            let (text, first) = (name.text(), config.first_domain());
            let is_group = config.groups.iter().any(|group| group.user == *name || group.numbers.contains(name));
            if is_user || (domain == first && (is_group || config.numbers.contains_key(name))) {
                return Ok(());
            }
            if trunks::is_emergency(config, name) {
                return conflict(path, format!("{text:?} is an emergency number; no rule may lead there"));
            }
            match trunks::is_outside(config, name) {
                true if names.may_be_outside => return Ok(()),
                true => {
                    let message = "is a number outside of the office; only `forward` of a user leads there";
                    return conflict(path, format!("{text:?} {message}"));
                }
                false if !names.is_complete => return Ok(()),
                false => {}
            }
            if domain != first {
                let advice = format!("write sip:{text}@{first} for a name of {first}");
                return conflict(path, format!("{text:?} is no user of {domain}; {advice}"));
            }
            conflict(path, format!("{text:?} is no user, group or number of `numbers`"))
        }
    }
}

/// Checks that each name has one meaning.
fn check_definitions<'a>(config: &Config, accounts: &'a Accounts) -> Result<Names<'a>, Conflict> {
    let domain = config.first_domain();
    let mut office = Office::default();
    let mut define = |name: &CalledName, path: Vec<PathStep>| {
        let aor: Aor = name.aor(domain);
        if accounts.find(&aor).is_some() || accounts.has_number(&aor) {
            return conflict(path, format!("{:?} is a user or the number of a user already", name.text()));
        }
        let rule = NumberRule { to: Party::Voicemail, hours: None, closed: None };
        match office.add(&aor, OfficeName::Number(Arc::new(rule))) {
            true => Ok(()),
            false => conflict(path, format!("{:?} is a group or number already", name.text())),
        }
    };
    for (at, group) in config.groups.iter().enumerate() {
        let path = |key| vec![PathStep::Key("groups"), PathStep::Item(at), PathStep::Key(key)];
        define(&group.user, path("user"))?;
        for (item, number) in group.numbers.iter().enumerate() {
            define(number, path("numbers").into_iter().chain([PathStep::Item(item)]).collect())?;
        }
    }
    for number in config.numbers.keys() {
        define(number, vec![PathStep::Key("numbers"), PathStep::Name(number.text().into())])?;
    }
    // Without accounts in the configuration there are those of the first start, or anybody may register.
    Ok(Names { accounts, is_complete: !accounts.is_empty(), may_be_outside: false })
}

fn check_hours_name(name: Option<&UserName>, path: Vec<PathStep>, config: &Config) -> Result<(), Conflict> {
    match name {
        Some(name) if !config.hours.contains_key(name) => {
            conflict(path, format!("{:?} is not defined in `hours`", name.0))
        }
        _ => Ok(()),
    }
}

fn check_hours(config: &Config) -> Result<(), Conflict> {
    for (name, entry) in &config.hours {
        let path = |key, item| {
            let name = PathStep::Name(name.0.clone());
            vec![PathStep::Key("hours"), name, PathStep::Key(key), PathStep::Item(item)]
        };
        for (item, time) in entry.open.iter().enumerate() {
            let earlier = entry.open.iter().take(item);
            if earlier.into_iter().any(|other| other.0.overlaps(time.0)) {
                return conflict(path("open", item), "overlaps with an earlier time of the same hours".to_owned());
            }
        }
    }
    Ok(())
}

pub(crate) fn conflict<T>(path: Vec<PathStep>, message: String) -> Result<T, Conflict> {
    Err(Conflict { path, message })
}
