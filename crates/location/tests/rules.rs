//! Registration rules beyond RFC 3261 10.3: flows, displacement of bindings, jitter of the granted time, validity of
//! temporary GRUUs. `register.rs` tests the rules of 10.3.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "test code outside of test functions")]

use location::{
    Applied, Binding, Change, ConnectionId, ContactChange, End, Flow, Limits, Operation, Record, Refusal, Wall,
    WhenFull,
};
use parser::Transport;

#[path = "support/mod.rs"]
mod support;

const LIMITS: Limits = Limits { max_contacts: 3, ..Limits::DEFAULT };
const REPLACE_OLDEST: Limits = Limits { when_full: WhenFull::ReplaceOldest, ..LIMITS };

/// A Contact: URI, instance, reg-id, seconds.
type Asked<'a> = (&'a str, Option<&'a str>, Option<u32>, u32);

fn contact(uri: &str) -> Asked<'_> {
    (uri, None, None, 600)
}

fn flow<'a>(uri: &'a str, instance: &'a str, reg_id: u32) -> Asked<'a> {
    (uri, Some(instance), Some(reg_id), 600)
}

fn change<'a>(call_id: &'a str, cseq: u32, contacts: &[Asked<'a>]) -> Change<'a> {
    let to_change = |&(uri, instance, reg_id, expires): &Asked<'a>| ContactChange {
        uri: uri.as_bytes(),
        params: b"",
        expires: Some(expires),
        q: None,
        instance: instance.map(str::as_bytes),
        reg_id,
        flow_id: None,
    };
    Change {
        call_id: call_id.as_bytes(),
        cseq,
        transaction: u64::from(cseq),
        flow: support::flow(),
        path: b"",
        user_agent: b"",
        operation: Operation::Update(contacts.iter().map(to_change).collect()),
    }
}

/// A record, the clock in seconds, and the limits.
struct Registrar {
    record: Record,
    now: u64,
    limits: Limits,
}

impl Registrar {
    fn new(limits: Limits) -> Self {
        Self { record: Record::default(), now: 1_000, limits }
    }

    fn apply(&self, change: &Change<'_>) -> Result<Applied, Refusal> {
        self.record.apply(change, self.wall(), &self.limits)
    }

    fn register(&mut self, change: &Change<'_>) -> &mut Self {
        match self.apply(change) {
            Ok(Applied::Changed { record, .. }) => self.record = record,
            other => panic!("{change:?}: {other:?}"),
        }
        self.now += 10;
        self
    }

    fn wall(&self) -> Wall {
        Wall(self.now * 1000)
    }

    fn uris(&self) -> Vec<String> {
        self.record.live(self.wall()).map(|binding| String::from_utf8_lossy(binding.contact()).into()).collect()
    }

    fn binding(&self, uri: &str) -> Binding<'_> {
        let found = self.record.live(self.wall()).find(|binding| binding.contact() == uri.as_bytes());
        found.unwrap_or_else(|| panic!("no {uri}"))
    }
}

#[test]
fn a_flow_replaces_the_older_one() {
    // checklist 136
    let mut registrar = Registrar::new(LIMITS);
    registrar.register(&change("x", 1, &[flow("sip:a@h1", "I", 1)]));
    registrar.register(&change("x", 2, &[flow("sip:a@h2", "I", 1)]));
    assert_eq!(registrar.uris(), ["sip:a@h2"], "whatever the URI");
    registrar.register(&change("x", 3, &[flow("sip:a@h3", "I", 2)]));
    registrar.register(&change("x", 4, &[flow("sip:a@h2", "J", 1)]));
    assert_eq!(registrar.uris(), ["sip:a@h2", "sip:a@h3", "sip:a@h2"], "other flows, other phones");
    // CSeq order is kept per flow.
    assert_eq!(registrar.apply(&change("x", 2, &[flow("sip:a@h9", "I", 2)])).map(|_| ()), Err(Refusal::OutOfOrder));
    registrar.register(&change("y", 1, &[("sip:elsewhere@h", Some("I"), Some(2), 0)]));
    assert_eq!(registrar.uris(), ["sip:a@h2", "sip:a@h2"], "removed by instance and reg-id, not by its URI");
}

