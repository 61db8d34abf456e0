//! What is known so far of a request in a dialog that its token alone does not let pass: kept while registrations are loaded.
//!
//! Values only: what they lead to is decided by `core`.

use crate::dialog::InDialog;

use super::Destination;

/// What is known of a request in a dialog so far.
#[derive(Debug)]
pub(crate) struct DialogCheck {
    pub(crate) dialog: InDialog,
    pub(crate) destination: Destination,
    /// Whether it comes from the sender that the token names.
    pub(crate) from_sender: bool,
    /// Whether it goes to the other side that the token names.
    pub(crate) to_other: bool,
    /// Whose registration is still to be looked at.
    pub(crate) to_ask: NextLoad,
}

/// The registration that is asked for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextLoad {
    /// That of the user that sent it.
    Sender,
    /// That of the user on the other side.
    Other,
    /// The other side's again: for its flow of today.
    Flow,
    /// None.
    Nobody,
}
