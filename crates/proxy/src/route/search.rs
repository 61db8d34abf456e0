//! A search for targets: what a plan still lacks, and what the plan is for.
//!
//! A Contact or a redirection may name another local user. Then the bindings of that user are loaded, and their targets
//! join the plan, as if the request had returned with another Request-URI (a spiral, RFC 3261 6, RFC 5393). Each user
//! is looked up once, no deeper than Max-Forwards would permit, and the plan gets at most `limits.targets` targets. So
//! if users name one another in a circle, all their phones are called once. Afterwards all host names are resolved with
//! one question. By the rules of the office, a request may be for several users, who ring in turn.
//!
//! The first lookup of a request needs no search, so that an ordinary call does not allocate one. Must not load or
//! resolve anything; that is done by `core`.

use std::collections::VecDeque;
use std::net::IpAddr;

use location::Aor;
use parser::Method;

use super::office::{Course, Leg, Member, members_in_place_of, members_of_name};
use super::redirect::Redirect;
use super::targets::{plan_for_uri, target_for_trunk};
use super::user_contacts::UserContacts;
use super::{Callee, Destination, Disposition, Group, Gruus, Plan};
use crate::clock::{Now, Wall};
use crate::event::DiversionReason;
use crate::forward::BranchId;
use crate::hop::{Endpoint, Endpoints, Name};
use crate::reject::Reject;
use crate::request::{Request, checksum};
use crate::resolution::Resolution;
use crate::settings::{Settings, Strategy};
use crate::target::Target;

/// Max-Forwards of a request that has none (RFC 3261 16.6 step 3).
const MAX_FORWARDS: u8 = 70;

/// A search, and what its plan is for.
#[derive(Debug)]
pub(crate) struct Search {
    /// The plan so far, and what it lacks.
    pub(crate) targets: TargetSearch,
    /// What to do with the complete plan.
    pub(crate) purpose: Purpose,
}

/// What a search is for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// To forward this request.
    Forward(Box<Request>),
    /// To go on with a response context: this branch was redirected (RFC 3261 16.7 step 4).
    Redirection(BranchId),
    /// To ring these parties too, in the response context with this id: they are in place of a member of a group.
    Member(u64),
    /// To go on with the response context that has this id: nobody has accepted the call so far (RFC 3261 16.7 step 5).
    Diversion(u64),
}

/// A search that found no target.
#[derive(Debug)]
pub(crate) struct NoTarget {
    pub(crate) reject: Reject,
    /// The course of the call, which may have another party.
    pub(crate) course: Option<Box<Course>>,
}

/// A plan that is not complete yet.
#[derive(Debug)]
pub(crate) struct TargetSearch {
    plan: Plan,
    /// The users that have been looked up, or are being looked up.
    seen: Vec<Aor>,
    waiting: VecDeque<Lookup>,
    current: Option<Lookup>,
    /// Users at this depth or deeper are not looked up.
    max_depth: u8,
    /// The source of the message that names the host names, if no binding does; in a dialog its other side.
    from: IpAddr,
    /// The source of the request.
    asker: IpAddr,
    /// Whether another address of a host may be tried after the first one.
    may_try_again: bool,
    /// Equal for all messages of the call (RFC 3263 4.4), so that they go to the same server of a name.
    seed: u64,
    /// The refusal if no target is found.
    reject: Reject,
    /// Whether targets were left out because of `limits.targets`.
    is_cut: bool,
}

/// What a plan lacks.
#[derive(Debug)]
pub(crate) enum Missing {
    /// The bindings of this user.
    User(Aor),
    /// The endpoints of these host names.
    Names(Vec<Resolution>),
}

/// A member of a group that has no phone, and whose own forwarding applies.
#[derive(Debug)]
pub(crate) struct AbsentMember {
    user: Aor,
    /// The q value of those who ring in its place.
    q: u16,
}

/// A user to look up.
#[derive(Debug)]
struct Lookup {
    callee: Callee,
    /// The q value of its targets, in thousandths.
    q: u16,
    /// The number of users in the chain that led to this one.
    depth: u8,
    /// Whether all its phones ring together, whatever their q values: it is a party of the office rules.
    is_party: bool,
}

/// The q value of the parties with this turn: earlier ones have a higher one.
const fn q_of(turn: u16) -> u16 {
    u16::MAX - turn
}

/// The turn of the parties with this q value.
pub(crate) const fn turn_of(q: u16) -> u16 {
    u16::MAX - q
}

impl TargetSearch {
    /// For the plan of a request. `callee` is the user that the plan is for, if there is one.
    pub(crate) fn for_request(request: &Request, mut plan: Plan, callee: Option<&Aor>, gruus: &Gruus) -> Self {
        let users = plan.users.take();
        let from = plan.other_side.unwrap_or(request.flow.remote).ip();
        let may_try_again = !request.in_dialog && request.method() != Method::Cancel;
        let mut search = Self::new(plan, request, from, may_try_again);
        search.seen.extend(callee.cloned());
        search.queue(users, None, (1, false), gruus);
        search
    }

