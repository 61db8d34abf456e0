//! A record while a REGISTER is being applied to it: which binding a Contact means, and what becomes of that.
//!
//! Decides RFC 3261 10.3 step 6, and step 7 for one Contact after the other: equality, order, refresh; which flow replaces
//! which (RFC 5626 6); since when the temporary GRUUs of a phone are good (RFC 5627 5.1). All or nothing, limits and time are
//! `record.rs`'s.

use std::cell::OnceCell;

use parser::Uri;
use smallvec::SmallVec;

use crate::change::{Change, ContactChange, Refusal};
use crate::{Binding, Flow, Record, Wall};

/// The record while a request is being applied: what was there, what replaces it, what comes on top.
pub(crate) struct Draft<'a> {
    now: Wall,
    kept: SmallVec<[Kept<'a>; 2]>,
    added: SmallVec<[Binding<'a>; 2]>,
    /// Instances that begin anew at this moment.
    reborn: SmallVec<[(&'a [u8], Wall); 1]>,
    pub(crate) changed: bool,
}

/// A binding that was there before.
struct Kept<'a> {
    identity: Identity<'a>,
    old: Binding<'a>,
    fate: Fate<'a>,
}

impl<'a> Kept<'a> {
    /// What it is by the end, if anything.
    fn outcome(&self) -> Option<&Binding<'a>> {
        match &self.fate {
            Fate::Stays => Some(&self.old),
            Fate::Becomes(binding) => Some(binding),
            Fate::Goes => None,
        }
    }

    fn outcome_mut(&mut self) -> Option<&mut Binding<'a>> {
        match &mut self.fate {
            Fate::Stays => Some(&mut self.old),
            Fate::Becomes(binding) => Some(binding),
            Fate::Goes => None,
        }
    }

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
    /// Of no record yet.
    pub(crate) fn new(now: Wall) -> Self {
        Self { now, kept: SmallVec::new(), added: SmallVec::new(), reborn: SmallVec::new(), changed: false }
    }

    /// Takes what is still of use of a record. Apart from `new`, because a draft is two kilobytes to move.
    pub(crate) fn keep(&mut self, record: &'a Record) {
        let now = self.now;
        let keep = |old: Binding<'a>| Kept { identity: Identity::of_binding(&old), old, fate: Fate::Stays };
        self.kept.extend(record.bindings().into_iter().filter(|old| !old.is_forgotten(now)).map(keep));
    }

    // RFC 3261 10.3 step 6
    pub(crate) fn remove_all(&mut self, change: &Change<'_>) -> Result<(), Refusal> {
        let now = self.now;
        let mut seen = false;
        for kept in &self.kept {
            seen |= matches!(Order::of(change, &kept.old, now)?, Order::Again);
        }
        // A request that already was applied must not remove what others have added since.
        for kept in self.kept.iter_mut().filter(|kept| !seen && kept.is_open(now)) {
            kept.fate = Fate::Becomes(kept.old.removed(change, now));
            self.changed = true;
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, change: &Change<'_>, identity: &Identity<'_>) -> Result<(), Refusal> {
        if self.repeats(change, identity, true)? {
            return Ok(());
        }
        let now = self.now;
        for kept in self.kept.iter_mut().filter(|kept| kept.is_open(now) && identity.removes(&kept.identity)) {
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
        max_text: usize,
    ) -> Result<(), Refusal> {
        if self.repeats(change, identity, false)? {
            return Ok(());
        }
        let now = self.now;
        let mut binding = Binding::new(change, contact, granted, max_text, now)?;
        if let Some(instance) = contact.instance {
            binding.since = self.since(change, contact, instance);
        }
        self.changed = true;
        // RFC 3261 19.1.4 equality is not transitive: of several equal ones the octet-identical is meant.
        let mut place = None;
        for kept in self.kept.iter_mut().filter(|kept| kept.identity.equals(identity)) {
            if kept.is_open(now) {
                if place.is_none() || kept.old.contact() == contact.uri {
                    place = Some(kept);
                }
            } else if !kept.old.is_live(now) {
                // Of what has ended only the order is still of use, and under its own Call-ID the new one carries it on. It
                // does not come to life again beside the new one if the clock is set back.
                let carried_on = kept.old.call_id() == change.call_id;
                kept.fate = if carried_on { Fate::Goes } else { Fate::Becomes(kept.old.ended()) };
            }
        }
        match place {
            Some(kept) if contact.instance.is_none() => kept.fate = Fate::Becomes(binding.refreshing(&kept.old)),
            Some(kept) => kept.fate = Fate::Becomes(binding),
            None => self.added.push(binding),
        }
        Ok(())
    }

    /// Was this request applied to this Contact before? Refused if a later one was.
    fn repeats(&self, change: &Change<'_>, identity: &Identity<'_>, removes: bool) -> Result<bool, Refusal> {
        let (mut repeats, mut has_ended) = (false, false);
        let means = |kept: &&Kept<'_>| {
            if removes { identity.removes(&kept.identity) } else { identity.equals(&kept.identity) }
        };
        for kept in self.kept.iter().filter(means) {
            match Order::of(change, &kept.old, self.now)? {
                Order::Newer => {}
                Order::Again if removes || kept.old.is_live(self.now) => repeats = true,
                Order::Again => has_ended = true,
            }
        }
        // A copy of the request that set what has ended since. Not of one that ended a flow at one URI and set it at another.
        if has_ended && !repeats {
            return Err(Refusal::OutOfOrder);
        }
        Ok(repeats)
    }

    /// Since when the temporary GRUUs of a phone are good once this request is applied. RFC 5627 5.1: its newest binding,
    /// of a flow the newest of that flow, was made under another Call-ID: then they all end, on each of its flows.
    fn since(&mut self, change: &Change<'_>, contact: &ContactChange<'a>, instance: &'a [u8]) -> Wall {
        let now = self.now;
        let own = || self.kept.iter().map(|kept| &kept.old).filter(|old| old.instance() == Some(instance));
        let live = || own().filter(|old| old.is_live(now));
        let rivals = live().filter(|old| contact.reg_id.is_none() || old.reg_id() == contact.reg_id);
        let newest = rivals.max_by_key(|old| old.registered_at());
        let goes_on = newest.is_none_or(|newest| newest.call_id() == change.call_id);
        let so_far = live().map(Binding::since).max();
        if let Some(so_far) = so_far.filter(|_| goes_on) {
            return so_far;
        }
        // Later than any of theirs, also when the clock was set back.
        let last = own().map(|old| old.registered_at().max(old.since())).max();
        let since = last.map_or(now, |last| now.max(last.plus_millis(1)));
        self.reborn.extend(so_far.map(|_| (instance, since)));
        since
    }

    /// How many will be live.
    pub(crate) fn live(&self) -> usize {
        self.outcome().filter(|binding| binding.is_live(self.now)).count()
    }

    /// How many were.
    pub(crate) fn live_before(&self) -> usize {
        self.kept.iter().filter(|kept| kept.old.is_live(self.now)).count()
    }

    /// Whether a Contact will be live that was not, or over a flow that it did not have.
    pub(crate) fn adds_way(&self) -> bool {
        let live_before = || self.kept.iter().map(|kept| &kept.old).filter(|old| old.is_live(self.now));
        let was_there = |binding: &Binding<'_>| {
            live_before().any(|old| old.contact() == binding.contact() && old.flow() == binding.flow())
        };
        !self.outcome().filter(|binding| binding.is_live(self.now)).all(was_there)
    }

    /// Removes those that lead to no phone or to one that has a newer one, until no more than `most` are live: first those
    /// whose flow is gone, then the older ones of one instance, unless they are flows of their own; of each kind the oldest
    /// first.
    pub(crate) fn drop_useless(&mut self, most: usize, change: &Change<'_>, is_gone: &dyn Fn(&Flow) -> bool) {
        let now = self.now;
        let gone = |_: &Self, old: &Binding<'_>| is_gone(&old.flow());
        let superseded = |draft: &Self, old: &Binding<'_>| old.reg_id().is_none() && draft.has_newer(old);
        for is_useless in [&gone as &dyn Fn(&Self, &Binding<'_>) -> bool, &superseded] {
            while self.live() > most {
                let open = self.kept.iter().enumerate().filter(|(_, kept)| kept.is_open(now));
                let useless = open.filter(|(_, kept)| is_useless(self, &kept.old));
                let oldest = useless.min_by_key(|(_, kept)| kept.old.registered_at()).map(|(at, _)| at);
                let Some(oldest) = oldest.and_then(|at| self.kept.get_mut(at)) else { break };
                oldest.fate = Fate::Becomes(oldest.old.displaced(change, now));
            }
        }
    }

    /// Whether another binding of the same instance was refreshed later.
    fn has_newer(&self, old: &Binding<'_>) -> bool {
        let is_newer = |other: &&Binding<'_>| {
            other.is_live(self.now) && other.instance() == old.instance() && other.registered_at() > old.registered_at()
        };
        old.instance().is_some() && self.outcome().any(|other| is_newer(&other))
    }

    /// Removes those that have not been refreshed for longest, until no more than `most` are live. False if that takes
    /// some of this very request.
    pub(crate) fn shrink(&mut self, most: usize, change: &Change<'_>) -> bool {
        let now = self.now;
        for _ in most..self.live() {
            let open = self.kept.iter_mut().filter(|kept| kept.is_open(now));
            let Some(oldest) = open.min_by_key(|kept| kept.old.registered_at()) else { return false };
            oldest.fate = Fate::Becomes(oldest.old.displaced(change, now));
        }
        true
    }

    /// What the record will be.
    pub(crate) fn finish(&mut self) -> impl Iterator<Item = &Binding<'a>> {
        self.forget();
        let reborn = std::mem::take(&mut self.reborn);
        for (instance, since) in reborn {
            let all = self.kept.iter_mut().filter_map(Kept::outcome_mut).chain(&mut self.added);
            all.filter(|binding| binding.instance() == Some(instance)).for_each(|binding| binding.since = since);
        }
        self.outcome()
    }

    /// Drops the oldest of too many tombstones.
    fn forget(&mut self) {
        let now = self.now;
        let is_dead = |kept: &Kept<'_>| kept.outcome().is_some_and(|binding| !binding.is_live(now));
        let count = self.kept.iter().filter(|kept| is_dead(kept)).count();
        for _ in MAX_TOMBSTONES..count {
            let dead = self.kept.iter_mut().filter(|kept| is_dead(kept));
            let Some(oldest) = dead.min_by_key(|kept| kept.outcome().map(Binding::expires_at)) else { return };
            oldest.fate = Fate::Goes;
        }
    }

    fn outcome(&self) -> impl Iterator<Item = &Binding<'a>> {
        self.kept.iter().filter_map(Kept::outcome).chain(&self.added)
    }
}

