//! Targets that join a request while it is being tried: where a redirection leads (RFC 3261 16.7 step 4).
//!
//! A URI is in a response context once (16.5), and there are only so many.

use location::{Aor, Record};
use parser::{Message, Uri, equivalent};
use smallvec::SmallVec;

use crate::clock::Now;
use crate::context::Context;
use crate::event::{Event, Limit};
use crate::forward::BranchId;
use crate::route::{Group, Plan, Redirect, Target, TargetUri, plan_for_bindings, redirects};
use crate::settings::Strategy;

use super::Fork;
use super::branch::Outcome;

/// A redirection that is being followed.
#[derive(Debug)]
pub(crate) struct Redirection {
    pub(crate) fork: u64,
    /// The branch that was redirected.
    pub(crate) branch: BranchId,
    /// Those that are still to be looked up, the next one last.
    pub(crate) contacts: Vec<Redirect>,
    /// What was found so far.
    pub(crate) plan: Plan,
    all_at_once: bool,
    last_q: Option<u16>,
}

impl Redirection {
    /// Adds what a Contact of this preference was found to mean.
    pub(crate) fn add(&mut self, q: u16, found: Plan) {
        self.plan.append(found, self.all_at_once || self.last_q == Some(q));
        self.last_q = Some(q);
    }
}

impl Fork {
    /// Whether the final of a branch is a redirection that is followed: then nobody hears of it.
    pub(super) fn follow(
        &mut self,
        id: BranchId,
        response: &Message,
        context: &mut Context<'_>,
    ) -> Option<Box<Redirection>> {
        let request = self.request.as_ref().filter(|_| self.is_open() && self.disposition.recurse)?;
        let contacts = redirects(response, request, &self.settings)?;
        if self.size() + contacts.len() > self.settings.limits.targets {
            context.outbox.tell(Event::LimitReached(Limit::Targets));
            return None;
        }
        self.branches.get_mut(usize::from(id.index))?.outcome = Some(Outcome::Followed);
        self.following += 1;
        let all_at_once = self.disposition.strategy == Strategy::Parallel;
        Some(Box::new(Redirection {
            fork: self.id,
            branch: id,
            contacts,
            plan: Plan::default(),
            all_at_once,
            last_q: None,
        }))
    }

    /// The plan of a user that the request was redirected to.
    pub(crate) fn plan_for(&self, aor: &Aor, record: Option<&Record>, now: Now) -> Option<Plan> {
        plan_for_bindings(self.request.as_ref()?, aor, record, &self.settings, now).ok()
    }

    /// A redirection has been looked up: its targets are the next ones, in parallel with the others if all are.
    pub(crate) fn redirected(&mut self, id: BranchId, plan: Plan, context: &mut Context<'_>) {
        self.following = self.following.saturating_sub(1);
        if plan.groups.is_empty()
            && let Some(branch) = self.branches.get_mut(usize::from(id.index))
        {
            branch.outcome = Some(Outcome::Silent(480));
        }
        if self.is_open() {
            for group in plan.groups.into_iter().rev() {
                self.waiting.push(Group { q: group.q, targets: SmallVec::new() });
                group.targets.into_iter().for_each(|target| self.wait_next(target));
            }
            self.waiting.retain(|group| !group.targets.is_empty());
            self.spares.extend(plan.spares);
            if self.disposition.strategy == Strategy::Parallel {
                self.start_group(context);
            }
        }
        self.advance(context);
    }

    /// Whether there may be new branches.
    fn is_open(&self) -> bool {
        self.upstream.is_waiting() && !self.closed
    }

    /// Puts a target into the group that is next, unless it is in the context already.
    fn wait_next(&mut self, target: Target) {
        if self.size() < self.settings.limits.targets
            && !self.knows(&target.uri)
            && let Some(group) = self.waiting.last_mut()
        {
            group.targets.push(target);
        }
    }

    /// How many targets there were and will be.
    fn size(&self) -> usize {
        self.branches.len() + self.to_come().count()
    }

    /// RFC 3261 16.5: a target set has a URI once.
    fn knows(&self, uri: &TargetUri) -> bool {
        let Some(request) = &self.request else { return false };
        let same = |other: &TargetUri| match (Uri::parse(other.bytes(request)), Uri::parse(uri.bytes(request))) {
            (Ok(one), Ok(other)) => equivalent(&one, &other),
            _ => false,
        };
        self.branches.iter().any(|branch| same(branch.target())) || self.to_come().any(|target| same(&target.uri))
    }

    fn to_come(&self) -> impl Iterator<Item = &Target> {
        self.waiting.iter().flat_map(|group| &group.targets).chain(&self.spares)
    }
}
