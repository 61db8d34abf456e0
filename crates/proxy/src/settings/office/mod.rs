//! The rules of an office: what the names and numbers of this server mean, which phones ring together, and where a call
//! goes that nobody accepts.
//!
//! Values only; `route::office` decides what happens to a call. All names exist: the server checks the configuration.

mod codes;
mod hours;
mod kind;
mod number;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use location::Aor;

use super::Settings;
use crate::calls::DiversionReason;

pub use codes::{CodeCommand, Codes};
pub use hours::{Hours, Window};
pub use kind::NameKind;
pub use number::plain_number;

/// Names that are not users. Without any, each name is a user.
#[derive(Clone, Debug, Default)]
pub struct Office {
    names: HashMap<Aor, OfficeName>,
    /// The URI of the voicemail server.
    pub voicemail: Option<Box<str>>,
    /// The feature codes.
    pub codes: Codes,
}

/// What a name in [`Office`] is.
#[derive(Clone, Debug)]
pub enum OfficeName {
    /// A ring group.
    Group(Arc<RingGroup>),
    /// A number that leads elsewhere.
    Number(Arc<NumberRule>),
}

/// What a name is that is not the name of an account.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meaning<'s> {
    /// A further number of this user.
    User(&'s Aor),
    /// A ring group.
    Group(&'s RingGroup),
    /// A number that leads elsewhere.
    Number(&'s NumberRule),
}

/// Who is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// A user, a group or a number of this server.
    Name(Aor),
    /// A SIP URI at another server.
    Uri(Box<str>),
    /// The voicemail server.
    Voicemail,
}

/// Several parties that are called by one name.
#[derive(Debug)]
pub struct RingGroup {
    /// The name to call.
    pub aor: Aor,
    /// The name for people; may be empty.
    pub label: Box<str>,
    /// Who rings.
    pub members: Vec<GroupMember>,
    /// In which order.
    pub strategy: GroupStrategy,
    /// How long all of them ring, or each in turn.
    pub ring_time: Duration,
    /// Who is called if no member accepts the call.
    pub otherwise: Option<Party>,
    /// The calls so far, for [`GroupStrategy::Rotating`].
    pub calls: AtomicUsize,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Who rings.
    pub to: Party,
    /// Whether the forwarding of this user applies within the group.
    pub follow: bool,
}

/// The order in which the members of a group ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupStrategy {
    /// All at once.
    Parallel,
    /// One after another.
    Sequential,
    /// One after another, and the earlier ones keep ringing.
    Wave,
    /// One after another, and each call begins with the next member.
    Rotating,
}

/// Where a number leads that is not the number of one user or group.
#[derive(Debug)]
pub struct NumberRule {
    /// Who is called.
    pub to: Party,
    /// The hours in which that holds, with their name; always without them.
    pub hours: Option<NamedHours>,
    /// Who is called outside of these hours.
    pub closed: Option<Party>,
}

/// The rules of one user.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserRules {
    /// Calls get 486, or go where [`Forward::busy`] says.
    pub do_not_disturb: bool,
    /// Where calls go that the user does not accept.
    pub forward: Forward,
    /// Who rings beside its phones, in the order in which they begin.
    pub also_ring: Vec<AlsoRing>,
}

/// A party that rings beside the phones of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct AlsoRing {
    /// Who rings.
    pub to: Party,
    /// How long after the phones.
    pub after: Duration,
    /// The hours in which it rings, with their name; always without them.
    pub hours: Option<NamedHours>,
}

/// Hours with their name.
pub type NamedHours = (Box<str>, Arc<Hours>);

/// Where the calls of a user go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// All calls; no phone rings.
    pub always: Option<Party>,
    /// If the user is busy: 486 or 600.
    pub busy: Option<Party>,
    /// If no phone accepted the call within [`Forward::after`].
    pub no_answer: Option<Party>,
    /// If no phone is registered or reachable.
    pub unavailable: Option<Party>,
    /// How long the phones ring before [`Forward::no_answer`] applies.
    pub after: Duration,
}

impl Default for Forward {
    fn default() -> Self {
        Self { always: None, busy: None, no_answer: None, unavailable: None, after: Duration::from_secs(20) }
    }
}