/// How a request stands to the one that last touched a binding.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    Newer,
    Again,
}

impl Order {
    // RFC 3261 10.3 step 7
    pub(crate) fn of(change: &Change<'_>, binding: &Binding<'_>, now: Wall) -> Result<Self, Refusal> {
        if binding.call_id() != change.call_id || change.cseq > binding.cseq() {
            return Ok(Self::Newer);
        }
        if change.cseq < binding.cseq() {
            return Err(Refusal::OutOfOrder);
        }
        if change.transaction == binding.transaction() {
            return Ok(Self::Again);
        }
        // RFC 3261 8.2.2.2: compared with what is under way; later the same CSeq is a number used twice.
        Err(if binding.is_fresh(now) { Refusal::Merged } else { Refusal::OutOfOrder })
    }
}

/// A Contact as it is compared.
pub(crate) struct Identity<'a> {
    instance: Option<&'a [u8]>,
    reg_id: Option<u32>,
    uri: Place<'a>,
}

/// A Contact URI. A refresh nearly always brings the same octets again: it is parsed when it does not.
struct Place<'a> {
    octets: &'a [u8],
    /// `None` inside: it does not parse.
    uri: OnceCell<Option<Uri<'a>>>,
}

impl<'a> Identity<'a> {
    pub(crate) fn of_contact(contact: &ContactChange<'a>) -> Self {
        Self { instance: contact.instance, reg_id: contact.reg_id, uri: Place::of(contact.uri) }
    }

