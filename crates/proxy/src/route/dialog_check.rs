//! The state of a check whether a request in a dialog may pass although its token alone does not permit it. It is kept
//! while registrations are loaded.
//!
//! Only values. `core` makes the decision.

use crate::dialog::InDialog;

use super::Destination;

/// What the check has found so far.
#[derive(Debug)]
pub(crate) struct DialogCheck {
    pub(crate) dialog: InDialog,
    pub(crate) destination: Destination,
    /// Whether the request comes from the sender that the token names.
    pub(crate) from_sender: bool,
    /// Whether the request goes to the other side that the token names.
    pub(crate) to_other: bool,
    /// The registration to load next.
    pub(crate) next_load: NextLoad,
}

/// The registration that a check loads next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextLoad {
    /// That of the user that sent the request.
    Sender,
    /// That of the user on the other side.
    OtherSide,
    /// That of the other side again, to find its current flow.
    Flow,
    /// None.
    Nothing,
}
