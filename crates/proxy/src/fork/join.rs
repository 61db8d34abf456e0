//! Targets that join a request while it is being tried: where a redirection leads (RFC 3261 16.7 step 4), and a phone that
//! registers while its user is being called.
//!
//! A URI is in a response context once (16.5), and there are only so many.

use location::{Aor, Record};
use parser::{Message, Uri, equivalent};
use smallvec::SmallVec;

use crate::clock::Now;
use crate::context::Context;
use crate::event::{Event, Limit};
use crate::forward::BranchId;
use crate::request::Request;
use crate::route::{
    Callee, Disposition, Group, Gruus, Plan, Purpose, Search, TargetSearch, contacts_to_follow, plan_for_bindings,
    plan_for_callee,
};
use crate::settings::Strategy;
use crate::target::{NextHop, Target, TargetUri};

use super::ResponseContext;
use super::outcome::Outcome;

impl ResponseContext {
    /// Whether the final of a branch is a redirection that is followed: then it is not passed on.
    pub(super) fn follow(
        &mut self,
        id: BranchId,
        response: &Message,
        context: &mut Context<'_>,
    ) -> Option<Box<Search>> {
        let request = self.template.request.as_ref().filter(|_| self.is_open() && self.disposition.recurse)?;
        let from = self.branches.get(usize::from(id.index))?.hop().remote.ip();
        let contacts = contacts_to_follow(response, from, request, &self.template.settings)?;
        if !self.has_room(contacts.len(), context) {
            return None;
        }
        self.branches.get_mut(usize::from(id.index))?.outcome = Some(Outcome::Followed);
        self.following += 1;
        // A caller that wants only one phone to ring may be redirected all the same, to one after another.
        let plan = Plan { disposition: Disposition { fork: true, ..self.disposition }, ..Plan::default() };
        let targets = TargetSearch::for_redirection(request, from, contacts, plan, &self.template.settings);
        Some(Box::new(Search { targets, purpose: Purpose::Redirection(id) }))
    }

    /// The plan of a user that the request was redirected to.
    pub(crate) fn plan_for(&self, callee: &Callee, record: Option<&Record>, gruus: &Gruus, now: Now) -> Option<Plan> {
        let template = &self.template;
        plan_for_callee(template.request.as_ref()?, callee, record, &template.settings, gruus, now).ok()
    }

    /// A redirection has been looked up: its targets are the next ones, in parallel with the others if all are.
    pub(crate) fn redirected(&mut self, id: BranchId, plan: Plan, context: &mut Context<'_>) {
        self.following = self.following.saturating_sub(1);
        if plan.groups.is_empty()
            && let Some(branch) = self.branches.get_mut(usize::from(id.index))
        {
            branch.outcome = Some(Outcome::NoResponse(480));
        }
        if self.is_open() {
            self.has_ring_time = true;
            for group in plan.groups.into_iter().rev() {
                self.waiting.push(Group { q: group.q, targets: SmallVec::new() });
                group.targets.into_iter().for_each(|target| self.wait_next(target, context));
            }
            self.waiting.retain(|group| !group.targets.is_empty());
            self.spares.extend(plan.spares);
            if self.disposition.strategy == Strategy::Parallel {
                self.start_group(context);
            }
        }
        self.advance(context);
    }

    /// The user has registered anew: a phone that is not in the context yet rings too, for what is left of the ring time.
    pub(crate) fn join(&mut self, aor: &Aor, record: Option<&Record>, context: &mut Context<'_>) {
        // When it is over, those who were told to stop are all that is waited for.
        let rings = self.ring_until.is_some() || !self.waiting.is_empty();
        let request = self.template.request.as_ref().filter(|_| self.is_open() && rings);
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
        // A phone that registered by name would have to wait for DNS; the next call finds it.
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
        let mut waiting = self.waiting.iter_mut().flat_map(|group| &mut group.targets);
        if let Some(other) = waiting.find(|other| same(&other.uri)) {
            *other = target;
        } else if self.has_room(1, context) {
            self.join_in_turn(target, q, context);
        }
    }

    /// A phone that was tried already, but now has another way.
    fn join_again(&mut self, at: usize, target: Target, context: &mut Context<'_>) {
        if !self.has_room(1, context) {
            return;
        }
        let Some(branch) = self.branches.get_mut(at) else { return };
        let share = branch.share();
        let rings_again = branch.is_silent() || branch.is_lost();
        if branch.is_silent() {
            // It has moved: nobody is where it was.
            branch.give_up();
        }
        if rings_again {
            // Others may hold by now what this one held.
            let share = share.min(self.free_breadth());
            if share > 0 {
                self.start_branch(target, share, context);
            }
        } else if branch.is_pending() && !self.knows(&target.uri) {
            self.spares.insert(0, target);
        }
    }

    /// A phone that was not there before: at once, or when it is the turn of its preference.
    fn join_in_turn(&mut self, target: Target, q: u16, context: &mut Context<'_>) {
        let turn = self.disposition.strategy == Strategy::Parallel || q >= self.group_q;
        if turn && self.free_breadth() > 0 {
            return self.start_branch(target, 1, context);
        }
        let targets = SmallVec::from_iter([target]);
        match self.waiting.iter_mut().find(|group| group.q == q) {
            Some(group) => group.targets.extend(targets),
            None => {
                let at = self.waiting.partition_point(|group| group.q < q);
                self.waiting.insert(at, Group { q, targets });
            }
        }
    }

    /// Whether there may be new branches.
    fn is_open(&self) -> bool {
        self.upstream.is_waiting() && !self.closed
    }

    /// The user whose phones cannot join any more.
    pub(super) fn take_callee(&mut self) -> Option<Aor> {
        if self.is_open() { None } else { self.callee.take() }
    }

    /// Puts a target into the group that is next, unless it is in the context already.
    fn wait_next(&mut self, target: Target, context: &mut Context<'_>) {
        if !self.knows(&target.uri)
            && self.has_room(1, context)
            && let Some(group) = self.waiting.last_mut()
        {
            group.targets.push(target);
        }
    }

    /// Whether there may be so many more targets.
    fn has_room(&self, more: usize, context: &mut Context<'_>) -> bool {
        let room = self.branches.len() + self.to_come().count() + more <= self.template.settings.limits.targets;
        if !room {
            context.outbox.emit(Event::LimitReached(Limit::Targets));
        }
        room
    }

    /// RFC 3261 16.5: a target set has a URI once.
    fn knows(&self, uri: &TargetUri) -> bool {
        let Some(request) = self.template.request.as_deref() else { return false };
        let same = |other: &TargetUri| are_same(other, uri, request);
        self.branches.iter().any(|branch| same(&branch.target().uri)) || self.to_come().any(|target| same(&target.uri))
    }

    fn to_come(&self) -> impl Iterator<Item = &Target> {
        self.waiting.iter().flat_map(|group| &group.targets).chain(&self.spares)
    }
}

/// RFC 3261 19.1.4.
pub(super) fn are_same(one: &TargetUri, other: &TargetUri, request: &Request) -> bool {
    match (Uri::parse(one.bytes(request)), Uri::parse(other.bytes(request))) {
        (Ok(one), Ok(other)) => equivalent(&one, &other),
        _ => false,
    }
}

/// Whether two URIs are contacts of one phone, as far as it says which it is.
pub(super) fn are_one_phone(one: &TargetUri, other: &TargetUri, request: &Request) -> bool {
    match (one.instance(), other.instance()) {
        (Some(one), Some(other)) => one == other,
        _ => are_same(one, other, request),
    }
}
