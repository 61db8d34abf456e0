//! Property test: random REGISTERs, compared with a simple model of a registrar.

#![allow(clippy::indexing_slicing, reason = "test code outside of test functions")]

use location::{Applied, Change, ContactChange, Limits, Operation, Record, Refusal, Wall, WhenFull};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

#[path = "support/mod.rs"]
mod support;

const LIMITS: Limits = Limits { default_expires: 120, max_expires: 600, max_contacts: 4, ..Limits::DEFAULT };
const URIS: [&str; 5] = ["sip:a@h", "sip:b@h", "sip:a@h:5060", "tel:1", "sip:B@h"];
const CALLS: [&str; 2] = ["x", "y"];
const INSTANCES: [&str; 2] = ["<urn:uuid:1>", "<urn:uuid:2>"];

#[derive(Clone, Debug)]
struct Request {
    /// Milliseconds since the previous request; negative if the clock was set back.
    wait: i64,
    call: usize,
    cseq: u32,
    transaction: u64,
    /// `None`: remove all.
    contacts: Option<Vec<Contact>>,
}

#[derive(Clone, Debug)]
struct Contact {
    phone: Phone,
    expires: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Phone {
    uri: usize,
    instance: Option<usize>,
    reg_id: Option<u32>,
}

impl Phone {
    fn flow(self) -> Option<(usize, u32)> {
        self.instance.zip(self.reg_id)
    }

    fn same(self, other: Self) -> bool {
        self.flow() == other.flow() && (self.flow().is_some() || self.uri == other.uri)
    }

    fn removes(self, other: Self) -> bool {
        let same_phone = self.instance.is_none() || self.instance == other.instance;
        self.same(other) || self.flow().is_none() && same_phone && self.uri == other.uri
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    phone: Phone,
    call: usize,
    cseq: u32,
    transaction: u64,
    set: u64,
    since: u64,
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

    fn refuses(&self, request: &Request, now: u64) -> Option<Refusal> {
        let touched = if self.removed { self.ends } else { self.set };
        let late = self.call == request.call && request.cseq <= self.cseq && !self.same(request);
        let merged = request.cseq == self.cseq && now < touched + 32_000;
        late.then_some(if merged { Refusal::Merged } else { Refusal::OutOfOrder })
    }
}

/// The entries that the registrar should have after `request`.
fn expected_outcome(entries: &[Entry], request: &Request, now: u64, limits: &Limits) -> Result<Vec<Entry>, Refusal> {
    let mut before: Vec<Entry> = entries.iter().filter(|entry| entry.ends + 32_000 > now).cloned().collect();
    if let Some(contacts) = &request.contacts {
        let after = update(before, contacts, request, now, limits)?;
        return Ok(after.unwrap_or_else(|| entries.to_vec()));
    }
    if let Some(refusal) = before.iter().find_map(|entry| entry.refuses(request, now)) {
        return Err(refusal);
    }
    // A request that changes nothing does not discard tombstones.
    if before.iter().any(|entry| entry.same(request)) || !before.iter().any(|entry| entry.live(now)) {
        return Ok(entries.to_vec());
    }
    before.iter_mut().filter(|entry| entry.live(now)).for_each(|entry| entry.end(request, now));
    Ok(before)
}

/// The changes by one request: replacements and removals of existing entries, and added entries.
struct Outcome {
    replaced: Vec<Option<Entry>>,
    gone: Vec<bool>,
    added: Vec<Entry>,
    reset_instances: Vec<(usize, u64)>,
}

fn update(
    before: Vec<Entry>,
    contacts: &[Contact],
    request: &Request,
    now: u64,
    limits: &Limits,
) -> Result<Option<Vec<Entry>>, Refusal> {
    let (replaced, gone) = (vec![None; before.len()], vec![false; before.len()]);
    let mut next = Outcome { replaced, gone, added: Vec::new(), reset_instances: Vec::new() };
    for (at, &Contact { phone, expires }) in contacts.iter().enumerate() {
        let secs = grant(expires, request.transaction, limits)?;
        // The same flow at another URI: it has moved.
        let moves = |other: Phone| phone.flow().is_some() && phone.same(other) && phone.uri != other.uri;
        let removes = |contact: &Contact| contact.expires == Some(0);
        let moves_to = contacts.iter().any(|other| moves(other.phone) && !removes(other));
        let mut later = contacts.iter().skip(at + 1).filter(|later| later.phone.same(phone));
        if (secs == 0 && moves_to) || later.any(|later| !(removes(later) && moves(later.phone))) {
            continue;
        }
        let matches = |entry: &Entry| if secs == 0 { phone.removes(entry.phone) } else { phone.same(entry.phone) };
        if let Some(refusal) =
            before.iter().filter(|entry| matches(entry)).find_map(|entry| entry.refuses(request, now))
        {
            return Err(refusal);
        }
        let mut copies = before.iter().filter(|entry| matches(entry) && entry.same(request)).peekable();
        if copies.peek().is_some() {
            // The binding that it set has ended since. A request that removes a flow by its URI and sets it leaves both
            // entries.
            if secs > 0 && !copies.any(|entry| entry.live(now)) {
                return Err(Refusal::OutOfOrder);
            }
            continue;
        }
        let matching: Vec<usize> = (0..before.len()).filter(|index| matches(&before[*index])).collect();
        if secs > 0 {
            next.set(&before, &matching, phone, secs, request, now);
        } else {
            next.remove(&before, &matching, request, now);
        }
    }
    if next.added.is_empty() && next.replaced.iter().all(Option::is_none) {
        return Ok(None);
    }
    next.make_room(&before, request, now, limits)?;
    let kept = before.into_iter().zip(next.replaced).zip(next.gone).filter(|(_, gone)| !gone);
    let mut after: Vec<Entry> = kept.map(|((old, new), _)| new.unwrap_or(old)).chain(next.added).collect();
    for (instance, since) in next.reset_instances {
        after.iter_mut().filter(|entry| entry.phone.instance == Some(instance)).for_each(|entry| entry.since = since);
    }
    Ok(Some(after))
}

impl Outcome {
    fn is_available(&self, before: &[Entry], index: usize, now: u64) -> bool {
        before[index].live(now) && self.replaced[index].is_none()
    }

