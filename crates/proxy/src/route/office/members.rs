//! From a user or a group to the parties that ring, each with its turn.

use std::sync::Arc;
use std::time::Duration;

use location::Aor;
use smallvec::SmallVec;

use crate::reject::Reject;
use crate::settings::{AlsoRing, GroupMember, GroupStrategy, Meaning, Party, RingGroup};
use crate::target::ToTrunk;

use super::{Call, Course, DiversionReason, Turn, local_name, outgoing};

/// One attempt: the parties that ring, and the course of the call up to there.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) course: Course,
    /// The parties with their turns, which begin at 0. Parties with equal turns ring together.
    pub(crate) members: Vec<(u16, Member)>,
}

/// A party that rings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    /// All phones of a user.
    User(Aor),
    /// A SIP URI.
    Uri(Box<str>),
    /// A number, by a trunk.
    Trunk(Arc<ToTrunk>),
}

/// What happens to a call to a user.
pub(super) enum UserStep {
    /// These parties ring.
    Ring(Vec<(u16, Member)>),
    /// It is forwarded without ringing.
    Forward(Party, DiversionReason),
}

impl Leg {
    pub(super) fn to_uri(mut course: Course, uri: Box<str>) -> Self {
        course.leave(&uri);
        Self { course, members: vec![(0, Member::Uri(uri))] }
    }

    /// To a number outside of the office.
    pub(super) fn to_trunks(mut course: Course, members: Vec<(u16, Member)>) -> Self {
        course.leave_office();
        Self { course, members }
    }
}

/// The phones of a user, unless its rules say otherwise.
pub(super) fn of_user(user: Aor, course: &mut Course, call: Call<'_>) -> Result<UserStep, Reject> {
    course.ring([]);
    let mut expansion = Expansion::new(call, Some(user.clone()));
    expansion.members.push((0, Member::User(user.clone())));
    if let Some(rules) = call.settings.rules(&user).filter(|_| call.is_invite) {
        if let Some(always) = &rules.forward.always {
            return Ok(UserStep::Forward(always.clone(), DiversionReason::Always));
        }
        if rules.do_not_disturb {
            let busy = rules.forward.busy.clone().ok_or(Reject::DoNotDisturb)?;
            return Ok(UserStep::Forward(busy, DiversionReason::DoNotDisturb));
        }
        course.ring(expansion.also_ring(&rules.also_ring));
        course.no_answer = rules.forward.no_answer.as_ref().map(|_| rules.forward.after);
    }
    Ok(UserStep::Ring(expansion.members))
}

/// The members of a group with their turns, and those whose forwarding applies. Nobody is in the list twice, and neither
/// is the caller or a user who does not want to be disturbed.
pub(super) fn members_of(group: &RingGroup, call: Call<'_>) -> (Vec<(u16, Member)>, Vec<Aor>) {
    let mut expansion = Expansion::new(call, None);
    expansion.add_group(group, 0);
    (expansion.members, expansion.followers)
}

/// The members that a party is, all in one turn. `by`: the user whose rules name the party.
pub(super) fn members_of_party(party: &Party, by: Option<&Aor>, call: Call<'_>) -> Vec<(u16, Member)> {
    let mut expansion = Expansion::new(call, by.cloned());
    expansion.add(party, 0);
    expansion.members.iter_mut().for_each(|(turn, _)| *turn = 0);
    expansion.members
}

struct Expansion<'a> {
    call: Call<'a>,
    members: Vec<(u16, Member)>,
    /// The users whose forwarding applies.
    followers: Vec<Aor>,
    /// The groups that have been added: a group is a member of itself through others at most once.
    groups: Vec<Aor>,
    /// The user whose own rules these are: it dials numbers outside of the office.
    by: Option<Aor>,
}

impl<'a> Expansion<'a> {
    const fn new(call: Call<'a>, by: Option<Aor>) -> Self {
        Self { call, members: Vec::new(), followers: Vec::new(), groups: Vec::new(), by }
    }

    /// Adds the members of a group, the first one in this turn; returns the turn after the last one.
    fn add_group(&mut self, group: &RingGroup, turn: u16) -> u16 {
        if self.groups.contains(&group.aor) {
            return turn;
        }
        self.groups.push(group.aor.clone());
        let first = group.first(self.call.is_real);
        let (later, sooner) = group.members.split_at_checked(first).unwrap_or_default();
        let (mut next, mut last) = (turn, turn);
        for member in sooner.iter().chain(later) {
            let after = self.add_member(member, next);
            last = last.max(after);
            if group.strategy != GroupStrategy::Parallel {
                next = after;
            }
        }
        last
    }

