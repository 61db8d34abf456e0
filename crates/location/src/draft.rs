//! A record while a REGISTER is applied to it: which binding a Contact refers to, and how that binding changes.
//!
//! Implements RFC 3261 10.3 step 6, and step 7 for each Contact: equality, order, refresh; which flow replaces which (RFC
//! 5626 6); and the time from which a phone's temporary GRUUs are valid (RFC 5627 5.1). All or nothing, limits and the
//! granted time are decided in `apply.rs`.

use std::cell::OnceCell;

use parser::Uri;
use smallvec::SmallVec;

use crate::change::{Change, ContactChange, Refusal};
use crate::{Binding, Flow, Record, Wall};

/// A record while a request is applied: the existing bindings with their changes, and the added bindings.
pub(crate) struct Draft<'a> {
    now: Wall,
    existing: SmallVec<[Existing<'a>; 2]>,
    added: SmallVec<[Binding<'a>; 2]>,
    /// Instances whose temporary GRUUs all become invalid, with the time from which new ones are valid.
    reset_instances: SmallVec<[(&'a [u8], Wall); 1]>,
    pub(crate) changed: bool,
}

/// A binding of the old record.
struct Existing<'a> {
    identity: Identity<'a>,
    old: Binding<'a>,
    change: BindingChange<'a>,
}

impl<'a> Existing<'a> {
    /// The binding after the request, `None` if it is dropped.
    fn outcome(&self) -> Option<&Binding<'a>> {
        match &self.change {
            BindingChange::Keep => Some(&self.old),
            BindingChange::Replace(binding) => Some(binding),
            BindingChange::Drop => None,
        }
    }

    fn outcome_mut(&mut self) -> Option<&mut Binding<'a>> {
        match &mut self.change {
            BindingChange::Keep => Some(&mut self.old),
            BindingChange::Replace(binding) => Some(binding),
            BindingChange::Drop => None,
        }
    }

    /// Whether it is live and no other Contact of this request has changed it.
    fn is_available(&self, now: Wall) -> bool {
        self.old.is_live(now) && matches!(self.change, BindingChange::Keep)
    }
}

/// What the request does to an existing binding.
#[allow(clippy::large_enum_variant, reason = "lives on the stack for one call")]
enum BindingChange<'a> {
    Keep,
    Replace(Binding<'a>),
    Drop,
}

impl<'a> Draft<'a> {
    /// A draft without bindings.
    pub(crate) fn new(now: Wall) -> Self {
        Self {
            now,
            existing: SmallVec::new(),
            added: SmallVec::new(),
            reset_instances: SmallVec::new(),
            changed: false,
        }
    }

    /// Adds the bindings of `record` that are not discardable. Separate from `new`, because moving a draft would copy two
    /// kilobytes.
    pub(crate) fn load(&mut self, record: &'a Record) {
        let now = self.now;
        let keep =
            |old: Binding<'a>| Existing { identity: Identity::from_binding(&old), old, change: BindingChange::Keep };
        self.existing.extend(record.bindings().into_iter().filter(|old| !old.is_discardable(now)).map(keep));
    }

