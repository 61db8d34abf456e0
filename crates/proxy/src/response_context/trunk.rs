//! Trunks: when the next one is tried, whether the challenge of one is answered, and how long calls count against the limit
//! of one.
//!
//! The trunks of an outgoing line are groups of one target each. Must not choose them: `route::office` does.

use crate::auth::Answerable;
use crate::context::Context;
use crate::event::{Event, Limit};
use crate::forward::BranchId;
use crate::mac::{Mac, Purpose};
use crate::renumbering::Renumbering;
use crate::request::Request;
use crate::route::invite_key;
use crate::settings::{CallSetup, Direction, Login, Settings, Trunk};
use crate::target::{NextHop, Target};

use super::ResponseContext;
use super::branch::ClientBranch;
use super::outcome::Outcome;

use parser::{HeaderName, Message, Method};

/// So often a challenge is answered for one request; a trunk could challenge for ever.
const MAX_CHALLENGES: u8 = 2;

/// The status of a trunk whose response must not reach the caller.
const BAD_GATEWAY: u16 = 502;

/// Identifies a call in [`TrunkCalls`](crate::settings::TrunkCalls), by its Call-ID and the tag of its caller.
fn call_id(message: &Message, caller_tag: &[u8], mac: &Mac) -> u64 {
    mac.sign(Purpose::Dialog, &[message.value(HeaderName::CallId).unwrap_or_default(), caller_tag])
}

/// What an INVITE outside of dialogs counts as.
pub(crate) fn call_setup(request: &Request, mac: &Mac) -> CallSetup {
    CallSetup { call: call_id(&request.message, request.tags()[0], mac), transaction: request.key.0 }
}

/// Ends the call of a BYE, if the trunk has sent it. Returns whether the response of the trunk decides that, which needs a
/// response context.
pub(crate) fn bye_frees_line_later(bye: &Request, settings: &Settings, mac: &Mac) -> bool {
    if bye.method() != Method::Bye || !settings.trunks.limits_calls() {
        return false;
    }
    if settings.is_of_trunk(bye.flow.remote.ip()) {
        end_call(bye, settings, mac);
        return false;
    }
    bye.tags().into_iter().any(|tag| settings.trunks.calls.has(call_id(&bye.message, tag, mac)))
}

/// Ends the call of a BYE of either side.
fn end_call(bye: &Request, settings: &Settings, mac: &Mac) {
    bye.tags().into_iter().for_each(|tag| settings.trunks.calls.end(call_id(&bye.message, tag, mac)));
}

/// Whether a BYE with this outcome has ended the dialog (RFC 3261 15.1.1), also at the trunk.
pub(super) fn has_ended_dialog(branch: &ClientBranch) -> bool {
    match branch.outcome() {
        None | Some(Outcome::Final(_)) => {
            matches!(branch.outcome().and_then(Outcome::status), Some(200..=299 | 408 | 481))
        }
        // The challenge of the trunk was not answered.
        Some(Outcome::NoResponse(status)) => *status != BAD_GATEWAY,
        Some(_) => true,
    }
}

impl ResponseContext {
    /// Counts the call for the trunk of this target. False if the trunk has `max_calls` calls already.
    pub(super) fn takes_line(&self, target: &Target, context: &mut Context<'_>) -> bool {
        let Some(to) = target.uri.trunk().filter(|to| !to.is_emergency) else { return true };
        let Some(request) = self.template.request.as_deref() else { return true };
        let trunks = &self.template.settings.trunks;
        if !trunks.limits_calls() {
            return true;
        }
        let setup = call_setup(request, context.mac);
        let has_room = trunks.calls.begin(setup, Direction::Out, &to.trunk, context.now.mono);
        if !has_room {
            context.outbox.emit(Event::LimitReached(Limit::MaxCalls));
            context.outbox.emit(Event::TrunkFull { trunk: to.trunk.name.clone() });
        }
        has_room
    }

    /// The call has failed: it does not count any more.
    pub(super) fn free_lines(&self, status: u16, context: &Context<'_>) {
        let trunks = &self.template.settings.trunks;
        if let Some(request) = self.template.request.as_deref().filter(|_| status >= 300 && trunks.limits_calls()) {
            trunks.calls.fail(call_setup(request, context.mac));
        }
    }

    /// A BYE has its final response: the call does not count any more, unless the trunk has refused the BYE.
    pub(super) fn free_line_by_bye(&self, status: u16, context: &Context<'_>) {
        let settings = &self.template.settings;
        let Some(request) = self.template.request.as_deref().filter(|_| settings.trunks.limits_calls()) else { return };
        let has_ended = (200..300).contains(&status) || self.branches.iter().all(has_ended_dialog);
        if request.method() == Method::Bye && has_ended {
            end_call(request, settings, context.mac);
        }
    }

    /// Whether the call has left the office: its groups are trunks.
    pub(super) fn is_outside(&self) -> bool {
        self.course.as_ref().is_some_and(|attempt| attempt.course.is_outside)
    }

    /// Drops the trunks that are still to be tried, if the response of the last one is a decision of the called party.
    pub(super) fn keep_to_trunk(&mut self, group_from: usize) {
        let tries_next = self.branches.iter().skip(group_from).all(tries_next_trunk);
        if !tries_next && let Some(open) = self.open_mut() {
            open.waiting.clear();
        }
    }

