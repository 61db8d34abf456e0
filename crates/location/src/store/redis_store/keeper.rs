//! The lease of this server: proof for the others that it is alive, and the list of those that are.
//!
//! Renewed at a third of its time, and at once if the reader sees that a server came or left. A server whose lease has run out
//! keeps its number and its run, and takes the lease again if no other process with its name has it. Must not decide what
//! happens to the flows of others: the program is told who is alive.

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use redis::Value;

use super::client::{Backoff, Link};
use super::scripts;
use super::state::{Part, Shared};
use crate::Node;
use crate::store::NodeEntry;

/// Runs until the store is stopped.
pub(super) fn run(shared: &Shared) {
    let mut keeper = Keeper { shared, link: None, is_told: false };
    let mut backoff = Backoff::new(shared.options.retry);
    let pace = (shared.options.lease / 3).min(MAX_PACE);
    while !shared.is_stopped() {
        match keeper.renew() {
            Ok(()) => {
                backoff.reset();
                shared.sleep(pace, true);
            }
            Err(error) => {
                tracing::debug!(%error, "the lease could not be renewed");
                keeper.link = None;
                shared.sleep(backoff.pause(), false);
            }
        }
    }
    keeper.leave();
}

struct Keeper<'s> {
    shared: &'s Shared,
    link: Option<Link>,
    /// Whether it is logged that another process has this server's name.
    is_told: bool,
}

impl Keeper<'_> {
    fn renew(&mut self) -> Result<(), redis::RedisError> {
        let shared = self.shared;
        let link = match &mut self.link {
            Some(link) => link,
            none => none.insert(shared.address.connect()?),
        };
        let (options, keys, own) = (&shared.options, &shared.keys, shared.node());
        let run = own.map_or(0, |node| node.run).to_string();
        let number = own.map_or(0, |node| node.number.get()).to_string();
        let lease = options.lease.as_millis().to_string();
        let (epoch, length) = (shared.epoch.lock().clone(), options.changes.to_string());
        let keys: [&[u8]; 4] = [&keys.numbers, &keys.runs, &keys.last_number, &keys.changes];
        let args: [&[u8]; 8] = [
            options.node.as_bytes(),
            options.advertise.as_bytes(),
            run.as_bytes(),
            number.as_bytes(),
            lease.as_bytes(),
            &epoch,
            &shared.keys.nodes,
            length.as_bytes(),
        ];
        let Value::Array(answer) = scripts::call(link, scripts::LEASE, &keys, &args)? else { return Err(unexpected()) };
        let mut answer = answer.into_iter();
        let (Some(Value::Int(number)), Some(Value::Int(run)), Some(Value::Int(is_mine))) =
            (answer.next(), answer.next(), answer.next())
        else {
            return Err(unexpected());
        };
        let node = node_of(number, run).ok_or_else(unexpected)?;
        let alive: Vec<_> = answer.filter_map(entry).collect();
        self.report_lease(node, is_mine == 1);
        self.report_nodes(alive);
        Ok(())
    }

    fn report_lease(&mut self, node: Node, is_mine: bool) {
        if is_mine {
            self.shared.set_node(node);
            self.shared.set(Part::Lease, Ok(()));
            self.is_told = false;
            return;
        }
        if !self.is_told {
            self.is_told = true;
            let name = &*self.shared.options.node;
            tracing::warn!(
                name,
                "another process has this node's name, or it was killed less than a lease ago: waiting until its lease ends"
            );
        }
        self.shared.set(Part::Lease, Err("another process holds the lease of this node's name"));
    }

    fn report_nodes(&self, alive: Vec<(NodeEntry, Vec<u8>)>) {
        let mut members = self.shared.members.lock();
        let mut entries: Vec<NodeEntry> = alive.iter().map(|(entry, _)| entry.clone()).collect();
        entries.sort_by_key(|entry| entry.node.number);
        let mut before: Vec<NodeEntry> = members.alive.iter().map(|(entry, _)| entry.clone()).collect();
        before.sort_by_key(|entry| entry.node.number);
        members.alive = alive;
        members.round += 1;
        let now = Instant::now();
        // Names that are gone for good are forgotten.
        members.seen.retain(|_, at| now.duration_since(*at) < SEEN);
        members.seen.extend(entries.iter().map(|entry| (entry.name.clone(), now)));
        drop(members);
        if entries != before {
            (self.shared.hooks.nodes)(&entries);
        }
    }

    /// Gives up the lease, so that the others need not wait for its end.
    fn leave(&mut self) {
        let (Some(link), Some(node)) = (&mut self.link, self.shared.node()) else { return };
        let (number, run) = (node.number.to_string(), node.run.to_string());
        let key = [&*self.shared.keys.nodes, number.as_bytes()].concat();
        let length = self.shared.options.changes.to_string();
        let args = [run.as_bytes(), length.as_bytes(), number.as_bytes()];
        if let Err(error) = scripts::call(link, scripts::LEAVE, &[&key, &self.shared.keys.changes], &args) {
            tracing::warn!(%error, "the lease could not be given up: it ends by itself");
        }
    }
}

fn entry(value: Value) -> Option<(NodeEntry, Vec<u8>)> {
    let Value::Array(fields) = value else { return None };
    let mut fields = fields.into_iter();
    let Some(Value::Int(number)) = fields.next() else { return None };
    let mut text = || match fields.next() {
        Some(Value::BulkString(text)) => Some(text),
        Some(Value::Int(number)) => Some(number.to_string().into_bytes()),
        _ => None,
    };
    let (name, advertise, run) = (text()?, text()?, text()?);
    let epoch = text().unwrap_or_default();
    let run = std::str::from_utf8(&run).ok()?.parse().ok()?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let entry = NodeEntry { node: node_of(number, run)?, name: text(&name), advertise: text(&advertise) };
    Some((entry, epoch))
}

fn node_of(number: i64, run: i64) -> Option<Node> {
    Some(Node { number: NonZeroU16::new(u16::try_from(number).ok()?)?, run: u32::try_from(run).ok()? })
}

fn unexpected() -> redis::RedisError {
    (redis::ErrorKind::UnexpectedReturnType, "the answer to the lease").into()
}

/// The others notice within this time that a server was killed, after its lease.
const MAX_PACE: Duration = Duration::from_secs(1);

/// How long a server that is gone is remembered. Longer than the reader looks back.
const SEEN: Duration = Duration::from_secs(3_600);