    fn remove(&mut self, before: &[Entry], matching: &[usize], request: &Request, now: u64) {
        for &index in matching {
            if self.is_available(before, index, now) {
                let mut entry = before[index].clone();
                entry.end(request, now);
                self.replaced[index] = Some(entry);
            }
        }
    }

    fn set(&mut self, before: &[Entry], matching: &[usize], phone: Phone, secs: u32, request: &Request, now: u64) {
        let (call, cseq, transaction) = (request.call, request.cseq, request.transaction);
        let ends = now + u64::from(secs) * 1000;
        let mut entry = Entry { phone, call, cseq, transaction, set: now, since: now, ends, removed: false };
        if let Some(instance) = phone.instance {
            let (since, is_reset) = since(before, phone, request.call, now);
            entry.since = since;
            self.reset_instances.extend(is_reset.then_some((instance, since)));
        }
        for &index in matching.iter().filter(|index| !before[**index].live(now)) {
            self.gone[index] |= before[index].call == call;
            self.replaced[index] = Some(Entry { removed: true, ..before[index].clone() });
        }
        let Some(&index) = matching.iter().find(|index| self.is_available(before, **index, now)) else {
            return self.added.push(entry);
        };
        if phone.instance.is_none() && before[index].call == call {
            entry.since = before[index].since;
        }
        self.replaced[index] = Some(entry);
    }

    /// The number of live entries.
    fn live(&self, before: &[Entry], now: u64) -> usize {
        self.after(before).filter(|entry| entry.live(now)).count()
    }

    fn after<'a>(&'a self, before: &'a [Entry]) -> impl Iterator<Item = &'a Entry> {
        before.iter().zip(&self.replaced).map(|(old, new)| new.as_ref().unwrap_or(old)).chain(&self.added)
    }

