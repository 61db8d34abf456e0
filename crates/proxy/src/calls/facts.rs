//! What is known of a call besides its messages: its phones, its way, and why it was refused.

use location::Record;
use strum::{IntoStaticStr, VariantArray};

/// How many phones were tried for an INVITE, and how many of them responded to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TriedPhones {
    /// The INVITE was sent to so many.
    pub tried: usize,
    /// So many of these sent any response.
    pub responded: usize,
    /// So many of these rang: they sent a 180 or 183, or accepted the call.
    pub rang: usize,
}

impl TriedPhones {
    /// Whether a response to an INVITE says that the phone rings or rang.
    pub(crate) const fn is_ringing(status: u16) -> bool {
        matches!(status, 180 | 183 | 200..=299)
    }
}

/// A phone that was called: a binding of its user. The log takes the name of the phone from it.
#[derive(Clone, Debug)]
pub struct CalledPhone {
    record: Record,
    index: usize,
}

impl CalledPhone {
    pub(crate) const fn new(record: Record, index: usize) -> Self {
        Self { record, index }
    }

    /// The address of record that the binding belongs to: see [`location::Aor::as_bytes`].
    pub fn aor(&self) -> &[u8] {
        self.record.aor()
    }

    /// The User-Agent of the REGISTER that set the binding; empty if it had none.
    pub fn user_agent(&self) -> &[u8] {
        self.record.bindings().get(self.index).map(|binding| binding.user_agent()).unwrap_or_default()
    }
}

/// The permission that the sender of a request lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Offence {
    /// To act as another user than the authenticated one.
    Identity,
    /// To call local users without an account here.
    Stranger,
    /// To reach foreign domains through this server.
    Relay,
    /// To use a Route value that this server did not issue.
    ForeignRoute,
}

/// Why a call goes to another party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum DiversionReason {
    /// The user has all calls forwarded.
    Always,
    /// The office is closed.
    Closed,
    /// 486 or 600.
    Busy,
    /// The user does not want to be disturbed.
    DoNotDisturb,
    /// Nobody accepted the call in time.
    NoAnswer,
    /// No phone is registered or reachable.
    Unavailable,
}