    /// A trunk has refused the request. Its redirection of a call is not followed, because it could lead to any number at
    /// the expense of the office, and its challenge is not for the caller: neither reaches the caller.
    pub(super) fn hides_failure(&mut self, id: BranchId, status: u16) -> bool {
        let request = self.template.request.as_deref();
        let Some(branch) = self.branches.get_mut(usize::from(id.index)) else { return false };
        let uri = &branch.target().uri;
        // A request whose number cannot be changed is not sent again: only its sender can answer the challenge.
        let is_sent_again = request.is_none_or(|request| Renumbering::fits(request.sequence));
        let hides = match status {
            300..=399 => uri.trunk().is_some(),
            401 | 407 => match uri.trunk() {
                Some(to) => is_sent_again || to.trunk.login.is_none(),
                None => is_sent_again && request.is_some_and(|request| request.renumbering.is_some()),
            },
            _ => false,
        };
        if hides {
            branch.set_outcome(Outcome::NoResponse(BAD_GATEWAY));
        }
        hides
    }

    /// Answers the challenge of a trunk (RFC 3261 22.3), twice at most, and not if the credentials were wrong. The next
    /// request is a branch of its own.
    pub(super) fn answers_challenge(&mut self, id: BranchId, response: &Message, context: &mut Context<'_>) -> bool {
        let Some(next) = self.next_with_credentials(id, response, context) else { return false };
        if !self.keep_number(&next, context) {
            return false;
        }
        let trunk = self.template.request.as_deref().and_then(|request| self.trunk_of(&next, request));
        if let Some(trunk) = trunk {
            context.outbox.emit(Event::TrunkChallenged { trunk: trunk.name.clone() });
        }
        let Some(branch) = self.branches.get_mut(usize::from(id.index)) else { return false };
        let share = branch.share();
        branch.set_outcome(Outcome::Followed);
        self.start_branch(next, share, context);
        true
    }

    fn next_with_credentials(&self, id: BranchId, response: &Message, context: &Context<'_>) -> Option<Target> {
        let is_waited_for = self.is_open() && !self.sender_is_gone(context.now.mono);
        let branch = self.branches.get(usize::from(id.index)).filter(|_| is_waited_for)?;
        // Another trunk is tried already, or the time of this one is over.
        if branch.is_cancelled() {
            return None;
        }
        let (target, request) = (branch.target(), self.template.request.as_deref()?);
        let answered = target.uri.answered().map_or(0, |answered| answered.count);
        let login = self.login_at(target, request).filter(|_| answered < MAX_CHALLENGES)?;
        let mut challenge = Answerable::of(response)?;
        if answered > 0 && !challenge.is_stale {
            return None;
        }
        let context_id = self.template.context_id.to_be_bytes();
        let cnonce = context.mac.sign(Purpose::Notifier, &[b"cnonce", &context_id, &[id.index]]);
        let mut line = Vec::new();
        self.template.read_sent(branch, context, |sent| {
            challenge.write(login, request.method(), sent.uri, cnonce, &mut line);
        });
        let next_hop = NextHop::Hop(branch.hop().clone());
        Some(Target { uri: target.uri.with_credentials(line), next_hop, over_flow: target.over_flow })
    }

    /// The user of this server at the trunk that a request goes to; `None` if it is not a trunk, or the number of the
    /// request cannot be changed.
    fn login_at(&self, target: &Target, request: &Request) -> Option<&Login> {
        target.uri.renumbering(request)?;
        self.trunk_of(target, request)?.login.as_ref()
    }

    /// The trunk that a request goes to.
    fn trunk_of(&self, target: &Target, request: &Request) -> Option<&Trunk> {
        let trunk = match target.uri.trunk() {
            Some(to) => Some(to.trunk.id()),
            None => request.renumbering.as_deref()?.trunk(),
        };
        self.template.settings.trunks.with_id(trunk?).map(|trunk| &**trunk)
    }

    /// A branch has received a response: the ACK and PRACK of its INVITE may still come.
    pub(super) fn extend_number(&self, id: BranchId, context: &mut Context<'_>) {
        if let Some(branch) = self.branches.get(usize::from(id.index)) {
            self.keep_number(branch.target(), context);
        }
    }

    /// Keeps the number of an INVITE within a dialog that is or was sent to this target, until its ACK can come no more. False
    /// if there are too many of them.
    fn keep_number(&self, target: &Target, context: &mut Context<'_>) -> bool {
        let Some(request) = self.template.request.as_deref() else { return true };
        let answered = target.uri.answered().map_or(0, |answered| answered.count);
        if answered == 0 || !request.in_dialog || request.method() != Method::Invite {
            return true;
        }
        let (settings, now) = (&self.template.settings, context.now.mono);
        let until = now + settings.timers.c.max(settings.timers.last_copy());
        let key = invite_key(request, request.sequence, context.mac);
        let has_room = settings.trunks.numbers.keep(key, answered, (now, until), settings.limits.transactions);
        if !has_room {
            context.outbox.emit(Event::LimitReached(Limit::Transactions));
        }
        has_room
    }
}

/// Whether another trunk may be able to set up the call (RFC 3261 21.5, RFC 3263 4.3): this one failed or did not respond.
/// A call for help is tried on the next trunk unless the called party is busy or declines.
fn tries_next_trunk(branch: &ClientBranch) -> bool {
    let is_emergency = branch.target().uri.trunk().is_some_and(|to| to.is_emergency);
    match branch.outcome().and_then(Outcome::status) {
        Some(408 | 430 | 500 | 502..=504) => true,
        Some(300..=485 | 488..=599) => is_emergency,
        // Another branch answers its challenge.
        None => true,
        _ => false,
    }
}
