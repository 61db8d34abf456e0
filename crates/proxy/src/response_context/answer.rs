//! The responses that a response context sends to the caller: forwarded responses, the best of several, and its own
//! (RFC 3261 16.7 steps 5 to 9, RFC 4320).
//!
//! Must not start or cancel branches.

use std::net::SocketAddr;

use parser::{HeaderName, Message, reason_phrase};

use crate::calls::Reached;
use crate::context::Context;
use crate::dialog::ResponseCallee;
use crate::event::{self, Event, GroupCallOutcome, TriedPhones};
use crate::forward::{merge_challenges, write_response};
use crate::request::tag_of;

use super::best;
use super::branch::ClientBranch;
use super::outcome::Outcome;
use super::{Phase, ResponseContext};

impl ResponseContext {
    /// Sends the best final response of all branches (RFC 3261 16.7 steps 6 to 9).
    pub(super) fn answer_with_best(&mut self, context: &mut Context<'_>) {
        let caller_cancelled = matches!(self.phase, Phase::Closed { caller_cancelled: true });
        let outcomes = self.branches.iter().filter_map(ClientBranch::outcome);
        let ranked = outcomes.filter_map(|outcome| Some((best::rank(outcome.status()?, caller_cancelled), outcome)));
        let best = ranked.max_by_key(|(rank, _)| *rank).map(|(_, outcome)| outcome.clone());
        // RFC 3261 16.7 step 6: 408 if no branch has a final response.
        let status = best.as_ref().and_then(Outcome::status).unwrap_or(408);
        self.ring_until = None;
        let outcome = match status {
            487 if caller_cancelled => event::ForkOutcome::Cancelled,
            408 => event::ForkOutcome::TimedOut,
            _ => event::ForkOutcome::Refused,
        };
        self.emit_outcome(outcome, status, None, context);
        match best {
            // RFC 4320 4.2: no 408 may be sent to another method than INVITE.
            _ if status == 408 && !self.upstream.is_invite() => {
                self.upstream.end_without_response(&self.template.settings.timers, context.now.mono);
            }
            _ if best::status_for_caller(status) != status => self.reply(best::status_for_caller(status), context),
            Some(Outcome::Final(message)) => self.forward(&message, None, context),
            _ => self.reply(status, context),
        }
        self.close();
    }

    /// Sends 487 after the CANCEL of the caller, while no branch is pending that could answer with it.
    pub(super) fn answer_cancelled(&mut self, context: &mut Context<'_>) {
        self.ring_until = None;
        self.emit_outcome(event::ForkOutcome::Cancelled, 487, None, context);
        self.reply(487, context);
    }

    /// Forwards a response. A challenge gets the challenges of the other branches added. `address`: where the request
    /// was sent, if the response may create a dialog.
    pub(super) fn forward(&mut self, response: &Message, address: Option<SocketAddr>, context: &mut Context<'_>) {
        let status = response.status().unwrap_or(500);
        let allowed = self.upstream.may_send(status, self.template.timers(), context.now.mono);
        let success = (200..300).contains(&status) && self.upstream.is_invite();
        // RFC 3261 16.7 step 5: after a final response only a 2xx to an INVITE is forwarded.
        if !allowed && !success {
            return;
        }
        let challenges = matches!(status, 401 | 407);
        let others = self.branches.iter().filter_map(|branch| match branch.outcome() {
            Some(Outcome::Final(other)) if other.bytes() != response.bytes() => Some(&**other),
            _ => None,
        });
        let (back, method) = (self.upstream.hop(context.connections), self.upstream.method);
        let (settings, Context { outbox, rewrite, mac, .. }) = (&self.template.settings, context);
        outbox.emit(Event::ResponseSent { method, status, transport: back.transport });
        let tag = tag_of(response, HeaderName::To).unwrap_or_default();
        let text = outbox.send(&back, false, |out| {
            write_response(response, ResponseCallee { tag, address }, settings, mac, rewrite, out, |more| {
                if challenges {
                    merge_challenges(more, others);
                }
            });
        });
        if !success {
            self.upstream.keep(text);
        }
    }

    /// The only phone or trunk that responded; if none did, the only one that was tried. A phone with several flows has a
    /// branch for each that failed (RFC 5626 7).
    fn only_reached(&self, phones: TriedPhones) -> Reached {
        let mut of_interest = self.branches.iter().filter(|branch| branch.has_responded() || phones.responded == 0);
        let is_only = phones.responded == 1 || phones.responded == 0 && phones.tried == 1;
        let only = of_interest.next_back().filter(|_| is_only);
        only.map_or(Reached::Nobody, |branch| branch.target().uri.reached())
    }

    /// Sends a response of this server.
    pub(super) fn reply(&mut self, status: u16, context: &mut Context<'_>) {
        let Some(request) = &self.template.request else { return };
        if self.upstream.may_send(status, self.template.timers(), context.now.mono) {
            let text = context.reply(request, status, reason_phrase(status).as_bytes(), |_| {});
            self.upstream.keep_own(text);
        }
    }

    /// Reports how the request ended, unless it is in a dialog: it is neither a fork nor the end of a call. `by`: who
    /// sent the response that decided that; `None` if several did.
    pub(super) fn emit_outcome(
        &self,
        outcome: event::ForkOutcome,
        status: u16,
        by: Option<Reached>,
        context: &mut Context<'_>,
    ) {
        let request = self.template.request.as_ref();
        if request.is_some_and(|request| request.in_dialog) {
            self.note_answer_in_dialog(status, context);
            return self.free_line_by_bye(status, context);
        }
        context.outbox.emit(Event::Fork { outcome });
        self.free_lines(status, context);
        let is_answered = outcome == event::ForkOutcome::Answered;
        let of_group = if is_answered { GroupCallOutcome::Answered } else { GroupCallOutcome::Unanswered };
        self.report_group(of_group, context);
        self.report_trunks(context);
        if self.upstream.is_invite() {
            let mut phones = TriedPhones::default();
            self.branches.iter().for_each(|branch| branch.count(&mut phones));
            let reached = by.unwrap_or_else(|| self.only_reached(phones));
            self.note_setup_end(status, (phones, reached), context);
        }
    }
}
