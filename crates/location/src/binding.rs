//! One binding: a Contact, who set it and until when (RFC 3261 10.3, RFC 3327 5.3, RFC 5626 6).
//!
//! Decides the layout: all text in one allocation, cut by 16-bit offsets. A binding is 144 bytes plus its text, some 230
//! octets for a usual phone. With the record around it, key, map slot and sweep index, a user with one phone was measured
//! to cost 630 bytes of memory. Immutable once made. Must not know rules: see `record.rs`.

use std::fmt;

use crate::change::{Change, ContactChange, Refusal};
use crate::time::TOMBSTONE_MILLIS;
use crate::{Flow, Wall};

/// The most octets that all text of one binding may have together. It fits the 16-bit offsets and bounds what one
/// device can make us keep.
pub const MAX_TEXT: usize = 8 * 1024;

/// A Contact URI bound to an address of record, with all that is needed to reach it and to judge the next REGISTER.
#[derive(Clone, PartialEq, Eq)]
pub struct Binding {
    pub(crate) text: Box<[u8]>,
    /// Where each [`Part`] ends in `text`; each starts where the one before ends.
    pub(crate) ends: [u16; Part::COUNT],
    pub(crate) marks: Marks,
    pub(crate) q: u16,
    pub(crate) cseq: u32,
    pub(crate) reg_id: u32,
    pub(crate) expires_at: Wall,
    pub(crate) registered_at: Wall,
    pub(crate) transaction: u64,
    pub(crate) flow: Flow,
}

impl Binding {
    /// The Contact URI as it was registered.
    pub fn contact(&self) -> &[u8] {
        self.part(Part::Contact)
    }

    /// Contact parameters to echo: empty or `;a=b`, never `expires` or `q`.
    pub fn params(&self) -> &[u8] {
        self.part(Part::Params)
    }

    /// Call-ID of the REGISTER that set it.
    pub fn call_id(&self) -> &[u8] {
        self.part(Part::CallId)
    }

    /// Path values, comma-joined; empty if none (RFC 3327 5.3).
    pub fn path(&self) -> &[u8] {
        self.part(Part::Path)
    }

    /// User-Agent of the device; empty if it did not say.
    pub fn user_agent(&self) -> &[u8] {
        self.part(Part::UserAgent)
    }

    /// `+sip.instance` (RFC 5626 4.1).
    pub fn instance(&self) -> Option<&[u8]> {
        self.marks.has(Marks::INSTANCE).then(|| self.part(Part::Instance))
    }

    /// `reg-id` (RFC 5626 4.2).
    pub fn reg_id(&self) -> Option<u32> {
        self.marks.has(Marks::REG_ID).then_some(self.reg_id)
    }

    /// CSeq number of the REGISTER that set it (or, of a removed one, that removed it under the same Call-ID).
    pub fn cseq(&self) -> u32 {
        self.cseq
    }

    /// Preference in thousandths, 0 to 1000.
    pub fn q(&self) -> Option<u16> {
        self.marks.has(Marks::Q).then_some(self.q)
    }

    /// When it ends; of a removed binding, when it was removed.
    pub fn expires_at(&self) -> Wall {
        self.expires_at
    }

    /// When the REGISTER that last set or refreshed it was applied.
    pub fn registered_at(&self) -> Wall {
        self.registered_at
    }

    /// How that REGISTER came.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Hash of that REGISTER's top Via branch and sent-by.
    pub fn transaction(&self) -> u64 {
        self.transaction
    }

    /// May it be used at this moment? A removed binding never is, even if the clock is set back.
    pub fn is_live(&self, now: Wall) -> bool {
        !self.marks.has(Marks::REMOVED) && self.expires_at > now
    }

    /// Seconds left, rounded up, for `;expires=`; 0 if it is not live.
    pub fn remaining(&self, now: Wall) -> u32 {
        if !self.is_live(now) {
            return 0;
        }
        u32::try_from(self.expires_at.millis_since(now).div_ceil(1000)).unwrap_or(u32::MAX)
    }