#[test]
fn a_late_retransmission_does_not_restore_a_flow() {
    // checklist 19, 136
    let mut registrar = Registrar::new(LIMITS);
    registrar.register(&change("x", 1, &[flow("sip:a@h1", "I", 1)]));
    registrar.register(&change("x", 2, &[("sip:a@h1", Some("I"), Some(1), 0)]));
    let late = change("x", 1, &[flow("sip:a@h2", "I", 1)]);
    assert_eq!(registrar.apply(&late).map(|_| ()), Err(Refusal::OutOfOrder));
}

#[test]
fn an_instance_alone_is_no_flow() {
    // checklist 136: RFC 5626 6 binds by it only with a reg-id.
    let mut registrar = Registrar::new(LIMITS);
    let instance = |uri| (uri, Some("I"), None, 600);
    registrar.register(&change("x", 1, &[instance("sip:a@h1")]));
    registrar.register(&change("x", 2, &[instance("sip:a@h2")]));
    registrar.register(&change("x", 3, &[("sip:a@h1", Some("J"), None, 600)]));
    assert_eq!(registrar.uris(), ["sip:a@h1", "sip:a@h2"]);
    assert_eq!(registrar.binding("sip:a@h1").instance(), Some(&b"J"[..]));
}

#[test]
fn a_contact_without_reg_id_does_not_replace_a_flow() {
    // checklist 136
    let mut registrar = Registrar::new(LIMITS);
    registrar.register(&change("x", 1, &[flow("sip:a@h", "I", 1)]));
    registrar.register(&change("y", 1, &[contact("sip:a@h")]));
    assert_eq!(registrar.uris(), ["sip:a@h", "sip:a@h"], "two phones may have the same private address");
    registrar.register(&change("x", 2, &[flow("sip:a@h", "I", 1)]));
    assert_eq!(registrar.uris().len(), 2);
    // RFC 3261 10.2.2: without a flow the URI identifies what to remove.
    registrar.register(&change("z", 1, &[("sip:a@h", Some("J"), None, 0)]));
    assert_eq!(registrar.uris().len(), 1);
    assert!(registrar.binding("sip:a@h").reg_id().is_some());
    registrar.register(&change("z", 1, &[("sip:a@h", None, None, 0)]));
    assert_eq!(registrar.uris(), [""; 0]);
}

#[test]
fn the_last_contact_of_a_flow_counts() {
    let mut registrar = Registrar::new(LIMITS);
    registrar.register(&change("x", 1, &[flow("sip:a@h1", "I", 1), flow("sip:a@h2", "I", 1)]));
    assert_eq!(registrar.uris(), ["sip:a@h2"]);
}

#[test]
fn a_flow_can_move_to_another_uri() {
    // pjsua sends such a REGISTER when its TCP address changes.
    let removal = |instance, reg_id| ("sip:a@h1", instance, reg_id, 0);
    for removal in [removal(Some("I"), Some(1)), removal(Some("I"), None), removal(None, None)] {
        for comes_first in [true, false] {
            let mut registrar = Registrar::new(LIMITS);
            registrar.register(&change("x", 1, &[flow("sip:a@h1", "I", 1)]));
            registrar.register(&change("x", 2, &[flow("sip:a@h1", "I", 2), flow("sip:c@h", "J", 1)]));
            let mut contacts = [flow("sip:a@h2", "I", 1), removal];
            if comes_first {
                contacts.reverse();
            }
            let moves = change("x", 3, &contacts);
            registrar.register(&moves);
            let is_first = |uri: &&String| *uri == "sip:a@h2";
            assert_eq!(registrar.uris().iter().filter(is_first).count(), 1, "{removal:?} {comes_first}");
            assert_eq!(registrar.binding("sip:a@h2").reg_id(), Some(1));
            let left = registrar
                .record
                .live(registrar.wall())
                .any(|old| old.contact() == b"sip:a@h1" && old.reg_id() == Some(1));
            assert!(!left, "{removal:?} {comes_first}");
            assert_eq!(registrar.binding("sip:c@h").instance(), Some(&b"J"[..]), "another phone stays");
            if removal.2.is_some() {
                assert_eq!(registrar.binding("sip:a@h1").reg_id(), Some(2), "another flow stays");
            }
            // A retransmission changes nothing.
            assert!(matches!(registrar.apply(&moves), Ok(Applied::Unchanged)), "{removal:?} {comes_first}");
        }
    }
    // The same without an existing binding. Of two Contacts with the same URI the last one counts.
    let mut registrar = Registrar::new(LIMITS);
    registrar.register(&change(
        "x",
        1,
        &[removal(Some("I"), Some(1)), flow("sip:a@h2", "I", 1), flow("sip:a@h3", "I", 1)],
    ));
    assert_eq!(registrar.uris(), ["sip:a@h3"]);
    registrar.register(&change("x", 2, &[flow("sip:a@h3", "I", 1), ("sip:a@h3", Some("I"), Some(1), 0)]));
    assert_eq!(registrar.uris(), [""; 0]);
}

