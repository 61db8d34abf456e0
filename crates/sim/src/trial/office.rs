//! The office of a trial: random groups, forwarding, hours, numbers and codes over the users that exist.
//!
//! It is drawn from random numbers of its own, as the plain rules that the judge reads, and converted for the server.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use location::Aor;
use proxy::{
    Account, AlsoRing, Codes, Forward, GroupMember, GroupStrategy, Hours, NamedHours, NumberRule, OfficeName, Party,
    RingGroup, Settings, UserRules, Window,
};

use super::security::USERS;
use super::trunks::OUTSIDE;
use crate::judge::{GroupModel, NumberModel, OfficeModel, To, UserModel};
use crate::{DOMAIN, Random};

/// So many of a thousand seeds have an office.
const OFFICES: u64 = 350;

const GROUPS: [&str; 3] = ["600", "601", "602"];
const NUMBERS: [&str; 3] = ["700", "701", "702"];

/// The users that the rules name: with several phones, with one, with two flows, behind a proxy that sends everything
/// back, without a phone, and one that calls too.
const PARTIES: [&str; 6] = ["bob", "carol", "frank", "dave", "ghost", "anna"];

/// The codes, as a user dials them.
const CODES: [&str; 4] = ["*21bob", "#21", "*78", "*79"];

const SECOND: u64 = 1_000_000;

/// The rules, and the strategy of each group, which the judge need not know.
pub(super) struct TrialOffice {
    pub(super) model: OfficeModel,
    strategies: Vec<(&'static str, GroupStrategy)>,
    /// Whether rules name a number outside of the office, too.
    pub(super) dials: bool,
    random: Random,
}

impl TrialOffice {
    /// The office of a seed, if it has one.
    pub(super) fn draw(seed: u64) -> Option<Self> {
        let mut random = Random::new(seed ^ 0x6f66_6669_6365);
        random.chance(OFFICES).then_some(())?;
        Some(Self { model: OfficeModel::default(), strategies: Vec::new(), dials: false, random })
    }

    /// Draws the rules. `partner`: the URI of an agent in another domain; `voicemail`: that of the voicemail server.
    pub(super) fn draw_rules(&mut self, partner: &str, voicemail: &str) {
        voicemail.clone_into(&mut self.model.voicemail);
        self.model.codes = CODES.map(str::to_owned).to_vec();
        for user in PARTIES {
            if self.random.chance(500) {
                let mut rules = self.user(partner);
                // A user who may not dial this number.
                if user == "bob" && self.dials && self.random.chance(500) {
                    rules.no_answer = Some(OUTSIDE.to_owned());
                }
                self.model.users.insert(user.to_owned(), rules);
            }
        }
        for name in GROUPS {
            let group = self.group(name, partner);
            self.model.groups.insert(name.to_owned(), group);
        }
        for name in NUMBERS {
            let (to, is_open) = (self.party(partner, true), self.random.chance(600));
            let closed = self.random.chance(700).then(|| self.party(partner, true));
            self.model.numbers.insert(name.to_owned(), NumberModel { to, is_open, closed });
        }
    }

    fn user(&mut self, partner: &str) -> UserModel {
        let mut to = |chance| self.random.chance(chance).then(|| self.party(partner, true));
        let [always, busy, no_answer, unavailable] = [150, 600, 500, 500].map(&mut to);
        let mut also_ring = Vec::new();
        let mut after = 0;
        while self.random.chance(300) {
            after += self.random.below(4) * 3 * SECOND;
            also_ring.push((self.party(partner, false), after, self.random.chance(700)));
        }
        UserModel {
            do_not_disturb: self.random.chance(150),
            always,
            busy,
            no_answer,
            unavailable,
            after: (2 + self.random.below(12)) * SECOND,
            also_ring,
        }
    }

    fn group(&mut self, name: &'static str, partner: &str) -> GroupModel {
        use GroupStrategy::{Parallel, Rotating, Sequential, Wave};
        let strategy = [Parallel, Sequential, Wave, Rotating][self.random.index(4)];
        self.strategies.push((name, strategy));
        let members = 1 + self.random.below(4);
        let members = (0..members).map(|_| (self.party(partner, false), self.random.chance(400))).collect();
        let ring_time = (3 + self.random.below(15)) * SECOND;
        let otherwise = self.random.chance(700).then(|| self.party(partner, true));
        GroupModel { members, ring_time, rings_on: strategy == Wave, otherwise }
    }

