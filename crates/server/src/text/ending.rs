//! How a call ended: a label for programs and a phrase for people.
//!
//! Decides what each status means to a person who does not know SIP.

use parser::reason_phrase;
use strum::{IntoStaticStr, VariantArray};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Ending {
    /// Answered.
    Answered,
    /// The phone is in use, or set to do not disturb.
    Busy,
    /// The user declined.
    Declined,
    /// The caller hung up first.
    Cancelled,
    /// Nobody answered in time.
    Unanswered,
    /// The phone reports that its user is not available.
    Unavailable,
    /// No phone of this user is registered.
    Unregistered,
    /// There is no such user.
    Unknown,
    /// The caller is not allowed to call.
    Forbidden,
    /// Redirected to another address.
    Moved,
    /// Anything else.
    Failed,
}

impl Ending {
    /// From a final response; `None` if there was none in time.
    pub(crate) const fn of(status: Option<u16>) -> Self {
        match status {
            None | Some(408) => Self::Unanswered,
            Some(200..=299) => Self::Answered,
            Some(300..=399) => Self::Moved,
            Some(486 | 600) => Self::Busy,
            Some(603 | 607) => Self::Declined,
            Some(487) => Self::Cancelled,
            Some(480) => Self::Unavailable,
            Some(404 | 410 | 604) => Self::Unknown,
            Some(401 | 403 | 407) => Self::Forbidden,
            Some(_) => Self::Failed,
        }
    }

    /// From a refusal by this server.
    pub(crate) const fn refused(status: u16) -> Self {
        match status {
            480 => Self::Unregistered,
            _ => Self::of(Some(status)),
        }
    }

    /// The label and API value (docs/openapi.yaml).
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }

    /// A phrase for people.
    pub(crate) fn words(self, status: Option<u16>) -> String {
        let plain = match self {
            Self::Answered => "answered",
            Self::Busy => "busy",
            Self::Declined => "declined",
            Self::Cancelled => "the caller hung up",
            Self::Unanswered => "nobody answered",
            Self::Unavailable => "not available",
            Self::Unregistered => "no phone is registered",
            Self::Unknown => "no such user",
            Self::Forbidden => "not allowed",
            Self::Moved => "moved to another address",
            Self::Failed => "failed",
        };
        match (self, status) {
            (Self::Failed, Some(status)) => format!("failed: {status} {}", reason_phrase(status)),
            _ => plain.to_owned(),
        }
    }
}
