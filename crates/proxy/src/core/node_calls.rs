//! What this node tells the others of calls, and what they tell it (`crate::node_calls`).
//!
//! One worker tells of calls and of what is watched here, so that the others get the changes of a call in their order. Must
//! not decide anything about a call.

use std::sync::Arc;

use location::{Aor, Node};
use parser::Message;

use super::Core;
use crate::calls::{CallInProgress, NodeCall, NodeWatch, Part, Report};
use crate::clock::{Instant, Now};
use crate::event::{Event, Limit, NodeRequest};
use crate::mac::Purpose;
use crate::node_calls::{LIFETIME, Note, calls_in_parts, ended_note, sum_of, watch_note};
use crate::node_link::Link;
use crate::outbox::{CoreMessage, Handover, Outbox};

/// The worker that tells the others.
const TELLER: u8 = 0;

impl Core {
    /// Another node tells something, with a valid token. A run of this node that has ended may be the one that it is for.
    pub(super) fn receive_from_node(
        &mut self,
        now: Now,
        (from, to): (Node, Node),
        message: &Message,
        outbox: &mut Outbox,
    ) {
        outbox.emit(Event::NodeRequest { outcome: NodeRequest::Told });
        let nodes = &self.settings.nodes;
        if nodes.own() != Some(to) || nodes.address_of(from).is_none() {
            return;
        }
        match Note::read(message.body(), now.wall) {
            Some(Note::Watch(number, interest, known)) => {
                let watch = Box::new(NodeWatch { node: from, interest: *interest, known, number });
                self.teller_does(now, CoreMessage::NodeWatches(watch), outbox);
            }
            Some(Note::Calls(number, part, calls)) => {
                self.calls_reported(Report { by: from, number, received: now.mono }, part, calls, outbox);
            }
            Some(Note::Find(question, call_id, [a, b])) => {
                self.node_asks(now, from, question, (&call_id, [&a, &b]), outbox);
            }
            Some(Note::Found(question, calls)) => self.node_answers(now, from, question, calls, outbox),
            Some(Note::Ended(request, answer)) => self.calls.request_passed(&request, answer, now.wall, outbox),
            None => {}
        }
    }

    /// Gives a message to the worker that tells the others.
    fn teller_does(&mut self, now: Now, core_message: CoreMessage, outbox: &mut Outbox) {
        if self.worker == TELLER {
            self.publish_to_nodes(now, core_message, outbox);
        } else {
            outbox.handovers.push(Handover { worker: Some(TELLER), core_message });
        }
    }

    /// Does what this worker alone does.
    pub(super) fn publish_to_nodes(&mut self, now: Now, core_message: CoreMessage, outbox: &mut Outbox) {
        match core_message {
            CoreMessage::CallOfNode { call, ended } => self.tell_call(now, call, ended.as_deref(), outbox),
            CoreMessage::NodeWatches(watch) => self.node_watches(now, &watch, outbox),
            CoreMessage::WatchAtNodes => self.exchange.wants_to_tell(now.mono, &mut self.timers),
            CoreMessage::NodesChanged => self.update_nodes(now, outbox),
            _ => {}
        }
    }

    /// Calls that pass another node have changed.
    fn calls_reported(&mut self, report: Report, part: Part, mut calls: Vec<NodeCall>, outbox: &mut Outbox) {
        // A report that comes after the last watcher has gone would stay until there is another one.
        calls.retain(|reported| reported.has_ended || self.calls.watched().watches(&reported.call));
        let (number, run) = (report.by.number.get().to_be_bytes(), report.by.run.to_be_bytes());
        let id = |call: u64| self.mac.sign(Purpose::Notifier, &[b"node", &number, &run, &call.to_be_bytes()]);
        let table = self.calls.table();
        let (changes, has_room) = table.elsewhere().receive(report, (part, calls), id, table.limit());
        if !has_room {
            outbox.emit(Event::LimitReached(Limit::JournalCalls));
        }
        changes.into_iter().for_each(|change| self.calls.note(change));
    }

    /// Another node says what it watches.
    fn node_watches(&mut self, now: Now, watch: &NodeWatch, outbox: &mut Outbox) {
        let Some((added, is_new)) = self.exchange.watches(watch, now) else { return };
        // Before the calls are read: a change after this is told by itself.
        self.calls.watched().set_of_nodes(&self.exchange.interest());
        let table = self.calls.table();
        let (calls, is_all) = match watch.known {
            Some(sum) => {
                let all = table.of_users(&watch.interest);
                let is_known = sum_of(&all) == sum;
                if is_known { (Vec::new(), false) } else { (all, true) }
            }
            None => (table.of_users(&added), false),
        };
        // Without any call too, as a sign of life.
        for octets in calls_in_parts(&calls, false, is_all, || self.exchange.next_number(now.wall)) {
            self.publish_to_node(now, watch.node, &octets, outbox);
        }
        if is_new {
            self.tell_interest(now, &[watch.node], true, outbox);
        }
        self.keep_telling(now);
    }