    /// The least recently refreshed of the entries whose phone has a newer one.
    fn superseded(&self, before: &[Entry], now: u64) -> Option<usize> {
        let has_newer = |old: &Entry| {
            let newer =
                |entry: &Entry| entry.live(now) && entry.phone.instance == old.phone.instance && entry.set > old.set;
            old.phone.instance.is_some() && self.after(before).any(newer)
        };
        let available = (0..before.len()).filter(|index| self.is_available(before, *index, now));
        let superseded = available.filter(|index| before[*index].phone.reg_id.is_none() && has_newer(&before[*index]));
        superseded.min_by_key(|index| before[*index].set)
    }

    fn make_room(&mut self, before: &[Entry], request: &Request, now: u64, limits: &Limits) -> Result<(), Refusal> {
        let mut max = limits.max_contacts.max(before.iter().filter(|entry| entry.live(now)).count());
        if self.live(before, now) > max {
            while self.live(before, now) > limits.max_contacts
                && let Some(index) = self.superseded(before, now)
            {
                self.remove(before, &[index], request, now);
            }
        }
        loop {
            if self.live(before, now) <= max {
                return Ok(());
            }
            max = limits.max_contacts;
            let available = (0..before.len()).filter(|index| self.is_available(before, *index, now));
            let oldest = available.min_by_key(|index| before[*index].set);
            let Some(oldest) = oldest.filter(|_| limits.when_full == WhenFull::ReplaceOldest) else {
                return Err(Refusal::TooManyContacts { max: limits.max_contacts });
            };
            self.remove(before, &[oldest], request, now);
        }
    }
}

fn grant(asked: Option<u32>, transaction: u64, limits: &Limits) -> Result<u32, Refusal> {
    let secs = asked.unwrap_or(limits.default_expires).min(limits.max_expires);
    if secs > 0 && secs < limits.min_expires {
        return Err(Refusal::TooBrief { min: limits.min_expires });
    }
    let max = u128::from(secs) * u128::from(limits.jitter) / 100;
    let cut = (max + 1) * u128::from(transaction) / (u128::from(u64::MAX) + 1);
    Ok(if secs == 0 { 0 } else { (secs - u32::try_from(cut).unwrap_or(secs)).max(limits.min_expires) })
}

/// The time from which a phone's temporary GRUUs are valid, and whether earlier ones become invalid.
fn since(before: &[Entry], phone: Phone, call: usize, now: u64) -> (u64, bool) {
    let own: Vec<_> = before.iter().filter(|entry| entry.phone.instance == phone.instance).collect();
    let live: Vec<_> = own.iter().filter(|entry| entry.live(now)).collect();
    let rivals = live.iter().filter(|entry| phone.reg_id.is_none() || entry.phone.reg_id == phone.reg_id);
    let broken = rivals.max_by_key(|entry| entry.set).is_some_and(|newest| newest.call != call);
    let later = own.iter().map(|entry| entry.set.max(entry.since) + 1).max().unwrap_or(0).max(now);
    match live.iter().map(|entry| entry.since).max() {
        Some(since) if !broken => (since, false),
        Some(_) => (later, true),
        None => (later, false),
    }
}

/// Whether `record` has a live Contact and flow that `other` does not have.
fn has_target_missing_in(record: &Record, other: &Record, now: Wall) -> bool {
    let targets = |record: &Record| -> Vec<_> {
        record.live(now).map(|binding| (binding.contact().to_vec(), binding.flow())).collect()
    };
    let others = targets(other);
    targets(record).iter().any(|target| !others.contains(target))
}

fn apply(record: &Record, request: &Request, now: u64, limits: &Limits) -> Result<Applied, Refusal> {
    let contact = |&Contact { phone, expires }: &Contact| ContactChange {
        uri: URIS[phone.uri].as_bytes(),
        params: b"",
        expires,
        q: None,
        instance: phone.instance.map(|instance| INSTANCES[instance].as_bytes()),
        reg_id: phone.reg_id,
        flow_id: None,
    };
    let operation = match &request.contacts {
        Some(contacts) => Operation::Update(contacts.iter().map(contact).collect()),
        None => Operation::RemoveAll,
    };
    let change = Change {
        call_id: CALLS[request.call].as_bytes(),
        cseq: request.cseq,
        transaction: request.transaction,
        flow: support::flow(),
        path: b"",
        user_agent: b"",
        operation,
    };
    record.apply(&change, Wall(now), limits)
}

fn contact() -> impl Strategy<Value = Contact> {
    let expires = select(vec![None, Some(0), Some(0), Some(30), Some(60), Some(90), Some(900)]);
    // The proxy drops a reg-id without an instance; here it must be harmless.
    let phone = (0..URIS.len(), of(0..INSTANCES.len()), of(1..3_u32));
    let phone = phone.prop_map(|(uri, instance, reg_id)| Phone { uri, instance, reg_id });
    (phone, expires).prop_map(|(phone, expires)| Contact { phone, expires })
}

fn request() -> impl Strategy<Value = Request> {
    let contacts = prop_oneof![1 => Just(None), 6 => vec(contact(), 1..4).prop_map(Some)];
    let wait = prop_oneof![12 => 0..2_000_i64, 4 => 2_000..70_000_i64, 1 => -20_000..0_i64];
    (wait, 0..CALLS.len(), 1..12_u32, select(vec![0, u64::MAX / 3, u64::MAX]), contacts)
        .prop_map(|(wait, call, cseq, transaction, contacts)| Request { wait, call, cseq, transaction, contacts })
}

/// A sequence in which each request may be retransmitted, immediately or later.
fn requests() -> impl Strategy<Value = Vec<Request>> {
    vec((request(), of(0..8_usize)), 1..30).prop_map(|requests| {
        let mut all: Vec<Request> = Vec::new();
        for (request, later) in requests {
            let copy = later.map(|later| (all.len().saturating_sub(later), request.clone()));
            all.push(request);
            if let Some((at, copy)) = copy {
                all.insert(at, copy);
            }
        }
        all
    })
}

fn limits() -> impl Strategy<Value = Limits> {
    let when_full = select(vec![WhenFull::Refuse, WhenFull::ReplaceOldest]);
    (when_full, select(vec![0, 20])).prop_map(|(when_full, jitter)| Limits { when_full, jitter, ..LIMITS })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn record_follows_the_model(requests in requests(), limits in limits()) {
        let (mut record, mut entries, mut now) = (Record::default(), Vec::new(), 1_000_000_u64);
        for request in &requests {
            now = now.saturating_add_signed(request.wait);
            // The limit changes with a reload of the configuration.
            let limits = Limits { max_contacts: if request.cseq % 3 == 0 { 2 } else { 4 }, ..limits };
            match (apply(&record, request, now, &limits), expected_outcome(&entries, request, now, &limits)) {
                (Err(refusal), Err(expected)) => prop_assert_eq!(refusal, expected),
                (Ok(applied), Ok(expected)) => {
                    if let Applied::Changed { record: changed, before, adds_target, .. } = applied {
                        prop_assert_eq!(before, record.live(Wall(now)).count());
                        prop_assert_eq!(adds_target, has_target_missing_in(&changed, &record, Wall(now)));
                        record = changed;
                    }
                    entries = expected;
                }
                (applied, expected) => prop_assert!(false, "{:?}: {:?}, not {:?}", request, applied, expected),
            }
            let text = |contact: &[u8]| String::from_utf8_lossy(contact).into_owned();
            let mut found: Vec<_> = record
                .live(Wall(now))
                .map(|binding| (text(binding.contact()), binding.reg_id(), binding.expires_at().0, binding.since().0))
                .collect();
            let expected = entries.iter().filter(|entry| entry.live(now));
            let mut expected: Vec<_> = expected
                .map(|entry| (URIS[entry.phone.uri].to_owned(), entry.phone.reg_id, entry.ends, entry.since))
                .collect();
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected, "after {:?}", request);
        }
    }
}
