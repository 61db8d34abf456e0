//! The steps of a message, as lists: of a request, of a response, of the answer to a question.
//!
//! Each list ends with one call: to the registrar, to `forward`, to a response context, or to `refuse`. Must not write
//! messages and must not decide rules.

use location::{Aor, Flow};
use parser::headers::Via;
use parser::{HeaderName, Message, Method, can_answer};

use super::Core;
use super::emergency::caller_in_emergency;
use crate::ask::{Answer, Continuation, Question, Resume};
use crate::clock::Now;
use crate::context::Context;
use crate::event::{Drop, Event};
use crate::forward::{ViaBranch, with_values_of_sender, without_challenges, without_claims};
use crate::ingress;
use crate::node_link::token_in;
use crate::notifier::{self, LocalTag, SubscribeKind};
use crate::outbox::{CoreMessage, Handover, Outbox};
use crate::pin::Match;
use crate::plain::via_with_branch;
use crate::registrar::PendingRegister;
use crate::reject::Reject;
use crate::renumbering::has_changeable_number;
use crate::request::{Proven, Received, Request};
use crate::response_context::ResponseContext;
use crate::route::{self, ContactSearch, Destination, DialogCheck, NextStep, Toward, next_step, office_step};
use crate::settings::Authentication;

impl Core {
    /// A request whose headers have not been read.
    pub(super) fn dispatch_request(&mut self, now: Now, mut request: Box<Request>, outbox: &mut Outbox) {
        if !can_answer(&request.message) {
            outbox.emit(Event::ParseError { answered: false, flow: request.flow });
            outbox.emit(Event::Dropped(Drop::Unanswerable));
            return;
        }
        if self.settings.nodes.is_cluster() && token_in(&request.message).is_some() {
            return self.deliver_for_node(now, request, outbox);
        }
        if let Err(reject) = request.read(&self.mac) {
            let answered = request.method() != Method::Ack;
            outbox.emit(Event::ParseError { answered, flow: request.flow });
            return self.refuse(now, &request, reject, outbox);
        }
        match request.method() {
            Method::Ack => self.acknowledge(now, request, outbox),
            Method::Cancel => self.cancel(now, request, outbox),
            _ => self.request(now, request, outbox),
        }
    }

    /// Any request but ACK and CANCEL.
    fn request(&mut self, now: Now, mut request: Box<Request>, outbox: &mut Outbox) {
        if let Some(id) = self.response_contexts.id_of(request.key) {
            let (response_contexts, mut context) = self.split(now, outbox);
            response_contexts.with(id, &mut context, ResponseContext::retransmitted);
            return;
        }
        if self.waiting.contains(request.key) {
            return;
        }
        if self.forward_by_pin(now, &mut request, outbox) == Match::Same {
            return;
        }
        match self.handling_of(now, &mut request, outbox) {
            Ok(Handling::Register(aor)) => {
                let pending = Box::new(PendingRegister::new(request, aor.clone()));
                outbox.ask(Question::Load(aor), Continuation(Resume::RegisterLoad(pending)));
            }
            Ok(Handling::Serve) => {
                self.serve(now, &request, outbox);
                self.memory.keep(request);
            }
            Ok(Handling::Route(step)) => self.take_step(now, request, step, outbox),
            Ok(Handling::FindCall(step)) => self.find_at_nodes(now, request, step, outbox),
            Ok(Handling::Emergency(caller)) => Self::emergency_call(request, caller, outbox),
            Ok(Handling::CheckDialog(check)) => self.check_dialog(now, request, check, outbox),
            Ok(Handling::Notifier(kind)) => self.receive_subscribe(now, &request, kind, outbox),
            Ok(Handling::HandOver(worker)) => {
                let Request { message, flow, .. } = *request;
                let core_message = CoreMessage::Request(Box::new(Received { message, flow }));
                outbox.handovers.push(Handover { worker: Some(worker), core_message });
            }
            Err(reject) => {
                self.refuse(now, &request, reject, outbox);
                self.memory.keep(request);
            }
        }
    }

