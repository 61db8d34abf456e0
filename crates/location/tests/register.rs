//! Registration rules of RFC 3261 10.3: order, granted time, equality of Contacts, limits. `rules.rs` tests the rules of
//! other documents.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use location::{
    Applied, Binding, Change, ContactChange, Flow, FlowId, Limits, MAX_TEXT, Operation, Record, Refusal, Wall,
};

const LIMITS: Limits = Limits { max_contacts: 3, ..Limits::DEFAULT };

/// A Contact and the seconds asked for it.
type Asked<'a> = (&'a str, Option<u32>);

fn flow() -> Flow {
    let [remote, local] = ["192.0.2.7:5060", "192.0.2.1:5060"].map(|address| address.parse().unwrap());
    Flow { transport: parser::Transport::Udp, remote, local, id: FlowId::None }
}

fn change<'a>(call_id: &'a str, cseq: u32, operation: Operation<'a>) -> Change<'a> {
    // Each Call-ID and CSeq has its own transaction, unless a test sets another.
    let transaction = u64::from(cseq) << 8 | call_id.len() as u64;
    let call_id = call_id.as_bytes();
    Change { call_id, cseq, transaction, flow: flow(), path: b"<sip:edge>", user_agent: b"phone", operation }
}

fn contact<'a>(&(uri, expires): &Asked<'a>) -> ContactChange<'a> {
    let uri = uri.as_bytes();
    ContactChange { uri, params: b";a=b", expires, q: Some(500), instance: None, reg_id: None, flow_id: None }
}

