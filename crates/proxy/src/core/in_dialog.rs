//! The turns of a request that carries a token of its dialog: from its peer to the other side at once; else after the
//! registrations of both sides were looked at; else as if it began something (RFC 3261 12.2, 16.4, 22.1).

use location::Aor;
use parser::Method;

use super::Core;
use crate::ask::{Answer, Parked, Question, Stall, Waiting};
use crate::clock::Now;
use crate::dialog::InDialog;
use crate::event::{DialogRequest, Drop, Event, Limit};
use crate::outbox::{Handover, Letter, Outbox};
use crate::reject::Reject;
use crate::request::Request;
use crate::route::{self, Callee, Destination, Plan, Target};
use crate::settings::Settings;

/// What is known of a request in a dialog so far.
#[derive(Debug)]
pub(crate) struct DialogCheck {
    dialog: InDialog,
    destination: Destination,
    /// Whether it comes from the sender that the token names.
    from_sender: bool,
    /// Whether it goes to the other side that the token names.
    to_other: bool,
    /// Whose registration is still to be looked at.
    to_ask: Ask,
}

/// The registration that is asked for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Sender,
    Other,
    Nobody,
}

impl Core {
    /// A request with a token of its dialog.
    pub(super) fn in_dialog(
        &mut self,
        now: Now,
        request: Request,
        mut dialog: InDialog,
        destination: Destination,
        outbox: &mut Outbox,
    ) {
        dialog.catch_up(&self.moved, &request, &self.mac);
        let (settings, mac) = (&self.settings, &self.mac);
        let may_use_from = dialog.may_use_from(&request, settings, mac);
        let from_sender = may_use_from && dialog.is_from_sender(&request.flow, settings);
        let to_other =
            dialog.leads_to_other(&request, settings, mac) || self.names_other(&dialog, &request, &destination);
        // A registration says where a phone is, not whom it may call itself.
        let to_ask = if may_use_from { Ask::Sender } else { Ask::Other };
        self.check(now, request, DialogCheck { dialog, destination, from_sender, to_other, to_ask }, outbox);
    }

    /// Looks at the next registration that may tell more, or decides.
    fn check(&mut self, now: Now, request: Request, mut check: DialogCheck, outbox: &mut Outbox) {
        if check.to_ask == Ask::Sender && (check.from_sender || check.dialog.sender().is_none()) {
            check.to_ask = Ask::Other;
        }
        if check.to_ask == Ask::Other && (check.to_other || check.dialog.other().is_none()) {
            check.to_ask = Ask::Nobody;
        }
        let user = match check.to_ask {
            Ask::Sender => check.dialog.sender(),
            Ask::Other => check.dialog.other(),
            Ask::Nobody => None,
        };
        match user.cloned() {
            Some(aor) => {
                let stall = self.stalls.put(request);
                outbox.ask(Question::Load(aor), Parked(Waiting::Dialog(stall, Box::new(check))));
            }
            None => self.decide(now, request, check, outbox),
        }
    }

    /// A registration that was asked for is here. If it is not, it says nothing.
    pub(super) fn dialog_looked_up(
        &mut self,
        now: Now,
        stalled: Stall,
        mut check: Box<DialogCheck>,
        answer: Answer,
        outbox: &mut Outbox,
    ) {
        let Some(request) = self.stalls.lead_out(stalled) else { return };
        let record = if let Answer::Loaded(record) = answer { record } else { None };
        match check.to_ask {
            Ask::Sender => {
                check.from_sender = record.is_some_and(|record| InDialog::is_flow_of(&record, &request.flow, now.wall));
                check.to_ask = Ask::Other;
            }
            Ask::Other | Ask::Nobody => {
                let fixed = check.dialog.other().and_then(|aor| self.settings.accounts.contacts(aor));
                let mut records = record.iter().chain(fixed);
                check.to_other = records.any(|it| InDialog::is_contact_of(it, &request, now.wall, &self.mac));
                check.to_ask = Ask::Nobody;
            }
        }
        self.check(now, request, *check, outbox);
    }

