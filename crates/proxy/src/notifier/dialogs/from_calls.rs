//! From the calls of the table to the dialogs of one user (RFC 4235 3.7.1).
//!
//! The caller has one dialog until somebody answers, however many phones ring: it is one call attempt, and it goes on
//! while phones are tried one after the other. A called user has a dialog for each of its phones that rings.
//!
//! Must not decide which dialogs are reported.

use location::Aor;

use super::{DialogState, Direction, End, EndEvent, Identifiers, Identity, UserDialog};
use crate::calls::{self, CallDialog, CallInProgress, CallSide, DialogEnd};
use crate::context::Context;
use crate::mac::{Mac, Purpose};
use crate::notifier::subscriber::CallAccess;
use crate::notifier::xml::uri_of;
use crate::settings::Settings;

/// A call, and who watches which of its sides.
pub(super) struct Observation<'a> {
    pub(super) call: &'a CallInProgress,
    /// The observed user.
    pub(super) user: &'a Aor,
    pub(super) access: CallAccess,
}

impl Observation<'_> {
    /// The dialogs of the user in this call.
    pub(super) fn add_dialogs(&self, context: &Context<'_>, out: &mut Vec<UserDialog>) {
        if self.call.caller == *self.user {
            self.add_as_caller(context, out);
        }
        for (index, dialog) in (0..).zip(&self.call.dialogs) {
            if *dialog.user == *self.user.as_bytes() {
                out.push(self.as_callee(index, dialog, context));
            }
        }
    }

    fn add_as_caller(&self, context: &Context<'_>, out: &mut Vec<UserDialog>) {
        let call = self.call;
        let answered = call.dialogs.iter().filter(|dialog| dialog.was_answered);
        let state_of = |dialog: &CallDialog| state(dialog, CallSide::Caller);
        let mut dialogs = (0..).zip(answered.map(|dialog| (state_of(dialog), &*dialog.callee_tag))).peekable();
        if dialogs.peek().is_none() {
            let ringing = call.dialogs.iter().rfind(|dialog| dialog.state == calls::DialogState::Early);
            let state = match call.end {
                Some(end) => DialogState::Terminated(end_of(end, CallSide::Caller)),
                None if call.dialogs.is_empty() => DialogState::Trying,
                None => DialogState::Early,
            };
            let tag = ringing.map(|dialog| &*dialog.callee_tag).unwrap_or_default();
            return out.push(self.dialog(Direction::Initiator, 0, (state, tag), context));
        }
        out.extend(dialogs.map(|(index, dialog)| self.dialog(Direction::Initiator, index, dialog, context)));
    }

    fn as_callee(&self, index: u8, dialog: &CallDialog, context: &Context<'_>) -> UserDialog {
        self.dialog(Direction::Recipient, index, (state(dialog, CallSide::Callee), &dialog.callee_tag), context)
    }

    fn dialog(
        &self,
        direction: Direction,
        index: u8,
        (state, callee_tag): (DialogState, &[u8]),
        context: &Context<'_>,
    ) -> UserDialog {
        let call = self.call;
        let remote = match direction {
            Direction::Initiator => &call.to,
            Direction::Recipient => &call.from,
        };
        let identifiers = self.may_identify(direction, state, context.settings).then(|| {
            let (caller_tag, callee_tag) = (call.caller_tag.clone(), callee_tag.into());
            let (local_tag, remote_tag) = match direction {
                Direction::Initiator => (caller_tag, callee_tag),
                Direction::Recipient => (callee_tag, caller_tag),
            };
            Identifiers { call_id: call.call_id.clone(), local_tag, remote_tag }
        });
        UserDialog {
            id: id(call, direction, index, context.mac),
            direction,
            state,
            since: call.began,
            remote: Identity { uri: uri_of(remote).into(), display: label(remote, context.settings) },
            identifiers,
        }
    }

    /// Whether the watcher may learn the identifiers of a dialog. To pick up a call is to replace the dialog of its caller,
    /// which only a phone of this server is asked to do: a provider would take the INVITE for a new call.
    fn may_identify(&self, direction: Direction, state: DialogState, settings: &Settings) -> bool {
        let is_pickup = state == DialogState::Early && direction == Direction::Recipient;
        let is_known = !self.call.call_id.is_empty() && !self.call.caller_tag.is_empty();
        is_known
            && match self.access {
                CallAccess::Own => true,
                CallAccess::PickUp => is_pickup && settings.accounts.find(&self.call.from).is_some(),
                CallAccess::Watch => false,
            }
    }
}

/// RFC 4235 4.1.1: unique among the dialogs of a user. It does not tell which dialog it is.
fn id(call: &CallInProgress, direction: Direction, index: u8, mac: &Mac) -> u64 {
    let side = match direction {
        Direction::Initiator => 0,
        Direction::Recipient => 1,
    };
    mac.sign(Purpose::Notifier, &[b"dialog", &call.id.to_be_bytes(), &[side, index]])
}

fn state(dialog: &CallDialog, side: CallSide) -> DialogState {
    match dialog.state {
        calls::DialogState::Early => DialogState::Early,
        calls::DialogState::Confirmed => DialogState::Confirmed,
        calls::DialogState::Terminated => {
            DialogState::Terminated(dialog.end.map(|end| end_of(end, side)).unwrap_or_default())
        }
    }
}

/// RFC 4235 3.7.1. `side`: that of the observed user.
fn end_of(end: DialogEnd, side: CallSide) -> End {
    let (event, status) = match end {
        DialogEnd::Refused(487) => (EndEvent::Cancelled, Some(487)),
        DialogEnd::Refused(status) => (EndEvent::Rejected, Some(status)),
        DialogEnd::HungUp(by) if by == side => (EndEvent::LocalBye, None),
        DialogEnd::HungUp(_) => (EndEvent::RemoteBye, None),
        DialogEnd::Gone => (EndEvent::Error, None),
        DialogEnd::Silent => (EndEvent::Timeout, None),
    };
    End { event: Some(event), status }
}

/// The name of a user of this server for people.
fn label(aor: &Aor, settings: &Settings) -> Box<[u8]> {
    settings.accounts.find(aor).map(|account| account.label.as_bytes().into()).unwrap_or_default()
}