    /// Checks a request and decides how it is handled.
    fn handling_of(&mut self, now: Now, request: &mut Request, outbox: &mut Outbox) -> Result<Handling, Reject> {
        let mut dialog = route::accept_routes(request, &self.settings, &self.mac);
        // It is large, and most requests have none, so that the result stays where it is.
        let dialog = dialog.as_mut().map_err(|reject| *reject)?;
        let method = request.method();
        let (mut destination, uri) = route::destination_and_uri(request, &self.settings)?;
        let uri = uri.as_ref();
        let watch =
            if method == Method::Subscribe { notifier::kind_of(request, &destination, &self.settings)? } else { None };
        // A SUBSCRIBE within its dialog needs no credentials. The worker that accepted the subscription keeps it.
        if let Some(SubscribeKind::InDialog(tag)) = watch {
            return self.handling_of_subscribe(tag);
        }
        let presented = self.authenticator.read(request, &self.settings);
        if let Some(worker) = self.authenticator.worker_of_nonce(method, &presented) {
            return Ok(Handling::HandOver(worker));
        }
        if let Some(kind) = watch {
            return Ok(Handling::Notifier(kind));
        }
        if method == Method::Register && destination != Destination::Elsewhere {
            let aor = self.admit_register(now, request, &presented, outbox)?;
            drop(presented);
            if self.settings.authentication == Authentication::Required {
                request.proven = Proven::InFrom;
            }
            return Ok(Handling::Register(aor));
        }
        if destination == Destination::Server {
            return Ok(Handling::Serve);
        }
        self.check_forwardable(request)?;
        let (toward, proven) = match dialog {
            Some(dialog) => match self.enter_dialog(now, request, uri, dialog, &destination, outbox) {
                Ok(toward) => {
                    self.spend_credentials(now, request, &presented);
                    (toward, Proven::Nobody)
                }
                Err(check) => return Ok(Handling::CheckDialog(check)),
            },
            None => {
                route::check_outside_of_dialogs(request, &self.settings)?;
                destination = route::called_by_trunk(request, destination, &self.settings)?;
                if let Some(caller) = caller_in_emergency(request, &presented, &destination, &self.settings) {
                    return Ok(Handling::Emergency(caller));
                }
                match self.admit(now, request, &presented, &destination, outbox) {
                    Err(Reject::Relay) if method == Method::Register => return Err(Reject::ForeignRegistrar),
                    Err(Reject::Relay) if destination == Destination::Elsewhere => {
                        let search = uri.and_then(|uri| ContactSearch::of_unproven(request, uri, &self.settings));
                        return search.map(NextStep::FindContact).map(Handling::Route).ok_or(Reject::Relay);
                    }
                    proven => (Toward::Anybody, proven?),
                }
            }
        };
        drop(presented);
        let mut step = next_step(request, uri, destination, toward, &self.gruus, &self.settings)?;
        request.proven = proven;
        match self.asks_nodes(request) {
            true => Ok(Handling::FindCall(step)),
            false => self.adapt_step(now, &mut step, request, outbox).map(|()| Handling::Route(step)),
        }
    }

    /// RFC 3261 16.3 steps 3 and 5, and what a REFER may ask for.
    fn check_forwardable(&self, request: &Request) -> Result<(), Reject> {
        ingress::check_max_forwards(request.hops)?;
        ingress::check_proxy_require(&request.message)?;
        route::check_refer(request, &self.settings)
    }

    /// Replaces the step of an INVITE that picks up a call, of a SUBSCRIBE to voicemail messages, and by the rules of the
    /// office.
    pub(super) fn adapt_step(
        &self,
        now: Now,
        step: &mut NextStep,
        request: &Request,
        outbox: &mut Outbox,
    ) -> Result<(), Reject> {
        self.pickup_step(step, request, now.wall)?;
        route::mailbox_step(step, request, &self.settings, now)?;
        office_step(step, request, &self.settings, self.settings.civil_time(now), None)
            .inspect_err(|_| self.report_refused_group(request, outbox))
    }

    /// RFC 6665 4.2.1.4: a SUBSCRIBE within its dialog is handled by the worker that our To tag names.
    fn handling_of_subscribe(&self, tag: LocalTag) -> Result<Handling, Reject> {
        match tag.worker {
            worker if worker == self.worker => Ok(Handling::Notifier(SubscribeKind::InDialog(tag))),
            worker if self.subscriptions.has_worker(worker) => Ok(Handling::HandOver(worker)),
            // The tag is of an earlier run of the program that had more workers.
            _ => Err(Reject::Subscription),
        }
    }

