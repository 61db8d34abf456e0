//! Helpers to create records and stores in tests.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "shared by several test programs")]

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use location::{
    Aor, Applied, Change, Commit, ContactChange, DiskOptions, DiskStore, Flow, Hooks, Limits, Operation, Record, Store,
    StoreError, Ticket, Wall,
};

pub(crate) const LIMITS: Limits = Limits { min_expires: 1, ..Limits::DEFAULT };

/// Receives the outcomes that a disk store passes to its `done` hook.
pub(crate) type Outcomes = Receiver<(Ticket, bool)>;

pub(crate) fn aor(number: u32) -> Aor {
    Aor::new(format!("user{number}").as_bytes(), b"office.example")
}

pub(crate) fn ticket(id: u64) -> Ticket {
    Ticket { worker: 0, id }
}

pub(crate) fn flow() -> Flow {
    let [remote, local] = ["192.0.2.7:5060", "[2001:db8::1]:5060"].map(|address| address.parse().unwrap());
    Flow { transport: parser::Transport::Tcp, remote, local, id: location::ConnectionId::new(9).unwrap().into() }
}

/// `old` after a REGISTER with this CSeq and these Contacts, each with its expiry in seconds.
pub(crate) fn register(old: &Record, cseq: u32, contacts: &[(&str, u32)], now: Wall) -> Record {
    register_by(old, cseq, contacts, now, "test")
}

/// As [`register`], with this User-Agent.
pub(crate) fn register_by(old: &Record, cseq: u32, contacts: &[(&str, u32)], now: Wall, agent: &str) -> Record {
    let asked = contacts.iter().map(|&(uri, secs)| ContactChange {
        uri: uri.as_bytes(),
        params: b"",
        expires: Some(secs),
        q: None,
        instance: None,
        reg_id: None,
        flow_id: None,
    });
    let change = Change {
        call_id: b"call",
        cseq,
        transaction: u64::from(cseq),
        flow: flow(),
        path: b"",
        user_agent: agent.as_bytes(),
        operation: Operation::Update(asked.collect()),
    };
    match old.apply(&change, now, &LIMITS) {
        Ok(Applied::Changed { record, .. }) => record,
        other => panic!("{other:?}"),
    }
}

/// The record that a change starts from.
pub(crate) fn load(store: &dyn Store, aor: &Aor) -> Record {
    store.load(aor).unwrap_or_else(|| Record::empty(aor))
}

/// Load, register, commit.
pub(crate) fn commit(store: &dyn Store, aor: &Aor, cseq: u32, contacts: &[(&str, u32)], now: Wall, id: u64) -> Commit {
    let old = load(store, aor);
    store.commit(old.version(), register(&old, cseq, contacts, now), ticket(id))
}

pub(crate) fn live(store: &dyn Store, aor: &Aor, now: Wall) -> Vec<(String, u32)> {
    let record = load(store, aor);
    let show = |uri: &[u8]| String::from_utf8_lossy(uri).into_owned();
    record.live(now).map(|binding| (show(binding.contact()), binding.remaining(now))).collect()
}

/// A disk store and the outcomes of its commits.
pub(crate) fn open(path: &Path, options: DiskOptions) -> (DiskStore, Outcomes) {
    let (sender, outcomes) = sync_channel(1 << 20);
    let done = Box::new(move |group: &[Ticket], outcome: Result<(), &StoreError>| {
        group.iter().for_each(|&ticket| {
            let _ = sender.try_send((ticket, outcome.is_ok()));
        })
    });
    let hooks = Hooks { done, ..Hooks::default() };
    (DiskStore::open(path, options, hooks).unwrap(), outcomes)
}
