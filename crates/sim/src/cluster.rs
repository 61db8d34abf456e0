//! Several nodes: each is one core with its own address, connections and run, over one store.
//!
//! A change of one node is seen by the others after a time. What nodes send each other takes the connection between them,
//! which can be cut in one direction. Decides nothing that a core should decide.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use location::{Node, Record};
use parser::Transport;
use proxy::{CallTable, Keys, NodeAddress, Nodes, OtherNode, Settings};

use crate::cores::MAX_CALLS;
use crate::net::NodeMessage;
use crate::settings::{KEYS, SERVER, at};

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<SimNode>,
    /// Pairs of nodes, the first of which does not reach the second.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// All that nodes have sent each other.
    pub(crate) sent: Vec<NodeMessage>,
    /// After how many microseconds a node sees a change of another node.
    pub(crate) visible_after: u64,
    pub(crate) keys: Keys,
    runs: u32,
}

pub(crate) struct SimNode {
    pub(crate) run: u32,
    pub(crate) is_running: bool,
    /// Whether the other nodes take it for alive.
    pub(crate) has_lease: bool,
    pub(crate) nodes: Nodes,
    pub(crate) calls: Arc<CallTable>,
    /// The records that it has seen, with the flows as the store has them.
    pub(crate) seen: BTreeMap<Vec<u8>, Record>,
}

/// The address of a node.
pub(crate) fn address_of(node: usize) -> SocketAddr {
    at(1 + u8::try_from(node).expect("few nodes"))
}

impl Cluster {
    pub(crate) fn new(count: usize) -> Self {
        let mut this =
            Self { nodes: Vec::new(), cut: BTreeSet::new(), sent: Vec::new(), visible_after: 0, keys: KEYS, runs: 0 };
        for index in 0..count {
            let node = this.node_of_next_run(index);
            this.nodes.push(node);
        }
        this.update_tables();
        this
    }

    pub(crate) fn node_of_next_run(&mut self, index: usize) -> SimNode {
        self.runs += 1;
        let nodes = Nodes::new(id(index, self.runs), at_stream(index)).expect("a stream");
        let (calls, seen) = (Arc::new(CallTable::new(MAX_CALLS)), BTreeMap::new());
        SimNode { run: self.runs, is_running: true, has_lease: true, nodes, calls, seen }
    }

    /// Gives each node the table of the others.
    pub(crate) fn update_tables(&self) {
        let other = |(index, node): (usize, &SimNode)| OtherNode {
            node: id(index, node.run),
            at: at_stream(index),
            is_alive: node.has_lease,
            listeners: vec![address_of(index)],
            advertise: None,
        };
        for (index, node) in self.nodes.iter().enumerate() {
            let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != index);
            node.nodes.replace(others.map(other).collect());
        }
    }

    /// The settings of a node.
    pub(crate) fn settings(&self, index: usize, of_all: &Settings) -> Settings {
        let mut settings = Settings { nodes: self.nodes[index].nodes.clone(), ..of_all.clone() };
        for listener in settings.listeners.iter_mut().filter(|listener| listener.address.ip() == SERVER.ip()) {
            listener.address.set_ip(address_of(index).ip());
        }
        settings
    }
}

/// This run of a node.
pub(crate) fn id(index: usize, run: u32) -> Node {
    let number = u16::try_from(index + 1).ok().and_then(NonZeroU16::new).expect("few nodes");
    Node { number, run }
}

fn at_stream(index: usize) -> NodeAddress {
    NodeAddress { transport: Transport::Tcp, address: address_of(index), host: None }
}
