//! Random REGISTERs against the simplest registrar that can be written down.

#![allow(clippy::indexing_slicing, reason = "test code outside of test functions")]

use location::{Applied, Ask, Change, ContactChange, Limits, Record, Refusal, Wall};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

#[path = "support/mod.rs"]
mod support;

const LIMITS: Limits = Limits { default_expires: 120, max_expires: 600, max_contacts: 3, ..Limits::DEFAULT };
const URIS: [&str; 5] = ["sip:a@h", "sip:b@h", "sip:a@h:5060", "tel:1", "sip:B@h"];
const CALLS: [&str; 2] = ["x", "y"];

#[derive(Clone, Debug)]
struct Request {
    wait: u64,
    call: usize,
    cseq: u32,
    transaction: u64,
    /// `None`: remove all.
    contacts: Option<Vec<(usize, Option<u32>)>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    uri: usize,
    call: usize,
    cseq: u32,
    transaction: u64,
    ends: u64,
    removed: bool,
}

impl Entry {
    fn live(&self, now: u64) -> bool {
        !self.removed && self.ends > now
    }

    fn end(&mut self, request: &Request, now: u64) {
        (self.removed, self.ends) = (true, now);
        if self.call == request.call {
            (self.cseq, self.transaction) = (request.cseq, request.transaction);
        }
    }

    fn same(&self, request: &Request) -> bool {
        (self.call, self.cseq, self.transaction) == (request.call, request.cseq, request.transaction)
    }

    fn late(&self, request: &Request) -> bool {
        self.call == request.call && request.cseq <= self.cseq && !self.same(request)
    }
}

/// All that the registrar remembers, from scratch for each request.
fn expect(entries: &[Entry], request: &Request, now: u64) -> Result<Vec<Entry>, Refusal> {
    let mut entries: Vec<Entry> = entries.iter().filter(|entry| entry.ends + 32_000 > now).cloned().collect();
    let Some(contacts) = &request.contacts else {
        if entries.iter().any(|entry| entry.late(request)) {
            return Err(Refusal::OutOfOrder);
        }
        if !entries.iter().any(|entry| entry.same(request)) {
            entries.iter_mut().filter(|entry| entry.live(now)).for_each(|entry| entry.end(request, now));
        }
        return Ok(entries);
    };
    let mut changed = false;
    for (at, &(uri, asked)) in contacts.iter().enumerate() {
        let secs = asked.unwrap_or(LIMITS.default_expires).min(LIMITS.max_expires);
        if secs > 0 && secs < LIMITS.min_expires {
            return Err(Refusal::TooBrief { min: LIMITS.min_expires });
        }
        if contacts.iter().skip(at + 1).any(|&(later, _)| later == uri) {
            continue;
        }
        let known: Vec<Entry> = entries.iter().filter(|entry| entry.uri == uri).cloned().collect();
        let copy_of_removed = |entry: &Entry| entry.same(request) && !entry.live(now) && secs > 0;
        if known.iter().any(|entry| entry.late(request) || copy_of_removed(entry)) {
            return Err(Refusal::OutOfOrder);
        }
        if known.iter().any(|entry| entry.same(request)) {
            continue;
        }
        if secs == 0 {
            for entry in entries.iter_mut().filter(|entry| entry.uri == uri && entry.live(now)) {
                entry.end(request, now);
                changed = true;
            }
            continue;
        }
        entries.retain(|entry| entry.uri != uri || !(entry.live(now) || entry.call == request.call));
        let (call, cseq, transaction) = (request.call, request.cseq, request.transaction);
        entries.push(Entry { uri, call, cseq, transaction, ends: now + u64::from(secs) * 1000, removed: false });
        changed = true;
    }
    if changed && entries.iter().filter(|entry| entry.live(now)).count() > LIMITS.max_contacts {
        return Err(Refusal::TooManyContacts { max: LIMITS.max_contacts });
    }
    Ok(entries)
}

fn real(record: &Record, request: &Request, now: u64) -> Result<Applied, Refusal> {
    let contact = |&(uri, expires): &(usize, Option<u32>)| ContactChange {
        uri: URIS[uri].as_bytes(),
        params: b"",
        expires,
        q: None,
        instance: None,
        reg_id: None,
    };
    let ask = match &request.contacts {
        Some(contacts) => Ask::Update(contacts.iter().map(contact).collect()),
        None => Ask::RemoveAll,
    };
    let change = Change {
        call_id: CALLS[request.call].as_bytes(),
        cseq: request.cseq,
        transaction: request.transaction,
        flow: support::flow(),
        path: b"",
        user_agent: b"",
        ask,
    };
    record.apply(&change, Wall(now), &LIMITS)
}

fn request() -> impl Strategy<Value = Request> {
    let expires = select(vec![None, Some(0), Some(0), Some(30), Some(60), Some(90), Some(900)]);
    let contacts = prop_oneof![1 => Just(None), 6 => vec((0..URIS.len(), expires), 1..4).prop_map(Some)];
    let wait = prop_oneof![3 => 0..2_000_u64, 1 => 2_000..70_000_u64];
    (wait, 0..CALLS.len(), 1..12_u32, 0..2_u64, contacts)
        .prop_map(|(wait, call, cseq, transaction, contacts)| Request { wait, call, cseq, transaction, contacts })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn record_follows_the_model(requests in vec(request(), 1..40)) {
        let (mut record, mut entries, mut now) = (Record::default(), Vec::new(), 1_000_000);
        for request in &requests {
            now += request.wait;
            match (real(&record, request, now), expect(&entries, request, now)) {
                (Err(refusal), Err(expected)) => prop_assert_eq!(refusal, expected),
                (Ok(applied), Ok(expected)) => {
                    if let Applied::Changed(changed) = applied {
                        record = changed;
                    }
                    entries = expected;
                }
                (applied, expected) => prop_assert!(false, "{:?}: {:?}, not {:?}", request, applied, expected),
            }
            let mut found: Vec<_> =
                record.live(Wall(now)).map(|binding| (binding.contact().to_vec(), binding.expires_at().0)).collect();
            let expected = entries.iter().filter(|entry| entry.live(now));
            let mut expected: Vec<_> = expected.map(|entry| (URIS[entry.uri].as_bytes().to_vec(), entry.ends)).collect();
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected, "after {:?}", request);
        }
    }
}
