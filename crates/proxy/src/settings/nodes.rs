//! The nodes: the servers that share the location service. The driver replaces the table when it changes.
//!
//! Decides which node holds a flow, and whether that node is gone. Must not send anything; that is done by `node_link`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use location::{Flow, Node, NodeFlow};
use parking_lot::RwLock;
use parser::Transport;

/// What a core knows of the nodes. Without a cluster it is empty and costs one comparison.
#[derive(Clone, Debug, Default)]
pub struct Nodes(Option<Arc<Cluster>>);

#[derive(Debug)]
struct Cluster {
    own: Node,
    /// Where the other nodes reach this one.
    at: NodeAddress,
    others: RwLock<Vec<OtherNode>>,
}

/// Where the other nodes reach a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// TCP or TLS, the same at all nodes.
    pub transport: Transport,
    /// The address of a listener of that node.
    pub address: SocketAddr,
    /// The name that its certificate has to prove (RFC 5922), for TLS.
    pub host: Option<Arc<str>>,
}

/// Another node that is alive or was so lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherNode {
    /// Its number and run.
    pub node: Node,
    /// Where it is reached.
    pub at: NodeAddress,
    /// Whether it holds its lease. The flows of a node that does not are gone.
    pub is_alive: bool,
    /// The addresses where phones reach it.
    pub listeners: Vec<SocketAddr>,
    /// The host that it puts into Record-Route, if that is not the address of its listener.
    pub advertise: Option<Box<str>>,
}

/// How a flow is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// This node holds it.
    Here,
    /// Another node holds it.
    Node(NodeAddress),
    /// Its node is gone, or its connection ended with an earlier run.
    Gone,
}

impl Nodes {
    /// A cluster that this node belongs to; the other nodes are not known yet. `None` if `at` is not a stream: what is
    /// lost between two nodes would not be repeated for a phone whose own flow is a stream.
    pub fn new(own: Node, at: NodeAddress) -> Option<Self> {
        let is_stream = at.transport.is_reliable() && !at.transport.is_websocket();
        is_stream.then(|| Self(Some(Arc::new(Cluster { own, at, others: RwLock::default() }))))
    }

    /// Replaces the other nodes. All clones see it.
    pub fn replace(&self, others: Vec<OtherNode>) {
        if let Some(cluster) = &self.0 {
            *cluster.others.write() = others;
        }
    }

    /// This run of this node; `None` without a cluster.
    #[inline]
    pub fn own(&self) -> Option<Node> {
        self.0.as_ref().map(|cluster| cluster.own)
    }

    /// Whether there is a cluster.
    #[inline]
    pub(crate) const fn is_cluster(&self) -> bool {
        self.0.is_some()
    }

    /// Where the other nodes reach this one.
    pub(crate) fn own_address(&self) -> Option<&NodeAddress> {
        self.0.as_ref().map(|cluster| &cluster.at)
    }

    /// How a flow is reached. A connection ends with the run of its node. A NAT does not notice a new run of its node.
    pub(crate) fn way(&self, flow: &NodeFlow) -> Way {
        let Some(cluster) = &self.0 else { return Way::Gone };
        let same_run = |node: Node| flow.connection.is_none() || node.run == flow.node.run;
        if cluster.own.number == flow.node.number {
            return if same_run(cluster.own) { Way::Here } else { Way::Gone };
        }
        let others = cluster.others.read();
        let holds = |it: &&OtherNode| it.is_alive && it.node.number == flow.node.number && same_run(it.node);
        others.iter().find(holds).map_or(Way::Gone, |other| Way::Node(other.at.clone()))
    }

    /// The other nodes that are alive.
    pub(crate) fn alive(&self) -> Vec<Node> {
        let Some(cluster) = &self.0 else { return Vec::new() };
        cluster.others.read().iter().filter(|other| other.is_alive).map(|other| other.node).collect()
    }

    /// Where this run of another node is reached; `None` if it is gone.
    pub(crate) fn address_of(&self, node: Node) -> Option<NodeAddress> {
        let others = self.0.as_ref()?.others.read();
        others.iter().find(|other| other.is_alive && other.node == node).map(|other| other.at.clone())
    }

    /// Whether a message came from the node that holds this flow.
    pub(crate) fn is_source(&self, flow: &NodeFlow, source: &Flow) -> bool {
        let way = self.way(flow);
        matches!(way, Way::Node(at) if at.transport == source.transport && at.address.ip() == source.remote.ip())
    }