    /// A call of this node has changed.
    fn tell_call(&mut self, now: Now, call: u64, ended: Option<&CallInProgress>, outbox: &mut Outbox) {
        let current = self.calls.table().with_number(call);
        let has_ended = current.is_none();
        let Some(call) = current.or_else(|| ended.cloned()) else { return };
        let nodes = self.exchange.watchers(&call);
        for octets in calls_in_parts(&[call], has_ended, false, || self.exchange.next_number(now.wall)) {
            nodes.iter().for_each(|node| self.publish_to_node(now, *node, &octets, outbox));
        }
    }

    /// A call of this node has changed, one of whose users these are.
    pub(super) fn tell_change(
        &mut self,
        now: Now,
        call: Option<u64>,
        users: &[Aor],
        ended: Option<&Arc<CallInProgress>>,
        outbox: &mut Outbox,
    ) {
        let of_nodes = self.calls.watched().of_nodes();
        if let Some(call) = call
            && users.iter().any(|user| of_nodes.has(user.as_bytes()))
        {
            self.teller_does(now, CoreMessage::CallOfNode { call, ended: ended.cloned() }, outbox);
        }
    }

    /// A subscription to the calls of this user has begun.
    pub(super) fn watch_at_nodes(&mut self, now: Now, user: &Aor, outbox: &mut Outbox) {
        if self.settings.nodes.is_cluster() && !self.calls.watched().told().has(user.as_bytes()) {
            self.teller_does(now, CoreMessage::WatchAtNodes, outbox);
        }
    }

    /// The timer for telling what is watched here has fired.
    pub(super) fn nodes_timer(&mut self, now: Now, at: Instant, outbox: &mut Outbox) {
        let (has_new_users, is_due) = self.exchange.timeout(at, now.mono);
        if is_due {
            self.update_nodes(now, outbox);
        }
        let watched = self.calls.watched();
        let interest = watched.interest();
        if has_new_users || is_due && !(interest.is_empty() && watched.told().is_empty()) {
            watched.told().set(&interest);
            self.tell_interest(now, &self.settings.nodes.alive(), is_due, outbox);
        }
        self.keep_telling(now);
    }

    /// Forgets what nodes have told that are gone, and begins to tell those that have come.
    fn update_nodes(&mut self, now: Now, outbox: &mut Outbox) {
        let alive = self.settings.nodes.alive();
        let new = self.exchange.update(&alive, now.mono);
        let watched = self.calls.watched();
        watched.set_of_nodes(&self.exchange.interest());
        let elsewhere = self.calls.table().elsewhere();
        let changes = elsewhere.keep(&alive, now.mono - LIFETIME, &watched.interest());
        changes.into_iter().for_each(|change| self.calls.note(change));
        self.tell_interest(now, &new, true, outbox);
        self.keep_telling(now);
    }

    /// Tells nodes what is watched here, and what is known of their calls if that has to be compared.
    fn tell_interest(&mut self, now: Now, nodes: &[Node], compares: bool, outbox: &mut Outbox) {
        let interest = self.calls.watched().interest();
        for node in nodes {
            let known = compares.then(|| self.calls.table().elsewhere().sum_of(*node));
            let octets = watch_note(self.exchange.next_number(now.wall), &interest, known);
            self.publish_to_node(now, *node, &octets, outbox);
        }
    }

    /// Arms the timer, while anything is watched here or by others.
    fn keep_telling(&mut self, now: Now) {
        let watched = self.calls.watched();
        let is_idle = watched.told().is_empty()
            && watched.of_nodes().is_empty()
            && watched.interest().is_empty()
            && self.calls.table().elsewhere().is_empty();
        if is_idle {
            self.exchange.arm(&mut self.timers);
        } else {
            self.exchange.keep_telling(now.mono, &mut self.timers);
        }
    }

    /// Tells the other nodes of the requests in dialogs of their calls that were answered in this call of the driver.
    pub(super) fn tell_passed(&mut self, now: Now, outbox: &mut Outbox) {
        for (request, answer) in self.calls.take_passed() {
            let octets = ended_note(&request, answer, now.wall);
            for node in self.settings.nodes.alive() {
                self.publish_to_node(now, node, &octets, outbox);
            }
        }
    }

    pub(super) fn publish_to_node(&self, now: Now, node: Node, octets: &[u8], outbox: &mut Outbox) {
        let link = Link { settings: &self.settings, mac: &self.mac, now: now.wall };
        outbox.publish_to_node(node, link, octets);
    }
}