    /// For the parties of a leg. All phones of one party ring together.
    pub(crate) fn for_leg(request: &Request, leg: Leg, settings: &Settings, now: Now) -> Self {
        let mut search = Self::for_members(request, leg.members, settings, now);
        search.plan.course = Some(Box::new(leg.course));
        search
    }

    /// For these parties, without a course.
    pub(crate) fn for_members(request: &Request, members: Vec<(u16, Member)>, settings: &Settings, now: Now) -> Self {
        // A redirection by one of the phones is tried after the parties, as it must not shorten their turns.
        let mut disposition = Disposition { strategy: Strategy::Sequential, ..Disposition::of(request, settings) };
        // Phones do not learn the addresses of trunks.
        disposition.redirect &= !members.iter().any(|(_, member)| matches!(member, Member::Trunk(_)));
        let mut search = Self::new(Plan { disposition, ..Plan::default() }, request, request.flow.remote.ip(), true);
        for (turn, member) in members {
            search.add_member(member, q_of(turn), (request, settings, now));
        }
        search
    }

    fn add_member(&mut self, member: Member, q: u16, (request, settings, now): (&Request, &Settings, Now)) {
        match member {
            Member::User(aor) => {
                self.waiting.push_back(Lookup { callee: Callee::user(aor), q, depth: 1, is_party: true });
            }
            Member::Uri(uri) => {
                let plan = plan_for_uri(request, &uri, settings, now).unwrap_or_default();
                self.insert(plan.in_one_group(), q, settings);
            }
            Member::Trunk(to) => match target_for_trunk(request, to, settings) {
                Ok(target) => self.insert(Plan::with_target(target), q, settings),
                Err(reject) => self.reject = reject,
            },
        }
    }

    /// Adds the parties that ring in place of a member of a group that has no phone, if its own forwarding says so. `at`:
    /// the time for office hours.
    pub(crate) fn replace_member(
        &mut self,
        absent: &AbsentMember,
        request: &Request,
        settings: &Settings,
        times: (Now, Wall),
    ) {
        let (now, at) = times;
        let members = members_in_place_of(request, &absent.user, DiversionReason::Unavailable, (settings, at));
        for (_, member) in members.into_iter().flatten() {
            self.add_member(member, absent.q, (request, settings, now));
        }
    }

    /// For the Contacts of a redirection, by descending q value. `from` is the address of the phone that sent it.
    /// `plan` is empty; its disposition tells how the Contacts are tried. A Contact may name a group or a number.
    pub(crate) fn for_redirection(
        request: &Request,
        (from, contacts): (IpAddr, Vec<Redirect>),
        plan: Plan,
        settings: &Settings,
        now: Now,
    ) -> Self {
        let mut search = Self::new(plan, request, from, true);
        for contact in contacts {
            let q = contact.q;
            if let Destination::User(aor) = &contact.destination {
                if let Some(members) = members_of_name(request, aor, (settings, settings.civil_time(now))) {
                    for (_, member) in members {
                        search.add_member(member, q, (request, settings, now));
                    }
                    continue;
                }
                search.waiting.push_back(Lookup { callee: Callee::user(aor.clone()), q, depth: 1, is_party: false });
            } else if let Some(target) = contact.target(settings) {
                search.insert(Plan::with_target(target), q, settings);
            }
        }
        search
    }

    fn new(plan: Plan, request: &Request, from: IpAddr, may_try_again: bool) -> Self {
        Self {
            plan,
            seen: Vec::new(),
            waiting: VecDeque::new(),
            current: None,
            max_depth: request.hops.unwrap_or(MAX_FORWARDS),
            from,
            asker: request.flow.remote.ip(),
            may_try_again,
            seed: checksum(request.call_id()),
            reject: Reject::NotRegistered,
            is_cut: false,
        }
    }

    /// What has to be found out next; `None` if the plan is complete.
    pub(crate) fn missing(&mut self, settings: &Settings) -> Option<Missing> {
        if let Some(callee) = self.next_user(settings) {
            return Some(Missing::User(callee.aor.clone()));
        }
        // RFC 3841 9.1: a caller that asked for a redirection gets the URIs, without their addresses.
        if self.plan.disposition.redirect {
            return None;
        }
        let resolution = |name: &Name| {
            let resolution = Resolution::new(name, settings.senders(), self.seed);
            // A trunk or a reverse proxy sends the requests of many callers.
            if settings.trusts(self.asker) { resolution } else { resolution.for_asker(self.asker) }
        };
        let names: Vec<_> = self.plan.names().map(resolution).collect();
        (!names.is_empty()).then_some(Missing::Names(names))
    }

