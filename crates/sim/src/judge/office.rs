//! The rules of the office, as the judge understands them: from the name that was called to the parties that may ring.
//!
//! It shares no code with the core. A call is at a *stop*: the user, group or URI whose parties ring now. Must not know
//! transactions.

use hashbrown::HashMap;

use crate::DOMAIN;

/// Where a call goes: a name of this server, a SIP URI, or `voicemail`.
pub(crate) type To = String;

/// All rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct OfficeModel {
    pub(crate) users: HashMap<String, UserModel>,
    pub(crate) groups: HashMap<String, GroupModel>,
    pub(crate) numbers: HashMap<String, NumberModel>,
    /// The URI of the voicemail server.
    pub(crate) voicemail: String,
    /// What users dial to change their own rules.
    pub(crate) codes: Vec<String>,
}

/// The rules of a user. Times are in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct UserModel {
    pub(crate) do_not_disturb: bool,
    pub(crate) always: Option<To>,
    pub(crate) busy: Option<To>,
    pub(crate) no_answer: Option<To>,
    pub(crate) unavailable: Option<To>,
    pub(crate) after: u64,
    /// Those that ring too, how long after the phones, and whether they ring at this time.
    pub(crate) also_ring: Vec<(To, u64, bool)>,
}

impl UserModel {
    /// All parties of its rules.
    fn parties(&self) -> impl Iterator<Item = &To> {
        let forward = [&self.always, &self.busy, &self.no_answer, &self.unavailable];
        forward.into_iter().flatten().chain(self.also_ring.iter().map(|(to, ..)| to))
    }
}

#[derive(Clone, Debug)]
pub(crate) struct GroupModel {
    /// The members, and whether their own forwarding applies.
    pub(crate) members: Vec<(To, bool)>,
    pub(crate) ring_time: u64,
    /// Whether the earlier members ring on.
    pub(crate) rings_on: bool,
    pub(crate) otherwise: Option<To>,
}

/// A number that leads to the first party, or to the second one if the office is closed.
#[derive(Clone, Debug)]
pub(crate) struct NumberModel {
    pub(crate) to: To,
    pub(crate) is_open: bool,
    pub(crate) closed: Option<To>,
}

/// What a History-Info says: the names that the call left, each with its cause, and where it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) left: Vec<(String, u16)>,
    pub(crate) at: String,
}

/// The times of a stop in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingTimes {
    /// The shortest and the longest time of one turn.
    pub(crate) shortest: u64,
    pub(crate) longest: u64,
    /// Whether the phones of a turn ring on in the next one.
    pub(crate) rings_on: bool,
    /// How long after the first turn the last party that rings beside a user begins, even if nothing can be sent to it.
    pub(crate) last_turn: u64,
    /// The time of all turns together.
    pub(crate) all: u64,
    /// After this time another party may ring in place of a member.
    pub(crate) follows: u64,
}

/// So many diversions are allowed.
const MOST_DIVERSIONS: usize = 5;

/// Does not limit anything.
const NEVER: u64 = u64::MAX;