#[test]
fn the_oldest_binding_is_replaced() {
    // checklist 28
    let mut registrar = Registrar::new(REPLACE_OLDEST);
    for (cseq, uri) in [(1, "sip:a@h"), (2, "sip:b@h"), (3, "sip:c@h"), (4, "sip:a@h")] {
        registrar.register(&change("x", cseq, &[contact(uri)]));
    }
    let one_more = change("y", 1, &[contact("sip:d@h")]);
    assert!(matches!(
        registrar.apply(&one_more),
        Ok(Applied::Changed { before: 3, adds_target: true, displaced: true, .. })
    ));
    registrar.register(&one_more);
    assert_eq!(registrar.uris(), ["sip:a@h", "sip:c@h", "sip:d@h"], "a was refreshed, b was not");
    assert_eq!(registrar.apply(&change("x", 2, &[contact("sip:b@h")])).map(|_| ()), Err(Refusal::OutOfOrder));
    registrar.register(&change("x", 5, &[contact("sip:b@h")]));
    assert_eq!(registrar.uris(), ["sip:a@h", "sip:d@h", "sip:b@h"], "a binding that is set again is the newest");
    let several = change("y", 2, &[contact("sip:e@h"), contact("sip:f@h")]);
    registrar.register(&several);
    assert_eq!(registrar.uris(), ["sip:b@h", "sip:e@h", "sip:f@h"]);
}

#[test]
fn contacts_of_one_request_do_not_displace_each_other() {
    // checklist 3, 28
    let mut registrar = Registrar::new(REPLACE_OLDEST);
    registrar.register(&change("x", 1, &[contact("sip:a@h")]));
    let four = ["sip:1@h", "sip:2@h", "sip:3@h", "sip:4@h"].map(contact);
    assert_eq!(registrar.apply(&change("y", 1, &four)).map(|_| ()), Err(Refusal::TooManyContacts { max: 3 }));
    assert_eq!(registrar.uris(), ["sip:a@h"]);
    registrar.limits.max_request_contacts = 2;
    let three = change("y", 1, &four[..3]);
    assert_eq!(registrar.apply(&three).map(|_| ()), Err(Refusal::TooManyContacts { max: 2 }));
}

#[test]
fn a_lowered_limit_applies_to_new_bindings_only() {
    // checklist 28
    for when_full in [WhenFull::Refuse, WhenFull::ReplaceOldest] {
        let mut registrar = Registrar::new(Limits { when_full, ..LIMITS });
        registrar.register(&change("x", 1, &["sip:a@h", "sip:b@h", "sip:c@h"].map(contact)));
        registrar.limits.max_contacts = 1;
        registrar.register(&change("x", 2, &[contact("sip:a@h")]));
        assert_eq!(registrar.uris().len(), 3, "a refresh");
        registrar.register(&change("x", 3, &[("sip:a@h", None, None, 0)]));
        assert_eq!(registrar.uris().len(), 2, "a removal");
        registrar.register(&change("x", 4, &[("sip:b@h", None, None, 0), contact("sip:d@h")]));
        assert_eq!(registrar.uris(), ["sip:c@h", "sip:d@h"], "one for another");
    }
}

#[test]
fn a_phone_that_reconnects_does_not_reach_its_own_limit() {
    // checklist 28
    let phone = |number: u32, connection: ConnectionId| {
        let flow = Flow { transport: Transport::Tcp, id: connection.into(), ..support::flow() };
        (format!("sip:a@h:{number}"), format!("{number}"), flow)
    };
    let connection = |number: u32| ConnectionId::new(number.into()).unwrap();
    // Recognised by its instance, by its closed connections, by both.
    for (instance, closes) in [(Some("I"), false), (None, true), (Some("I"), true)] {
        let mut registrar = Registrar::new(LIMITS);
        let flow = Flow { id: connection(1_000).into(), ..support::flow() };
        registrar.register(&Change { flow, ..change("fixed", 1, &[contact("sip:desk@h")]) });
        for number in 1..20 {
            let (uri, call_id, flow) = phone(number, connection(number));
            let asked = change(&call_id, 1, &[(&uri, instance, None, 600)]);
            let is_closed = |flow: &Flow| closes && flow.id.connection() < ConnectionId::new(number.into());
            let applied = registrar.record.apply_with_closed_flows(
                &Change { flow, ..asked },
                registrar.wall(),
                &LIMITS,
                &is_closed,
            );
            let Ok(Applied::Changed { record, displaced, .. }) = applied else { panic!("{number}: {applied:?}") };
            assert_eq!(displaced, number > 2);
            (registrar.record, registrar.now) = (record, registrar.now + 10);
            let uris = registrar.uris();
            assert!(uris.len() <= 3 && uris[0] == "sip:desk@h" && uris.last() == Some(&uri), "{uris:?}");
        }
    }
}

