//! Picking up a call that rings: an INVITE with Replaces (RFC 3891 7.1) that names an early dialog of a call here.
//!
//! Only the phone of the caller can replace that dialog (RFC 3891 3). Phones send the INVITE to the user that they watch
//! or to the caller, as the dialog package has both. So it goes to the phone that called, and to no other: without that
//! dialog, a phone would take it for a new call.
//!
//! Whoever has read the identifiers of a call could take it over. Phones cannot tell who may, so it is decided here. A
//! confirmed dialog is replaced in transfers (RFC 5589 7), by somebody who is no side of it; such an INVITE passes, and so
//! does one for a call that is not known here. Must not decide anything else about the INVITE.

use location::Aor;
use parser::{HeaderName, Message, Method, Params};

use super::Core;
use crate::calls::{CallInProgress, DialogState};
use crate::reject::Reject;
use crate::request::Request;
use crate::route::{self, Callee, NextStep};

/// The identifiers in a Replaces header (RFC 3891 6.1).
struct Replaces<'a> {
    call_id: &'a [u8],
    tags: [&'a [u8]; 2],
}

impl<'a> Replaces<'a> {
    /// `callid *(SEMI replaces-param)`. `None` without the header, or without all identifiers.
    fn of(message: &'a Message) -> Option<Self> {
        let value = message.value(HeaderName::Replaces)?;
        let (call_id, params) = value.split_at(memchr::memchr(b';', value)?);
        let params = Params::new(params);
        Some(Self { call_id: call_id.trim_ascii(), tags: [params.value("to-tag")?, params.value("from-tag")?] })
    }
}

impl Core {
    /// The call whose early dialog an INVITE replaces, and the user whose phone rings in it.
    fn picked_up(&self, request: &Request) -> Option<(CallInProgress, Box<[u8]>)> {
        let is_new = request.method() == Method::Invite && !request.in_dialog;
        if !is_new || request.message.count(HeaderName::Replaces) == 0 {
            return None;
        }
        let Replaces { call_id, tags } = Replaces::of(&request.message)?;
        let mut call = self.calls.table().with_tags(call_id, tags)?;
        let ringing = call.dialogs.iter_mut().find(|dialog| {
            dialog.state == DialogState::Early
                && tags.contains(&&*dialog.callee_tag)
                && dialog.callee_tag != call.caller_tag
        });
        let user = ringing.map(|dialog| std::mem::take(&mut dialog.user))?;
        Some((call, user))
    }

    /// Leads an INVITE that picks up a call to the phone that called.
    pub(super) fn pickup_step(&self, step: &mut NextStep, request: &Request) {
        let NextStep::LookUp(Callee { aor, phone: None }) = step else { return };
        let Some((call, user)) = self.picked_up(request) else { return };
        let is_of_call = *aor == call.caller || *aor == call.from || *aor == call.to || *aor.as_bytes() == *user;
        // A caller without an account is outside of the office, where nobody knows Replaces.
        if is_of_call && self.settings.accounts.find(&call.caller).is_some() {
            *step = NextStep::LookUp(Callee::phone_at(call.caller, call.source));
        }
    }

    /// Refuses to replace the early dialog of a call to somebody who may not pick it up.
    pub(super) fn check_pickup(&self, request: &Request) -> Result<(), Reject> {
        let Some((call, user)) = self.picked_up(request) else { return Ok(()) };
        let accounts = &self.settings.accounts;
        let is_allowed = route::caller_of(request, &self.settings).is_some_and(|sender| {
            let user = Aor::from_canonical(&user);
            sender == call.caller || sender == call.to || accounts.may_pick_up(&sender, &user)
        });
        if is_allowed { Ok(()) } else { Err(Reject::PickUp) }
    }
}
