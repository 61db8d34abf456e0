//! The contacts of a user at one moment, and what has become of them since an earlier one (RFC 3680 4.7.1).
//!
//! Decides which event says what differs. Two moments are enough for that: a binding that was removed stays in its record
//! for half a minute and says how it ended, and one that was told and is not even there any more has expired. Must not know
//! XML.

use location::{Binding, End, Record, Wall};
use smallvec::SmallVec;

use crate::mac::{Mac, Purpose};
use crate::settings::unregistered_fixed_bindings;

/// What was there at a moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Contacts {
    pub(super) registered: Option<Record>,
    /// What the configuration binds besides.
    pub(super) configured: Option<Record>,
    pub(super) at: Wall,
}

/// One contact.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contact<'a> {
    /// The same as long as URI and flow are.
    pub(super) id: u64,
    pub(super) binding: Binding<'a>,
    /// Whether it is there by configuration and no phone has registered it.
    pub(super) configured: bool,
}

/// What brought a contact into its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    Registered,
    Created,
    Refreshed,
    Expired,
    Deactivated,
    Unregistered,
    Rejected,
}

/// Contacts, and what happened to them.
pub(super) type Happenings<'a> = SmallVec<[(Contact<'a>, Happening); 4]>;

impl Happening {
    /// As RFC 3680 5.1 calls it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Created => "created",
            Self::Refreshed => "refreshed",
            Self::Expired => "expired",
            Self::Deactivated => "deactivated",
            Self::Unregistered => "unregistered",
            Self::Rejected => "rejected",
        }
    }

    /// Whether the contact is there.
    pub(super) const fn is_active(self) -> bool {
        matches!(self, Self::Registered | Self::Created | Self::Refreshed)
    }
}

impl Contacts {
    /// All there is.
    pub(super) fn all(&self, mac: &Mac) -> Happenings<'_> {
        self.iter(mac).map(|contact| (contact, contact.came())).collect()
    }

    /// What is another now than it was `before`.
    pub(super) fn since<'a>(&'a self, before: &'a Self, mac: &Mac) -> Happenings<'a> {
        let (was, is): (List<'_>, List<'_>) = (before.iter(mac).collect(), self.iter(mac).collect());
        let gone = was.iter().filter(|old| !is.iter().any(|new| new.id == old.id));
        let gone = gone.map(|old| (*old, self.end_of(old, mac)));
        let there = is.iter().filter_map(|new| match was.iter().find(|old| old.id == new.id) {
            Some(old) if old.is_as(new) => None,
            Some(old) if !old.configured && !new.configured => Some((*new, Happening::Refreshed)),
            _ => Some((*new, new.came())),
        });
        gone.chain(there).collect()
    }

    /// Whether there is any.
    pub(super) fn is_active(&self) -> bool {
        self.registered().next().is_some() || self.configured.as_ref().is_some_and(|fixed| !fixed.bindings().is_empty())
    }

    /// When the first of them expires.
    pub(super) fn expires_at(&self) -> Option<Wall> {
        self.registered().map(|binding| binding.expires_at()).min()
    }

    fn registered(&self) -> impl Iterator<Item = Binding<'_>> {
        self.registered.iter().flat_map(|record| record.live(self.at))
    }

    fn iter(&self, mac: &Mac) -> impl Iterator<Item = Contact<'_>> {
        let contact = |binding, configured| Contact { id: id(&binding, mac), binding, configured };
        let configured = self
            .configured
            .iter()
            .flat_map(|fixed| unregistered_fixed_bindings(fixed, self.registered.as_ref(), self.at));
        let registered = self.registered().map(move |binding| contact(binding, false));
        registered.chain(configured.map(move |(_, binding)| contact(binding, true)))
    }

    /// How a contact ended that is not there now.
    fn end_of(&self, old: &Contact<'_>, mac: &Mac) -> Happening {
        if old.configured {
            return Happening::Rejected;
        }
        let left = self.registered.iter().flat_map(|record| record.bindings());
        let left = left.filter(|binding| id(binding, mac) == old.id).max_by_key(Binding::expires_at);
        match left.and_then(|binding| binding.end(self.at)) {
            Some(End::Expired) => Happening::Expired,
            Some(End::Deactivated) => Happening::Deactivated,
            Some(End::Unregistered) => Happening::Unregistered,
            None if old.binding.is_live(self.at) => Happening::Unregistered,
            None => Happening::Expired,
        }
    }
}

type List<'a> = SmallVec<[Contact<'a>; 4]>;

impl Contact<'_> {
    /// Whether no REGISTER and no reload has touched it. (Its `since` may change with another flow of its phone.)
    fn is_as(&self, other: &Contact<'_>) -> bool {
        let [own, other] = [self, other].map(|Contact { binding, configured, .. }| {
            (*configured, binding.q(), binding.registered_at(), binding.expires_at(), binding.transaction())
        });
        own == other
    }

    const fn came(&self) -> Happening {
        if self.configured { Happening::Created } else { Happening::Registered }
    }
}

/// RFC 3680 5.1: another one for another URI, as it is written. Two flows may have the same URI (RFC 5626 6).
fn id(binding: &Binding<'_>, mac: &Mac) -> u64 {
    let flow = binding.instance().zip(binding.reg_id());
    let (instance, reg_id) = flow.map(|(instance, reg_id)| (instance, reg_id.to_be_bytes())).unwrap_or_default();
    mac.sign(Purpose::Notifier, &[b"contact", binding.contact(), instance, &reg_id])
}
