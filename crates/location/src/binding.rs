//! One binding: a Contact, the REGISTER that set it and its expiry (RFC 3261 10.3, RFC 3327 5.3, RFC 5626 6).
//!
//! Defines what is stored of a binding. A `Binding` is a view: its text borrows from a record or from a request, so it is
//! cheap to create and to copy. Must not contain rules (see `apply.rs`) or the layout (see `layout.rs`).

use std::fmt;

#[cfg(feature = "disk")]
use crate::FlowId;
use crate::change::{Change, ContactChange, Refusal};
use crate::time::TOMBSTONE_MILLIS;
use crate::{Flow, Wall};

/// Maximum of octets of all text of one binding. [`Limits`](crate::Limits) cannot raise it, because the layout has no room
/// for more.
pub const MAX_TEXT: usize = 8 * 1024;

/// A Contact URI bound to an address of record, with what is needed to reach it and to check the next REGISTER.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Binding<'a> {
    pub(crate) contact: &'a [u8],
    pub(crate) params: &'a [u8],
    pub(crate) call_id: &'a [u8],
    pub(crate) path: &'a [u8],
    pub(crate) user_agent: &'a [u8],
    pub(crate) instance: Option<&'a [u8]>,
    pub(crate) reg_id: Option<u32>,
    pub(crate) q: Option<u16>,
    pub(crate) cseq: u32,
    pub(crate) removed: bool,
    /// Removed, but not by a REGISTER with this Contact.
    pub(crate) deactivated: bool,
    pub(crate) expires_at: Wall,
    pub(crate) registered_at: Wall,
    pub(crate) since: Wall,
    pub(crate) transaction: u64,
    pub(crate) flow: Flow,
}

/// How a binding ended (RFC 3680 4.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was not refreshed in time.
    Expired,
    /// A REGISTER removed it.
    Unregistered,
    /// An operator removed it, or a new binding displaced it: the phone may register again.
    Deactivated,
}

