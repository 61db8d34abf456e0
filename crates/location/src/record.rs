//! The rules by which a REGISTER changes the bindings of one address of record.
//!
//! Implements RFC 3261 10.3 steps 6 and 7: order by Call-ID and CSeq, granted expiry, Contact equality (19.1.4), all or
//! nothing. Pure: a record and a change result in a new record or a refusal. Must not know how records are stored, and
//! must not read a clock.

use smallvec::SmallVec;

use crate::change::{Ask, Change, ContactChange, Limits, Refusal, WhenFull};
use crate::draft::{Draft, Identity};
use crate::{Flow, Record, Wall};

/// The result of [`Record::apply`].
#[derive(Clone, Debug)]
pub enum Applied {
    /// A query, a retransmission, or a removal of an unknown binding: answer from the old record, without a commit.
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
    /// Apply one REGISTER, RFC 3261 10.3.
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
        let displaced = match &change.ask {
            Ask::Query => return Ok(Applied::Unchanged),
            Ask::RemoveAll => {
                draft.remove_all(change)?;
                false
            }
            Ask::Update(contacts) => update(&mut draft, change, contacts, limits, is_closed)?,
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
    let asked: SmallVec<[Identity<'_>; 2]> = contacts.iter().map(Identity::from_contact).collect();
    for (at, (contact, identity)) in contacts.iter().zip(&asked).enumerate() {
        let granted = grant(contact.expires, change.transaction, limits)?;
        let is_set_too =
            |other: &(&ContactChange<'_>, &Identity<'_>)| other.0.expires != Some(0) && moves(identity, other.1);
        if granted == 0 && contacts.iter().zip(&asked).any(|other| is_set_too(&other)) {
            // The request moves the flow from this URI to another one, which replaces its binding.
            continue;
        }
        let counts_instead = |(later, other): (&ContactChange<'_>, &Identity<'_>)| {
            other.equals(identity) && !(later.expires == Some(0) && moves(other, identity))
        };
        if contacts.iter().zip(&asked).skip(at + 1).any(counts_instead) {
            continue;
        }
        if granted == 0 {
            draft.remove(change, identity)?;
        } else {
            draft.set(change, contact, identity, granted, limits.max_text)?;
        }
    }
    // A request that adds no binding is not refused because the limit was lowered.
    let most = limits.max_contacts.max(draft.live_before());
    let displaced = draft.live() > most;
    if displaced {
        draft.displace_stale(limits.max_contacts, change, is_closed);
    }
    if draft.live() > most
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
fn grant(asked: Option<u32>, transaction: u64, limits: &Limits) -> Result<u32, Refusal> {
    match asked {
        Some(0) => Ok(0),
        Some(asked) if asked < limits.min_expires && asked < HOUR => Err(Refusal::TooBrief { min: limits.min_expires }),
        asked => {
            let granted = asked.unwrap_or(limits.default_expires).min(limits.max_expires).max(1);
            Ok(shorten(granted, transaction, limits.jitter).max(limits.min_expires.min(granted)))
        }
    }
}

/// Shortens by a share of up to `percent`, chosen by the transaction, which is a hash.
fn shorten(seconds: u32, transaction: u64, percent: u8) -> u32 {
    let most = u64::from(seconds) * u64::from(percent.min(100)) / 100;
    let share = (u128::from(most + 1) * u128::from(transaction)) >> 64;
    seconds - u32::try_from(share).unwrap_or(seconds)
}

const HOUR: u32 = 3600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::MAX_TOMBSTONES;
    use crate::{Binding, Flow};

    const LIMITS: Limits = Limits { max_contacts: 3, ..Limits::DEFAULT };

    /// A Contact and the seconds asked for it.
    type Asked<'a> = (&'a str, Option<u32>);

    fn flow() -> Flow {
        let [remote, local] = ["192.0.2.7:5060", "192.0.2.1:5060"].map(|address| address.parse().unwrap());
        Flow { transport: parser::Transport::Udp, remote, local, id: crate::FlowId::None }
    }

    fn change<'a>(call_id: &'a str, cseq: u32, ask: Ask<'a>) -> Change<'a> {
        // Each Call-ID and CSeq has its own transaction, unless a test sets another.
        let transaction = u64::from(cseq) << 8 | call_id.len() as u64;
        let call_id = call_id.as_bytes();
        Change { call_id, cseq, transaction, flow: flow(), path: b"<sip:edge>", user_agent: b"phone", ask }
    }

    fn contact<'a>(&(uri, expires): &Asked<'a>) -> ContactChange<'a> {
        let uri = uri.as_bytes();
        ContactChange { uri, params: b";a=b", expires, q: Some(500), instance: None, reg_id: None, flow_id: None }
    }

    fn update<'a>(call_id: &'a str, cseq: u32, contacts: &[Asked<'a>]) -> Change<'a> {
        change(call_id, cseq, Ask::Update(contacts.iter().map(contact).collect()))
    }

    fn apply(record: &Record, change: &Change<'_>, now: u64) -> Record {
        match record.apply(change, Wall(now), &LIMITS) {
            Ok(Applied::Changed { record, displaced: false, .. }) => record,
            other => panic!("{change:?} at {now}: {other:?}"),
        }
    }

    #[track_caller]
    fn unchanged(record: &Record, change: &Change<'_>, now: u64) {
        let applied = record.apply(change, Wall(now), &LIMITS);
        assert!(matches!(applied, Ok(Applied::Unchanged)), "{applied:?}");
    }

    #[track_caller]
    fn refused(record: &Record, change: &Change<'_>, now: u64, refusal: Refusal) {
        assert_eq!(record.apply(change, Wall(now), &LIMITS).map(|_| ()), Err(refusal));
    }

    fn live(record: &Record, now: u64) -> Vec<(String, u32)> {
        let show =
            |binding: Binding<'_>| (String::from_utf8_lossy(binding.contact()).into(), binding.remaining(Wall(now)));
        record.live(Wall(now)).map(show).collect()
    }

    fn one(uri: &str, secs: u32) -> Vec<(String, u32)> {
        vec![(uri.to_owned(), secs)]
    }

    const A: &str = "sip:a@192.0.2.7";
    const B: &str = "sip:b@192.0.2.7";
    const C: &str = "sip:c@192.0.2.7";
    const D: &str = "sip:d@192.0.2.7";

    #[test]
    fn a_binding_keeps_the_values_of_its_register() {
        // checklist 20
        // checklist 146
        let mut asked = contact(&(A, Some(600)));
        (asked.instance, asked.reg_id, asked.q) = (Some(&b"<urn:uuid:1>"[..]), Some(1), Some(1500));
        let record = apply(&Record::default(), &change("x", 7, Ask::Update([asked].into_iter().collect())), 1_000);
        let binding = record.live(Wall(1_000)).next().unwrap();
        assert_eq!((binding.contact(), binding.params()), (A.as_bytes(), &b";a=b"[..]));
        assert_eq!((binding.call_id(), binding.cseq(), binding.transaction()), (&b"x"[..], 7, 7 << 8 | 1));
        assert_eq!((binding.path(), binding.user_agent()), (&b"<sip:edge>"[..], &b"phone"[..]));
        assert_eq!(
            (binding.instance(), binding.reg_id(), binding.q()),
            (Some(&b"<urn:uuid:1>"[..]), Some(1), Some(1000))
        );
        assert_eq!((binding.registered_at(), binding.expires_at()), (Wall(1_000), Wall(601_000)));
        assert_eq!(binding.flow(), flow());
    }

    #[test]
    fn expiry_asked_and_granted() {
        // checklist 14
        // checklist 15
        // checklist 16
        let table = [
            (None, Ok(3600)),
            (Some(60), Ok(60)),
            (Some(7200), Ok(7200)),
            (Some(u32::MAX), Ok(7200)),
            (Some(59), Err(Refusal::TooBrief { min: 60 })),
            (Some(1), Err(Refusal::TooBrief { min: 60 })),
        ];
        for (asked, granted) in table {
            let applied = Record::default().apply(&update("x", 1, &[(A, asked)]), Wall(0), &LIMITS);
            match (applied, granted) {
                (Ok(Applied::Changed { record, .. }), Ok(secs)) => {
                    assert_eq!(live(&record, 0), one(A, secs), "{asked:?}")
                }
                (Err(refusal), Err(expected)) => assert_eq!(refusal, expected, "{asked:?}"),
                other => panic!("{asked:?}: {other:?}"),
            }
        }
        // An hour must not be refused as too brief (10.3 step 7).
        let strict = Limits { min_expires: 7000, ..LIMITS };
        let applied = |asked| Record::default().apply(&update("x", 1, &[(A, Some(asked))]), Wall(0), &strict);
        assert!(matches!(applied(3600), Ok(Applied::Changed { .. })));
        assert!(matches!(applied(3599), Err(Refusal::TooBrief { min: 7000 })));
    }

    #[test]
    fn remaining_is_rounded_up_and_ends() {
        let record = apply(&Record::default(), &update("x", 1, &[(A, Some(60))]), 0);
        for (now, secs) in [(0, 60), (1, 60), (999, 60), (1_000, 59), (59_001, 1), (59_999, 1)] {
            assert_eq!(live(&record, now), one(A, secs), "{now}");
        }
        assert_eq!(live(&record, 60_000), []);
    }

    #[test]
    fn order_under_one_call_id() {
        // checklist 19
        let record = apply(&Record::default(), &update("x", 5, &[(A, Some(600))]), 0);
        assert_eq!(live(&apply(&record, &update("x", 6, &[(A, Some(900))]), 10), 10), one(A, 900));
        refused(&record, &update("x", 4, &[(A, Some(900))]), 10, Refusal::OutOfOrder);
        refused(&record, &update("x", 4, &[(A, Some(0))]), 10, Refusal::OutOfOrder);
        // A retransmission changes nothing, not even the expiry.
        unchanged(&record, &update("x", 5, &[(A, Some(600))]), 10);
        // The same CSeq in another transaction is not a retransmission.
        let reused = Change { transaction: 99, ..update("x", 5, &[(A, Some(600))]) };
        refused(&record, &reused, 31_999, Refusal::Merged);
        refused(&record, &reused, 32_000, Refusal::OutOfOrder);
    }

    #[test]
    fn another_call_id_may_always_change_a_binding() {
        // checklist 18
        let record = apply(&Record::default(), &update("x", 50, &[(A, Some(600))]), 0);
        let record = apply(&record, &update("other", 1, &[(A, Some(900))]), 10);
        assert_eq!(live(&record, 10), one(A, 900));
        assert_eq!(record.live(Wall(10)).next().unwrap().call_id(), b"other");
        assert_eq!(live(&apply(&record, &update("third", 1, &[(A, Some(0))]), 20), 20), []);
    }

    #[test]
    fn contacts_are_compared_as_uris() {
        // checklist 17
        let record = apply(&Record::default(), &update("x", 1, &[("sip:a@HOST.example", Some(600))]), 0);
        let record = apply(&record, &update("x", 2, &[("sip:a@host.EXAMPLE", Some(900))]), 0);
        assert_eq!(live(&record, 0), one("sip:a@host.EXAMPLE", 900));
        let record = apply(&record, &update("x", 3, &[("sip:A@host.example", Some(900))]), 0);
        assert_eq!(live(&record, 0).len(), 2);
    }

    #[test]
    fn equality_that_is_not_transitive_loses_no_binding() {
        // RFC 3261 19.1.4: a parameter that only one of two URIs has is ignored, so both equal the bare one.
        let [one, two, bare] = ["sip:a@h.example;x=1", "sip:a@h.example;x=2", "sip:a@h.example"];
        let record = apply(&Record::default(), &update("x", 1, &[(one, Some(600)), (two, Some(600))]), 0);
        assert_eq!(live(&record, 0).len(), 2);
        let replaced = apply(&record, &update("x", 2, &[(bare, Some(900))]), 0);
        assert_eq!(live(&replaced, 0), [(bare.to_owned(), 900), (two.to_owned(), 600)]);
        let second = apply(&replaced, &update("x", 3, &[(two, Some(1200))]), 0);
        assert_eq!(live(&second, 0), [(bare.to_owned(), 900), (two.to_owned(), 1200)]);
        // Both Contacts of one request are kept although both equal the existing one.
        let record = apply(&Record::default(), &update("x", 1, &[(bare, Some(600))]), 0);
        let record = apply(&record, &update("x", 2, &[(one, Some(900)), (two, Some(900))]), 0);
        assert_eq!(live(&record, 0), [(one.to_owned(), 900), (two.to_owned(), 900)]);
        assert_eq!(live(&apply(&record, &update("x", 3, &[(bare, Some(0))]), 0), 0), []);
    }

    #[test]
    fn other_schemes_are_kept() {
        // checklist 27
        let record = apply(&Record::default(), &update("x", 1, &[("tel:+1-201", Some(600)), (A, Some(600))]), 0);
        let record = apply(&record, &update("x", 2, &[("tel:+1-201", Some(900))]), 0);
        assert_eq!(live(&record, 0), [("tel:+1-201".to_owned(), 900), (A.to_owned(), 600)]);
    }

    #[test]
    fn all_or_nothing() {
        // checklist 3
        let record = apply(&Record::default(), &update("x", 5, &[(A, Some(600))]), 0);
        refused(&record, &update("x", 4, &[(B, Some(600)), (A, Some(0))]), 10, Refusal::OutOfOrder);
        refused(&record, &update("x", 6, &[(B, Some(600)), (C, Some(5))]), 10, Refusal::TooBrief { min: 60 });
        assert_eq!(live(&record, 10), one(A, 600));
    }

    #[test]
    fn the_last_of_equal_contacts_counts() {
        let record = apply(&Record::default(), &update("x", 1, &[(A, Some(600)), (B, Some(600)), (A, Some(900))]), 0);
        assert_eq!(live(&record, 0), [(B.to_owned(), 600), (A.to_owned(), 900)]);
        let record = apply(&record, &update("x", 2, &[(A, Some(600)), (A, Some(0))]), 0);
        assert_eq!(live(&record, 0), one(B, 600));
    }

    #[test]
    fn a_query_changes_nothing() {
        // checklist 11
        let record = apply(&Record::default(), &update("x", 1, &[(A, Some(600))]), 0);
        unchanged(&record, &change("x", 1, Ask::Query), 10);
        unchanged(&record, &change("x", 0, Ask::Query), 10);
        unchanged(&Record::default(), &change("x", 0, Ask::Query), 10);
    }

    #[test]
    fn removing_an_unknown_binding_changes_nothing() {
        unchanged(&Record::default(), &update("x", 1, &[(A, Some(0))]), 0);
        unchanged(&Record::default(), &change("x", 1, Ask::RemoveAll), 0);
    }

    #[test]
    fn a_removed_binding_is_not_live() {
        // checklist 25
        let record = apply(&Record::default(), &update("x", 1, &[(A, Some(600)), (B, Some(600))]), 0);
        let record = apply(&record, &update("x", 2, &[(A, Some(0))]), 1_000);
        assert_eq!(live(&record, 1_000), one(B, 599));
    }

    #[test]
    fn a_late_copy_does_not_restore_a_removed_binding() {
        // checklist 19
        let record = apply(&Record::default(), &update("x", 1, &[(A, Some(600))]), 0);
        for remover in ["x", "other"] {
            let record = apply(&record, &update(remover, 3, &[(A, Some(0))]), 1_000);
            refused(&record, &update("x", 1, &[(A, Some(600))]), 2_000, Refusal::OutOfOrder);
            // A retransmission of the removing request.
            unchanged(&record, &update(remover, 3, &[(A, Some(0))]), 2_000);
            // A later request may set it, and replaces the tombstone.
            let back = apply(&record, &update("x", 4, &[(A, Some(600))]), 2_000);
            assert_eq!((live(&back, 2_000), back.bindings().len()), (one(A, 600), 1));
            // Tombstones are not kept longer than 32 s.
            assert_eq!(live(&apply(&record, &update("x", 1, &[(A, Some(600))]), 33_000), 33_000), one(A, 600));
        }
        let record = apply(&record, &update("x", 3, &[(A, Some(0))]), 1_000);
        refused(&record, &update("x", 2, &[(A, Some(600))]), 2_000, Refusal::OutOfOrder);
    }

    #[test]
    fn a_late_copy_of_a_removal_does_not_remove_again() {
        let record = apply(&Record::default(), &update("x", 1, &[(A, Some(600))]), 0);
        let record = apply(&record, &update("x", 2, &[(A, Some(0))]), 10);
        let record = apply(&record, &update("other", 1, &[(A, Some(900))]), 20);
        unchanged(&record, &update("x", 2, &[(A, Some(0))]), 30);
    }

    #[test]
    fn a_removed_binding_stays_removed_when_the_clock_is_set_back() {
        let record = apply(&Record::default(), &update("x", 1, &[(A, Some(600))]), 10_000);
        let record = apply(&record, &update("x", 2, &[(A, Some(0))]), 20_000);
        assert_eq!(live(&record, 15_000), []);
    }

    #[test]
    fn remove_all_follows_cseq_order() {
        // checklist 13
        let record = apply(&Record::default(), &update("x", 5, &[(A, Some(600)), (B, Some(600))]), 0);
        let record = apply(&record, &update("y", 1, &[(C, Some(600))]), 0);
        refused(&record, &change("x", 4, Ask::RemoveAll), 0, Refusal::OutOfOrder);
        let reused = Change { transaction: 99, ..change("x", 5, Ask::RemoveAll) };
        refused(&record, &reused, 0, Refusal::Merged);
        assert_eq!(live(&apply(&record, &change("other", 1, Ask::RemoveAll), 0), 0), []);
        let gone = apply(&record, &change("x", 6, Ask::RemoveAll), 0);
        assert_eq!(live(&gone, 0), []);
        // A retransmission does not remove what was added since.
        let gone = apply(&gone, &update("z", 1, &[(D, Some(600))]), 10);
        unchanged(&gone, &change("x", 6, Ask::RemoveAll), 20);
        assert_eq!(live(&gone, 20), one(D, 600));
    }

    #[test]
    fn live_contacts_are_limited() {
        // checklist 28
        let three = [(A, Some(600)), (B, Some(600)), (C, Some(600))];
        let record = apply(&Record::default(), &update("x", 1, &three), 0);
        let too_many = Refusal::TooManyContacts { max: 3 };
        refused(&record, &update("x", 2, &[(D, Some(600))]), 0, too_many);
        // One may replace another, and a new one is accepted when the others have expired.
        let swapped = apply(&record, &update("x", 2, &[(D, Some(600)), (A, Some(0))]), 0);
        assert_eq!(live(&swapped, 0).len(), 3);
        assert_eq!(live(&apply(&record, &update("x", 2, &[(D, Some(600))]), 600_000), 600_000), one(D, 600));
        let flood = vec![(A, Some(600)); 65];
        refused(&Record::default(), &update("x", 1, &flood), 0, Refusal::TooManyContacts { max: 64 });
    }

    #[test]
    fn text_is_limited() {
        let long = format!("sip:{}@h", "a".repeat(crate::MAX_TEXT));
        refused(&Record::default(), &update("x", 1, &[(&long, None)]), 0, Refusal::TooLong { max: crate::MAX_TEXT });
        // The limit may be lower than MAX_TEXT, but not higher.
        for (max_text, contact, fits) in [(100, 40, true), (100, 100, false), (usize::MAX, crate::MAX_TEXT, false)] {
            let uri = format!("sip:{}@h", "a".repeat(contact));
            let limits = Limits { max_text, ..LIMITS };
            let applied = Record::default().apply(&update("x", 1, &[(&uri, None)]), Wall(0), &limits);
            assert_eq!(applied.is_ok(), fits, "{max_text}");
        }
    }

    #[test]
    fn tombstones_are_limited() {
        let mut record = Record::default();
        for turn in 0..100 {
            let uri = format!("sip:a@192.0.2.7:{turn}");
            record = apply(&record, &update("x", 2 * turn + 1, &[(&uri, None)]), 1_000 + u64::from(turn));
            record = apply(&record, &update("x", 2 * turn + 2, &[(&uri, Some(0))]), 1_000 + u64::from(turn));
        }
        assert_eq!(record.bindings().len(), MAX_TOMBSTONES);
        refused(&record, &update("x", 199, &[("sip:a@192.0.2.7:99", None)]), 2_000, Refusal::OutOfOrder);
    }

    #[test]
    fn old_tombstones_are_dropped() {
        let record = apply(&Record::default(), &update("x", 1, &[(A, Some(60))]), 0);
        assert_eq!(apply(&record, &update("x", 2, &[(B, None)]), 91_999).bindings().len(), 2);
        assert_eq!(apply(&record, &update("x", 2, &[(B, None)]), 92_000).bindings().len(), 1);
    }
}