    // RFC 3261 10.3 step 6
    pub(crate) fn remove_all(&mut self, change: &Change<'_>) -> Result<(), Refusal> {
        let now = self.now;
        let mut seen = false;
        for entry in &self.existing {
            seen |= matches!(CseqOrder::of(change, &entry.old, now)?, CseqOrder::Retransmission);
        }
        // A retransmission must not remove what other requests have added since.
        for entry in self.existing.iter_mut().filter(|entry| !seen && entry.is_available(now)) {
            entry.change = BindingChange::Replace(entry.old.tombstone(change, now));
            self.changed = true;
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, change: &Change<'_>, identity: &Identity<'_>) -> Result<(), Refusal> {
        if self.is_retransmission(change, identity, true)? {
            return Ok(());
        }
        let now = self.now;
        for entry in
            self.existing.iter_mut().filter(|entry| entry.is_available(now) && identity.removes(&entry.identity))
        {
            entry.change = BindingChange::Replace(entry.old.tombstone(change, now));
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
        max_text: usize,
    ) -> Result<(), Refusal> {
        if self.is_retransmission(change, identity, false)? {
            return Ok(());
        }
        let now = self.now;
        let mut binding = Binding::new(change, contact, granted, max_text, now)?;
        if let Some(instance) = contact.instance {
            binding.since = self.since(change, contact, instance);
        }
        self.changed = true;
        // RFC 3261 19.1.4 equality is not transitive: of several equal bindings the one with the same octets is refreshed.
        let mut refreshed = None;
        for entry in self.existing.iter_mut().filter(|entry| entry.identity.equals(identity)) {
            if entry.is_available(now) {
                if refreshed.is_none() || entry.old.contact() == contact.uri {
                    refreshed = Some(entry);
                }
            } else if !entry.old.is_live(now) {
                // A tombstone is kept only for its CSeq. With the same Call-ID the new binding replaces that. Otherwise
                // it is marked as removed, so that it does not become live again if the clock is set back.
                let is_superseded = entry.old.call_id() == change.call_id;
                entry.change = if is_superseded {
                    BindingChange::Drop
                } else {
                    BindingChange::Replace(entry.old.expired_tombstone())
                };
            }
        }
        match refreshed {
            Some(entry) if contact.instance.is_none() => {
                entry.change = BindingChange::Replace(binding.refresh_of(&entry.old))
            }
            Some(entry) => entry.change = BindingChange::Replace(binding),
            None => self.added.push(binding),
        }
        Ok(())
    }

    /// Whether this request was applied to this Contact before.
    ///
    /// # Errors
    /// A later request was applied.
    fn is_retransmission(&self, change: &Change<'_>, identity: &Identity<'_>, removes: bool) -> Result<bool, Refusal> {
        let (mut is_retransmission, mut has_ended) = (false, false);
        let matches = |entry: &&Existing<'_>| {
            if removes { identity.removes(&entry.identity) } else { identity.equals(&entry.identity) }
        };
        for entry in self.existing.iter().filter(matches) {
            match CseqOrder::of(change, &entry.old, self.now)? {
                CseqOrder::Newer => {}
                CseqOrder::Retransmission if removes || entry.old.is_live(self.now) => is_retransmission = true,
                CseqOrder::Retransmission => has_ended = true,
            }
        }
        // A retransmission of the request that set a binding which has ended since. A request that removed a flow at one URI
        // and set it at another one is no such case.
        if has_ended && !is_retransmission {
            return Err(Refusal::OutOfOrder);
        }
        Ok(is_retransmission)
    }

    /// The time from which the temporary GRUUs of a phone are valid once this request is applied. RFC 5627 5.1: if its
    /// newest binding (of a flow: the newest of that flow) has another Call-ID, all earlier ones become invalid, on all
    /// its flows.
    fn since(&mut self, change: &Change<'_>, contact: &ContactChange<'a>, instance: &'a [u8]) -> Wall {
        let now = self.now;
        let own = || self.existing.iter().map(|entry| &entry.old).filter(|old| old.instance() == Some(instance));
        let live = || own().filter(|old| old.is_live(now));
        let same_flow = live().filter(|old| contact.reg_id.is_none() || old.reg_id() == contact.reg_id);
        let newest = same_flow.max_by_key(|old| old.registered_at());
        let is_same_call_id = newest.is_none_or(|newest| newest.call_id() == change.call_id);
        let current = live().map(Binding::since).max();
        if let Some(current) = current.filter(|_| is_same_call_id) {
            return current;
        }
        // Later than any time used before, even if the clock was set back.
        let last = own().map(|old| old.registered_at().max(old.since())).max();
        let since = last.map_or(now, |last| now.max(last.plus_millis(1)));
        self.reset_instances.extend(current.map(|_| (instance, since)));
        since
    }

    /// The number of live bindings after the request.
    pub(crate) fn live(&self) -> usize {
        self.outcome().filter(|binding| binding.is_live(self.now)).count()
    }

    /// The number of live bindings before the request.
    pub(crate) fn live_before(&self) -> usize {
        self.existing.iter().filter(|entry| entry.old.is_live(self.now)).count()
    }

    /// Whether the request makes a Contact live that was not live, or that had another flow.
    pub(crate) fn adds_target(&self) -> bool {
        let live_before = || self.existing.iter().map(|entry| &entry.old).filter(|old| old.is_live(self.now));
        let was_live = |binding: &Binding<'_>| live_before().any(|old| old.is_same_target(binding));
        !self.outcome().filter(|binding| binding.is_live(self.now)).all(was_live)
    }

    /// Displaces stale bindings until no more than `max` are live: first those whose flow is closed, then those without a
    /// reg-id whose instance has a newer binding; of each kind the oldest first.
    pub(crate) fn displace_stale(&mut self, max: usize, change: &Change<'_>, is_closed: &dyn Fn(&Flow) -> bool) {
        let now = self.now;
        let closed = |_: &Self, old: &Binding<'_>| is_closed(&old.flow());
        let superseded = |draft: &Self, old: &Binding<'_>| old.reg_id().is_none() && draft.has_newer(old);
        for is_stale in [&closed as &dyn Fn(&Self, &Binding<'_>) -> bool, &superseded] {
            while self.live() > max {
                let available = self.existing.iter().enumerate().filter(|(_, entry)| entry.is_available(now));
                let stale = available.filter(|(_, entry)| is_stale(self, &entry.old));
                let oldest = stale.min_by_key(|(_, entry)| entry.old.registered_at()).map(|(at, _)| at);
                let Some(oldest) = oldest.and_then(|at| self.existing.get_mut(at)) else { break };
                oldest.change = BindingChange::Replace(oldest.old.displaced_tombstone(change, now));
            }
        }
    }

    /// Whether another live binding of the same instance was refreshed later.
    fn has_newer(&self, old: &Binding<'_>) -> bool {
        let is_newer = |other: &&Binding<'_>| {
            other.is_live(self.now) && other.instance() == old.instance() && other.registered_at() > old.registered_at()
        };
        old.instance().is_some() && self.outcome().any(|other| is_newer(&other))
    }

    /// Displaces the bindings that were refreshed least recently until no more than `max` are live. False if only bindings
    /// of this request are left.
    pub(crate) fn displace_oldest(&mut self, max: usize, change: &Change<'_>) -> bool {
        let now = self.now;
        for _ in max..self.live() {
            let available = self.existing.iter_mut().filter(|entry| entry.is_available(now));
            let Some(oldest) = available.min_by_key(|entry| entry.old.registered_at()) else { return false };
            oldest.change = BindingChange::Replace(oldest.old.displaced_tombstone(change, now));
        }
        true
    }

    /// The bindings of the new record.
    pub(crate) fn finish(&mut self) -> impl Iterator<Item = &Binding<'a>> {
        self.drop_excess_tombstones();
        let reset_instances = std::mem::take(&mut self.reset_instances);
        for (instance, since) in reset_instances {
            let all = self.existing.iter_mut().filter_map(Existing::outcome_mut).chain(&mut self.added);
            all.filter(|binding| binding.instance() == Some(instance)).for_each(|binding| binding.since = since);
        }
        self.outcome()
    }