impl<'a> Binding<'a> {
    /// The Contact URI as it was registered.
    pub fn contact(&self) -> &'a [u8] {
        self.contact
    }

    /// Contact parameters to echo: empty or `;a=b`, never `expires` or `q`.
    pub fn params(&self) -> &'a [u8] {
        self.params
    }

    /// Call-ID of the REGISTER that set it.
    pub fn call_id(&self) -> &'a [u8] {
        self.call_id
    }

    /// Path values, comma-joined; empty if none (RFC 3327 5.3).
    pub fn path(&self) -> &'a [u8] {
        self.path
    }

    /// User-Agent of that REGISTER; empty if it had none.
    pub fn user_agent(&self) -> &'a [u8] {
        self.user_agent
    }

    /// `+sip.instance` (RFC 5626 4.1).
    pub fn instance(&self) -> Option<&'a [u8]> {
        self.instance
    }

    /// `reg-id` (RFC 5626 4.2).
    pub fn reg_id(&self) -> Option<u32> {
        self.reg_id
    }

    /// CSeq number of the REGISTER that set it, or that removed it with the same Call-ID.
    pub fn cseq(&self) -> u32 {
        self.cseq
    }

    /// Preference in thousandths, 0 to 1000.
    pub fn q(&self) -> Option<u16> {
        self.q
    }

    /// When it expires; of a removed binding, when it was removed.
    pub fn expires_at(&self) -> Wall {
        self.expires_at
    }

    /// When the REGISTER that last set or refreshed it was applied.
    pub fn registered_at(&self) -> Wall {
        self.registered_at
    }

    /// Start of the current registration: when it was first set with its Call-ID, if it has never expired since (RFC 5627
    /// 5.1). Temporary GRUUs issued earlier are invalid.
    pub fn since(&self) -> Wall {
        self.since
    }

    /// The flow that REGISTER arrived over.
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// Hash of that REGISTER's top Via branch and sent-by.
    pub fn transaction(&self) -> u64 {
        self.transaction
    }

    /// Whether it may be used now. A removed binding never is, even if the clock is set back.
    pub fn is_live(&self, now: Wall) -> bool {
        !self.removed && self.expires_at > now
    }

    /// How it ended; `None` if it is live.
    pub fn end(&self, now: Wall) -> Option<End> {
        match (self.is_live(now), self.removed, self.deactivated) {
            (true, ..) => None,
            (_, false, _) => Some(End::Expired),
            (_, true, false) => Some(End::Unregistered),
            (_, true, true) => Some(End::Deactivated),
        }
    }

    /// Seconds left, rounded up, for `;expires=`; 0 if it is not live.
    pub fn remaining(&self, now: Wall) -> u32 {
        if !self.is_live(now) {
            return 0;
        }
        u32::try_from(self.expires_at.millis_since(now).div_ceil(1000)).unwrap_or(u32::MAX)
    }

    pub(crate) fn new(
        change: &'a Change<'_>,
        contact: &ContactChange<'a>,
        granted: u32,
        max_text: usize,
        now: Wall,
    ) -> Result<Self, Refusal> {
        let binding = Self {
            contact: contact.uri,
            params: contact.params,
            call_id: change.call_id,
            path: change.path,
            user_agent: change.user_agent,
            instance: contact.instance,
            reg_id: contact.reg_id,
            q: contact.q.map(|q| q.min(1000)),
            cseq: change.cseq,
            removed: false,
            deactivated: false,
            expires_at: now.plus_secs(granted),
            registered_at: now,
            since: now,
            transaction: change.transaction,
            flow: Flow { id: contact.flow_id.unwrap_or(change.flow.id), ..change.flow },
        };
        let max = max_text.min(MAX_TEXT);
        let length: usize = binding.texts().iter().map(|text| text.len()).sum();
        if length > max { Err(Refusal::TooLong { max }) } else { Ok(binding) }
    }

    /// Whether both lead to the same phone in the same way: Contact and flow are the same.
    pub(crate) fn is_same_target(&self, other: &Binding<'_>) -> bool {
        self.contact == other.contact && self.flow == other.flow
    }

    /// This binding as a refresh of `old`, which is live.
    pub(crate) fn refresh_of(self, old: &Self) -> Self {
        let is_same_call_id = self.call_id == old.call_id;
        Self { since: if is_same_call_id { old.since } else { self.since }, ..self }
    }

    /// The tombstone of this expired binding. It does not become live again if the clock is set back.
    pub(crate) fn expired_tombstone(self) -> Self {
        Self { removed: true, ..self }
    }

    /// The tombstone of this binding. If the removing request has the same Call-ID, later requests are compared with its
    /// CSeq. Otherwise the binding's own CSeq is kept, to recognise a late retransmission of the request that set it.
    pub(crate) fn tombstone(self, change: &Change<'_>, now: Wall) -> Self {
        let tombstone = Self { removed: true, deactivated: change.is_administrative(), expires_at: now, ..self };
        if self.call_id == change.call_id {
            return Self { cseq: change.cseq, transaction: change.transaction, ..tombstone };
        }
        tombstone
    }

    /// The tombstone of this binding if a new one displaces it.
    pub(crate) fn displaced_tombstone(self, change: &Change<'_>, now: Wall) -> Self {
        Self { deactivated: true, ..self.tombstone(change, now) }
    }

    /// Whether the request that last changed it may still be retransmitted.
    pub(crate) fn may_be_retransmitted(&self, now: Wall) -> bool {
        now < self.changed_at().plus_millis(TOMBSTONE_MILLIS)
    }

    /// When it was last set, refreshed or removed.
    pub(crate) fn changed_at(&self) -> Wall {
        if self.removed { self.expires_at } else { self.registered_at }
    }

    /// Whether it ended so long ago that no retransmission can arrive any more.
    pub(crate) fn is_discardable(&self, now: Wall) -> bool {
        self.expires_at.plus_millis(TOMBSTONE_MILLIS) <= now
    }

    /// When it changes next: a live binding expires, a tombstone becomes discardable.
    pub(crate) fn next_change_at(&self, now: Wall) -> Wall {
        if self.is_live(now) { self.expires_at } else { self.expires_at.plus_millis(TOMBSTONE_MILLIS) }
    }

    /// This binding after a restart of the program: connections are closed by then.
    #[cfg(feature = "disk")]
    pub(crate) fn after_restart(self) -> Self {
        let id = if self.has_connection() { FlowId::None } else { self.flow.id };
        Self { flow: Flow { id, ..self.flow }, ..self }
    }

    /// Whether [`after_restart`](Self::after_restart) changes it.
    #[cfg(feature = "disk")]
    pub(crate) fn has_connection(&self) -> bool {
        self.flow.transport.is_reliable() && !matches!(self.flow.id, FlowId::None | FlowId::Elsewhere(_))
    }

    fn texts(&self) -> [&'a [u8]; 6] {
        let instance = self.instance.unwrap_or_default();
        [self.contact, self.params, self.call_id, self.path, self.user_agent, instance]
    }
}

impl fmt::Debug for Binding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("contact", &String::from_utf8_lossy(self.contact))
            .field("call_id", &String::from_utf8_lossy(self.call_id))
            .field("cseq", &self.cseq)
            .field("expires_at", &self.expires_at.0)
            .field("removed", &self.removed)
            .finish_non_exhaustive()
    }
}
