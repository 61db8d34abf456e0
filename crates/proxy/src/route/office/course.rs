//! The course of a call: whom it was for, how often it was forwarded and why, and how long the current parties ring.

use std::time::Duration;

use location::Aor;
use parser::{escape_param, escape_user};
use smallvec::SmallVec;

use crate::forward::{Diverted, History, Reached};
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::{GroupStrategy, Meaning, Party, Settings};

use super::MAX_DIVERSIONS;

/// Why a call goes to another party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

impl DiversionReason {
    /// The cause in a URI of the voicemail server (RFC 4458 3.2).
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::Always | Self::Closed => 302,
            Self::Busy | Self::DoNotDisturb => 486,
            Self::NoAnswer => 408,
            Self::Unavailable => 404,
        }
    }

    /// The reason of a Diversion (RFC 5806 4).
    const fn token(self) -> &'static str {
        match self {
            Self::Always => "unconditional",
            Self::Closed => "time-of-day",
            Self::Busy => "user-busy",
            Self::DoNotDisturb => "do-not-disturb",
            Self::NoAnswer => "no-answer",
            Self::Unavailable => "unavailable",
        }
    }

    /// The refusal if there is no other party.
    const fn refusal(self) -> Reject {
        match self {
            Self::Busy | Self::DoNotDisturb => Reject::Busy,
            Self::Always | Self::Closed | Self::NoAnswer | Self::Unavailable => Reject::NotRegistered,
        }
    }
}

/// A name that a call was for.
#[derive(Clone, Debug)]
struct Called {
    name: Aor,
    /// Why the call was forwarded from it.
    left: Option<DiversionReason>,
}

impl Called {
    fn diverted(&self) -> Option<Diverted<'_>> {
        let reason = self.left?;
        Some(Diverted { name: &self.name, status: reason.code(), reason: reason.token() })
    }
}

/// The course of a call so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Course {
    /// The names that the call was for, the first one as the caller dialled it.
    called: SmallVec<[Called; 2]>,
    /// The URI that rings now, if it is not the last of these names.
    uri: Option<Box<str>>,
    diversions: u8,
    /// Why the call was forwarded last.
    pub(crate) reason: Option<DiversionReason>,
    /// How long each of the parties rings; `None` for the ring time of the configuration.
    pub(crate) ring_time: Option<Duration>,
    /// Whether parties that ring keep ringing when the next one starts.
    pub(crate) rings_on: bool,
    /// How long all parties together may ring before the call is forwarded.
    pub(crate) no_answer: Option<Duration>,
}

impl Course {
    /// Notes that the call is forwarded. Refused if that happened too often.
    pub(super) fn forwarded(&mut self, reason: DiversionReason) -> Result<(), Reject> {
        self.diversions += 1;
        self.reason = Some(reason);
        if let Some(last) = self.called.last_mut() {
            last.left = Some(reason);
        }
        if self.diversions > MAX_DIVERSIONS { Err(reason.refusal()) } else { Ok(()) }
    }

    /// Notes that the call is for this name now. Refused if it was before: a circle.
    pub(super) fn enter(&mut self, name: &Aor) -> Result<(), Reject> {
        if self.called.iter().any(|called| called.name == *name) {
            return Err(self.reason.unwrap_or(DiversionReason::Unavailable).refusal());
        }
        self.called.push(Called { name: name.clone(), left: None });
        Ok(())
    }

    /// The parties that ring now are those of the last name.
    pub(super) fn ring(&mut self, ring_time: Option<Duration>, strategy: GroupStrategy) {
        (self.ring_time, self.no_answer, self.uri) = (ring_time, None, None);
        self.rings_on = strategy == GroupStrategy::Wave;
    }

    /// The party that rings now is a URI.
    pub(super) fn leave(&mut self, uri: &str) {
        self.ring(None, GroupStrategy::Parallel);
        self.uri = Some(uri.into());
    }

    /// How the call came to the party that rings now; `None` if it was not forwarded.
    pub(crate) fn history(&self, request: &Request, settings: &Settings) -> Option<History> {
        let diverted: SmallVec<[_; 2]> = self.called.iter().filter_map(Called::diverted).collect();
        let to = self.uri.as_deref().map(Reached::Uri).or_else(|| Some(Reached::Name(&self.called.last()?.name)))?;
        (!diverted.is_empty()).then(|| History::new(request, &diverted, to, settings))
    }

    /// The party after the current ones have failed for this reason.
    pub(super) fn next_party<'a>(&self, reason: DiversionReason, settings: &'a Settings) -> Option<&'a Party> {
        let name = &self.called.last().filter(|_| self.uri.is_none())?.name;
        if let Some(Meaning::Group(group)) = settings.meaning(name) {
            return group.otherwise.as_ref();
        }
        let forward = &settings.rules(name)?.forward;
        match reason {
            DiversionReason::Busy | DiversionReason::DoNotDisturb => forward.busy.as_ref(),
            DiversionReason::NoAnswer => forward.no_answer.as_ref(),
            DiversionReason::Unavailable => forward.unavailable.as_ref(),
            DiversionReason::Always | DiversionReason::Closed => None,
        }
    }

    /// The URI of the voicemail server with the mailbox and the cause (RFC 4458 2); `None` without such a server.
    pub(super) fn voicemail_uri(&self, settings: &Settings) -> Option<Box<str>> {
        let mut uri = settings.office.voicemail.as_ref()?.as_bytes().to_vec();
        if let Some(Called { name, .. }) = self.called.last() {
            let mut mailbox = b"sip:".to_vec();
            escape_user(name.user(), &mut mailbox);
            mailbox.push(b'@');
            mailbox.extend_from_slice(name.domain());
            uri.extend_from_slice(b";target=");
            escape_param(&mailbox, &mut uri);
        }
        uri.extend_from_slice(b";cause=");
        uri.extend_from_slice(self.reason.unwrap_or(DiversionReason::Unavailable).code().to_string().as_bytes());
        String::from_utf8(uri).ok().map(Into::into)
    }
}
