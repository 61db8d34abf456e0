//! What the core reports to the table of calls: INVITEs that begin a call, requests within its dialogs and their
//! responses, and refusals.
//!
//! Must not decide anything about a message.

use std::net::SocketAddr;

use location::{Aor, Wall};
use parser::{HeaderName, Message, Method, Uri};
use smallvec::SmallVec;

use super::Core;
use super::send::is_new_call;
use crate::call_writer::Calls;
use crate::calls::{
    CallEnd, CallRecord, CallRef, CallRefusal, CallRequest, CallResponse, CallSide, CallsChange, PassingRequest,
    Reached, RequestAnswer, ShareOf,
};
use crate::clock::Now;
use crate::dialog::InDialog;
use crate::event::{Event, Limit, TriedPhones};
use crate::outbox::Outbox;
use crate::pin::{Pin, Unanswered};
use crate::reject::Reject;
use crate::request::{Proven, Request, TransactionKey, tag_of};
use crate::route::Plan;
use crate::settings::{Authentication, Named, Settings};

/// Of a BYE without any response: its sender gives up after 64·T1, and a copy of the response may come a little later.
const BYE_GRACE: std::time::Duration = std::time::Duration::from_secs(5);

impl Core {
    /// Adds the call of an INVITE that is forwarded; `None` if it begins none.
    pub(super) fn begin_call(
        &mut self,
        now: Now,
        request: &Request,
        plan: &Plan,
        outbox: &mut Outbox,
    ) -> Option<CallRef> {
        if !is_new_call(request) {
            return None;
        }
        let (from, to) = parties(request, plan.aor.as_ref(), &self.settings)?;
        let is_of_stranger = self.is_of_stranger(request, &from);
        let from = from.address;
        let (targets, [caller_tag, _]) = (plan.phones(), request.tags());
        let call_id = request.call_id();
        let source = request.flow.remote;
        // Whoever has not proven to be another user is the one in From.
        let caller = if let Proven::As(user) = &request.proven { &**user } else { &from };
        let share = if is_of_stranger { ShareOf::Host(source.ip()) } else { ShareOf::User(caller.as_bytes()) };
        let begun = CallRequest { call_id, caller_tag, source, from: &from, caller, share, to: &to, targets };
        let call = self.calls.table().begin(&begun, now.wall);
        match call {
            None => outbox.emit(Event::LimitReached(Limit::JournalCalls)),
            // So far only the caller has a dialog.
            Some(_) if self.calls.watched().is_used() => {
                let call = call.map(CallRef::number);
                self.calls.note(CallsChange { call, users: vec![caller.clone()], ended: None });
            }
            Some(_) => {}
        }
        outbox.emit(Event::Call { from, to, targets });
        call
    }

    /// A response to an INVITE was forwarded whose pin is at another worker. That worker gets a message, and knows the call.
    /// But the BYE may be faster than this message, so the dialog is added at once. If the responses go to another address
    /// than the INVITE came from, the call is not found here.
    pub(super) fn note_response_early(
        &mut self,
        now: Now,
        response: &Message,
        source: SocketAddr,
        outbox: &mut Outbox,
    ) {
        let tag = |name| tag_of(response, name).unwrap_or_default();
        let (status, callee_tag) = (response.status().unwrap_or_default(), tag(HeaderName::To));
        if matches!(status, 101..=299) {
            let call_id = response.value(HeaderName::CallId).unwrap_or_default();
            let key = self.calls.table().key(call_id, tag(HeaderName::From), source);
            let response = CallResponse { branch: 0, status, callee_tag, user: b"" };
            self.calls.responded_early(key, &response, now.wall, outbox);
        }
    }

    /// The call of a pin has ended without a final response.
    pub(super) fn call_unanswered(&mut self, now: Now, ended: Unanswered, outbox: &mut Outbox) {
        let Unanswered { call, status, phones, silent } = ended;
        if let Some(call) = call {
            let reached = silent.map_or(Reached::Nobody, Reached::Phone);
            self.calls.set_up(call, (status, None), (phones, reached), now.wall, outbox);
        }
    }

    /// A request within a dialog passes from one side to the other. An ACK tells nothing that its INVITE did not.
    pub(super) fn note_request(&self, now: Now, dialog: &InDialog, request: &Request, outbox: &mut Outbox) {
        let method = request.method();
        if matches!(method, Method::Ack | Method::Subscribe | Method::Notify) {
            return;
        }
        let [from_tag, to_tag] = request.tags();
        let (side, caller_tag, callee_tag) = match dialog.is_from_caller() {
            true => (CallSide::Caller, from_tag, to_tag),
            false => (CallSide::Callee, to_tag, from_tag),
        };
        let (call_id, table) = (request.call_id(), self.calls.table());
        // PRACK, INFO or OPTIONS may fail in ways that tell nothing about the dialog: 481 to a PRACK means that its RAck
        // matches no response (RFC 3262 3). They only show that the call goes on.
        let may_end = matches!(method, Method::Invite | Method::Update | Method::Bye);
        let transaction = may_end.then_some(request.key.0);
        let (mut is_known, is_bye) = (false, method == Method::Bye);
        for source in dialog.sources() {
            let key = table.key(call_id, caller_tag, *source);
            is_known |= table.request(key, (side, callee_tag), (transaction, is_bye), now.wall);
        }
        if !is_known && self.settings.nodes.is_cluster() {
            let identity = (call_id, [caller_tag, callee_tag], side);
            self.note_passing(now, identity, dialog, (transaction, is_bye), outbox);
        }
    }

