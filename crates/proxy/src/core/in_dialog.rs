//! Requests that carry a token of their dialog (RFC 3261 12.2, 16.4, 22.1). A request from the known peer of one side
//! to the other side passes at once. For any other, the registrations of both sides are loaded. If they do not help
//! either, the request is authenticated like one outside of a dialog.

use location::Aor;
use parser::{Method, Uri};

use super::Core;
use crate::ask::{Answer, Continuation, Question, Resume};
use crate::clock::Now;
use crate::dialog::{FlowOfDialog, InDialog, Moved, Next, SideOfDialog};
use crate::event::{DialogRequest, Drop, Event, Limit};
use crate::outbox::{CoreMessage, Handover, Outbox};
use crate::reject::Reject;
use crate::request::Request;
use crate::route::{self, Destination, DialogCheck, NextLoad, Toward, next_step};

impl Core {
    /// Decides whether a request with a token of its dialog passes at once, which it does from the known peer of its
    /// sender to the other side. Otherwise returns what has to be checked.
    pub(super) fn enter_dialog(
        &mut self,
        now: Now,
        request: &Request,
        uri: Option<&Uri<'_>>,
        dialog: &mut InDialog,
        destination: &Destination,
        outbox: &mut Outbox,
    ) -> Result<Toward, Box<DialogCheck>> {
        dialog.apply_moves(&self.moved, request);
        let settings = &self.settings;
        let may_use_from = dialog.may_use_from(request, settings);
        let from_sender = may_use_from && dialog.is_from_sender(&request.flow, settings);
        let next = uri.and_then(|uri| Next::of(request, uri).ok());
        // A Request-URI that names a local user is looked up even if a flow leads to the other side.
        let to_other = *destination == Destination::Elsewhere
            && next.as_ref().is_some_and(|next| dialog.leads_to_other(next, settings));
        let passes = from_sender && to_other;
        if passes && !next.as_ref().is_some_and(|next| self.may_have_moved(dialog, next)) {
            self.record_move(now, dialog, request, outbox);
            self.note_request(now, dialog, request, outbox);
            let flow = next.and_then(|next| dialog.flow_to_other(&next));
            return Ok(Toward::OtherSide { address: dialog.address_of_other(), flow });
        }
        let to_other = to_other || self.names_other(dialog, request, destination);
        let next_load = match may_use_from {
            _ if passes => NextLoad::Flow,
            // With a From that the sender may not use, its registration makes no difference.
            true => NextLoad::Sender,
            false => NextLoad::OtherSide,
        };
        let (dialog, destination) = (dialog.clone(), destination.clone());
        Err(Box::new(DialogCheck { dialog, destination, from_sender, to_other, next_load }))
    }

    /// Loads the next registration that may make a difference, or decides.
    pub(super) fn check_dialog(
        &mut self,
        now: Now,
        request: Box<Request>,
        mut check: Box<DialogCheck>,
        outbox: &mut Outbox,
    ) {
        let DialogCheck { dialog, from_sender, to_other, next_load, .. } = &mut *check;
        if *next_load == NextLoad::Sender && (*from_sender || dialog.sender_user(&self.settings).is_none()) {
            *next_load = NextLoad::OtherSide;
        }
        if *next_load == NextLoad::OtherSide && (*to_other || dialog.other_user(&self.settings).is_none()) {
            *next_load = NextLoad::Flow;
        }
        if *next_load == NextLoad::Flow {
            let next = request.typed_uri().and_then(|uri| Next::of(&request, &uri));
            let asks = *to_other && next.is_ok_and(|next| self.may_have_moved(dialog, &next));
            *next_load = if asks { NextLoad::Flow } else { NextLoad::Nothing };
        }
        let user = match next_load {
            NextLoad::Sender => dialog.sender_user(&self.settings),
            NextLoad::OtherSide | NextLoad::Flow => dialog.other_user(&self.settings),
            NextLoad::Nothing => None,
        };
        match user {
            Some(aor) => {
                outbox.ask(Question::Load(aor), Continuation(Resume::Dialog(request, check)));
            }
            None => self.decide(now, request, *check, outbox),
        }
    }