    /// Whether another node listens on this address; without `port`, on any.
    pub(crate) fn has_address(&self, ip: IpAddr, port: Option<u16>) -> bool {
        let is_it = |at: SocketAddr| at.ip() == ip && port.is_none_or(|port| port == at.port());
        self.any(|other| is_it(other.at.address) || other.listeners.iter().copied().any(is_it))
    }

    /// Whether another node puts this host into Record-Route.
    pub(crate) fn has_name(&self, host: &[u8]) -> bool {
        self.any(|other| other.advertise.as_ref().is_some_and(|own| own.as_bytes().eq_ignore_ascii_case(host)))
    }

    /// The host that the node with a flow puts into Record-Route, if it is not an address.
    pub(crate) fn host_of(&self, flow: &NodeFlow) -> Option<Box<str>> {
        let others = self.0.as_ref()?.others.read();
        others.iter().find(|other| other.node.number == flow.node.number)?.advertise.clone()
    }

    /// The name that the node at this address has to prove over TLS.
    pub(crate) fn host_at(&self, address: SocketAddr) -> Option<Arc<str>> {
        let others = self.0.as_ref()?.others.read();
        others.iter().find(|other| other.at.address == address)?.at.host.clone()
    }

    fn any(&self, is_it: impl Fn(&OtherNode) -> bool) -> bool {
        self.0.as_ref().is_some_and(|cluster| cluster.others.read().iter().any(is_it))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use location::ConnectionId;

    use super::*;

    fn node(number: u16, run: u32) -> Node {
        Node { number: NonZeroU16::new(number).unwrap(), run }
    }

    fn at(host: u8) -> NodeAddress {
        NodeAddress { transport: Transport::Tcp, address: ([192, 0, 2, host], 5060).into(), host: None }
    }

    fn other(number: u16, run: u32, is_alive: bool) -> OtherNode {
        let host = u8::try_from(number).unwrap();
        let listeners = vec![([198, 51, 100, host], 5060).into()];
        OtherNode { node: node(number, run), at: at(host), is_alive, listeners, advertise: Some("b.example".into()) }
    }

    #[test]
    fn a_connection_ends_with_its_run_and_a_nat_with_its_node() {
        let nodes = Nodes::new(node(1, 7), at(1)).unwrap();
        nodes.replace(vec![other(2, 5, true), other(3, 5, false)]);
        let way = |number, run, connection: u64| {
            nodes.way(&NodeFlow { node: node(number, run), connection: ConnectionId::new(connection) })
        };
        assert_eq!([way(1, 7, 9), way(1, 7, 0), way(1, 6, 0)], [Way::Here, Way::Here, Way::Here]);
        assert_eq!(way(1, 6, 9), Way::Gone);
        assert_eq!([way(2, 5, 9), way(2, 4, 0)], [Way::Node(at(2)), Way::Node(at(2))]);
        assert_eq!(
            [way(2, 4, 9), way(3, 5, 9), way(3, 5, 0), way(4, 5, 0)],
            [Way::Gone, Way::Gone, Way::Gone, Way::Gone]
        );
        assert_eq!(Nodes::default().way(&NodeFlow { node: node(1, 7), connection: None }), Way::Gone);
    }

    #[test]
    fn addresses_of_other_nodes_are_known_also_when_they_are_gone() {
        let nodes = Nodes::new(node(1, 7), at(1)).unwrap();
        nodes.replace(vec![other(3, 5, false)]);
        for (ip, port, known) in [
            ([192, 0, 2, 3], Some(5060), true),
            ([198, 51, 100, 3], None, true),
            ([198, 51, 100, 3], Some(5061), false),
            ([198, 51, 100, 4], None, false),
        ] {
            assert_eq!(nodes.has_address(ip.into(), port), known, "{ip:?}");
        }
        assert!(nodes.has_name(b"B.example") && !nodes.has_name(b"c.example"));
    }

    #[test]
    fn nodes_reach_each_other_over_streams_only() {
        for transport in [Transport::Udp, Transport::Ws, Transport::Wss] {
            assert!(Nodes::new(node(1, 7), NodeAddress { transport, ..at(1) }).is_none());
        }
    }
}