    pub(crate) fn new(
        change: &Change<'_>,
        contact: &ContactChange<'_>,
        granted: u32,
        now: Wall,
    ) -> Result<Self, Refusal> {
        let instance = contact.instance.unwrap_or_default();
        let parts = [contact.uri, contact.params, change.call_id, change.path, change.user_agent, instance];
        let (text, ends) = pack(&parts).ok_or(Refusal::TooLong { max: MAX_TEXT })?;
        let marks = Marks::default()
            .with(Marks::INSTANCE, contact.instance.is_some())
            .with(Marks::REG_ID, contact.reg_id.is_some())
            .with(Marks::Q, contact.q.is_some());
        Ok(Self {
            text,
            ends,
            marks,
            q: contact.q.unwrap_or(0).min(1000),
            cseq: change.cseq,
            reg_id: contact.reg_id.unwrap_or(0),
            expires_at: now.plus_secs(granted),
            registered_at: now,
            transaction: change.transaction,
            flow: change.flow,
        })
    }

    /// The tombstone of this binding. Under the same Call-ID the removing request is the one that later ones must
    /// follow; under another one the binding's own number is what a late copy has to be measured by.
    pub(crate) fn removed(&self, change: &Change<'_>, now: Wall) -> Self {
        let mut tombstone = self.clone();
        tombstone.marks = self.marks.with(Marks::REMOVED, true);
        tombstone.expires_at = now;
        if self.call_id() == change.call_id {
            tombstone.cseq = change.cseq;
            tombstone.transaction = change.transaction;
        }
        tombstone
    }

    /// Has it been dead for so long that nobody needs it any more?
    pub(crate) fn is_forgotten(&self, now: Wall) -> bool {
        self.expires_at.plus_millis(TOMBSTONE_MILLIS) <= now
    }

    /// When something about it changes next: it expires, or, no longer live, is forgotten.
    pub(crate) fn wake_at(&self, now: Wall) -> Wall {
        if self.is_live(now) { self.expires_at } else { self.expires_at.plus_millis(TOMBSTONE_MILLIS) }
    }

    fn part(&self, part: Part) -> &[u8] {
        let end = |at: usize| self.ends.get(at).copied().map_or(0, usize::from);
        let index = part as usize;
        let start = if index == 0 { 0 } else { end(index - 1) };
        self.text.get(start..end(index)).unwrap_or_default()
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("contact", &String::from_utf8_lossy(self.contact()))
            .field("call_id", &String::from_utf8_lossy(self.call_id()))
            .field("cseq", &self.cseq)
            .field("expires_at", &self.expires_at.0)
            .field("removed", &self.marks.has(Marks::REMOVED))
            .finish_non_exhaustive()
    }
}

/// The pieces of text, in the order in which they are packed.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Contact,
    Params,
    CallId,
    Path,
    UserAgent,
    Instance,
}

impl Part {
    pub(crate) const COUNT: usize = Self::Instance as usize + 1;
}

/// Which optional values are there, and whether the binding was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(pub(crate) u8);

impl Marks {
    pub(crate) const INSTANCE: u8 = 1;
    pub(crate) const REG_ID: u8 = 2;
    pub(crate) const Q: u8 = 4;
    pub(crate) const REMOVED: u8 = 8;
    #[cfg(feature = "disk")]
    pub(crate) const ALL: u8 = 15;

    fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    fn with(self, mark: u8, on: bool) -> Self {
        if on { Self(self.0 | mark) } else { self }
    }
}

fn pack(parts: &[&[u8]; Part::COUNT]) -> Option<(Box<[u8]>, [u16; Part::COUNT])> {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    if total > MAX_TEXT {
        return None;
    }
    let mut text = Vec::with_capacity(total);
    let mut ends = [0; Part::COUNT];
    for (part, end) in parts.iter().zip(&mut ends) {
        text.extend_from_slice(part);
        *end = u16::try_from(text.len()).ok()?;
    }
    Some((text.into_boxed_slice(), ends))
}
