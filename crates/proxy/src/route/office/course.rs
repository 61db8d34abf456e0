//! The course of a call: whom it was for, how often it was forwarded and why, and how long the current parties ring.

use std::time::Duration;

use location::Aor;
use parser::{escape_param, escape_user};
use smallvec::SmallVec;

use crate::event::{DiversionReason, Event, GroupCallOutcome};
use crate::forward::{Diverted, History, Reached};
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::{Meaning, Party, Settings};

use super::MAX_DIVERSIONS;

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
            Self::Busy => Reject::Busy,
            Self::DoNotDisturb => Reject::DoNotDisturb,
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

/// How the parties ring that have the same turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    /// How long until the next turn or the end; `None` for the ring time of the configuration.
    pub(crate) ring_time: Option<Duration>,
    /// Whether they keep ringing when the next turn begins.
    pub(crate) rings_on: bool,
}

/// The course of a call so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Course {
    /// The names that the call was for, the first one as the caller dialled it.
    called: SmallVec<[Called; 2]>,
    /// The URI that rings now, if it is not the last of these names.
    uri: Option<Box<str>>,
    /// Whether the last of these names is a number outside of the office, which trunks are tried for.
    pub(crate) is_outside: bool,
    diversions: u8,
    /// Why the call was forwarded last.
    pub(crate) reason: Option<DiversionReason>,
    /// Whether the parties are the members of a group: a refusal by one of them does not speak for the others.
    pub(crate) is_group: bool,
    /// The members of a group whose own forwarding applies.
    pub(crate) followers: Vec<Aor>,
    /// The turns of the parties; further ones are like the last.
    turns: SmallVec<[Turn; 1]>,
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

    /// The parties that ring now are those of the last name, with these turns.
    pub(super) fn ring(&mut self, turns: impl IntoIterator<Item = Turn>) {
        (self.no_answer, self.uri, self.is_group, self.is_outside) = (None, None, false, false);
        self.followers.clear();
        self.turns = turns.into_iter().collect();
    }

    /// The turn with this number.
    pub(crate) fn turn(&self, number: u16) -> Turn {
        self.turns.get(usize::from(number)).or_else(|| self.turns.last()).copied().unwrap_or_default()
    }

    /// Whether a single party has a ring time, too.
    pub(crate) fn has_ring_time(&self) -> bool {
        self.turns.iter().any(|turn| turn.ring_time.is_some())
    }

    /// The party that rings now is a URI.
    pub(super) fn leave(&mut self, uri: &str) {
        self.ring([]);
        self.uri = Some(uri.into());
    }

    /// The call leaves the office by trunks.
    pub(super) fn leave_office(&mut self) {
        self.ring([]);
        self.is_outside = true;
    }

    /// How the call came to the party that rings now; `None` if it was not forwarded.
    pub(crate) fn history(&self, request: &Request, settings: &Settings) -> Option<History> {
        let diverted: SmallVec<[_; 2]> = self.called.iter().filter_map(Called::diverted).collect();
        let to = self.uri.as_deref().map(Reached::Uri).or_else(|| Some(Reached::Name(&self.called.last()?.name)))?;
        (!diverted.is_empty()).then(|| History::new(request, &diverted, to, settings))
    }

    /// The number of names that the call was for.
    pub(crate) fn length(&self) -> usize {
        self.called.len()
    }

    /// An event for each group that the call has left, without those that were reported when it had `reported` names.
    pub(crate) fn left_groups<'a>(
        &'a self,
        reported: usize,
        settings: &'a Settings,
    ) -> impl Iterator<Item = Event> + 'a {
        let left = self.called.iter().skip(reported.saturating_sub(1)).filter(|called| called.left.is_some());
        left.filter_map(|called| group_event(&called.name, GroupCallOutcome::Otherwise, settings))
    }

    /// The event for the end of a call to the last name, if that is a group and the call has not left it.
    pub(crate) fn last_group(&self, outcome: GroupCallOutcome, settings: &Settings) -> Option<Event> {
        let called = self.called.last().filter(|called| called.left.is_none())?;
        group_event(&called.name, outcome, settings)
    }

    /// The name that the call is for.
    pub(super) fn last_called(&self) -> Option<&Aor> {
        self.called.last().filter(|_| self.uri.is_none() && !self.is_outside).map(|called| &called.name)
    }

    /// The party after the current ones have failed for this reason.
    pub(super) fn next_party<'a>(&self, reason: DiversionReason, settings: &'a Settings) -> Option<&'a Party> {
        let name = self.last_called()?;
        if let Some(Meaning::Group(group)) = settings.meaning(name) {
            return group.otherwise.as_ref();
        }
        settings.rules(name)?.forward.party(reason)
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

fn group_event(name: &Aor, outcome: GroupCallOutcome, settings: &Settings) -> Option<Event> {
    match settings.meaning(name)? {
        Meaning::Group(group) => Some(Event::GroupCall { group: group.aor.clone(), outcome }),
        Meaning::User(_) | Meaning::Number(_) => None,
    }
}
