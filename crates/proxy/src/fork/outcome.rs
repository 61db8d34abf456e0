//! How a branch ended (RFC 3261 16.7 step 4): what it puts into the response context, if anything.

use parser::Message;

/// How a branch ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// With a 2xx, which was passed on at once.
    Success,
    /// With a response of the phone.
    Final(Box<Message>),
    /// With a redirection that we follow: nobody hears of it.
    Followed,
    /// Not a word, and there is another place to try.
    Mute,
    /// Without one: the code that stands for it (408, 480, 487, 503).
    Silent(u16),
}

impl Outcome {
    /// Its code; none if it says nothing to the caller.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Success => Some(200),
            Self::Final(message) => message.status(),
            Self::Mute => Some(408),
            Self::Silent(status) => Some(*status),
            Self::Followed => None,
        }
    }
}