#[test]
fn only_stale_bindings_are_displaced() {
    // checklist 28
    let too_many = Err(Refusal::TooManyContacts { max: 3 });
    let mut registrar = Registrar::new(LIMITS);
    registrar.register(&change("x", 1, &[flow("sip:1@h", "I", 1)]));
    registrar.register(&change("y", 1, &[flow("sip:2@h", "I", 2)]));
    registrar.register(&change("z", 1, &[("sip:3@h", Some("J"), None, 600)]));
    // Several flows of one phone are not stale, and neither are bindings of other phones.
    assert_eq!(registrar.apply(&change("w", 1, &[("sip:4@h", Some("K"), None, 600)])).map(|_| ()), too_many);
    assert_eq!(registrar.apply(&change("w", 1, &[flow("sip:4@h", "I", 3)])).map(|_| ()), too_many);
    assert_eq!(registrar.apply(&change("w", 1, &[contact("sip:4@h")])).map(|_| ()), too_many);
    // No more than necessary.
    registrar.register(&change("w", 1, &[("sip:4@h", Some("J"), None, 600)]));
    assert_eq!(registrar.uris(), ["sip:1@h", "sip:2@h", "sip:4@h"]);
    // Several Contacts of one request displace stale bindings, but not each other.
    let both = [("sip:5@h", Some("J"), None, 600), ("sip:6@h", Some("J"), None, 600)];
    assert_eq!(registrar.apply(&change("v", 1, &both)).map(|_| ()), too_many);
    assert_eq!(registrar.uris(), ["sip:1@h", "sip:2@h", "sip:4@h"]);
}

#[test]
fn an_ended_binding_has_the_reason_of_its_end() {
    // checklist 155
    let mut registrar = Registrar::new(REPLACE_OLDEST);
    let ends = |registrar: &Registrar| {
        let ended = registrar
            .record
            .bindings()
            .into_iter()
            .filter_map(|binding| Some((binding, binding.end(registrar.wall())?)));
        ended.map(|(binding, end)| (String::from_utf8_lossy(binding.contact()).into_owned(), end)).collect::<Vec<_>>()
    };
    registrar.register(&change("x", 1, &["sip:a@h", "sip:b@h", "sip:c@h"].map(contact)));
    assert_eq!(ends(&registrar), []);
    registrar.register(&change("x", 2, &[contact("sip:d@h")]));
    assert_eq!(ends(&registrar), [("sip:a@h".to_owned(), End::Deactivated)], "displaced");
    // One phone removes the binding of another.
    registrar.register(&change("y", 1, &[("sip:b@h", None, None, 0)]));
    assert_eq!(ends(&registrar)[1..], [("sip:b@h".to_owned(), End::Unregistered)]);
    registrar.register(&Change::administrative(Operation::Update(
        [ContactChange::plain(b"sip:c@h", 0)].into_iter().collect(),
    )));
    assert_eq!(ends(&registrar)[2..], [("sip:c@h".to_owned(), End::Deactivated)], "removed by an operator");
    registrar.register(&change("z", 1, &[("sip:e@h", None, None, 60)]));
    registrar.now += 50;
    assert_eq!(registrar.binding("sip:d@h").end(registrar.wall()), None);
    assert_eq!(ends(&registrar).last(), Some(&("sip:e@h".to_owned(), End::Expired)));
}