    pub(super) fn dispatch_response(&mut self, now: Now, received: Received, outbox: &mut Outbox) {
        let Received { message, flow } = &received;
        let status = message.status().unwrap_or_default();
        outbox.emit(Event::ResponseReceived { status, transport: flow.transport });
        let branch = self.own_branch(message);
        if let Some(branch @ ViaBranch::ForNode(_)) = &branch {
            return self.answer_node(message, branch, Some(flow), outbox);
        }
        let origin = branch.as_ref().and_then(ViaBranch::origin);
        let screened = origin.and_then(|origin| {
            let (from, to) = (origin.at_node.unwrap_or(flow.remote).ip(), origin.peer.remote.ip());
            without_claims(message, from, to, &self.settings, &mut self.rewrite)
        });
        let message = screened.as_ref().unwrap_or(message);
        // A response context answers the challenge of a trunk, except that of a request whose number cannot be changed.
        let is_stateless = matches!(branch, Some(ViaBranch::Stateless(_) | ViaBranch::Pinned { .. }));
        let is_from_trunk = || self.settings.trunk_at(flow.remote.ip()).is_some() && has_changeable_number(message);
        let unchallenged = if is_stateless && matches!(status, 401 | 407) && is_from_trunk() {
            without_challenges(message, &mut self.rewrite)
        } else {
            None
        };
        let message = unchallenged.as_ref().unwrap_or(message);
        match branch {
            Some(
                ViaBranch::Transaction { worker, .. }
                | ViaBranch::Notify { worker, .. }
                | ViaBranch::Trunk { worker, .. },
            ) if worker != self.worker => {
                let core_message = CoreMessage::Response(Box::new(received));
                outbox.handovers.push(Handover { worker: Some(worker), core_message });
            }
            _ => self.route_response(now, branch.as_ref(), message, Some(flow), outbox),
        }
    }

    /// Passes a response to its response context, or forwards it by the Via below ours (RFC 3261 16.7, 16.11, 17.1.3).
    ///
    /// `source` is the flow that it came over; `None` for a response of this server.
    pub(super) fn route_response(
        &mut self,
        now: Now,
        branch: Option<&ViaBranch>,
        message: &Message,
        source: Option<&Flow>,
        outbox: &mut Outbox,
    ) {
        let restored = branch.and_then(|branch| with_values_of_sender(message, branch, &self.mac, &mut self.rewrite));
        let message = restored.as_ref().unwrap_or(message);
        match (branch, source) {
            (Some(branch @ &ViaBranch::Transaction { id, .. }), Some(source)) => {
                let (response_contexts, mut context) = self.split(now, outbox);
                let receive =
                    |it: &mut ResponseContext, context: &mut Context<'_>| it.receive(id, message, source, context);
                match response_contexts.with(id.context, &mut context, receive) {
                    Some(()) => {}
                    // The response context has ended, but a phone still answers: the caller must get the 2xx.
                    None if is_2xx_to_invite(message) => {
                        self.forward_marked(now, message, branch, Some(source), outbox);
                    }
                    None => outbox.emit(Event::Dropped(Drop::StrayResponse)),
                }
            }
            (Some(branch @ ViaBranch::Stateless(_)), _) => {
                self.forward_marked(now, message, branch, source, outbox);
            }
            (Some(branch @ &ViaBranch::Pinned { worker, ref origin }), _) => {
                let forwarded = self.forward_marked(now, message, branch, source, outbox);
                // The CANCEL of the INVITE has the same branch. Its 200 is not a response to the INVITE.
                if let Some(forwarded) = forwarded.filter(|forwarded| forwarded.method == Method::Invite) {
                    if worker != self.worker {
                        self.note_response_early(now, message, origin.response_address(), outbox);
                    }
                    self.note_response(now, worker, forwarded, outbox);
                }
            }
            (Some(&ViaBranch::Notify { id, .. }), Some(source)) => {
                self.notify_answered(now, id, message, source, outbox)
            }
            (Some(&ViaBranch::Trunk { id, .. }), Some(source)) => self.trunk_answered(now, id, message, source, outbox),
            _ => outbox.emit(Event::Dropped(Drop::StrayResponse)),
        }
    }