    fn party(&mut self, partner: &str, with_voicemail: bool) -> To {
        match self.random.below(100) {
            0..60 => PARTIES[self.random.index(PARTIES.len())].to_owned(),
            60..78 => GROUPS[self.random.index(GROUPS.len())].to_owned(),
            78..88 => NUMBERS[self.random.index(NUMBERS.len())].to_owned(),
            88..94 if with_voicemail => "voicemail".to_owned(),
            94..98 if self.dials => OUTSIDE.to_owned(),
            _ => partner.to_owned(),
        }
    }

    /// What a caller dials, if it dials a name of the office.
    pub(super) fn dialled(&mut self) -> Option<&'static str> {
        match self.random.below(100) {
            0..35 => Some(GROUPS[self.random.index(GROUPS.len())]),
            35..50 => Some(NUMBERS[self.random.index(NUMBERS.len())]),
            50..53 => Some(CODES[self.random.index(CODES.len())]),
            53..70 => Some(PARTIES[self.random.index(PARTIES.len())]),
            _ => None,
        }
    }

    pub(super) fn apply_to(&self, settings: &mut Settings) {
        let code = |text: &str| Some(text.into());
        let office = &mut settings.office;
        office.voicemail = Some(self.model.voicemail.as_str().into());
        office.codes =
            Codes { forward_always: code("*21"), forward_off: code("#21"), dnd_on: code("*78"), dnd_off: code("*79") };
        for (name, strategy) in &self.strategies {
            let group = ring_group(name, &self.model.groups[*name], *strategy);
            office.add(&aor(name), OfficeName::Group(Arc::new(group)));
        }
        for (name, NumberModel { to, is_open, closed }) in &self.model.numbers {
            let (to, closed) = (party(to), closed.as_deref().map(party));
            let rule = NumberRule { to, hours: Some(hours(*is_open)), closed };
            office.add(&aor(name), OfficeName::Number(Arc::new(rule)));
        }
        for user in USERS {
            let rules = self.model.users.get(user).map(|rules| Box::new(user_rules(rules)));
            let known = settings.accounts.find(&aor(user)).cloned().unwrap_or_default();
            settings.accounts.insert(aor(user), Account { rules, ..known });
        }
    }
}

fn aor(name: &str) -> Aor {
    Aor::new(name.as_bytes(), DOMAIN.as_bytes())
}

fn party(to: &str) -> Party {
    match to {
        "voicemail" => Party::Voicemail,
        _ if to.starts_with("sip:") => Party::Uri(to.into()),
        _ => Party::Name(aor(to)),
    }
}

/// Hours that hold now or do not. The simulation begins on a Sunday afternoon and lasts a few hours at most.
fn hours(is_open: bool) -> NamedHours {
    let (from, to) = if is_open { (8 * 60, 23 * 60) } else { (23 * 60, 6 * 60) };
    let open = vec![Window { first: Weekday::Saturday, last: Weekday::Sunday, from, to }];
    ("hours".into(), Arc::new(Hours { zone: TimeZone::UTC, open, closed: Vec::new() }))
}

fn ring_group(name: &str, group: &GroupModel, strategy: GroupStrategy) -> RingGroup {
    let member = |(to, follow): &(To, bool)| GroupMember { to: party(to), follow: *follow };
    RingGroup {
        aor: aor(name),
        label: "".into(),
        members: group.members.iter().map(member).collect(),
        strategy,
        ring_time: Duration::from_micros(group.ring_time),
        otherwise: group.otherwise.as_deref().map(party),
        calls: 0.into(),
    }
}

fn user_rules(rules: &UserModel) -> UserRules {
    let to = |to: &Option<To>| to.as_deref().map(party);
    let also_ring = rules.also_ring.iter().map(|(to, after, rings)| AlsoRing {
        to: party(to),
        after: Duration::from_micros(*after),
        hours: Some(hours(*rings)),
    });
    UserRules {
        do_not_disturb: rules.do_not_disturb,
        forward: Forward {
            always: to(&rules.always),
            busy: to(&rules.busy),
            no_answer: to(&rules.no_answer),
            unavailable: to(&rules.unavailable),
            after: Duration::from_micros(rules.after),
        },
        also_ring: also_ring.collect(),
    }
}