#[test]
fn jitter_shortens_the_granted_time() {
    let granted = |asked: u32, transaction: u64, limits: Limits| {
        let change = Change { transaction, ..change("x", 1, &[("sip:a@h", None, None, asked)]) };
        let registrar = Registrar::new(limits);
        match registrar.apply(&change) {
            Ok(Applied::Changed { record, displaced: false, .. }) => {
                record.live(registrar.wall()).next().map(|binding| binding.remaining(registrar.wall()))
            }
            other => panic!("{other:?}"),
        }
    };
    let jitter = Limits { jitter: 10, ..LIMITS };
    for (transaction, seconds) in [(0, 3600), (u64::MAX / 2, 3420), (u64::MAX, 3240)] {
        assert_eq!(granted(3600, transaction, jitter), Some(seconds));
        assert_eq!(granted(3600, transaction, LIMITS), Some(3600), "without jitter");
    }
    // Never below the shortest time allowed.
    assert_eq!(granted(62, u64::MAX, jitter), Some(60));
    assert_eq!(granted(60, u64::MAX, jitter), Some(60));
    assert_eq!(granted(u32::MAX, u64::MAX, jitter), Some(6480));
}

#[test]
fn a_retransmission_gets_the_same_granted_time() {
    let mut registrar = Registrar::new(Limits { jitter: 50, ..LIMITS });
    let asked = Change { transaction: u64::MAX, ..change("x", 1, &[contact("sip:a@h")]) };
    registrar.register(&asked);
    assert!(matches!(registrar.apply(&asked), Ok(Applied::Unchanged)));
    assert_eq!(registrar.binding("sip:a@h").remaining(registrar.wall()), 290);
}

/// The earliest time at which a phone's still valid temporary GRUUs can have been issued.
fn since(registrar: &Registrar, uri: &str) -> u64 {
    registrar.binding(uri).since().millis() / 1000
}

#[test]
fn a_registration_ends_when_the_call_id_changes() {
    // checklist 149
    let mut registrar = Registrar::new(LIMITS);
    let phone = |call_id, cseq| change(call_id, cseq, &[("sip:a@h", Some("I"), None, 600)]);
    registrar.register(&phone("x", 1)).register(&phone("x", 2));
    assert_eq!(since(&registrar, "sip:a@h"), 1_000);
    registrar.register(&phone("y", 1));
    assert_eq!(since(&registrar, "sip:a@h"), 1_020);
    // Also with another Contact URI: the instance is the same.
    registrar.register(&change("y", 2, &[("sip:a@h2", Some("I"), None, 600)]));
    assert_eq!(since(&registrar, "sip:a@h2"), 1_020);
    registrar.register(&change("z", 1, &[("sip:a@h3", Some("I"), None, 600)]));
    assert_eq!(["sip:a@h", "sip:a@h2", "sip:a@h3"].map(|uri| since(&registrar, uri)), [1_040; 3]);
}

#[test]
fn each_flow_has_its_call_id_and_all_share_the_gruus() {
    // checklist 149: RFC 5627 5.1 compares by flow and ends them by instance.
    let mut registrar = Registrar::new(LIMITS);
    registrar.register(&change("x", 1, &[flow("sip:a@h1", "I", 1)]));
    registrar.register(&change("y", 1, &[flow("sip:a@h2", "I", 2)]));
    assert_eq!((since(&registrar, "sip:a@h1"), since(&registrar, "sip:a@h2")), (1_000, 1_000));
    registrar.register(&change("z", 1, &[flow("sip:a@h1", "I", 1)]));
    assert_eq!((since(&registrar, "sip:a@h1"), since(&registrar, "sip:a@h2")), (1_020, 1_020));
    registrar.register(&change("y", 2, &[flow("sip:a@h2", "I", 2)]));
    assert_eq!((since(&registrar, "sip:a@h1"), since(&registrar, "sip:a@h2")), (1_020, 1_020));
    registrar.register(&change("x", 1, &[flow("sip:b@h", "J", 1)]));
    assert_eq!(since(&registrar, "sip:b@h"), 1_040, "another phone");
}

#[test]
fn earlier_gruus_stay_invalid_when_the_clock_is_set_back() {
    // checklist 151
    let mut registrar = Registrar::new(LIMITS);
    let phone = |call_id, expires| change(call_id, 1, &[("sip:a@h", Some("I"), None, expires)]);
    registrar.register(&phone("x", 600));
    let issued = registrar.binding("sip:a@h").registered_at();
    registrar.now -= 500;
    registrar.register(&phone("y", 600));
    assert!(registrar.binding("sip:a@h").since() > issued);
    // Also if the phone removes its binding and registers again within one second.
    registrar.register(&phone("z", 0));
    registrar.now -= 10;
    registrar.register(&phone("w", 600));
    assert!(registrar.binding("sip:a@h").since() > issued);
}
