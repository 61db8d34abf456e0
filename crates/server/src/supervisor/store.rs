//! The store of registrations: opens it, and connects its callbacks to the workers.
//!
//! Decides which messages the workers get for a change that none of them made: they notify the subscribers (RFC 3680), and
//! a phone that was added joins the calls to its user. The callbacks must not wait for a worker, since a thread of the
//! store calls them.

use std::sync::{Arc, OnceLock};

use location::{AnyStore, DiskOptions, DiskStore, Hooks, MemoryStore, OutsideChange, StoreError, Ticket};
use proxy::CoreMessage;
use tokio::sync::mpsc;

use crate::clock;
use crate::config::{Loaded, StoreKind};
use crate::error::CliError;
use crate::metrics::{self, DriverLimit};
use crate::transport::Inbound;
use crate::worker::{CommitOutcome, Completions, Health, store_callback};

/// Opens the store that the configuration selects.
pub(super) fn open(
    loaded: &Loaded,
    completions: &Arc<[Completions]>,
    outside_changes: &Arc<OutsideChanges>,
    health: &Arc<Health>,
) -> Result<AnyStore, CliError> {
    if loaded.config.location.store == StoreKind::Memory {
        return Ok(AnyStore::Memory(MemoryStore::new()));
    }
    let completions = Arc::clone(completions);
    let done = move |group: &[Ticket], outcome: Result<(), &StoreError>| {
        let outcome = match outcome {
            Ok(()) => CommitOutcome::Durable,
            Err(StoreError::Full { .. }) => CommitOutcome::DiskFull,
            Err(_) => CommitOutcome::Failed,
        };
        for ticket in group {
            if let Some(worker) = completions.get(usize::from(ticket.worker)) {
                worker.push(ticket.id, outcome);
            }
        }
        completions.iter().for_each(Completions::notify);
    };
    let outside_changes = Arc::clone(outside_changes);
    let hooks = Hooks {
        done: Box::new(done),
        changed: Box::new(move |change| outside_changes.report(change)),
        committed: Box::new(metrics::committed),
        usable: store_callback(health),
        ..Hooks::default()
    };
    let mut options = DiskOptions::new(clock::machine_time());
    let section = &loaded.config.location;
    (options.queue, options.pace) = (loaded.config.limits.store_queue.0, section.pace.0);
    Ok(AnyStore::Disk(DiskStore::open(&section.path, options, hooks)?))
}

/// Reports changes that no worker made to the workers. If the inbox of a worker is full, the message is dropped and counted.
#[derive(Debug, Default)]
pub(super) struct OutsideChanges {
    /// Empty before the workers are started.
    inboxes: OnceLock<Arc<[mpsc::Sender<Inbound>]>>,
}

impl OutsideChanges {
    /// Reports later changes to the workers with these inboxes. Before, there is no worker that could have acted on a record.
    pub(super) fn connect(&self, inboxes: Arc<[mpsc::Sender<Inbound>]>) {
        // The workers are started once.
        let _ = self.inboxes.set(inboxes);
    }

    /// For the `changed` hook of the store.
    pub(super) fn report(&self, change: OutsideChange<'_>) {
        let Some(inboxes) = self.inboxes.get() else { return };
        let (aor, adds_target) = (change.address(), change.adds_target(clock::wall()));
        for inbox in &**inboxes {
            send(inbox, CoreMessage::RegistrationChanged(aor.clone()));
            if adds_target {
                send(inbox, CoreMessage::PhoneRegistered(aor.clone()));
            }
        }
    }
}

fn send(inbox: &mpsc::Sender<Inbound>, message: CoreMessage) {
    if inbox.try_send(Inbound::CoreMessage(message)).is_err() {
        metrics::count(DriverLimit::WorkerQueue);
    }
}

#[cfg(test)]
mod tests {
    use location::{Aor, Applied, Change, ContactChange, Limits, Operation, Record};

    use super::*;

    fn registered(aor: &Aor) -> Record {
        let contact = ContactChange::plain(b"sip:bob@192.0.2.7", 3600);
        let change =
            Change { call_id: b"1", ..Change::administrative(Operation::Update([contact].into_iter().collect())) };
        match Record::empty(aor).apply(&change, clock::wall(), &Limits::DEFAULT) {
            Ok(Applied::Changed { record, .. }) => record,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_worker_gets_a_message_for_a_change_and_one_for_an_added_phone() {
        let aor = Aor::new(b"bob", b"office.example");
        let (none, some) = (Record::empty(&aor), registered(&aor));
        let changes = OutsideChanges::default();
        changes.report(OutsideChange::new(None, &some));
        let (inboxes, mut receivers): (Vec<_>, Vec<_>) = (0..2).map(|_| mpsc::channel(2)).unzip();
        changes.connect(inboxes.into());
        for (before, after, expected) in [(None, &some, "RP"), (Some(&some), &none, "R"), (Some(&none), &some, "RP")] {
            changes.report(OutsideChange::new(before, after));
            for receiver in &mut receivers {
                let mut seen = String::new();
                while let Ok(Inbound::CoreMessage(message)) = receiver.try_recv() {
                    seen.push(match message {
                        CoreMessage::RegistrationChanged(changed) if changed == aor => 'R',
                        CoreMessage::PhoneRegistered(changed) if changed == aor => 'P',
                        other => panic!("{other:?}"),
                    });
                }
                assert_eq!(seen, expected);
            }
        }
        for _ in 0..3 {
            changes.report(OutsideChange::new(Some(&none), &some));
        }
        assert_eq!(receivers[0].len(), 2, "a full inbox makes nothing wait");
    }
}