impl OfficeModel {
    /// Whether a rule may apply to a request to this URI; the name in it.
    pub(crate) fn name_in<'u>(&self, uri: &'u str) -> Option<&'u str> {
        let (name, host) = uri.strip_prefix("sip:")?.split_once('@')?;
        let is_known = self.users.contains_key(name) || self.groups.contains_key(name) || self.is_number(name);
        (host == DOMAIN && is_known).then_some(name)
    }

    pub(crate) fn is_number(&self, name: &str) -> bool {
        self.numbers.contains_key(name)
    }

    pub(crate) fn is_group(&self, name: &str) -> bool {
        self.groups.contains_key(name)
    }

    /// Follows a way from the name that was dialled. The error says which step no rule allows.
    pub(crate) fn check(&self, dialled: &str, way: &Way, is_invite: bool) -> Result<(), String> {
        if way.left.len() > MOST_DIVERSIONS {
            return Err(format!("{} diversions", way.left.len()));
        }
        let mut left = way.left.iter();
        let (mut to, mut visited, mut last_cause) = (dialled.to_owned(), Vec::new(), None);
        loop {
            if to == "voicemail" || to.starts_with("sip:") {
                return self.is_uri(&to, &way.at, last_cause, left.len());
            }
            if visited.contains(&to) {
                return Err(format!("{to} is called twice"));
            }
            visited.push(to.clone());
            if let Some(number) = self.numbers.get(&to).filter(|number| number.is_open) {
                to.clone_from(&number.to);
                continue;
            }
            let Some((name, cause)) = left.next() else {
                return if to == way.at && self.may_stop(&to, is_invite) {
                    Ok(())
                } else {
                    Err(format!("not at {to}"))
                };
            };
            let next = self.next(&to, *cause).filter(|_| *name == to);
            (to, last_cause) = (next.ok_or_else(|| format!("{to} is not left as {name} with {cause}"))?, Some(*cause));
        }
    }

    fn is_uri(&self, to: &str, at: &str, cause: Option<u16>, rest: usize) -> Result<(), String> {
        let is_there = if to == "voicemail" {
            at.starts_with(&self.voicemail) && cause.is_none_or(|cause| at.ends_with(&format!(";cause={cause}")))
        } else {
            at == to
        };
        if is_there && rest == 0 { Ok(()) } else { Err(format!("{at} instead of {to}")) }
    }

    /// Whether phones may ring at a name.
    fn may_stop(&self, name: &str, is_invite: bool) -> bool {
        let silent = |user: &UserModel| is_invite && (user.always.is_some() || user.do_not_disturb);
        !self.is_number(name) && !self.users.get(name).is_some_and(silent)
    }

    /// Where a call goes that leaves a name with this cause (RFC 4458 3.2).
    fn next(&self, name: &str, cause: u16) -> Option<To> {
        if let Some(number) = self.numbers.get(name) {
            return number.closed.clone().filter(|_| cause == 302);
        }
        if let Some(group) = self.groups.get(name) {
            return group.otherwise.clone().filter(|_| cause != 302);
        }
        let user = self.users.get(name)?;
        match cause {
            302 => user.always.clone(),
            _ if user.always.is_some() => None,
            486 => user.busy.clone(),
            _ if user.do_not_disturb => None,
            408 => user.no_answer.clone(),
            404 => user.unavailable.clone(),
            _ => None,
        }
    }

    /// Where a call begins that no rule has diverted.
    pub(crate) fn begin(&self, dialled: &str) -> String {
        let mut name = dialled.to_owned();
        for _ in 0..=self.numbers.len() {
            match self.numbers.get(&name).filter(|number| number.is_open) {
                Some(number) => name.clone_from(&number.to),
                None => break,
            }
        }
        if name == "voicemail" { self.voicemail.clone() } else { name }
    }

    /// The names that the rules of a user lead to, also by groups and numbers.
    pub(crate) fn leads_to(&self, user: &str) -> Vec<&To> {
        let mut all: Vec<&To> = self.users.get(user).into_iter().flat_map(UserModel::parties).collect();
        let mut next = 0;
        while let Some(to) = all.get(next).copied() {
            let members = self.groups.get(to).into_iter().flat_map(|group| &group.members).map(|(member, _)| member);
            let number = self.numbers.get(to).into_iter().flat_map(|number| number.closed.iter().chain([&number.to]));
            let further: Vec<&To> = members.chain(number).filter(|to| !all.contains(to)).collect();
            all.extend(further);
            next += 1;
        }
        all
    }

    /// The users and URIs that may ring at a stop.
    pub(crate) fn may_ring(&self, stop: &str, caller: &str, is_invite: bool) -> Vec<String> {
        let mut reached = Reached { office: self, caller, is_invite, names: Vec::new(), parties: Vec::new() };
        if self.is_group(stop) || stop.starts_with("sip:") {
            reached.add(stop);
            return reached.parties;
        }
        reached.parties.push(stop.to_owned());
        if let Some(user) = self.users.get(stop).filter(|_| is_invite) {
            user.also_ring.iter().filter(|(_, _, rings)| *rings).for_each(|(to, ..)| reached.add(to));
        }
        reached.parties
    }

    /// How long the parties of a stop ring. `ring_time`: that of the configuration.
    pub(crate) fn times(&self, stop: &str, ring_time: u64) -> RingTimes {
        let plain = RingTimes {
            shortest: ring_time,
            longest: NEVER,
            rings_on: false,
            last_turn: 0,
            all: NEVER,
            follows: NEVER,
        };
        if let Some(group) = self.groups.get(stop) {
            let follows = self.users.values().map(|user| user.after).min().unwrap_or(NEVER);
            let has_followers = self.groups.values().any(|group| group.members.iter().any(|(_, follows)| *follows));
            let follows = if has_followers { follows } else { NEVER };
            let (shortest, longest) = (group.ring_time, group.ring_time);
            return RingTimes { shortest, longest, rings_on: group.rings_on, follows, ..plain };
        }
        let Some(user) = self.users.get(stop) else { return plain };
        let all = user.no_answer.as_ref().map_or(NEVER, |_| user.after);
        let mut times = RingTimes { all, ..plain };
        let mut since = 0;
        for (_, after, rings) in &user.also_ring {
            if *rings && *after > since {
                times.shortest = times.shortest.min(after - since);
                times.longest = ring_time.max(if since == 0 { 0 } else { times.longest }).max(after - since);
                (times.rings_on, since) = (true, *after);
            }
        }
        times.last_turn = since;
        times
    }

    /// The party that a user's calls go to if the user is busy.
    pub(crate) fn has_busy_party(&self, name: &str) -> bool {
        self.users.get(name).is_some_and(|user| user.busy.is_some())
    }
}

