//! Targets that are added to a response context: the targets of a redirection (RFC 3261 16.7 step 4), and phones that
//! register while their user is being called.
//!
//! A URI is in a response context only once (16.5), and the number of targets is limited. Must not resolve names.

use location::{Aor, Record};
use parser::{Message, Uri, equivalent};
use smallvec::SmallVec;

use crate::context::Context;
use crate::event::{DiversionReason, Event, Limit};
use crate::forward::BranchId;
use crate::request::Request;
use crate::route::{Disposition, Group, Plan, Purpose, Search, TargetSearch, contacts_to_follow, plan_for_bindings};
use crate::settings::{Settings, Strategy};
use crate::target::{NextHop, Target, TargetUri};

use super::outcome::Outcome;
use super::{Phase, ResponseContext};

/// The most branches of a request: the number of a branch has one octet.
const MAX_BRANCHES: usize = 255;

impl ResponseContext {
    /// Begins a search for the targets of a redirection, if the final response of a branch is one that is followed. Then
    /// the response is not forwarded.
    pub(super) fn follow(&mut self, id: BranchId, response: &Message, context: &mut Context<'_>) -> bool {
        if self.answers_challenge(id, response, context) {
            return true;
        }
        if self.hides_failure(id, response.status().unwrap_or(500)) {
            return false;
        }
        let search = self.redirection(id, response, context);
        let follows = search.is_some();
        context.searches.extend(search);
        follows
    }

    fn redirection(&mut self, id: BranchId, response: &Message, context: &mut Context<'_>) -> Option<Search> {
        let request = self.template.request.as_ref().filter(|_| self.is_open() && self.disposition.recurse)?;
        let from = self.branches.get(usize::from(id.index))?.hop().remote.ip();
        let contacts = contacts_to_follow(response, from, request, &self.template.settings)?;
        if !self.has_room(contacts.len(), context) {
            return None;
        }
        self.branches.get_mut(usize::from(id.index))?.set_outcome(Outcome::Followed);
        self.searching += 1;
        // With `no-fork` the caller may still be redirected, to one target after another.
        let plan = Plan { disposition: Disposition { fork: true, ..self.disposition }, ..Plan::default() };
        let (settings, now) = (&self.template.settings, context.now);
        let targets = TargetSearch::for_redirection(request, (from, contacts), plan, settings, now);
        Some(Search { targets, purpose: Purpose::Redirection(id) })
    }

    /// The request, and the settings that the context started with.
    pub(crate) fn request_and_settings(&self) -> Option<(&Request, &Settings)> {
        Some((self.template.request.as_deref()?, &self.template.settings))
    }

    /// The targets of a redirection are known. They are tried next, or at once if all targets are tried in parallel.
    pub(crate) fn redirected(&mut self, id: BranchId, plan: Plan, context: &mut Context<'_>) {
        self.searching = self.searching.saturating_sub(1);
        if self.sender_is_gone(context.now.mono) {
            self.close();
        }
        let is_late = self.has_rung_long_enough();
        let plan = if is_late { Plan::default() } else { plan };
        if plan.groups.is_empty()
            && let Some(branch) = self.branches.get_mut(usize::from(id.index))
        {
            branch.set_outcome(Outcome::NoResponse(480));
        }
        let spares = self.unknown(plan.spares);
        for group in plan.groups.into_iter().rev() {
            self.add_next_group(group, context);
        }
        if let Some(open) = self.open_mut() {
            open.has_ring_time = true;
            open.spares.extend(spares);
            if self.disposition.strategy == Strategy::Parallel {
                self.start_group(context);
            }
        }
        if is_late {
            self.divert(DiversionReason::NoAnswer, context);
        }
        self.advance(context);
    }

    /// The bindings of the user have changed. A phone that is not in the context yet rings, too, for the rest of the
    /// ring time.
    pub(crate) fn join(&mut self, aor: &Aor, record: Option<&Record>, context: &mut Context<'_>) {
        let request = self.template.request.as_ref().filter(|_| self.is_ringing());
        let plan = request
            .and_then(|request| plan_for_bindings(request, aor, record, &self.template.settings, context.now).ok());
        for Group { q, targets } in plan.into_iter().flat_map(|plan| plan.groups) {
            for target in targets {
                self.join_one(target, q, context);
            }
        }
        self.advance(context);
    }

    fn join_one(&mut self, target: Target, q: u16, context: &mut Context<'_>) {
        let Some(request) = self.template.request.as_deref() else { return };
        // A Contact with a host name would have to wait for DNS. The next call rings it.
        if matches!(target.next_hop, NextHop::Name(_)) {
            return;
        }
        let same = |other: &TargetUri| are_one_phone(other, &target.uri, request);
        if let Some(at) = self.branches.iter().rposition(|branch| same(&branch.target().uri)) {
            if self.branches.get(at).is_some_and(|branch| branch.target().next_hop != target.next_hop) {
                self.join_again(at, target, context);
            }
            return;
        }
        let Phase::Open(open) = &mut self.phase else { return };
        let mut waiting = open.waiting.iter_mut().flat_map(|group| &mut group.targets);
        if let Some(other) = waiting.find(|other| same(&other.uri)) {
            *other = target;
        } else if self.has_room(1, context) {
            self.join_in_turn(target, q, context);
        }
    }