    /// Drops the oldest tombstones above [`MAX_TOMBSTONES`].
    fn drop_excess_tombstones(&mut self) {
        let now = self.now;
        let is_dead = |entry: &Existing<'_>| entry.outcome().is_some_and(|binding| !binding.is_live(now));
        let count = self.existing.iter().filter(|entry| is_dead(entry)).count();
        for _ in MAX_TOMBSTONES..count {
            let dead = self.existing.iter_mut().filter(|entry| is_dead(entry));
            let Some(oldest) = dead.min_by_key(|entry| entry.outcome().map(Binding::expires_at)) else { return };
            oldest.change = BindingChange::Drop;
        }
    }

    fn outcome(&self) -> impl Iterator<Item = &Binding<'a>> {
        self.existing.iter().filter_map(Existing::outcome).chain(&self.added)
    }
}

/// The order of a request relative to the one that last changed a binding.
#[derive(Clone, Copy)]
pub(crate) enum CseqOrder {
    Newer,
    Retransmission,
}

impl CseqOrder {
    // RFC 3261 10.3 step 7
    pub(crate) fn of(change: &Change<'_>, binding: &Binding<'_>, now: Wall) -> Result<Self, Refusal> {
        if binding.call_id() != change.call_id || change.cseq > binding.cseq() {
            return Ok(Self::Newer);
        }
        if change.cseq < binding.cseq() {
            return Err(Refusal::OutOfOrder);
        }
        if change.transaction == binding.transaction() {
            return Ok(Self::Retransmission);
        }
        // RFC 3261 8.2.2.2 compares with ongoing transactions only; after that the same CSeq is out of order.
        Err(if binding.may_be_retransmitted(now) { Refusal::Merged } else { Refusal::OutOfOrder })
    }
}