    fn next_user(&mut self, settings: &Settings) -> Option<&Callee> {
        while let Some(lookup) = self.waiting.pop_front() {
            if self.seen.len() > settings.limits.targets || self.room(settings) == 0 {
                self.is_cut = true;
                self.waiting.clear();
                break;
            }
            if lookup.depth < self.max_depth && !self.seen.contains(&lookup.callee.aor) {
                self.seen.push(lookup.callee.aor.clone());
                return Some(&self.current.insert(lookup).callee);
            }
        }
        None
    }

    /// The user that is being looked up.
    pub(crate) fn current(&self) -> Option<&Callee> {
        self.current.as_ref().map(|lookup| &lookup.callee)
    }

    /// Adds the plan of the user that was looked up. It is empty if the user has no bindings or the lookup failed; then
    /// returns the user if it is a member of a group whose own forwarding applies.
    pub(crate) fn add_found(&mut self, mut plan: Plan, gruus: &Gruus, settings: &Settings) -> Option<AbsentMember> {
        let Lookup { callee, q, depth, is_party } = self.current.take()?;
        let is_absent = is_party && plan.groups.is_empty() && plan.users.is_none();
        self.queue(plan.users.take(), Some(q), (depth.saturating_add(1), is_party), gruus);
        self.insert(if is_party { plan.in_one_group() } else { plan }, q, settings);
        let course = self.plan.course.as_mut().filter(|_| is_absent)?;
        let at = course.followers.iter().position(|follower| *follower == callee.aor)?;
        Some(AbsentMember { user: course.followers.swap_remove(at), q })
    }

    /// Adds the endpoints of the host names. A missing list counts as an empty one.
    pub(crate) fn add_endpoints(
        &mut self,
        endpoints: &[Endpoints],
        settings: &Settings,
        is_unreachable: impl Fn(&Endpoint) -> bool,
    ) {
        self.plan.resolve(endpoints, self.may_try_again, self.from, settings, is_unreachable);
        self.reject = Reject::Unroutable;
    }

    /// Whether targets were left out because of `limits.targets`.
    pub(crate) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The complete plan, or the refusal if it has no target.
    pub(crate) fn finish(self) -> Result<Plan, NoTarget> {
        let mut plan = self.plan;
        if !plan.disposition.fork && !plan.disposition.redirect {
            plan.keep_best();
        }
        if plan.groups.is_empty() {
            return Err(NoTarget { reject: self.reject, course: plan.course });
        }
        Ok(plan)
    }

    /// Queues lookups of the users that Contacts name.
    fn queue(
        &mut self,
        users: Option<Box<UserContacts>>,
        q: Option<u16>,
        (depth, is_party): (u8, bool),
        gruus: &Gruus,
    ) {
        for user in users.into_iter().flat_map(|users| users.0) {
            let own_q = user.q;
            let callee = user.into_callee(gruus);
            self.waiting.extend(callee.map(|callee| Lookup { callee, q: q.unwrap_or(own_q), depth, is_party }));
        }
    }

    /// Adds the targets that were found for a user or a Contact.
    fn insert(&mut self, found: Plan, q: u16, settings: &Settings) {
        // The groups of one user keep their order. They come before all groups with a lower q value.
        let place = self.plan.groups.partition_point(|group| group.q > q);
        for (at, group) in (place..).zip(found.groups) {
            let targets: Vec<_> = group.targets.into_iter().filter(|target| !self.contains(target)).collect();
            let room = self.room(settings);
            self.is_cut |= targets.len() > room;
            let targets = targets.into_iter().take(room);
            let existing = if self.plan.is_parallel() {
                self.plan.groups.first_mut()
            } else {
                self.plan.groups.get_mut(at).filter(|existing| existing.q == q)
            };
            match existing {
                Some(existing) => existing.targets.extend(targets),
                None => self.plan.groups.insert(at, Group { q, targets: targets.collect() }),
            }
        }
        self.plan.groups.retain(|group| !group.targets.is_empty());
        let room = self.room(settings);
        self.plan.spares.extend(found.spares.into_iter().take(room));
    }

    /// How many targets may still be added.
    fn room(&self, settings: &Settings) -> usize {
        settings.limits.targets.saturating_sub(self.plan.targets().count())
    }

    /// Whether the plan has this URI (RFC 3261 16.5) or this phone already, which is tried over one flow only (RFC 5626
    /// 7).
    fn contains(&self, target: &Target) -> bool {
        let (instance, contact) =
            (target.uri.instance(), target.uri.binding().map(|binding| binding.contact().to_vec()));
        self.plan.targets().any(|other| {
            let same_phone = instance.is_some() && other.uri.instance() == instance;
            same_phone || other.uri.binding().is_some_and(|binding| Some(binding.contact()) == contact.as_deref())
        })
    }
}