    /// A request passes from one side of a dialog to the other whose call is not here: another node may know it.
    #[cold]
    fn note_passing(
        &self,
        now: Now,
        (call_id, [caller_tag, callee_tag], by): (&[u8], [&[u8]; 2], CallSide),
        dialog: &InDialog,
        (transaction, is_bye): (Option<u64>, bool),
        outbox: &mut Outbox,
    ) {
        let Some(transaction) = transaction else { return };
        let (call_id, caller_tag, callee_tag) = (call_id.into(), caller_tag.into(), callee_tag.into());
        let (sources, at) = (SmallVec::from_slice(dialog.sources()), now.wall);
        let request = PassingRequest { call_id, caller_tag, callee_tag, sources, by, is_bye, transaction, at };
        self.calls.passes(request, outbox);
    }

    /// A response to a request that was forwarded without a transaction was forwarded. `is_own`: this server has sent it
    /// itself, since the request could not be sent.
    pub(super) fn note_answer(
        &mut self,
        now: Now,
        (key, method): (TransactionKey, Method<'_>),
        (status, is_own): (u16, bool),
        outbox: &mut Outbox,
    ) {
        // Only a failure to another request than BYE can end a dialog.
        let may_end = status >= 300 || method == Method::Bye;
        if status >= 200 && may_end && method != Method::Cancel {
            let answer = if is_own { RequestAnswer::Nothing } else { RequestAnswer::Final(status) };
            self.calls.request_answered(key.0, answer, now.wall, outbox);
        }
    }

    /// This server refuses an INVITE. One in a dialog begins no call, and one that is challenged may come again.
    pub(super) fn call_refused(&self, now: Now, request: &Request, reject: Reject, outbox: &mut Outbox) {
        if request.in_dialog || matches!(reject, Reject::Challenge { .. }) {
            return;
        }
        let (reason, offence, key) = (reject.reason(), reject.offence(), reject.key(Method::Invite));
        let Some((from, to)) = parties(request, None, &self.settings) else { return };
        let is_of_stranger = self.is_of_stranger(request, &from);
        let (status, refusal) = (reject.status(), CallRefusal { reason, offence, key });
        outbox.emit(Event::CallEnded(Box::new(CallRecord {
            began: now.wall,
            answered: None,
            ended: now.wall,
            from: from.address,
            to,
            source: request.flow.remote,
            is_of_stranger,
            phones: TriedPhones::default(),
            reached: Reached::Nobody,
            forwarded: None,
            status: Some(status),
            end: CallEnd::Refused(refusal),
        })));
    }

    /// Without authentication, the sender is the user in its From.
    fn is_of_stranger(&self, request: &Request, from: &Named) -> bool {
        let settings = &self.settings;
        let is_off = settings.authentication == Authentication::Off;
        let is_user = request.proven.is_authenticated() || is_off && from.is_ours;
        !is_user && !settings.trusts(request.flow.remote.ip())
    }

    /// Ends the calls whose end no message reports.
    pub(super) fn sweep_calls(&mut self, now: Now, outbox: &mut Outbox) {
        let bye_timeout = self.settings.timers.give_up() + BYE_GRACE;
        self.calls.sweep((self.settings.call_lifetime, bye_timeout), now.wall, outbox);
    }
}

/// A response to the INVITE of a pin was forwarded. `ends_setup`: it is the first final one. `is_own`: this server has sent
/// it itself.
pub(super) fn pin_responded(
    calls: &mut Calls,
    pin: &Pin,
    (status, to_tag): (u16, &[u8]),
    (ends_setup, is_own): (bool, bool),
    now: Wall,
    outbox: &mut Outbox,
) {
    let Some(call) = pin.call else { return };
    let response = CallResponse { branch: 0, status, callee_tag: to_tag, user: pin.uri.aor() };
    let response = Some(&response).filter(|_| matches!(status, 101..=299));
    if ends_setup {
        let phones = pin.phones();
        // A response of this server is not one of the phone, which may have responded before.
        let is_of_phone = !is_own || phones.responded == 0;
        let reached = if is_of_phone { pin.uri.reached() } else { Reached::Nobody };
        calls.set_up(call, (Some(status), response), (phones, reached), now, outbox);
    } else if let Some(response) = response {
        calls.responded(call, response, now, outbox);
    }
}

/// Caller and callee: by From, and by the Request-URI if `called` is none.
fn parties(request: &Request, called: Option<&Aor>, settings: &Settings) -> Option<(Named, Aor)> {
    let to = match called {
        Some(aor) => aor.clone(),
        None => match Uri::parse(request.uri()).ok()?.sip() {
            Some(uri) => settings.aor_named_by(uri),
            None => Named::of(request.uri(), settings)?.address,
        },
    };
    Some((Named::of(request.text_of_from(), settings)?, to))
}