    /// Evaluates a loaded registration. One that could not be loaded counts as empty.
    pub(super) fn dialog_looked_up(
        &mut self,
        now: Now,
        request: Box<Request>,
        mut check: Box<DialogCheck>,
        answer: Answer,
        outbox: &mut Outbox,
    ) {
        let record = if let Answer::Loaded(record) = answer { record } else { None };
        match check.next_load {
            NextLoad::Sender => {
                check.from_sender = record.is_some_and(|record| InDialog::is_flow_of(&record, &request.flow, now.wall));
                check.next_load = NextLoad::OtherSide;
            }
            NextLoad::OtherSide => {
                let user = check.dialog.other_user(&self.settings);
                let fixed = user.as_ref().and_then(|aor| self.settings.accounts.contacts(aor));
                let mut records = record.iter().chain(fixed);
                let next = request.typed_uri().and_then(|uri| Next::of(&request, &uri));
                check.to_other = next.is_ok_and(|next| {
                    records.any(|record| InDialog::is_contact_of(record, &next, now.wall, &self.settings, &self.mac))
                });
                check.next_load = NextLoad::Flow;
            }
            NextLoad::Flow | NextLoad::Nothing => {
                let next = request.typed_uri().and_then(|uri| Next::of(&request, &uri));
                let side = next.ok().and_then(|next| check.dialog.flow_of_other(&next));
                let hop = record.as_ref().zip(side).and_then(|(record, side)| {
                    route::current_flow(record, &side, now.wall, &self.connections, &self.settings)
                });
                if let Some(hop) = hop {
                    check.dialog.set_peer_of_other(&hop, &request, &self.settings);
                }
                return self.decide(now, request, *check, outbox);
            }
        }
        self.check_dialog(now, request, check, outbox);
    }

    fn decide(&mut self, now: Now, request: Box<Request>, check: DialogCheck, outbox: &mut Outbox) {
        if let Err(reject) = self.admit_in_dialog(now, &request, &check, outbox) {
            let refused = !matches!(reject, Reject::Challenge { .. }) || request.method() == Method::Ack;
            let outcome = if refused { DialogRequest::Refused } else { DialogRequest::Challenged };
            let (method, flow) = (request.method().as_str_or("other"), request.flow);
            outbox.emit(Event::DialogRequest { outcome, method, flow });
            return self.refuse(now, &request, reject, outbox);
        }
        let DialogCheck { dialog, destination, from_sender, to_other, .. } = check;
        if to_other {
            self.record_move(now, &dialog, &request, outbox);
        }
        let next = request.typed_uri().and_then(|uri| Next::of(&request, &uri));
        let address = dialog.address_of_other();
        let toward = match next {
            Ok(next) if to_other => Toward::OtherSide { address, flow: dialog.flow_to_other(&next) },
            Ok(next) if from_sender && destination == Destination::Elsewhere => dialog
                .peer_of_other(&next)
                .map_or(Toward::Anybody, |peer| Toward::OtherSide { address, flow: Some(peer) }),
            _ => Toward::Anybody,
        };
        if matches!(toward, Toward::OtherSide { .. }) {
            self.note_request(now, &dialog, &request, outbox);
        }
        self.take_next_step(now, request, destination, toward, outbox);
    }

    /// Takes the next step to the destination.
    fn take_next_step(
        &mut self,
        now: Now,
        request: Box<Request>,
        destination: Destination,
        toward: Toward,
        outbox: &mut Outbox,
    ) {
        let step = request
            .typed_uri()
            .and_then(|uri| next_step(&request, Some(&uri), destination, toward, &self.gruus, &self.settings));
        match step {
            Ok(step) => self.take_step(now, request, step, outbox),
            Err(reject) => self.refuse(now, &request, reject, outbox),
        }
    }