    /// Adds a member of a group. If it follows, its own forwarding applies.
    fn add_member(&mut self, member: &GroupMember, turn: u16) -> u16 {
        let rules = |user: &Aor| self.call.settings.rules(user).filter(|_| self.call.is_invite);
        let Some((user, rules)) = self.follower(member).and_then(|user| Some((user.clone(), rules(user)?.clone())))
        else {
            return self.add(&member.to, turn);
        };
        match (&rules.forward.always, rules.do_not_disturb, &rules.forward.busy) {
            (Some(party), ..) | (None, true, Some(party)) => {
                let by = self.by.replace(user);
                let after = self.add(party, turn);
                self.by = by;
                after
            }
            (None, true, None) => turn,
            (None, false, _) => {
                self.followers.push(user);
                self.add(&member.to, turn)
            }
        }
    }

    /// The user whose forwarding applies.
    fn follower<'m>(&'m self, member: &'m GroupMember) -> Option<&'m Aor> {
        let Party::Name(name) = &member.to else { return None };
        let user = match self.call.settings.meaning(name) {
            Some(Meaning::User(user)) => user,
            Some(_) => return None,
            None => name,
        };
        (member.follow && self.call.caller != Some(user)).then_some(user)
    }

    /// Adds a party in this turn; returns the turn after it.
    fn add(&mut self, party: &Party, turn: u16) -> u16 {
        let settings = self.call.settings;
        match party {
            Party::Uri(uri) => match local_name(uri, settings) {
                Some(name) => self.add(&Party::Name(name), turn),
                None => self.ring(turn, Member::Uri(uri.clone())),
            },
            // A group has `otherwise` for this.
            Party::Voicemail => turn,
            Party::Name(name) if settings.dialled(name).is_some() => self.add_outside(name, turn),
            Party::Name(name) => match settings.meaning(name) {
                Some(Meaning::Group(_)) if !self.call.reaches_groups => turn,
                Some(Meaning::Group(group)) => self.add_group(group, turn),
                Some(Meaning::User(user)) => self.add_user(user, turn),
                Some(Meaning::Number(number)) if self.groups.len() < MAX_DEPTH => {
                    let is_open = number.hours.as_ref().is_none_or(|(_, hours)| hours.is_open(self.call.at));
                    let to = if is_open { Some(&number.to) } else { number.closed.as_ref() };
                    // A number that leads back to itself ends here.
                    self.groups.push(name.clone());
                    to.map_or(turn, |to| self.add(to, turn))
                }
                Some(Meaning::Number(_)) => turn,
                None => self.add_user(name, turn),
            },
        }
    }

    /// Adds the parties that ring beside a user; returns the turns. The phones of the user ring on in each of them.
    fn also_ring(&mut self, parties: &[AlsoRing]) -> SmallVec<[Turn; 2]> {
        let (mut turns, mut since) = (SmallVec::new(), Duration::ZERO);
        for party in parties {
            if party.hours.as_ref().is_some_and(|(_, hours)| !hours.is_open(self.call.at)) {
                continue;
            }
            if party.after > since {
                turns.push(Turn { ring_time: Some(party.after - since), rings_on: true });
                since = party.after;
            }
            self.add(&party.to, u16::try_from(turns.len()).unwrap_or(u16::MAX));
        }
        if !turns.is_empty() {
            turns.push(Turn::default());
        }
        turns
    }

    /// Adds a number outside of the office by its first trunk: the next ones would have a turn of their own.
    fn add_outside(&mut self, name: &Aor, turn: u16) -> u16 {
        let trunks = outgoing::dial_by_rule(name, self.by.as_ref(), self.call, &mut Vec::new());
        match trunks.and_then(Result::ok).and_then(|trunks| trunks.into_iter().next()) {
            Some((_, trunk)) => self.ring(turn, trunk),
            None => turn,
        }
    }

    fn add_user(&mut self, user: &Aor, turn: u16) -> u16 {
        let is_silent = self.call.settings.rules(user).is_some_and(|rules| rules.do_not_disturb);
        if is_silent || self.call.caller == Some(user) {
            return turn;
        }
        self.ring(turn, Member::User(user.clone()))
    }

    fn ring(&mut self, turn: u16, member: Member) -> u16 {
        if !self.members.iter().any(|(_, other)| *other == member) {
            self.members.push((turn, member));
            return turn.saturating_add(1);
        }
        turn
    }
}

/// So many groups and numbers may be in one group, at any depth.
const MAX_DEPTH: usize = 100;