impl Office {
    /// Adds a name; false if there is such a name already. Numbers are compared without visual separators (RFC 3966
    /// 5.1.1).
    pub fn add(&mut self, name: &Aor, meaning: OfficeName) -> bool {
        self.names.try_insert(plain(name).unwrap_or_else(|| name.clone()), meaning).is_ok()
    }
}

impl Office {
    /// The ring groups, each once, in the order of their names.
    pub fn groups(&self) -> impl Iterator<Item = &Arc<RingGroup>> {
        let mut groups = Vec::new();
        for meaning in self.names.values() {
            if let OfficeName::Group(group) = meaning {
                groups.push(group);
            }
        }
        // A group has an entry for each of its numbers.
        groups.sort_unstable_by(|a, b| a.aor.as_bytes().cmp(b.aor.as_bytes()));
        groups.dedup_by(|a, b| Arc::ptr_eq(a, b));
        groups.into_iter()
    }
}

impl Settings {
    /// Whether no rule of the office can apply to a call.
    pub(crate) fn has_no_office_rules(&self) -> bool {
        self.office.names.is_empty()
            && self.office.codes == Codes::default()
            && !self.accounts.have_rules()
            && self.trunks.outgoing.is_empty()
    }

    /// What a name is; `None` if it is the name of an account, or is not known.
    pub(crate) fn meaning(&self, name: &Aor) -> Option<Meaning<'_>> {
        if self.accounts.find(name).is_some() {
            return None;
        }
        self.meaning_of(name).or_else(|| {
            let plain = plain(name)?;
            self.accounts.name_of(&plain).map(Meaning::User).or_else(|| self.meaning_of(&plain))
        })
    }

    /// The user that is called by a name: the name itself, unless it is a further number of a user.
    pub(crate) fn user_named<'a>(&'a self, name: &'a Aor) -> &'a Aor {
        if let Some(Meaning::User(user)) = self.meaning(name) { user } else { name }
    }

    /// Whether this is the name of a group.
    pub(crate) fn is_group(&self, name: &Aor) -> bool {
        matches!(self.meaning(name), Some(Meaning::Group(_)))
    }

    fn meaning_of(&self, name: &Aor) -> Option<Meaning<'_>> {
        if let Some(user) = self.accounts.with_number(name) {
            return Some(Meaning::User(user));
        }
        Some(match self.office.names.get(name)? {
            OfficeName::Group(group) => Meaning::Group(group),
            OfficeName::Number(number) => Meaning::Number(number),
        })
    }

    /// The rules of a user.
    pub(crate) fn rules(&self, user: &Aor) -> Option<&UserRules> {
        self.accounts.find(user)?.rules.as_deref()
    }
}

impl Forward {
    /// The party for this reason.
    pub(crate) const fn party(&self, reason: DiversionReason) -> Option<&Party> {
        match reason {
            DiversionReason::Always => self.always.as_ref(),
            DiversionReason::Busy | DiversionReason::DoNotDisturb => self.busy.as_ref(),
            DiversionReason::NoAnswer => self.no_answer.as_ref(),
            DiversionReason::Unavailable => self.unavailable.as_ref(),
            DiversionReason::Closed => None,
        }
    }
}

impl RingGroup {
    /// The member that rings first in this call. `is_call`: whether it is a call, and not only a question.
    pub(crate) fn first(&self, is_call: bool) -> usize {
        let calls = match (self.strategy, is_call) {
            (GroupStrategy::Rotating, true) => self.calls.fetch_add(1, Ordering::Relaxed),
            (GroupStrategy::Rotating, false) => self.calls.load(Ordering::Relaxed),
            _ => 0,
        };
        calls.checked_rem(self.members.len()).unwrap_or_default()
    }
}

/// The name without visual separators and parameters, if it is a number that has some. The user part of a URI that was
/// made from a `tel` URI may have its parameters (RFC 3261 19.1.6), as in `+4989123451;ext=1`.
pub(super) fn plain(name: &Aor) -> Option<Aor> {
    let user = name.user();
    let number = user.split(|octet| *octet == b';').next().unwrap_or(user);
    let has_digits = number.iter().any(u8::is_ascii_digit);
    let is_number = has_digits && number.strip_prefix(b"+").unwrap_or(number).iter().all(u8::is_ascii_digit);
    match plain_number(number) {
        Some(plain) => Some(Aor::new(&plain, name.domain())),
        None => (is_number && number.len() < user.len()).then(|| Aor::new(number, name.domain())),
    }
}
