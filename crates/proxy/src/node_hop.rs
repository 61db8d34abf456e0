//! The hop to another node: for a message over a flow that it holds, for a response to what it has handed over, and for
//! what it is told itself.
//!
//! Must not decide which node holds a flow; that is done by `settings/nodes.rs`.

use std::net::SocketAddr;
use std::sync::Arc;

use location::Node;
use parser::Transport;

use crate::hop::{Hop, Over};
use crate::settings::{NodeAddress, Settings, Way};

impl Hop {
    /// The hop over which a message for this hop leaves this node: to the node that holds the flow, if that is another
    /// one. `None` if that node is gone.
    pub(crate) fn over_node(&self, settings: &Settings) -> Option<Self> {
        let Over::Elsewhere(flow) = &self.over else { return Some(self.clone()) };
        let Way::Node(NodeAddress { transport, address, host }) = settings.nodes.way(flow) else { return None };
        to_node(transport, address, host, settings)
    }

    /// The hop to a node that is alive.
    pub(crate) fn to_node(node: Node, settings: &Settings) -> Option<Self> {
        let NodeAddress { transport, address, host } = settings.nodes.address_of(node)?;
        to_node(transport, address, host, settings)
    }

    /// The hop of responses to a request that the node at this address handed over.
    pub(crate) fn to_node_at(transport: Transport, address: SocketAddr, settings: &Settings) -> Option<Self> {
        to_node(transport, address, settings.nodes.host_at(address), settings)
    }
}

fn to_node(transport: Transport, remote: SocketAddr, host: Option<Arc<str>>, settings: &Settings) -> Option<Hop> {
    let local = settings.local_for(transport, remote.ip())?;
    let over = host.filter(|_| transport.is_secure()).map_or(Over::Address, Over::Host);
    Some(Hop { transport, remote, local, over })
}
