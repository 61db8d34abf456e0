//! Picking up a call that rings: an INVITE with Replaces (RFC 3891 7.1) that names an early dialog of a call here.
//!
//! Only the phone of the caller can replace that dialog (RFC 3891 3). Phones send the INVITE to the user that they watch
//! or to the caller, as the dialog package has both. So it goes to the phone that called, and to no other: without that
//! dialog, a phone would take it for a new call.
//!
//! Whoever has read the identifiers of a call could take it over. Phones cannot tell who may, so it is decided here. A
//! confirmed dialog is replaced in transfers (RFC 5589 7), by somebody who is no side of it; such an INVITE passes, and so
//! does one for a call that is known at no node (`node_pickup.rs`), unless a table of calls has been full. Must not decide
//! anything else about the INVITE.

use location::{Aor, Wall};
use parser::{HeaderName, Message, Method, eq_ignore_case};

use super::Core;
use crate::calls::{CallDialog, CallInProgress, DialogState, MAX_PIECE, NotAllKnown, before, is_tag};
use crate::reject::Reject;
use crate::request::Request;
use crate::route::{self, Callee, NextStep};

/// A call whose early dialog is replaced, which is the only one in it, and the user whose phone rings.
pub(super) struct Ringing {
    pub(super) call: CallInProgress,
    user: Aor,
}

/// The call with these tags, if it rings.
pub(super) fn ringing(mut call: CallInProgress, [one, other]: [&[u8]; 2]) -> Option<Ringing> {
    let tag = if is_tag(&call.caller_tag, one) { other } else { one };
    let is_it = |it: &CallDialog| it.state == DialogState::Early && is_tag(&it.callee_tag, tag);
    let at = call.dialogs.iter().position(is_it)?;
    let dialog = call.dialogs.swap_remove(at);
    let user = Aor::from_canonical(&dialog.user);
    call.dialogs = vec![dialog];
    Some(Ringing { call, user })
}

/// The identifiers in a Replaces header (RFC 3891 6.1).
pub(super) struct Replaces<'a> {
    pub(super) call_id: &'a [u8],
    pub(super) tags: [&'a [u8]; 2],
}

impl<'a> Replaces<'a> {
    /// `callid *(SEMI replaces-param)`, with one to-tag and one from-tag. The phone must read the same identifiers as this
    /// server, so any text that could be read in two ways is refused: two headers or tags, lists, and quoted strings.
    pub(super) fn of(message: &'a Message) -> Result<Self, Reject> {
        let value = message.value(HeaderName::Replaces).filter(|_| message.count(HeaderName::Replaces) == 1);
        let mut parts = value.ok_or(Reject::Replaces)?.split(|octet| *octet == b';').map(<[u8]>::trim_ascii);
        let call_id = parts.next().filter(|call_id| is_call_id(call_id)).ok_or(Reject::Replaces)?;
        let [mut to_tag, mut from_tag] = [None; 2];
        for part in parts {
            let (name, value) = match memchr::memchr(b'=', part).and_then(|at| part.split_at_checked(at)) {
                Some((name, value)) => (name.trim_ascii_end(), value.strip_prefix(b"=").map(<[u8]>::trim_ascii_start)),
                None => (part, None),
            };
            if !is_token(name) || value.is_some_and(|value| !is_token(value)) {
                return Err(Reject::Replaces);
            }
            let tag = match name {
                _ if eq_ignore_case(name, b"to-tag") => &mut to_tag,
                _ if eq_ignore_case(name, b"from-tag") => &mut from_tag,
                _ => continue,
            };
            if tag.replace(value.ok_or(Reject::Replaces)?).is_some() {
                return Err(Reject::Replaces);
            }
        }
        let tags = [to_tag.ok_or(Reject::Replaces)?, from_tag.ok_or(Reject::Replaces)?];
        // So long a text of a call is not known, and the call may be one that rings.
        let is_known = [call_id, tags[0], tags[1]].iter().all(|text| text.len() < MAX_PIECE);
        if is_known { Ok(Self { call_id, tags }) } else { Err(Reject::PickUp) }
    }
}

/// RFC 3261 25.1 `token`.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(octet))
}

/// RFC 3261 25.1 `callid`, as far as it matters here: no white space, and no list.
fn is_call_id(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|octet| octet.is_ascii_graphic() && *octet != b',')
}

impl Core {
    /// The calls whose early dialog an INVITE replaces. There are several if somebody has begun a call with the
    /// identifiers of another one. If there are too many to look at, nobody may pick up any of them; nor one that may go on
    /// although the table had no room for it: whoever can fill the table could take over all calls otherwise.
    fn picked_up(&self, request: &Request, now: Wall) -> Result<Vec<Ringing>, Reject> {
        let is_new = request.method() == Method::Invite && !request.in_dialog;
        if !is_new || request.message.count(HeaderName::Replaces) == 0 {
            return Ok(Vec::new());
        }
        let Replaces { call_id, tags } = Replaces::of(&request.message)?;
        let here = self.calls.table().with_tags(call_id, tags, self.oldest_call(now));
        let at_nodes = request.replaced();
        let not_all = here.as_ref().err().copied().max(at_nodes.and_then(|found| found.not_all));
        let mut calls = here.unwrap_or_default();
        calls.extend(at_nodes.into_iter().flat_map(|found| found.calls.iter().cloned()));
        match not_all {
            Some(NotAllKnown::TooMany) => Err(Reject::PickUp),
            Some(NotAllKnown::NotKept) if calls.is_empty() => Err(Reject::CallNotKept),
            _ => Ok(calls.into_iter().filter_map(|call| ringing(call, tags)).collect()),
        }
    }

    /// When the oldest call may have begun that goes on.
    pub(super) fn oldest_call(&self, now: Wall) -> Wall {
        before(now, self.settings.call_lifetime)
    }

    /// Leads an INVITE that picks up a call to the phone that called.
    pub(super) fn pickup_step(&self, step: &mut NextStep, request: &Request, now: Wall) -> Result<(), Reject> {
        let NextStep::LookUp(Callee { aor, phone: None }) = step else { return Ok(()) };
        // A caller without an account is outside of the office, where nobody knows Replaces.
        let found = self.picked_up(request, now)?.into_iter().find(|Ringing { call, user }| {
            let is_of_call = *aor == call.caller || *aor == call.from || *aor == call.to || aor == user;
            is_of_call && self.settings.accounts.find(&call.caller).is_some()
        });
        if let Some(Ringing { call, .. }) = found {
            *step = NextStep::LookUp(Callee::phone_at(call.caller, call.source));
        }
        Ok(())
    }

    /// Refuses to replace the early dialog of a call to somebody who may not pick it up.
    pub(super) fn check_pickup(&self, request: &Request, now: Wall) -> Result<(), Reject> {
        let calls = self.picked_up(request, now)?;
        if calls.is_empty() {
            return Ok(());
        }
        let sender = route::caller_of(request, &self.settings).ok_or(Reject::PickUp)?;
        let is_allowed = |Ringing { call, user }: &Ringing| {
            sender == call.caller || sender == call.to || self.settings.accounts.may_pick_up(&sender, user)
        };
        if calls.iter().all(is_allowed) { Ok(()) } else { Err(Reject::PickUp) }
    }
}
