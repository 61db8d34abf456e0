//! A rule of the office that applied to a call, for `explain`.

use location::Aor;

use crate::settings::{GroupStrategy, Party};

use crate::event::DiversionReason;

/// A rule that applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The name is a further name or number of this user.
    NumberOf(Aor),
    /// The name is that of a group: its name, its label, and the order in which its members ring.
    Group(Aor, Box<str>, GroupStrategy),
    /// These hours decide where the number leads, and whether the office is open.
    Hours(Box<str>, bool),
    /// The number is outside of the office: the number that the trunks get, and the class of such calls.
    Outgoing {
        /// As the trunk gets it.
        number: Box<str>,
        /// The class in `may_dial`.
        class: Option<Box<str>>,
    },
    /// The call is forwarded.
    Forwarded(DiversionReason, Party),
}
