//! What a response context says to the caller: responses passed on, the best of several, and those made here
//! (RFC 3261 16.7 steps 5 to 9, RFC 4320).

use std::net::SocketAddr;

use parser::{HeaderName, Message, reason_phrase};

use crate::context::Context;
use crate::dialog::ResponseCallee;
use crate::event::{self, Event};
use crate::forward::{merge_challenges, write_response};
use crate::request::tag_of;

use super::ResponseContext;
use super::best;
use super::outcome::Outcome;
use super::upstream::Upstream;

impl ResponseContext {
    /// RFC 3261 16.7 steps 6 to 9.
    pub(super) fn answer_with_best(&mut self, context: &mut Context<'_>) {
        let finals = self.branches.iter().filter_map(|branch| branch.outcome.as_ref());
        let ranked = finals.filter_map(|outcome| Some((best::rank(outcome.status()?, self.caller_hung_up), outcome)));
        let best = ranked.max_by_key(|(rank, _)| *rank).map(|(_, outcome)| outcome.clone());
        // RFC 3261 16.7 step 6: 408 if there is nothing to choose from.
        let status = best.as_ref().and_then(Outcome::status).unwrap_or(408);
        self.ring_until = None;
        let outcome = match status {
            487 if self.caller_hung_up => event::ForkOutcome::Cancelled,
            408 => event::ForkOutcome::TimedOut,
            _ => event::ForkOutcome::Refused,
        };
        self.emit_outcome(outcome, status, None, context);
        match best {
            // RFC 4320 4.2: nobody may be told 408 to another method than INVITE.
            _ if status == 408 && !self.upstream.is_invite() => {
                self.upstream.end_in_silence(&self.template.settings.timers, context.now.mono);
            }
            _ if best::status_for_caller(status) != status => self.reply(best::status_for_caller(status), context),
            Some(Outcome::Final(message)) => self.pass_up(&message, None, context),
            _ => self.reply(status, context),
        }
    }

    /// Forwards a response; the best of several challenges takes the others' along. `address`: where the request went, if the
    /// response may make a dialog.
    pub(super) fn pass_up(&mut self, response: &Message, address: Option<SocketAddr>, context: &mut Context<'_>) {
        let status = response.status().unwrap_or(500);
        let allowed = self.upstream.check_address(status, self.template.timers(), context.now.mono);
        let success = (200..300).contains(&status) && self.upstream.is_invite();
        // RFC 3261 16.7 step 5: once there was a final, a 2xx to an INVITE is all that still passes.
        if !allowed && !success {
            return;
        }
        let challenges = matches!(status, 401 | 407);
        let others = self.branches.iter().filter_map(|branch| match &branch.outcome {
            Some(Outcome::Final(other)) if other.bytes() != response.bytes() => Some(&**other),
            _ => None,
        });
        let (settings, Context { outbox, rewrite, mac, .. }) = (&self.template.settings, context);
        let Upstream { back, method, .. } = &self.upstream;
        outbox.emit(Event::ResponseSent { method, status, transport: back.transport });
        let tag = tag_of(response, HeaderName::To).unwrap_or_default();
        let text = outbox.send(back, false, |out| {
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

    /// A response made here.
    pub(super) fn reply(&mut self, status: u16, context: &mut Context<'_>) {
        let Some(request) = &self.template.request else { return };
        if self.upstream.check_address(status, self.template.timers(), context.now.mono) {
            let text = context.reply(request, status, reason_phrase(status).as_bytes(), |_| {});
            self.upstream.keep_own(text);
        }
    }

    /// Emits how it ended. `by`: the phone whose response decided it.
    pub(super) fn emit_outcome(
        &self,
        outcome: event::ForkOutcome,
        status: u16,
        by: Option<event::CalledPhone>,
        context: &mut Context<'_>,
    ) {
        context.outbox.emit(Event::Fork { outcome });
        if let Some(request) = self.template.request.as_ref().filter(|_| self.upstream.is_invite()) {
            let (call, tried) = (request.key.0, self.branches.len());
            context.outbox.emit(Event::CallEnded { call, status: Some(status), tried, by });
        }
    }
}