    fn of_binding(binding: &Binding<'a>) -> Self {
        Self { instance: binding.instance(), reg_id: binding.reg_id(), uri: Place::of(binding.contact()) }
    }

    /// What a flow is called (RFC 5626 6).
    fn flow(&self) -> Option<(&'a [u8], u32)> {
        self.instance.zip(self.reg_id)
    }

    pub(crate) fn is_flow(&self) -> bool {
        self.flow().is_some()
    }

    pub(crate) fn has_uri_of(&self, other: &Identity<'_>) -> bool {
        self.uri.equals(&other.uri)
    }

    /// Whether a binding of the one is refreshed by the other.
    pub(crate) fn equals(&self, other: &Identity<'_>) -> bool {
        match (self.flow(), other.flow()) {
            (None, None) => self.uri.equals(&other.uri),
            (one, another) => one == another,
        }
    }

    /// Whether a binding of `other` ends by this: who does not speak of flows means whatever is at that URI, but for what he
    /// sees to be another phone's.
    fn removes(&self, other: &Identity<'_>) -> bool {
        let same_phone = self.instance.is_none() || self.instance == other.instance;
        self.equals(other) || self.flow().is_none() && same_phone && self.uri.equals(&other.uri)
    }
}

impl<'a> Place<'a> {
    const fn of(octets: &'a [u8]) -> Self {
        Self { octets, uri: OnceCell::new() }
    }

    fn uri(&self) -> Option<&Uri<'a>> {
        self.uri.get_or_init(|| Uri::parse(self.octets).ok()).as_ref()
    }

    fn equals(&self, other: &Place<'_>) -> bool {
        let equivalent = || self.uri().zip(other.uri()).is_some_and(|(one, other)| parser::equivalent(one, other));
        self.octets == other.octets || equivalent()
    }
}

/// Tombstones that one record keeps: a device that registers and removes in a loop must not make it grow.
pub(crate) const MAX_TOMBSTONES: usize = 32;
