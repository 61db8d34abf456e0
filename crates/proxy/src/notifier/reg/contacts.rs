//! The contacts of a user at one moment, and what happened to them since an earlier moment (RFC 3680 4.7.1).
//!
//! Decides which event describes each difference. Two moments are enough for that: a removed binding stays in its
//! record for half a minute and says how it ended, and a binding that was reported before and is in the record no
//! longer has expired. Must not know XML.

use location::{Binding, End, Record, Wall};
use smallvec::SmallVec;

use crate::mac::{Mac, Purpose};
use crate::settings::unregistered_fixed_bindings;

/// The contacts at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Contacts {
    /// The record of the location service.
    pub(super) registered: Option<Record>,
    /// The bindings of the configuration.
    pub(super) configured: Option<Record>,
    pub(super) at: Wall,
}

/// One contact.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contact<'a> {
    /// Stays the same as long as the URI and the flow do.
    pub(super) id: u64,
    pub(super) binding: Binding<'a>,
    /// Whether the configuration has it and no phone has registered it.
    pub(super) configured: bool,
}

/// The event that brought a contact into its state (RFC 3680 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContactEvent {
    Registered,
    Created,
    Refreshed,
    Expired,
    Deactivated,
    Unregistered,
    Rejected,
}

/// Contacts, and the event of each.
pub(super) type Changes<'a> = SmallVec<[(Contact<'a>, ContactEvent); 4]>;

impl ContactEvent {
    /// The value of the attribute `event` (RFC 3680 5.1).
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

    /// Whether the state of the contact is `active`.
    pub(super) const fn is_active(self) -> bool {
        matches!(self, Self::Registered | Self::Created | Self::Refreshed)
    }
}

impl Contacts {
    /// All contacts.
    pub(super) fn all(&self, mac: &Mac) -> Changes<'_> {
        self.iter(mac).map(|contact| (contact, contact.arrival())).collect()
    }

    /// The contacts that differ from what they were `before`.
    pub(super) fn since<'a>(&'a self, before: &'a Self, mac: &Mac) -> Changes<'a> {
        let (was, is): (List<'_>, List<'_>) = (before.iter(mac).collect(), self.iter(mac).collect());
        let gone = was.iter().filter(|old| !is.iter().any(|new| new.id == old.id));
        let gone = gone.map(|old| (*old, self.end_of(old, mac)));
        let there = is.iter().filter_map(|new| match was.iter().find(|old| old.id == new.id) {
            Some(old) if old.is_unchanged(new) => None,
            Some(old) if !old.configured && !new.configured => Some((*new, ContactEvent::Refreshed)),
            _ => Some((*new, new.arrival())),
        });
        gone.chain(there).collect()
    }

    /// Whether there is any contact.
    pub(super) fn is_active(&self) -> bool {
        self.registered().next().is_some() || self.configured.as_ref().is_some_and(|fixed| !fixed.bindings().is_empty())
    }

    /// When the first binding expires.
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

    /// How a contact ended that existed before and does not exist now.
    fn end_of(&self, old: &Contact<'_>, mac: &Mac) -> ContactEvent {
        if old.configured {
            return ContactEvent::Rejected;
        }
        let left = self.registered.iter().flat_map(|record| record.bindings());
        let left = left.filter(|binding| id(binding, mac) == old.id).max_by_key(Binding::expires_at);
        match left.and_then(|binding| binding.end(self.at)) {
            Some(End::Expired) => ContactEvent::Expired,
            Some(End::Deactivated) => ContactEvent::Deactivated,
            Some(End::Unregistered) => ContactEvent::Unregistered,
            None if old.binding.is_live(self.at) => ContactEvent::Unregistered,
            None => ContactEvent::Expired,
        }
    }
}

type List<'a> = SmallVec<[Contact<'a>; 4]>;

impl Contact<'_> {
    /// Whether no REGISTER and no reload has changed the contact. (Its `since` may change with another flow of its
    /// phone.)
    fn is_unchanged(&self, other: &Contact<'_>) -> bool {
        let [own, other] = [self, other].map(|Contact { binding, configured, .. }| {
            (*configured, binding.q(), binding.registered_at(), binding.expires_at(), binding.transaction())
        });
        own == other
    }

    /// The event of a contact that did not exist before.
    const fn arrival(&self) -> ContactEvent {
        if self.configured { ContactEvent::Created } else { ContactEvent::Registered }
    }
}

/// RFC 3680 5.1: each URI has an id of its own. URIs are compared by their octets. Two flows may have the same URI
/// (RFC 5626 6).
fn id(binding: &Binding<'_>, mac: &Mac) -> u64 {
    let flow = binding.instance().zip(binding.reg_id());
    let (instance, reg_id) = flow.map(|(instance, reg_id)| (instance, reg_id.to_be_bytes())).unwrap_or_default();
    mac.sign(Purpose::Notifier, &[b"contact", binding.contact(), instance, &reg_id])
}
