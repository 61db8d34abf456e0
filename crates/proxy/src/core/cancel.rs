//! CANCEL (RFC 3261 9.2, 16.10): it acts on the response context or the pin of its INVITE, or on an INVITE that waits, if
//! it comes from where the INVITE came from.
//!
//! After a restart the INVITE is unknown. 16.10 wants its CANCEL to be forwarded statelessly. This is done only for
//! senders that may learn whether a user is registered. All others get 481 in every case.

use std::sync::Arc;

use parser::Method;

use super::Core;
use crate::ask::{Answer, Continuation, Question, Resume};
use crate::clock::Now;
use crate::dialog::{InDialog, Next};
use crate::outbox::Outbox;
use crate::pin::Match;
use crate::reject::Reject;
use crate::request::Request;
use crate::response_context::ResponseContext;
use crate::route::{self, NextStep, Plan, Toward, next_step};

impl Core {
    pub(super) fn cancel(&mut self, now: Now, mut request: Box<Request>, outbox: &mut Outbox) {
        debug_assert_eq!(request.method(), Method::Cancel);
        if let Some(id) = self.response_contexts.id_of(request.key) {
            // Everybody who has read an INVITE can write its CANCEL, so it must come from the source of the INVITE.
            if !self.response_contexts.is_from(id, &request.source(), &self.connections) {
                return self.refuse(now, &request, Reject::NoTransaction, outbox);
            }
            let (response_contexts, mut context) = self.split(now, outbox);
            context.reply(&request, 200, b"OK", |_| {});
            response_contexts.with(id, &mut context, |it, context| it.cancelled(&request.message, context));
            return;
        }
        match self.forward_by_pin(now, &mut request, outbox) {
            Match::Same => {
                let until = now.mono + self.settings.timers.give_up();
                self.pins.cancelled(request.key, until, &mut self.timers);
            }
            Match::Other => self.refuse(now, &request, Reject::NoTransaction, outbox),
            Match::Unknown => match self.waiting.cancel(&request, &self.connections) {
                Ok(invite) => self.cancel_waiting(now, &request, invite, outbox),
                Err(Match::Unknown) => self.cancel_unknown(now, request, outbox),
                Err(_) => self.refuse(now, &request, Reject::NoTransaction, outbox),
            },
        }
    }

    /// Ends an INVITE that was not forwarded yet. Its response context has no branch: it sends the 487 until the ACK comes,
    /// and a retransmission of the INVITE does not count as a new call.
    fn cancel_waiting(&mut self, now: Now, cancel: &Request, invite: Box<Request>, outbox: &mut Outbox) {
        let (_, mut context) = self.split(now, outbox);
        context.reply(cancel, 200, b"OK", |_| {});
        if self.room_for_context(outbox).is_err() {
            // As any other refusal, the 487 is sent only once.
            return self.refuse(now, &invite, Reject::Cancelled, outbox);
        }
        let call = self.begin_call(now, &invite, &Plan::default(), outbox);
        let id = self.response_contexts.next_id(&self.mac);
        let (key, settings) = (invite.key, Arc::clone(&self.settings));
        let (response_contexts, mut context) = self.split(now, outbox);
        let cancelled = ResponseContext::cancelled_before_start(id, invite, call, settings, &mut context);
        response_contexts.insert(id, key, None, cancelled, context.timers);
        self.bound_timers();
    }

    /// A CANCEL without a response context and without a pin.
    fn cancel_unknown(&mut self, now: Now, mut request: Box<Request>, outbox: &mut Outbox) {
        // Our branch contains the address that responses go to. With another phone's address in its Via, a sender
        // would get the branch of the other phone's INVITE, and cancel that.
        let answered_at_source = request.response_hop.remote == request.flow.remote;
        let dialog = route::accept_routes(&mut request, &self.settings, &self.mac);
        match (dialog, request.uri_of_from().map(|caller| self.settings.aor_named_by(&caller))) {
            (Ok(Some(dialog)), _) if answered_at_source => self.cancel_in_dialog(now, request, dialog, outbox),
            (Ok(None), _) if self.settings.trusts(request.flow.remote.ip()) => {
                self.forward_cancel(now, request, outbox)
            }
            // Without our Route the CANCEL is not in a dialog, so its INVITE had no To tag.
            (Ok(None), Some(caller))
                if answered_at_source && route::check_outside_of_dialogs(&request, &self.settings).is_ok() =>
            {
                outbox.ask(Question::Load(caller), Continuation(Resume::Cancel(request)));
            }
            _ => self.refuse(now, &request, Reject::NoTransaction, outbox),
        }
    }

    /// Forwards a CANCEL if it comes over a flow that its caller is registered over.
    pub(super) fn cancel_looked_up(&mut self, now: Now, request: Box<Request>, answer: Answer, outbox: &mut Outbox) {
        match answer {
            Answer::Loaded(Some(record)) if InDialog::is_flow_of(&record, &request.flow, now.wall) => {
                self.forward_cancel(now, request, outbox);
            }
            _ => self.refuse(now, &request, Reject::NoTransaction, outbox),
        }
    }

    /// Forwards a CANCEL to where its INVITE would be forwarded now (RFC 3261 16.10).
    fn forward_cancel(&mut self, now: Now, request: Box<Request>, outbox: &mut Outbox) {
        let step = request.typed_uri().and_then(|uri| {
            let destination = route::destination(&uri, request.method(), &self.settings)?;
            next_step(&request, Some(&uri), destination, Toward::Anybody, &self.gruus, &self.settings)
        });
        match step {
            Ok(NextStep::LookUp(callee)) => Self::look_up(request, callee, outbox),
            _ => self.refuse(now, &request, Reject::NoTransaction, outbox),
        }
    }

    /// Forwards the CANCEL of a re-INVITE from one side of its dialog to the other.
    fn cancel_in_dialog(&mut self, now: Now, request: Box<Request>, mut dialog: InDialog, outbox: &mut Outbox) {
        dialog.apply_moves(&self.moved, &request);
        let settings = &self.settings;
        let next = request.typed_uri().and_then(|uri| Next::of(&request, &uri)).ok();
        let next = next.filter(|next| dialog.leads_to_other(next, settings));
        let from_sender = dialog.is_from_sender(&request.flow, settings) && dialog.may_use_from(&request, settings);
        let target = next.filter(|_| from_sender).and_then(|next| {
            let flow = dialog.flow_to_other(&next);
            let toward = Toward::OtherSide { address: dialog.address_of_other(), flow };
            route::target_for_next(&next, toward, &request, settings).ok()
        });
        if let Some(target) = target {
            let other_side = Some(dialog.address_of_other());
            let mut plan = Plan { other_side, ..Plan::with_target(target) };
            return self.handle_plan(now, request, &mut plan, outbox);
        }
        self.refuse(now, &request, Reject::NoTransaction, outbox);
    }
}