/// Collects parties.
struct Reached<'a> {
    office: &'a OfficeModel,
    caller: &'a str,
    is_invite: bool,
    /// The groups and numbers that were followed.
    names: Vec<String>,
    parties: Vec<String>,
}

impl Reached<'_> {
    fn add(&mut self, to: &str) {
        let office = self.office;
        if to.starts_with("sip:") {
            return self.parties.push(to.to_owned());
        }
        let is_new = !self.names.iter().any(|name| name == to);
        if let Some(group) = office.groups.get(to) {
            self.names.push(to.to_owned());
            group.members.iter().filter(|_| is_new).for_each(|(member, follows)| self.add_member(member, *follows));
        } else if let Some(number) = office.numbers.get(to) {
            self.names.push(to.to_owned());
            let leads_to = if number.is_open { Some(&number.to) } else { number.closed.as_ref() };
            leads_to.filter(|_| is_new).into_iter().for_each(|to| self.add(to));
        } else if to != "voicemail" && to != self.caller && !self.is_silent(to) {
            self.parties.push(to.to_owned());
        }
    }

    fn is_silent(&self, user: &str) -> bool {
        self.office.users.get(user).is_some_and(|user| user.do_not_disturb)
    }

    /// Adds a member of a group, and those that ring in place of it.
    fn add_member(&mut self, member: &str, follows: bool) {
        let office = self.office;
        let follows = follows && self.is_invite && member != self.caller;
        let Some(user) = office.users.get(member).filter(|_| follows) else { return self.add(member) };
        if let Some(always) = &user.always {
            return self.add(always);
        }
        if user.do_not_disturb {
            return user.busy.iter().for_each(|to| self.add(to));
        }
        self.parties.push(member.to_owned());
        [&user.busy, &user.no_answer, &user.unavailable].into_iter().flatten().for_each(|to| self.add(to));
    }
}
