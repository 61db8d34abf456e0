//! What others may see of a call in progress: the status page, subscriptions to calls, and the file that survives a restart.

use std::net::SocketAddr;

use location::{Aor, Wall};
use strum::{IntoStaticStr, VariantArray};

use super::facts::{DiversionReason, TriedPhones};
use super::record::Reached;

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

/// A call that has not ended.
#[derive(Clone, Debug)]
pub struct CallInProgress {
    /// The Call-ID; empty if it is too long to be kept.
    pub call_id: Box<[u8]>,
    /// The tag of the caller; empty if it is too long to be kept.
    pub caller_tag: Box<[u8]>,
    /// The source address of the INVITE.
    pub source: SocketAddr,
    /// The caller, from the From header.
    pub from: Aor,
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
}
