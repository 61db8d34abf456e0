//! What the nodes of a cluster do to the network and the store. Decides nothing that a core should decide.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use location::{Aor, Commit, ConnectionId, Flow, FlowId, NodeFlow, Record, Store, Ticket, Version};
use parser::{Message, Transport};
use proxy::{Answer, CallTable, Core, CoreMessage, Keys, Received, SubscriberIndex};

use crate::cluster::{Cluster, address_of, id};
use crate::cores::MAX_CALLS;
use crate::net::{InFlight, NodeMessage};
use crate::settings::SERVER;
use crate::sip::Sip;
use crate::state::State;

/// How long a node tries to connect to another one, in microseconds.
const CONNECT_TIME: u64 = 3_000_000;

/// The connection over which a node gets what another node sends. No other connection has so high a number.
fn link_from(node: usize) -> ConnectionId {
    ConnectionId::FIRST.plus(1_000_000 + node as u64)
}

impl State {
    /// The address of the server that a worker belongs to.
    pub(crate) fn address(&self, worker: usize) -> SocketAddr {
        self.cluster.as_ref().map_or(SERVER, |_| address_of(worker))
    }

    /// Replaces the one server by these nodes.
    pub(crate) fn become_cluster(&mut self, count: usize, seed: u64) {
        self.net.open = (0..count).map(|_| Arc::default()).collect();
        self.cluster = Some(Cluster::new(count));
        self.cores.clear();
        for index in 0..count {
            let core = self.core_of_node(index, seed);
            self.cores.push(core);
        }
    }

    fn core_of_node(&self, index: usize, seed: u64) -> Core {
        let cluster = self.cluster.as_ref().expect("a cluster");
        let settings = Arc::new(cluster.settings(index, &self.settings));
        let run = cluster.nodes[index].run;
        let nonce = [100 + u8::try_from(run % 100).unwrap_or_default(); 16];
        let keys = Keys { nonce, ..cluster.keys.clone() };
        let open = Arc::clone(&self.net.open[index]);
        (0..cluster.nodes.len()).for_each(|other| open.opened(link_from(other)));
        let core = Core::new(settings, &keys, 0, seed + (u64::from(run) << 32), Arc::new(SubscriberIndex::new(1)));
        core.with_connections(open).with_calls(Arc::clone(&cluster.nodes[index].calls))
    }

    /// The node that a response goes to by its Via; `None` for a request, or without nodes.
    pub(crate) fn node_in_via(&self, sip: &Sip) -> Option<usize> {
        let cluster = self.cluster.as_ref().filter(|_| !sip.is_request())?;
        let is_named = |index: &usize| sip.value("Via").contains(&format!(" {};", address_of(*index)));
        (0..cluster.nodes.len()).find(is_named)
    }

    fn cluster_mut(&mut self) -> &mut Cluster {
        self.cluster.as_mut().expect("a cluster")
    }

    /// Ends a node at once. The others do not notice until its lease ends.
    pub(crate) fn kill_node(&mut self, index: usize) {
        self.net.close_node(index);
        let node = &mut self.cluster_mut().nodes[index];
        (node.is_running, node.calls) = (false, Arc::new(CallTable::new(MAX_CALLS)));
        // What it still had to do is never done.
        self.cores[index] = self.core_of_node(index, 0);
    }

    /// The others take a node for dead, or for alive again.
    pub(crate) fn set_lease(&mut self, index: usize, has_lease: bool) {
        let cluster = self.cluster_mut();
        cluster.nodes[index].has_lease = has_lease;
        cluster.update_tables();
        self.nodes_changed();
    }

    /// What the servers do when the table of the nodes has changed.
    fn nodes_changed(&mut self) {
        for index in 0..self.cores.len() {
            if self.cluster_mut().nodes[index].is_running {
                self.deliver(index, CoreMessage::NodesChanged, None);
            }
        }
    }

    /// Starts a node again, as a new run.
    pub(crate) fn start_node(&mut self, index: usize) {
        let mut all = BTreeMap::new();
        self.store.list(&mut |record| drop(all.insert(record.aor().to_vec(), record.clone())));
        let cluster = self.cluster_mut();
        let mut node = cluster.node_of_next_run(index);
        node.seen = all;
        cluster.nodes[index] = node;
        cluster.update_tables();
        self.net.close_node(index);
        self.net.open[index] = Arc::default();
        self.net.new_run(index);
        self.cores[index] = self.core_of_node(index, 7);
        self.nodes_changed();
    }

    /// Gives all nodes these keys.
    pub(crate) fn set_keys(&mut self, keys: Keys) {
        self.cores.iter_mut().for_each(|core| core.set_keys(&keys));
        self.cluster_mut().keys = keys;
    }