    fn decide(&mut self, now: Now, mut request: Request, check: DialogCheck, outbox: &mut Outbox) {
        if let Err(reject) = self.admit_in_dialog(now, &request, &check, outbox) {
            let refused = !matches!(reject, Reject::Challenge { .. }) || request.method() == Method::Ack;
            let outcome = if refused { DialogRequest::Refused } else { DialogRequest::Challenged };
            let (method, flow) = (request.method().as_str_or("other"), request.flow);
            outbox.tell(Event::DialogRequest { outcome, method, flow });
            return self.refuse(now, &request, reject, outbox);
        }
        let DialogCheck { dialog, destination, to_other, .. } = check;
        request.goes_to_other_side = to_other;
        if to_other {
            request.flow_ahead = dialog.flow_ahead(&request, &self.mac);
        }
        self.note_move(&dialog, &request, outbox);
        match destination {
            Destination::User(aor) if request.routes().next().is_none() => {
                self.look_up(request, Callee::user(aor), outbox);
            }
            // RFC 5627 6.1: what is left of the Route is then the way to the phone.
            Destination::Gruu(name) => match self.gruus.read(request.uri(), name) {
                Ok(callee) => self.look_up(request, callee, outbox),
                Err(reject) => self.refuse(now, &request, reject, outbox),
            },
            _ => match Self::target_in_dialog(&request, &self.settings) {
                Ok(target) => self.launch(now, request, Plan::one(target), outbox),
                Err(reject) => self.refuse(now, &request, reject, outbox),
            },
        }
    }

    /// Where it leads: to the other side, wherever that is; else no further than a request that begins something.
    fn target_in_dialog(request: &Request, settings: &Settings) -> Result<Target, Reject> {
        match request.goes_to_other_side {
            true => route::target_for_uri(request, settings),
            false => route::target_alone(request, settings),
        }
    }

    /// From its peer to the other side: free. Else its sender has to prove who it is, and where it does not go to the other
    /// side, it may go no further than a request that begins something.
    fn admit_in_dialog(
        &mut self,
        now: Now,
        request: &Request,
        check: &DialogCheck,
        outbox: &mut Outbox,
    ) -> Result<(), Reject> {
        let DialogCheck { dialog, destination, from_sender, to_other, .. } = check;
        if *from_sender && *to_other {
            return Ok(());
        }
        if *to_other {
            return self.admit_sender(now, request, dialog, outbox);
        }
        // It cannot be challenged, and begins nothing.
        if request.method() == Method::Ack {
            return Err(Reject::NotThePeer);
        }
        let presented = self.authenticator.read(request, &std::sync::Arc::clone(&self.settings));
        self.admit(now, request, &presented, destination, outbox).map(|_| ())
    }

    /// Whether the Request-URI is a name of the user on the other side: the address of record, or a GRUU.
    fn names_other(&self, dialog: &InDialog, request: &Request, destination: &Destination) -> bool {
        if request.routes().next().is_some() {
            return false;
        }
        let is_other = |aor: &Aor| dialog.other() == Some(aor);
        match destination {
            Destination::User(aor) => is_other(aor),
            Destination::Gruu(name) => {
                self.gruus.read(request.uri(), name.clone()).is_ok_and(|callee| is_other(&callee.aor))
            }
            Destination::Server | Destination::Elsewhere => false,
        }
    }

    /// A sender that is not where the token says, or that names another Contact: all workers are told, since a request of
    /// the other side may reach any of them.
    fn note_move(&mut self, dialog: &InDialog, request: &Request, outbox: &mut Outbox) {
        if !refreshes_target(request.method()) && dialog.is_from_sender(&request.flow, &self.settings) {
            return;
        }
        let Some((side, moved)) = dialog.moved(request, &self.settings, &self.mac) else { return };
        if self.moved.find(side) != Some(&moved) {
            self.dialog_moved(side, moved, outbox);
            outbox.handovers.push(Handover { worker: None, letter: Letter::Moved { side, moved } });
        }
    }

    /// Another worker saw that a side has moved, or this one did.
    pub(super) fn dialog_moved(
        &mut self,
        side: crate::dialog::SideOfDialog,
        moved: crate::dialog::Moved,
        outbox: &mut Outbox,
    ) {
        if self.moved.note(side, moved, self.settings.limits.moved_dialogs) {
            outbox.tell(Event::LimitReached(Limit::MovedDialogs));
        }
    }

    /// An ACK that belongs to no transaction here goes on in its dialog, from its sender only: it cannot be challenged, and
    /// credentials that it repeats from its INVITE (RFC 3261 22.1) prove nothing to somebody else who has read them.
    pub(super) fn acknowledge_in_dialog(&mut self, now: Now, mut request: Request, outbox: &mut Outbox) {
        let dialog = route::accept_routes(&mut request, &self.settings, &self.mac).ok().flatten();
        let destination = route::destination_of(&request, &self.settings);
        match (dialog, destination) {
            (Some(dialog), Ok(destination)) if crate::ingress::hops(request.hops).is_ok() => {
                self.in_dialog(now, request, dialog, destination, outbox);
            }
            _ => outbox.tell(Event::Dropped(Drop::StrayAck)),
        }
    }
}

/// RFC 3261 12.2.1.1, RFC 3311 5.1, RFC 6665 4.4.1: requests whose Contact is the sender's new remote target.
const fn refreshes_target(method: Method<'_>) -> bool {
    matches!(method, Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer)
}
