//! The store of registrations: opens it, and connects its callbacks to the workers.
//!
//! Decides which messages the workers get for a change that none of them made: they notify the subscribers (RFC 3680), and
//! a phone that was added joins the calls to its user. The callbacks must not wait for a worker, since a thread of the
//! store calls them.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use location::{
    AnyStore, DiskOptions, DiskStore, Hooks, MemoryStore, OutsideChange, RedisOptions, RedisStore, StoreError, Ticket,
};
use proxy::{CoreMessage, Interfaces};
use tokio::sync::mpsc;

use super::wait::Started;
use crate::clock;
use crate::cluster::{Advert, NodeTable, ValueChanges};
use crate::config::{Config, Loaded, StoreKind};
use crate::error::CliError;
use crate::metrics::{self, DriverLimit};
use crate::transport::Inbound;
use crate::worker::{CommitOutcome, Completions, Health};

/// Reported like the name of a value: the servers have changed.
pub(super) const NODES: &str = "nodes";

/// What the store reports to.
#[derive(Clone)]
pub(super) struct Observers {
    /// Outcomes of commits: of each worker, and of removals as the last one.
    pub(super) completions: Arc<[Completions]>,
    /// Changes that no worker made.
    pub(super) outside_changes: Arc<OutsideChanges>,
    /// Whether changes can be made.
    pub(super) health: Arc<Health>,
    /// That a shared store has been read.
    pub(super) started: Arc<Started>,
    /// The servers that share the store.
    pub(super) nodes: Arc<NodeTable>,
    /// Changes of what they share besides registrations.
    pub(super) values: Arc<ValueChanges>,
}

/// Opens the store that the configuration selects.
pub(super) fn open(loaded: &Loaded, observers: &Observers, interfaces: &Interfaces) -> Result<AnyStore, CliError> {
    let (section, limits) = (&loaded.config.location, &loaded.config.limits);
    match section.store {
        StoreKind::Memory => Ok(AnyStore::Memory(MemoryStore::new())),
        StoreKind::Disk => {
            let mut options = DiskOptions::new(clock::machine_time());
            (options.queue, options.pace) = (limits.store_queue.0, section.pace.0);
            // Errors name the whole path: under systemd a relative one starts at another folder.
            let path = std::path::absolute(&section.path).unwrap_or_else(|_| section.path.clone());
            Ok(AnyStore::Disk(DiskStore::open(&path, options, observers.hooks())?))
        }
        StoreKind::Redis => {
            // Until it has been read.
            observers.health.set_store_state(Err(&StoreError::Unreachable { reason: "it has not been read yet" }));
            let authorities = loaded
                .authorities_file()
                .map(|path| std::fs::read(&path).map_err(|source| CliError::File { path: path.clone(), source }));
            let options = redis_options(&loaded.config, authorities.transpose()?, interfaces);
            Ok(AnyStore::Redis(RedisStore::open(options, observers.hooks())?))
        }
    }
}

/// How to reach the shared store. The configuration has been checked: nothing is missing.
fn redis_options(config: &Config, authorities: Option<Vec<u8>>, interfaces: &Interfaces) -> RedisOptions {
    let (section, cluster, limits) = (&config.location, &config.cluster, &config.limits);
    let url = section.url.as_ref().map_or("", |url| &url.0);
    let node = cluster.node.as_ref().map_or("", |node| &node.0);
    let advert = Advert::of(config, interfaces).map(|advert| advert.text()).unwrap_or_default();
    let listen: Vec<SocketAddr> = config.listen.iter().map(|listen| listen.address).collect();
    let is_local = move |address: SocketAddr| {
        listen.iter().any(|own| own.port() == address.port() && (own.ip().is_unspecified() || own.ip() == address.ip()))
    };
    RedisOptions {
        sentinel_password: section.sentinel_password.as_ref().map(|password| password.0.to_string()),
        prefix: section.prefix.0.to_string(),
        authorities,
        timeout: section.timeout.0,
        replicas: section.replicas.0.into(),
        lease: cluster.lease.0,
        queue: limits.store_queue.0,
        pace: section.pace.0,
        changes: u32::try_from(limits.shared_changes.0).unwrap_or(u32::MAX),
        max_value: limits.shared_value_size.0,
        elapsed: Some(clock::since_boot),
        is_local: Arc::new(is_local),
        ..RedisOptions::new(url, node, &advert)
    }
}

impl Observers {
    fn hooks(&self) -> Hooks {
        let this = || self.clone();
        let (changed, usable, time, nodes, values) = (this(), this(), this(), this(), this());
        let completions = Arc::clone(&self.completions);
        Hooks {
            done: Box::new(move |group, outcome| report_outcome(&completions, group, outcome)),
            changed: Box::new(move |change| changed.outside_changes.report(change)),
            committed: Box::new(metrics::committed),
            usable: Box::new(move |outcome| {
                usable.health.set_store_state(outcome);
                usable.started.set_usable(outcome);
            }),
            time: Box::new(move |store_time| time.started.set_time(store_time)),
            nodes: Box::new(move |alive| {
                nodes.nodes.update(alive);
                nodes.values.report(NODES);
            }),
            value_changed: Box::new(move |name, _| values.values.report(name)),
            missed: Box::new(|| metrics::count(DriverLimit::SharedChanges)),
        }
    }
}

fn report_outcome(completions: &[Completions], group: &[Ticket], outcome: Result<(), &StoreError>) {
    let outcome = match outcome {
        Ok(()) => CommitOutcome::Durable,
        Err(StoreError::Full { .. }) => CommitOutcome::DiskFull,
        Err(StoreError::Conflict) => CommitOutcome::Conflict,
        Err(StoreError::Unreachable { .. }) => CommitOutcome::Unreachable,
        Err(_) => CommitOutcome::Failed,
    };
    for ticket in group {
        if let Some(worker) = completions.get(usize::from(ticket.worker)) {
            worker.push(ticket.id, outcome);
        }
    }
    completions.iter().for_each(Completions::notify);
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