    /// Sends a message to another node. `None` if the address is not one of a node.
    pub(crate) fn send_to_node(&mut self, from: usize, hop: &proxy::Hop, bytes: &Bytes) -> Option<bool> {
        let cluster = self.cluster.as_mut()?;
        let to = (0..cluster.nodes.len()).find(|to| *to != from && address_of(*to) == hop.remote)?;
        assert_eq!(hop.transport, Transport::Tcp, "nodes use TCP");
        let sip = Rc::new(Sip::parse(bytes));
        if !cluster.nodes[to].is_running || cluster.cut.contains(&(from, to)) {
            // Nothing answers until the connection is given up.
            let refused = InFlight::Refused { worker: from, bytes: bytes.clone(), sip };
            self.net.at(self.now + CONNECT_TIME, refused);
            return Some(true);
        }
        let message = NodeMessage { from, to, bytes: bytes.clone(), sip };
        cluster.sent.push(message.clone());
        self.net.at(self.now + 1000, InFlight::ToNode(message));
        Some(true)
    }

    pub(crate) fn node_receives(&mut self, message: NodeMessage) {
        let NodeMessage { from, to, bytes, .. } = message;
        if !self.cluster_mut().nodes[to].is_running {
            return;
        }
        let mut remote = address_of(from);
        remote.set_port(50_000);
        let id = FlowId::Connection(link_from(from));
        let flow = Flow { transport: Transport::Tcp, remote, local: address_of(to), id };
        let message = Message::parse(bytes).expect("a message of a node");
        self.drive(to, |core, now, outbox| core.receive(now, Received { message, flow }, outbox));
    }

    /// The record as a node sees it.
    pub(crate) fn load_at_node(&self, index: usize, aor: &Aor) -> Option<Record> {
        let cluster = self.cluster.as_ref()?;
        let own = id(index, cluster.nodes[index].run);
        let here =
            |flow: FlowId| match flow {
                FlowId::Elsewhere(NodeFlow { node, connection }) if node == own => {
                    connection.map_or(FlowId::Nat, FlowId::Connection)
                }
                // As the store does for an earlier run of its own node.
                FlowId::Elsewhere(NodeFlow { node, connection }) if node.number == own.number => {
                    if connection.is_none() { FlowId::Nat } else { FlowId::None }
                }
                other => other,
            };
        let record = cluster.nodes[index].seen.get(aor.as_bytes())?.with_flow_ids(here);
        record.bindings().into_iter().next().is_some().then_some(record)
    }

    /// Commits a record of a node. The others see it later.
    pub(crate) fn commit_at_node(&mut self, index: usize, expected: Option<Version>, record: &Record) -> Answer {
        let own = id(index, self.cluster_mut().nodes[index].run);
        let stored = record.with_flow_ids(|flow| match flow {
            FlowId::Nat => FlowId::Elsewhere(NodeFlow { node: own, connection: None }),
            FlowId::Connection(id) => FlowId::Elsewhere(NodeFlow { node: own, connection: Some(id) }),
            other => other,
        });
        let aor = record.address();
        let ticket = Ticket { worker: 0, id: 0 };
        let answer = match self.store.commit(expected, stored, ticket) {
            Commit::Done => Answer::Committed,
            Commit::Conflict => Answer::Conflict,
            _ => Answer::Failed,
        };
        // After a conflict the store has the record that won.
        let Some(current) = self.store.load(&aor) else { return answer };
        let visible_after = self.cluster_mut().visible_after;
        self.cluster_mut().nodes[index].seen.insert(aor.as_bytes().to_vec(), current.clone());
        if matches!(answer, Answer::Committed) {
            for other in (0..self.cores.len()).filter(|other| *other != index) {
                let change = InFlight::Change { node: other, record: current.clone() };
                match visible_after {
                    0 => self.arrive(change),
                    micros => self.net.at(self.now + micros, change),
                }
            }
        }
        answer
    }

    /// A node sees the change of another one.
    pub(crate) fn change_seen(&mut self, index: usize, record: Record) {
        let node = &mut self.cluster_mut().nodes[index];
        let aor = record.address();
        if !node.is_running || node.seen.get(aor.as_bytes()).is_some_and(|seen| seen.version() >= record.version()) {
            return;
        }
        node.seen.insert(aor.as_bytes().to_vec(), record);
        self.deliver(index, CoreMessage::PhoneRegistered(aor.clone()), None);
        self.deliver(index, CoreMessage::RegistrationChanged(aor), None);
    }
}