/// The parts of a Contact that identify its binding.
pub(crate) struct Identity<'a> {
    instance: Option<&'a [u8]>,
    reg_id: Option<u32>,
    uri: ContactUri<'a>,
}

/// A Contact URI. Most refreshes repeat the same octets, so it is parsed only if the octets differ.
struct ContactUri<'a> {
    octets: &'a [u8],
    /// Contains `None` if it cannot be parsed.
    uri: OnceCell<Option<Uri<'a>>>,
}

impl<'a> Identity<'a> {
    pub(crate) fn from_contact(contact: &ContactChange<'a>) -> Self {
        Self { instance: contact.instance, reg_id: contact.reg_id, uri: ContactUri::new(contact.uri) }
    }

    fn from_binding(binding: &Binding<'a>) -> Self {
        Self { instance: binding.instance(), reg_id: binding.reg_id(), uri: ContactUri::new(binding.contact()) }
    }

    /// Instance and reg-id, which identify a flow (RFC 5626 6).
    fn flow(&self) -> Option<(&'a [u8], u32)> {
        self.instance.zip(self.reg_id)
    }

    pub(crate) fn is_flow(&self) -> bool {
        self.flow().is_some()
    }

    pub(crate) fn has_same_uri(&self, other: &Identity<'_>) -> bool {
        self.uri.equals(&other.uri)
    }

    /// Whether both refer to the same binding.
    pub(crate) fn equals(&self, other: &Identity<'_>) -> bool {
        match (self.flow(), other.flow()) {
            (None, None) => self.uri.equals(&other.uri),
            (one, another) => one == another,
        }
    }

    /// Whether a Contact with `expires=0` removes the binding of `other`. Without reg-id it removes every binding with an
    /// equal URI, flows included, unless both have an instance and these differ.
    fn removes(&self, other: &Identity<'_>) -> bool {
        let same_phone = self.instance.is_none() || self.instance == other.instance;
        self.equals(other) || self.flow().is_none() && same_phone && self.uri.equals(&other.uri)
    }
}

impl<'a> ContactUri<'a> {
    const fn new(octets: &'a [u8]) -> Self {
        Self { octets, uri: OnceCell::new() }
    }

    fn uri(&self) -> Option<&Uri<'a>> {
        self.uri.get_or_init(|| Uri::parse(self.octets).ok()).as_ref()
    }

    fn equals(&self, other: &ContactUri<'_>) -> bool {
        let equivalent = || self.uri().zip(other.uri()).is_some_and(|(one, other)| parser::equivalent(one, other));
        self.octets == other.octets || equivalent()
    }
}

/// Maximum of tombstones of one record, so that a device that registers and removes in a loop does not make it grow.
const MAX_TOMBSTONES: usize = 32;