    /// The branch of the top Via, if that Via is ours. RFC 3261 18.1.2: any other response is not for this server.
    fn own_branch(&self, response: &Message) -> Option<ViaBranch> {
        if response.defect().is_some() {
            return None;
        }
        if let Some((address, branch)) = response.value(HeaderName::Via).and_then(via_with_branch)
            && self.settings.is_own_address(address.ip(), Some(address.port()))
            && let Some(branch) = ViaBranch::parse(branch)
        {
            return Some(branch);
        }
        let top = response.header::<Via<'_>>().ok()??;
        ViaBranch::parse(top.branch()?).filter(|_| self.settings.is_own(&top.host, top.port))
    }

    pub(super) fn dispatch_answer(&mut self, now: Now, parked: Continuation, answer: Answer, outbox: &mut Outbox) {
        match (parked.0, answer) {
            (Resume::RegisterLoad(pending), Answer::Loaded(record)) => self.registered(now, pending, record, outbox),
            (Resume::RegisterCommit(pending), Answer::Committed) => {
                Self::confirm(&pending, outbox);
                self.announce_registration(now, &pending, outbox);
                self.memory.keep(pending.request);
            }
            (Resume::RegisterCommit(pending), Answer::Conflict) => {
                outbox.ask(Question::Load(pending.aor.clone()), Continuation(Resume::RegisterLoad(pending)));
            }
            (Resume::RegisterCommit(pending), Answer::Full) => {
                self.refuse_register(now, &pending, Reject::StoreFull, outbox);
            }
            (Resume::RegisterLoad(pending) | Resume::RegisterCommit(pending), _) => {
                self.refuse_register(now, &pending, Reject::Store, outbox);
            }
            (Resume::Callee(request, callee), answer) => self.callee_loaded(now, request, &callee, answer, outbox),
            (Resume::Search(search), answer) => self.search_answered(now, search, answer, outbox),
            (Resume::Emergency(request, caller), answer) => {
                self.emergency_caller_loaded(now, request, caller, answer, outbox);
            }
            (Resume::Code(request, command), answer) => self.code_answered(now, &request, &command, answer, outbox),
            (Resume::Cancel(request), answer) => self.cancel_looked_up(now, request, answer, outbox),
            (Resume::Dialog(request, check), answer) => self.dialog_looked_up(now, request, check, answer, outbox),
            (Resume::Contact(request, search), answer) => {
                self.contact_user_loaded(now, request, search, answer, outbox);
            }
            (Resume::LateRegistration(aor), Answer::Loaded(record)) => self.join(now, &aor, record.as_ref(), outbox),
            (Resume::LateRegistration(_), _) => {}
            (Resume::Notify(id), answer) => self.notify_state_answered(now, id, answer, outbox),
            (Resume::NotifyTarget(id, host), answer) => {
                self.notify_target_resolved(now, id, &host, &answer, outbox);
            }
            (Resume::Trunk(key, name), answer) => self.trunk_resolved(now, key, &name, answer, outbox),
            (Resume::Transmit(text), _) => self.undelivered(now, text, outbox),
        }
    }
}

/// Whether a response is a 2xx to an INVITE.
fn is_2xx_to_invite(response: &Message) -> bool {
    matches!(response.status(), Some(200..300)) && response.method() == Method::Invite
}

/// How a request is handled.
enum Handling {
    /// By the registrar, for this AoR.
    Register(Aor),
    /// By a response: the request is to the server itself.
    Serve,
    /// By the next step to its destination, where it may go.
    Route(NextStep),
    /// As [`Self::Route`], but the other nodes are asked first which of their calls it replaces.
    FindCall(NextStep),
    /// As an emergency call of this user.
    Emergency(Aor),
    /// By a check of its dialog: the token alone does not let the request pass.
    CheckDialog(Box<DialogCheck>),
    /// By the notifier.
    Notifier(SubscribeKind),
    /// By another worker.
    HandOver(u8),
}
