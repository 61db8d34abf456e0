//! A record while a REGISTER is being applied to it: which binding a Contact means, and what becomes of that.
//!
//! Decides RFC 3261 10.3 step 7 for one Contact after the other: equality, order, refresh. All or nothing, limits and time
//! are `record.rs`'s.

use parser::Uri;
use smallvec::SmallVec;

use crate::change::{Change, ContactChange, Refusal};
use crate::{Binding, Record, Wall};

pub(crate) type Bindings<'a> = SmallVec<[Binding<'a>; 2]>;

/// The record while a request is being applied: what was there, what replaces it, what comes on top.
pub(crate) struct Draft<'a> {
    now: Wall,
    kept: SmallVec<[Kept<'a>; 2]>,
    added: Bindings<'a>,
    pub(crate) changed: bool,
}

/// A binding that was there before.
struct Kept<'a> {
    identity: Identity<'a>,
    old: Binding<'a>,
    fate: Fate<'a>,
}

impl Kept<'_> {
    /// Live, and no other Contact of this request has taken it.
    fn is_open(&self, now: Wall) -> bool {
        self.old.is_live(now) && matches!(self.fate, Fate::Stays)
    }
}

#[allow(clippy::large_enum_variant, reason = "lives on the stack for one call")]
enum Fate<'a> {
    Stays,
    Becomes(Binding<'a>),
    Goes,
}

impl<'a> Draft<'a> {
    pub(crate) fn of(record: &'a Record, now: Wall) -> Self {
        let keep = |old: Binding<'a>| Kept { identity: Identity::of(old.contact()), old, fate: Fate::Stays };
        Self { now, kept: record.remembered(now).map(keep).collect(), added: Bindings::new(), changed: false }
    }

    pub(crate) fn remove(&mut self, change: &Change<'_>, identity: &Identity<'_>) -> Result<(), Refusal> {
        if self.repeats(change, identity, true)? {
            return Ok(());
        }
        let now = self.now;
        for kept in self.kept.iter_mut().filter(|kept| kept.is_open(now) && kept.identity.equals(identity)) {
            kept.fate = Fate::Becomes(kept.old.removed(change, now));
            self.changed = true;
        }
        Ok(())
    }

    pub(crate) fn set(
        &mut self,
        change: &'a Change<'_>,
        contact: &ContactChange<'a>,
        identity: &Identity<'_>,
        granted: u32,
    ) -> Result<(), Refusal> {
        if self.repeats(change, identity, false)? {
            return Ok(());
        }
        let now = self.now;
        let binding = Binding::new(change, contact, granted, now)?;
        self.changed = true;
        // RFC 3261 19.1.4 equality is not transitive: of several equal ones the octet-identical is meant.
        let mut place = None;
        for kept in self.kept.iter_mut().filter(|kept| kept.identity.equals(identity)) {
            if kept.is_open(now) {
                if place.is_none() || kept.old.contact() == contact.uri {
                    place = Some(kept);
                }
            } else if !kept.old.is_live(now) && kept.old.call_id() == change.call_id {
                // Of a removed binding only the order is still of use, and the new one carries it on.
                kept.fate = Fate::Goes;
            }
        }
        match place {
            Some(kept) => kept.fate = Fate::Becomes(binding.refreshing(&kept.old)),
            None => self.added.push(binding),
        }
        Ok(())
    }

    /// Was this request applied to this Contact before? Refused if a later one was.
    fn repeats(&self, change: &Change<'_>, identity: &Identity<'_>, removes: bool) -> Result<bool, Refusal> {
        let mut repeats = false;
        for kept in self.kept.iter().filter(|kept| kept.identity.equals(identity)) {
            match Order::of(change, &kept.old) {
                Order::Newer => {}
                Order::Again if removes || kept.old.is_live(self.now) => repeats = true,
                // The latter: a copy of the request that set what has ended since.
                Order::Late | Order::Again => return Err(Refusal::OutOfOrder),
            }
        }
        Ok(repeats)
    }

    pub(crate) fn finish(self) -> Bindings<'a> {
        let kept = self.kept.into_iter().filter_map(|kept| match kept.fate {
            Fate::Stays => Some(kept.old),
            Fate::Becomes(binding) => Some(binding),
            Fate::Goes => None,
        });
        kept.chain(self.added).collect()
    }
}

/// How a request stands to the one that last touched a binding.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    Newer,
    Again,
    Late,
}

impl Order {
    // RFC 3261 10.3 step 7
    pub(crate) fn of(change: &Change<'_>, binding: &Binding<'_>) -> Self {
        if binding.call_id() != change.call_id || change.cseq > binding.cseq() {
            Self::Newer
        } else if change.cseq == binding.cseq() && change.transaction == binding.transaction() {
            Self::Again
        } else {
            Self::Late
        }
    }
}

/// A Contact as it is compared: parsed once, by its octets if it does not parse.
pub(crate) enum Identity<'a> {
    Uri(Uri<'a>),
    Octets(&'a [u8]),
}

impl<'a> Identity<'a> {
    pub(crate) fn of(uri: &'a [u8]) -> Self {
        Uri::parse(uri).map_or(Self::Octets(uri), Self::Uri)
    }

    pub(crate) fn equals(&self, other: &Identity<'_>) -> bool {
        match (self, other) {
            (Self::Uri(a), Identity::Uri(b)) => parser::equivalent(a, b),
            (Self::Octets(a), Identity::Octets(b)) => a == b,
            _ => false,
        }
    }
}