fn update<'a>(call_id: &'a str, cseq: u32, contacts: &[Asked<'a>]) -> Change<'a> {
    change(call_id, cseq, Operation::Update(contacts.iter().map(contact).collect()))
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
    let show = |binding: Binding<'_>| (String::from_utf8_lossy(binding.contact()).into(), binding.remaining(Wall(now)));
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
    let record = apply(&Record::default(), &change("x", 7, Operation::Update([asked].into_iter().collect())), 1_000);
    let binding = record.live(Wall(1_000)).next().unwrap();
    assert_eq!((binding.contact(), binding.params()), (A.as_bytes(), &b";a=b"[..]));
    assert_eq!((binding.call_id(), binding.cseq(), binding.transaction()), (&b"x"[..], 7, 7 << 8 | 1));
    assert_eq!((binding.path(), binding.user_agent()), (&b"<sip:edge>"[..], &b"phone"[..]));
    assert_eq!((binding.instance(), binding.reg_id(), binding.q()), (Some(&b"<urn:uuid:1>"[..]), Some(1), Some(1000)));
    assert_eq!((binding.registered_at(), binding.expires_at()), (Wall(1_000), Wall(601_000)));
    assert_eq!(binding.flow(), flow());
}

#[test]
fn the_granted_time_is_the_requested_one_within_the_limits() {
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
fn the_remaining_time_is_rounded_up() {
    let record = apply(&Record::default(), &update("x", 1, &[(A, Some(60))]), 0);
    for (now, secs) in [(0, 60), (1, 60), (999, 60), (1_000, 59), (59_001, 1), (59_999, 1)] {
        assert_eq!(live(&record, now), one(A, secs), "{now}");
    }
    assert_eq!(live(&record, 60_000), []);
}

#[test]
fn the_cseq_of_a_call_id_must_increase() {
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
fn contacts_whose_equality_is_not_transitive_are_all_kept() {
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
fn contacts_of_other_schemes_are_kept() {
    // checklist 27
    let record = apply(&Record::default(), &update("x", 1, &[("tel:+1-201", Some(600)), (A, Some(600))]), 0);
    let record = apply(&record, &update("x", 2, &[("tel:+1-201", Some(900))]), 0);
    assert_eq!(live(&record, 0), [("tel:+1-201".to_owned(), 900), (A.to_owned(), 600)]);
}

#[test]
fn a_request_is_applied_as_a_whole_or_not_at_all() {
    // checklist 3
    let record = apply(&Record::default(), &update("x", 5, &[(A, Some(600))]), 0);
    refused(&record, &update("x", 4, &[(B, Some(600)), (A, Some(0))]), 10, Refusal::OutOfOrder);
    refused(&record, &update("x", 6, &[(B, Some(600)), (C, Some(5))]), 10, Refusal::TooBrief { min: 60 });
    assert_eq!(live(&record, 10), one(A, 600));
}

#[test]
fn the_last_of_equal_contacts_in_a_request_is_used() {
    let record = apply(&Record::default(), &update("x", 1, &[(A, Some(600)), (B, Some(600)), (A, Some(900))]), 0);
    assert_eq!(live(&record, 0), [(B.to_owned(), 600), (A.to_owned(), 900)]);
    let record = apply(&record, &update("x", 2, &[(A, Some(600)), (A, Some(0))]), 0);
    assert_eq!(live(&record, 0), one(B, 600));
}

#[test]
fn a_query_changes_nothing() {
    // checklist 11
    let record = apply(&Record::default(), &update("x", 1, &[(A, Some(600))]), 0);
    unchanged(&record, &change("x", 1, Operation::Query), 10);
    unchanged(&record, &change("x", 0, Operation::Query), 10);
    unchanged(&Record::default(), &change("x", 0, Operation::Query), 10);
}

#[test]
fn removing_an_unknown_binding_changes_nothing() {
    unchanged(&Record::default(), &update("x", 1, &[(A, Some(0))]), 0);
    unchanged(&Record::default(), &change("x", 1, Operation::RemoveAll), 0);
}

#[test]
fn a_removed_binding_is_not_live() {
    // checklist 25
    let record = apply(&Record::default(), &update("x", 1, &[(A, Some(600)), (B, Some(600))]), 0);
    let record = apply(&record, &update("x", 2, &[(A, Some(0))]), 1_000);
    assert_eq!(live(&record, 1_000), one(B, 599));
}

#[test]
fn a_late_retransmission_does_not_restore_a_removed_binding() {
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
fn a_late_retransmission_of_a_removal_removes_nothing() {
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
fn the_removal_of_all_bindings_follows_the_cseq_order() {
    // checklist 13
    let record = apply(&Record::default(), &update("x", 5, &[(A, Some(600)), (B, Some(600))]), 0);
    let record = apply(&record, &update("y", 1, &[(C, Some(600))]), 0);
    refused(&record, &change("x", 4, Operation::RemoveAll), 0, Refusal::OutOfOrder);
    let reused = Change { transaction: 99, ..change("x", 5, Operation::RemoveAll) };
    refused(&record, &reused, 0, Refusal::Merged);
    assert_eq!(live(&apply(&record, &change("other", 1, Operation::RemoveAll), 0), 0), []);
    let gone = apply(&record, &change("x", 6, Operation::RemoveAll), 0);
    assert_eq!(live(&gone, 0), []);
    // A retransmission does not remove what was added since.
    let gone = apply(&gone, &update("z", 1, &[(D, Some(600))]), 10);
    unchanged(&gone, &change("x", 6, Operation::RemoveAll), 20);
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
fn the_text_of_a_binding_is_limited() {
    let long = format!("sip:{}@h", "a".repeat(MAX_TEXT));
    refused(&Record::default(), &update("x", 1, &[(&long, None)]), 0, Refusal::TooLong { max: MAX_TEXT });
    // The limit may be lower than MAX_TEXT, but not higher.
    for (max_text, contact, fits) in [(100, 40, true), (100, 100, false), (usize::MAX, MAX_TEXT, false)] {
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
    assert_eq!(record.bindings().len(), 32);
    refused(&record, &update("x", 199, &[("sip:a@192.0.2.7:99", None)]), 2_000, Refusal::OutOfOrder);
}

#[test]
fn old_tombstones_are_dropped() {
    let record = apply(&Record::default(), &update("x", 1, &[(A, Some(60))]), 0);
    assert_eq!(apply(&record, &update("x", 2, &[(B, None)]), 91_999).bindings().len(), 2);
    assert_eq!(apply(&record, &update("x", 2, &[(B, None)]), 92_000).bindings().len(), 1);
}
