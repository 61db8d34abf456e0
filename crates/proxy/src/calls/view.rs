//! What others may see of a call in progress: the status page, subscriptions to calls, and the file that survives a restart.

use std::net::SocketAddr;

use location::{Aor, Wall};
use strum::{IntoStaticStr, VariantArray};

use super::facts::{DiversionReason, TriedPhones};
use super::record::{CallSide, Reached};

/// The state of a dialog (RFC 4235 3.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum DialogState {
    /// A provisional response created it: the phone rings.
    Early,
    /// A 2xx was forwarded.
    Confirmed,
    /// It has ended; the call has another dialog.
    Terminated,
}

/// How a dialog ended (RFC 4235 3.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialogEnd {
    /// Its INVITE, or the branch of it, got this final response.
    Refused(u16),
    /// This side sent a BYE.
    HungUp(CallSide),
    /// A response said that the other side does not have it.
    Gone,
    /// No response to the INVITE, or no request of the call, came for too long.
    Silent,
}

/// A call that has not ended, or the last state of one that has just ended.
#[derive(Clone, Debug)]
pub struct CallInProgress {
    /// No other call of this run has it.
    pub id: u64,
    /// The Call-ID; empty if it is too long to be kept.
    pub call_id: Box<[u8]>,
    /// The tag of the caller; empty if it is too long to be kept.
    pub caller_tag: Box<[u8]>,
    /// The source address of the INVITE.
    pub source: SocketAddr,
    /// The caller, from the From header.
    pub from: Aor,
    /// The user who called. Its account may allow another name in From.
    pub caller: Aor,
    /// The called user or foreign address.
    pub to: Aor,
    /// When its INVITE was received.
    pub began: Wall,
    /// When its first 2xx was forwarded.
    pub answered: Option<Wall>,
    /// When the last request of the call came.
    pub seen: Wall,
    /// So many phones will ring, in all groups together.
    pub targets: usize,
    /// The phones that were tried; those of a call that is answered.
    pub phones: TriedPhones,
    /// Who answered.
    pub reached: Reached,
    /// Why it went to another party, by the rules of the office; the last reason.
    pub forwarded: Option<DiversionReason>,
    /// The status of the first 2xx.
    pub status: Option<u16>,
    /// One for each To tag. Without any, the state of the call is `trying` (RFC 4235 3.7.1).
    pub dialogs: Vec<CallDialog>,
    /// How it ended, if it was not answered.
    pub end: Option<DialogEnd>,
}

impl CallInProgress {
    /// The users who have a dialog in it: the caller, and those whose phones rang.
    pub(crate) fn parties(&self) -> impl Iterator<Item = &[u8]> {
        let called = self.dialogs.iter().map(|dialog| &*dialog.user);
        std::iter::once(self.caller.as_bytes()).chain(called).filter(|user| !user.is_empty())
    }
}

/// A dialog of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallDialog {
    /// The To tag of the INVITE's response; empty if it is too long to be kept.
    pub callee_tag: Box<[u8]>,
    /// The address of record of the user whose phone it is; empty for a phone outside of the office.
    pub user: Box<[u8]>,
    /// Its state.
    pub state: DialogState,
    /// Since when.
    pub since: Wall,
    /// Whether it was ever confirmed.
    pub was_answered: bool,
    /// How it ended, if that is known.
    pub end: Option<DialogEnd>,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A call with this number.
    pub(crate) fn call(id: u64) -> CallInProgress {
        let aor = |user: &[u8]| Aor::new(user, b"office.example");
        let dialog = |user: &[u8], state, end| CallDialog {
            callee_tag: user.into(),
            user: aor(user).as_bytes().into(),
            state,
            since: Wall(77),
            was_answered: state == DialogState::Confirmed,
            end,
        };
        CallInProgress {
            id,
            call_id: format!("{id}@a").into_bytes().into(),
            caller_tag: (*b"x").into(),
            source: ([192, 0, 2, 7], 5060).into(),
            from: aor(b"100"),
            caller: aor(b"101"),
            to: aor(b"102"),
            began: Wall(77),
            answered: Some(Wall(77)),
            seen: Wall(77),
            targets: 0,
            phones: TriedPhones::default(),
            reached: Reached::Nobody,
            forwarded: None,
            status: None,
            dialogs: vec![
                dialog(b"102", DialogState::Confirmed, None),
                dialog(b"103", DialogState::Terminated, Some(DialogEnd::HungUp(CallSide::Callee))),
                dialog(b"", DialogState::Early, Some(DialogEnd::Refused(486))),
            ],
            end: Some(DialogEnd::Gone),
        }
    }
}