    /// A phone that is being tried has another next hop now.
    fn join_again(&mut self, at: usize, target: Target, context: &mut Context<'_>) {
        if !self.has_room(1, context) {
            return;
        }
        let Some(branch) = self.branches.get_mut(at) else { return };
        let share = branch.share();
        let rings_again = branch.is_silent() || branch.is_lost();
        if branch.is_silent() {
            // It has moved: the old hop does not lead to it.
            branch.give_up();
        }
        branch.is_replaced |= rings_again;
        if rings_again {
            // Other branches may hold the breadth of this one by now.
            let share = share.min(self.free_breadth());
            if share > 0 {
                self.start_branch(target, share, context);
            }
        } else if branch.is_pending()
            && !self.knows(&target.uri)
            && let Some(open) = self.open_mut()
        {
            open.spares.insert(0, target);
        }
    }

    /// A phone rings in place of a member of a group: at once, or in the next turn if no breadth is free. So it does between
    /// two turns, when the next one waits until breadth is free: only a turn has a ring time.
    pub(super) fn join_member(&mut self, target: Target, context: &mut Context<'_>) {
        if self.knows_phone(&target.uri) || !self.has_room(1, context) {
            return;
        }
        if self.free_breadth() > 0 && self.ring_until.is_some() {
            return self.start_branch(target, 1, context);
        }
        if let Some(open) = self.open_mut() {
            open.waiting.push(Group { q: open.group_q, targets: SmallVec::from_iter([target]) });
        }
    }

    /// Adds a phone that is not in the context: at once, or to the group of its preference.
    fn join_in_turn(&mut self, target: Target, q: u16, context: &mut Context<'_>) {
        let free = self.free_breadth();
        let Phase::Open(open) = &mut self.phase else { return };
        let is_turn = self.disposition.strategy == Strategy::Parallel || q >= open.group_q;
        if is_turn && free > 0 && self.ring_until.is_some() {
            return self.start_branch(target, 1, context);
        }
        let targets = SmallVec::from_iter([target]);
        match open.waiting.iter_mut().find(|group| group.q == q) {
            Some(group) => group.targets.extend(targets),
            None => {
                let at = open.waiting.partition_point(|group| group.q < q);
                open.waiting.insert(at, Group { q, targets });
            }
        }
    }

    /// Adds a group that is tried next, without the targets that are in the context already.
    pub(super) fn add_next_group(&mut self, Group { q, targets }: Group, context: &mut Context<'_>) {
        let Some(open) = self.open_mut() else { return };
        open.waiting.push(Group { q, targets: SmallVec::new() });
        for target in targets {
            if !self.knows_phone(&target.uri)
                && self.has_room(1, context)
                && let Some(next) = self.open_mut().and_then(|open| open.waiting.last_mut())
            {
                next.targets.push(target);
            }
        }
        if let Some(open) = self.open_mut() {
            open.waiting.retain(|next| !next.targets.is_empty());
        }
    }

    /// Whether a phone may still join: after the ring time of the last group only cancelled branches are pending.
    pub(super) fn is_ringing(&self) -> bool {
        self.open().is_some_and(|open| self.ring_until.is_some() || !open.waiting.is_empty())
    }

    /// Whether both limits allow this many more targets. `limits.targets` holds for each party of the office rules, so that
    /// the party after a large group can still ring; [`MAX_BRANCHES`] holds for the whole call.
    fn has_room(&self, more: usize, context: &mut Context<'_>) -> bool {
        let all = self.branches.len() + self.to_come().count() + more;
        let of_party = all - self.first_branch_of_party();
        let room = of_party <= self.template.settings.limits.targets && all <= MAX_BRANCHES;
        if !room {
            context.outbox.emit(Event::LimitReached(Limit::Targets));
        }
        room
    }

    /// Those of the further targets whose phone is not in the context. Another branch may have led to the same host name, and
    /// each of its servers is tried once.
    pub(super) fn unknown(&self, mut spares: Vec<Target>) -> Vec<Target> {
        spares.retain(|spare| !self.knows_phone(&spare.uri));
        spares
    }

    /// Whether the context has this URI (RFC 3261 16.5).
    fn knows(&self, uri: &TargetUri) -> bool {
        let Some(request) = self.template.request.as_deref() else { return false };
        let same = |other: &TargetUri| are_same(other, uri, request);
        self.branches.iter().any(|branch| same(&branch.target().uri)) || self.to_come().any(|target| same(&target.uri))
    }

    /// Whether the context has a phone, maybe with another of its flows (RFC 5626 7): it does not ring again in a later
    /// group.
    fn knows_phone(&self, uri: &TargetUri) -> bool {
        let Some(request) = self.template.request.as_deref() else { return false };
        let same = |other: &TargetUri| are_one_phone(other, uri, request);
        self.branches.iter().any(|branch| same(&branch.target().uri)) || self.to_come().any(|target| same(&target.uri))
    }

    fn to_come(&self) -> impl Iterator<Item = &Target> {
        self.open()
            .into_iter()
            .flat_map(|open| open.waiting.iter().flat_map(|group| &group.targets).chain(&open.spares))
    }
}

/// Whether two URIs are equal (RFC 3261 19.1.4).
pub(super) fn are_same(one: &TargetUri, other: &TargetUri, request: &Request) -> bool {
    match (Uri::parse(one.bytes(request)), Uri::parse(other.bytes(request))) {
        (Ok(one), Ok(other)) => equivalent(&one, &other),
        _ => false,
    }
}

/// Whether two URIs are contacts of one phone: by its instance id if both have one, else by the URI.
pub(super) fn are_one_phone(one: &TargetUri, other: &TargetUri, request: &Request) -> bool {
    match (one.instance(), other.instance()) {
        (Some(one), Some(other)) => one == other,
        _ => are_same(one, other, request),
    }
}
