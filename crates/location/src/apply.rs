//! The rules by which a REGISTER changes the bindings of one address of record.
//!
//! Implements RFC 3261 10.3 steps 6 and 7: order by Call-ID and CSeq, granted expiry, Contact equality (19.1.4), all or
//! nothing. Pure: a record and a change result in a new record or a refusal. Must not know how records are stored, and
//! must not read a clock.

use smallvec::SmallVec;

use crate::change::{Change, ContactChange, Limits, Operation, Refusal, WhenFull};
use crate::draft::{Draft, Identity};
use crate::{Flow, Record, Wall};

/// The result of [`Record::apply`].
#[derive(Clone, Debug)]
pub enum Applied {
    /// A query, a retransmission, or a removal of an unknown binding: answer from the old record. It needs no commit; but a
    /// commit of the old record completes after the pending ones, on which the answer may depend.
    Unchanged,
    /// The bindings change.
    Changed {
        /// The new record: commit it in place of the old one, then answer from it.
        record: Record,
        /// The number of live bindings before.
        before: usize,
        /// Whether a Contact became live that was not live, or that had another flow.
        adds_target: bool,
        /// Whether older bindings were displaced: stale ones, or any with [`WhenFull::ReplaceOldest`].
        displaced: bool,
    },
}

impl Applied {
    /// The record to commit, `None` if nothing changes.
    pub fn changed(self) -> Option<Record> {
        match self {
            Self::Unchanged => None,
            Self::Changed { record, .. } => Some(record),
        }
    }
}

impl Record {
    /// Applies one REGISTER (RFC 3261 10.3).
    ///
    /// - A Contact with instance and reg-id is a flow: it refers to the binding with the same two, whatever its URI (RFC 5626
    ///   6). Any other Contact refers to the binding with an equal URI that is not a flow; with `expires` 0 to flows too.
    /// - Order (step 7): with the same Call-ID the CSeq must be higher, unless the transaction is the same, which is a
    ///   retransmission and changes nothing. Another Call-ID may always change a binding. The same CSeq in another
    ///   transaction within 32 s is a merged request (8.2.2.2): [`Refusal::Merged`].
    /// - `expires` 0 removes. More than `max_expires` is shortened, less than `min_expires` is refused; `jitter` shortens, but
    ///   never below `min_expires`.
    /// - A removed binding is kept as a tombstone for 32 s (at most 32 of them), so that a late retransmission of an earlier
    ///   REGISTER does not restore it: that is [`Refusal::OutOfOrder`].
    /// - Of two equal Contacts in one request the last one counts. But if a flow is set at one URI and removed at another, it
    ///   has moved: it is set, in either order.
    /// - With more live bindings than `max_contacts`, and more than before, stale bindings are displaced first. If that is not
    ///   enough, [`WhenFull`] decides.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is applied then.
    pub fn apply(&self, change: &Change<'_>, now: Wall, limits: &Limits) -> Result<Applied, Refusal> {
        self.apply_with_closed_flows(change, now, limits, &|_| false)
    }

    /// As [`apply`](Self::apply), but bindings whose flow `is_closed` (its connection is closed) are displaced first. Else a
    /// phone that reconnects repeatedly would reach its own limit.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is applied then.
    pub fn apply_with_closed_flows(
        &self,
        change: &Change<'_>,
        now: Wall,
        limits: &Limits,
        is_closed: &dyn Fn(&Flow) -> bool,
    ) -> Result<Applied, Refusal> {
        let mut draft = Draft::new(now);
        draft.load(self);
        let displaced = match &change.operation {
            Operation::Query => return Ok(Applied::Unchanged),
            Operation::RemoveAll => {
                draft.remove_all(change)?;
                false
            }
            Operation::Update(contacts) => update(&mut draft, change, contacts, limits, is_closed)?,
        };
        if !draft.changed {
            return Ok(Applied::Unchanged);
        }
        let (before, adds_target) = (draft.live_before(), draft.adds_target());
        Ok(Applied::Changed {
            record: Self::from_bindings(self.aor(), draft.finish(), now),
            before,
            adds_target,
            displaced,
        })
    }
}

/// RFC 3261 10.3 step 7. Returns whether older bindings are displaced.
fn update<'a>(
    draft: &mut Draft<'a>,
    change: &'a Change<'_>,
    contacts: &'a [ContactChange<'_>],
    limits: &Limits,
    is_closed: &dyn Fn(&Flow) -> bool,
) -> Result<bool, Refusal> {
    if contacts.len() > limits.max_request_contacts {
        return Err(Refusal::TooManyContacts { max: limits.max_request_contacts });
    }
    let identities: SmallVec<[Identity<'_>; 2]> = contacts.iter().map(Identity::from_contact).collect();
    for (at, (contact, identity)) in contacts.iter().zip(&identities).enumerate() {
        let granted = grant(contact.expires, change.transaction, limits)?;
        let sets_moved_flow =
            |other: &(&ContactChange<'_>, &Identity<'_>)| other.0.expires != Some(0) && moves(identity, other.1);
        if granted == 0 && contacts.iter().zip(&identities).any(|other| sets_moved_flow(&other)) {
            // The request moves the flow from this URI to another one, which replaces its binding.
            continue;
        }
        let replaces_it = |(later, other): (&ContactChange<'_>, &Identity<'_>)| {
            other.equals(identity) && !(later.expires == Some(0) && moves(other, identity))
        };
        if contacts.iter().zip(&identities).skip(at + 1).any(replaces_it) {
            continue;
        }
        if granted == 0 {
            draft.remove(change, identity)?;
        } else {
            draft.set(change, contact, identity, granted, limits.max_text)?;
        }
    }
    // A request that adds no binding is not refused because the limit was lowered.
    let max = limits.max_contacts.max(draft.live_before());
    let displaced = draft.live() > max;
    if displaced {
        draft.displace_stale(limits.max_contacts, change, is_closed);
    }
    if draft.live() > max
        && (limits.when_full == WhenFull::Refuse || !draft.displace_oldest(limits.max_contacts, change))
    {
        return Err(Refusal::TooManyContacts { max: limits.max_contacts });
    }
    Ok(displaced)
}

/// Whether two Contacts are the same flow at different URIs. A phone whose address has changed sends both in one REGISTER:
/// the new URI, and the old one with `expires` 0 (RFC 5626 6).
fn moves(one: &Identity<'_>, other: &Identity<'_>) -> bool {
    one.is_flow() && one.equals(other) && !one.has_same_uri(other)
}

// RFC 3261 10.3 steps 6 and 7: only a time shorter than an hour may be refused as too brief.
fn grant(requested: Option<u32>, transaction: u64, limits: &Limits) -> Result<u32, Refusal> {
    match requested {
        Some(0) => Ok(0),
        Some(secs) if secs < limits.min_expires && secs < HOUR => Err(Refusal::TooBrief { min: limits.min_expires }),
        requested => {
            let granted = requested.unwrap_or(limits.default_expires).min(limits.max_expires).max(1);
            Ok(shorten(granted, transaction, limits.jitter).max(limits.min_expires.min(granted)))
        }
    }
}

/// Shortens by a share of up to `percent`, chosen by the transaction, which is a hash.
fn shorten(seconds: u32, transaction: u64, percent: u8) -> u32 {
    let max = u64::from(seconds) * u64::from(percent.min(100)) / 100;
    let share = (u128::from(max + 1) * u128::from(transaction)) >> 64;
    seconds - u32::try_from(share).unwrap_or(seconds)
}

const HOUR: u32 = 3600;
