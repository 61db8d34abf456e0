//! How a call ended: a label for programs and a phrase for people.
//!
//! Decides what each status means to a person who does not know SIP.

use parser::reason_phrase;
use proxy::TriedPhones;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::counted;

/// How a call ended.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash, IntoStaticStr, Serialize, VariantArray)]
#[serde(rename_all = "snake_case")]
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
    /// No phone responded to the call.
    Unreachable,
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
    /// Its end is not known: no BYE came, or the server was restarted while it rang.
    Lost,
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

    /// The same for a call to phones that were tried.
    pub(crate) const fn of_call(status: Option<u16>, phones: TriedPhones) -> Self {
        match status {
            // RFC 3261 16.7 step 6, 16.9: the statuses that this server chooses if no phone responds.
            None | Some(408 | 480 | 500 | 503) if phones.tried > 0 && phones.responded == 0 => Self::Unreachable,
            _ => Self::of(status),
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
            Self::Unreachable => "no phone responded",
            Self::Unavailable => "not available",
            Self::Unregistered => "no phone is registered",
            Self::Unknown => "no such user",
            Self::Forbidden => "not allowed",
            Self::Moved => "moved to another address",
            Self::Lost => "its end is not known",
            Self::Failed => "failed",
        };
        match (self, status) {
            (Self::Failed, Some(status)) => format!("failed: {status} {}", reason_phrase(status)),
            _ => plain.to_owned(),
        }
    }
}

/// The phones of a call that ended: how many rang, and how many did not respond.
pub(crate) fn phones_of_call(TriedPhones { tried, responded, rang }: TriedPhones) -> String {
    let all = counted::phones(tried);
    match (rang, responded) {
        _ if tried == 0 => "no phone was called".to_owned(),
        (0, 0) => format!("called {all}"),
        (0, responded) if responded == tried => format!("called {all}"),
        (0, responded) => format!("called {all}, {} did not respond", tried.saturating_sub(responded)),
        (rang, _) if rang == tried => format!("rang {all}"),
        (rang, _) => format!("rang {rang} of {all}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn phones(tried: usize, responded: usize, rang: usize) -> TriedPhones {
        TriedPhones { tried, responded, rang }
    }

    /// Issue 18: "rang N phones" counts phones that never answered the INVITE.
    #[test]
    fn only_phones_that_rang_are_said_to_have_rung() {
        for (phones, words) in [
            (phones(0, 0, 0), "no phone was called"),
            (phones(1, 1, 1), "rang 1 phone"),
            (phones(2, 2, 2), "rang 2 phones"),
            (phones(2, 1, 1), "rang 1 of 2 phones"),
            (phones(1, 1, 0), "called 1 phone"),
            (phones(2, 1, 0), "called 2 phones, 1 did not respond"),
            (phones(1, 0, 0), "called 1 phone"),
        ] {
            assert_eq!(phones_of_call(phones), words);
        }
    }

    /// Issue 18: a 500 of our own is called the phone's.
    #[test]
    fn a_status_of_this_server_is_not_a_failure_of_a_phone() {
        for status in [None, Some(408), Some(480), Some(500)] {
            assert_eq!(Ending::of_call(status, phones(1, 0, 0)), Ending::Unreachable, "{status:?}");
        }
        assert_eq!(Ending::of_call(Some(500), phones(1, 1, 0)), Ending::Failed);
        assert_eq!(Ending::of_call(Some(487), phones(1, 0, 0)), Ending::Cancelled);
    }
}
