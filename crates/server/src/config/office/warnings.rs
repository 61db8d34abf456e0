//! Office rules that are valid and lead nowhere, and numbers that nobody can dial: `frontdesk check` warns of them.

use location::Aor;
use proxy::{Accounts, Party};

use super::{CalledName, GroupEntry, MemberEntry, PartyName};
use crate::config::scalar::Scalar as _;
use crate::config::trunks::OutgoingEntry;
use crate::config::{Config, trunks};

/// One sentence for each rule that leads nowhere.
pub(crate) fn warnings(config: &Config, accounts: &Accounts) -> Vec<String> {
    let mut warnings = Vec::new();
    let name = |aor: &Aor| String::from_utf8_lossy(aor.user()).into_owned();
    let numbers = config.numbers.keys().map(|number| number.aor(config.first_domain()));
    let mut starts: Vec<Aor> = accounts.aors().cloned().chain(numbers).collect();
    starts.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    for start in starts {
        let mut chain = vec![start.clone()];
        while let Some(next) = chain.last().and_then(|last| always_leads_to(last, config, accounts)) {
            let is_circle = next == start;
            let is_seen = chain.contains(&next);
            chain.push(next);
            if is_circle {
                let way = chain.iter().map(name).collect::<Vec<_>>().join(" to ");
                warnings.push(format!("All calls go round in a circle and reach nobody: {way}."));
            }
            if is_seen {
                break;
            }
        }
    }
    for group in &config.groups {
        let is_silent = |member: &MemberEntry| match &member.to {
            PartyName::Name(name) => is_silent(&name.aor(config.first_domain()), accounts),
            PartyName::Uri(_) | PartyName::Voicemail => false,
        };
        let reason = if group.members.iter().all(is_silent) {
            "all members have do_not_disturb"
        } else if !rings(group, &mut Vec::new(), config, accounts) {
            "its members lead back to it or to users with do_not_disturb"
        } else {
            continue;
        };
        warnings.push(format!("Nobody rings in the group {}: {reason}.", group.user.text()));
    }
    warnings.extend(of_outgoing(config));
    warnings
}

/// Numbers outside of the office that cannot be dialled.
fn of_outgoing(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let has_emergency = config.outgoing.iter().any(OutgoingEntry::is_emergency);
    if !config.outgoing.is_empty() && !has_emergency {
        warnings.push("No line of outgoing is an emergency number, like 112: phones cannot call for help.".to_owned());
    }
    let users = config.accounts.iter().map(|account| &account.user.0);
    for name in users.chain(config.groups.iter().map(|group| &group.user.0.0)) {
        if CalledName::read(name).is_some_and(|name| trunks::is_outside(config, &name)) {
            warnings.push(format!("{name} is also a number of outgoing: it is called inside only."));
        }
    }
    warnings
}

fn is_silent(user: &Aor, accounts: &Accounts) -> bool {
    let rules = accounts.find(user).and_then(|account| account.rules.as_deref());
    rules.is_some_and(|rules| rules.do_not_disturb)
}

/// Whether anybody can ring in a group. `seen`: the groups and numbers that have been followed, each of which rings once.
fn rings(group: &GroupEntry, seen: &mut Vec<Aor>, config: &Config, accounts: &Accounts) -> bool {
    group.members.iter().any(|member| can_ring(&member.to, seen, config, accounts))
}

fn can_ring(party: &PartyName, seen: &mut Vec<Aor>, config: &Config, accounts: &Accounts) -> bool {
    let domain = config.first_domain();
    let name = match party {
        PartyName::Name(name) => name.aor(domain),
        PartyName::Uri(_) => return true,
        PartyName::Voicemail => return false,
    };
    let is_called = |called: &CalledName| called.aor(domain) == name;
    let group = config.groups.iter().find(|group| is_called(&group.user) || group.numbers.iter().any(is_called));
    let number = config.numbers.iter().find(|(number, _)| is_called(number)).map(|(_, number)| number);
    // A group has several names.
    let main = group.map_or_else(|| name.clone(), |group| group.user.aor(domain));
    if seen.contains(&main) {
        return false;
    }
    if group.is_some() || number.is_some() {
        seen.push(main);
    }
    match (group, number) {
        (Some(group), _) => rings(group, seen, config, accounts),
        (None, Some(number)) => [Some(&number.to), number.closed.as_ref()]
            .into_iter()
            .flatten()
            .any(|party| can_ring(party, seen, config, accounts)),
        (None, None) => !is_silent(&name, accounts),
    }
}

/// The name that all calls to this one go to, at any time.
fn always_leads_to(name: &Aor, config: &Config, accounts: &Accounts) -> Option<Aor> {
    if let Some(account) = accounts.find(name) {
        return match account.rules.as_ref()?.forward.always.as_ref()? {
            Party::Name(to) => Some(to.clone()),
            Party::Uri(_) | Party::Voicemail => None,
        };
    }
    let domain = config.first_domain();
    let (_, number) = config.numbers.iter().find(|(number, _)| number.aor(domain) == *name)?;
    match &number.to {
        PartyName::Name(to) if number.hours.is_none() => Some(to.aor(domain)),
        _ => None,
    }
}
