//! From the keys to the values of the core.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proxy::{AlsoRing, Forward, GroupMember, GroupStrategy, NumberRule, Office, OfficeName, RingGroup, UserRules};

use super::also_ring::in_order;
use super::{AlsoRingEntry, Codes, ForwardEntry, GroupEntry, HoursEntry, PartyOrOff};
use crate::config::Config;
use crate::config::accounts::{AccountEntry, UserName};
use crate::config::scalar::Flag;

/// How long the members of a group ring if the group does not say.
const RING_TIME: Duration = Duration::from_secs(20);

impl AccountEntry {
    /// The rules of its calls; `None` if its phones just ring.
    pub(crate) fn rules(&self, domain: &str, config: &Config) -> Option<Box<UserRules>> {
        let party = |party: &PartyOrOff| party.0.as_ref().map(|party| party.party(domain));
        let ForwardEntry { always, busy, no_answer, unavailable, after } = &self.forward;
        let forward = Forward {
            always: party(always),
            busy: party(busy),
            no_answer: party(no_answer),
            unavailable: party(unavailable),
            after: after.0,
        };
        let do_not_disturb = self.do_not_disturb == Some(Flag(true));
        let forwards = [&forward.always, &forward.busy, &forward.no_answer, &forward.unavailable];
        let has_forward = forwards.iter().any(|party| party.is_some());
        let also_ring = in_order(self.also_ring.iter().map(|entry| entry.also_ring(domain, config)).collect());
        let has_rules = do_not_disturb || has_forward || !also_ring.is_empty();
        has_rules.then(|| Box::new(UserRules { do_not_disturb, forward, also_ring }))
    }
}

impl Config {
    /// The groups and numbers. They are valid after [`check`](super::check::check).
    pub(crate) fn office(&self) -> Office {
        let domain = self.first_domain();
        let mut office = Office::default();
        let Codes { forward_always, forward_off, dnd_on, dnd_off } = self.codes.clone();
        let [forward_always, forward_off, dnd_on, dnd_off] =
            [forward_always, forward_off, dnd_on, dnd_off].map(|code| code.0);
        office.codes = proxy::Codes { forward_always, forward_off, dnd_on, dnd_off };
        office.voicemail = self.voicemail.as_ref().map(|contact| contact.uri.clone());
        for entry in &self.groups {
            let group = Arc::new(entry.group(domain));
            for name in [&entry.user].into_iter().chain(&entry.numbers) {
                office.add(&name.aor(domain), OfficeName::Group(Arc::clone(&group)));
            }
        }
        let hours: BTreeMap<_, _> = self.hours.iter().map(|(name, entry)| (name, Arc::new(entry.hours()))).collect();
        for (number, entry) in &self.numbers {
            let named = |name: &UserName| Some((name.0.clone(), Arc::clone(hours.get(name)?)));
            let rule = NumberRule {
                to: entry.to.party(domain),
                hours: entry.hours.as_ref().and_then(named),
                closed: entry.closed.as_ref().map(|party| party.party(domain)),
            };
            office.add(&number.aor(domain), OfficeName::Number(Arc::new(rule)));
        }
        office
    }
}

impl GroupEntry {
    fn group(&self, domain: &str) -> RingGroup {
        RingGroup {
            aor: self.user.aor(domain),
            label: self.name.as_ref().map(|label| label.0.clone()).unwrap_or_default(),
            members: self
                .members
                .iter()
                .map(|member| GroupMember { to: member.to.party(domain), follow: member.follow })
                .collect(),
            strategy: self.strategy.map_or(GroupStrategy::Parallel, |strategy| strategy.0),
            ring_time: self.ring_time.map_or(RING_TIME, |time| time.0),
            otherwise: self.otherwise.as_ref().map(|party| party.party(domain)),
            calls: 0.into(),
        }
    }
}

impl AlsoRingEntry {
    pub(super) fn also_ring(&self, domain: &str, config: &Config) -> AlsoRing {
        let named = |name: &UserName| Some((name.0.clone(), Arc::new(config.hours.get(name)?.hours())));
        AlsoRing {
            to: self.to.party(domain),
            after: self.after.map_or(Duration::ZERO, |after| after.0),
            hours: self.hours.as_ref().and_then(named),
        }
    }
}

impl HoursEntry {
    fn hours(&self) -> proxy::Hours {
        proxy::Hours {
            zone: self.zone.0.clone(),
            open: self.open.iter().map(|time| time.0).collect(),
            closed: self.closed.iter().map(|days| days.0.clone()).collect(),
        }
    }
}