    /// Decides whether a checked request may go on. From the known peer to the other side: yes. To the other side
    /// from any other address: with credentials of the sender. To any other destination: only if such a request needs
    /// no credentials outside of a dialog.
    fn admit_in_dialog(
        &mut self,
        now: Now,
        request: &Request,
        check: &DialogCheck,
        outbox: &mut Outbox,
    ) -> Result<(), Reject> {
        let DialogCheck { dialog, destination, from_sender, to_other, .. } = check;
        let goes_to_peer = || {
            let next = request.typed_uri().and_then(|uri| Next::of(request, &uri));
            *destination == Destination::Elsewhere && next.is_ok_and(|next| dialog.peer_of_other(&next).is_some())
        };
        if *from_sender && (*to_other || goes_to_peer()) {
            return Ok(());
        }
        // An ACK cannot be challenged. A phone that had to open a new connection cannot acknowledge in any other way.
        let is_ack = request.method() == Method::Ack;
        if *to_other && is_ack && dialog.is_reconnected(&request.flow, &self.connections, &self.settings) {
            return Ok(());
        }
        if *to_other {
            return self.admit_sender(now, request, dialog, outbox);
        }
        // The request does not belong to the dialog of its Route, so it is treated as if it had no Route of ours. An ACK
        // cannot be challenged.
        if is_ack || route::check_outside_of_dialogs(request, &self.settings).is_err() {
            return Err(Reject::NotThePeer);
        }
        route::called_by_trunk(request, destination.clone(), &self.settings)?;
        let presented = self.authenticator.read(request, &self.settings);
        self.admit(now, request, &presented, destination, outbox).map(|_| ())
    }

    /// Whether the other side may have another flow by now: its connection is closed or another node's, or it is reached
    /// over UDP, where a NAT can change its port.
    fn may_have_moved(&self, dialog: &InDialog, next: &Next<'_>) -> bool {
        dialog.flow_of_other(next).is_some_and(|FlowOfDialog { peer, .. }| {
            peer.connection_here(&self.settings).is_none_or(|it| !self.connections.is_open(it))
        })
    }

    /// Whether the Request-URI names the user on the other side: it is the address of record, or a GRUU.
    fn names_other(&self, dialog: &InDialog, request: &Request, destination: &Destination) -> bool {
        if request.next_route().is_some() {
            return false;
        }
        let other = dialog.other_user(&self.settings);
        let is_other = |aor: &Aor| other.as_ref() == Some(aor);
        match destination {
            Destination::User(aor) => is_other(aor),
            Destination::Gruu(name) => {
                self.gruus.read(request.uri(), name.clone()).is_ok_and(|callee| is_other(&callee.aor))
            }
            Destination::Server | Destination::Elsewhere => false,
        }
    }

    /// Records that a sender has another peer than its token says, or another Contact, at all workers: a request of
    /// the other side may reach any of them.
    fn record_move(&mut self, now: Now, dialog: &InDialog, request: &Request, outbox: &mut Outbox) {
        if !refreshes_target(request.method()) && dialog.is_from_sender(&request.flow, &self.settings) {
            return;
        }
        let Some((side, moved)) = dialog.move_of_sender(request, now.wall, &self.settings) else { return };
        if !self.moved.find(side).is_some_and(|known| known.is_same_place(&moved)) {
            self.dialog_moved(side, moved, outbox);
            outbox.handovers.push(Handover { worker: None, core_message: CoreMessage::DialogMoved { side, moved } });
        }
    }

    /// Records that a side has moved, as this or another worker noticed.
    pub(super) fn dialog_moved(&mut self, side: SideOfDialog, moved: Moved, outbox: &mut Outbox) {
        if self.moved.record(side, moved, self.settings.limits.moved_dialogs) {
            outbox.emit(Event::LimitReached(Limit::MovedDialogs));
        }
    }

    /// Forwards the ACK of a 2xx from one side of its dialog to the other.
    pub(super) fn acknowledge_between_sides(
        &mut self,
        now: Now,
        request: Box<Request>,
        dialog: &mut InDialog,
        outbox: &mut Outbox,
    ) {
        let entered = request.typed_uri().and_then(|uri| {
            let destination = route::destination(&uri, request.method(), &self.settings)?;
            match self.enter_dialog(now, &request, Some(&uri), dialog, &destination, outbox) {
                Ok(toward) => next_step(&request, Some(&uri), destination, toward, &self.gruus, &self.settings).map(Ok),
                Err(check) => Ok(Err(check)),
            }
        });
        match entered {
            Ok(Ok(step)) => self.take_step(now, request, step, outbox),
            Ok(Err(check)) => self.check_dialog(now, request, check, outbox),
            Err(_) => outbox.emit(Event::Dropped(Drop::StrayAck)),
        }
    }
}

/// RFC 3261 12.2.1.1, RFC 3311 5.1, RFC 6665 4.4.1: requests whose Contact is the sender's new remote target.
const fn refreshes_target(method: Method<'_>) -> bool {
    matches!(method, Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer)
}
