//! The servers that share the registrations, as the store reports them, for the cores and for people.
//!
//! Decides which servers that are gone are remembered: their addresses stand in the Record-Route of calls that go on.

use std::collections::BTreeMap;
use std::net::IpAddr;

use location::{FlowId, Node, NodeEntry};
use parking_lot::Mutex;
use proxy::{Nodes, OtherNode};

use super::Advert;
use crate::metrics::{self, DriverLimit};

/// Every server, by its number.
#[derive(Debug)]
pub(crate) struct NodeTable {
    inner: Mutex<Inner>,
    /// `limits.gone_nodes`. A name keeps its number, so only renamed servers add to those that are gone.
    max_gone: usize,
}

#[derive(Debug, Default)]
struct Inner {
    /// As the cores know them; `None` before the number of this server is known.
    nodes: Option<Nodes>,
    known: BTreeMap<u16, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    node: Node,
    name: String,
    advert: Option<Advert>,
    is_alive: bool,
    /// Whether the log says that it is reached over another transport than this server.
    is_told: bool,
}

impl NodeTable {
    /// Of no servers. `max_gone`: those that are gone and remembered.
    pub(crate) fn new(max_gone: usize) -> Self {
        Self { inner: Mutex::default(), max_gone }
    }

    /// For the `nodes` hook of the store: those that are alive.
    pub(crate) fn update(&self, alive: &[NodeEntry]) {
        let mut inner = self.inner.lock();
        let own = inner.nodes.as_ref().and_then(Nodes::own).map(|own| own.number.get());
        for (number, known) in &mut inner.known {
            let is_still_there = alive.iter().any(|entry| entry.node.number.get() == *number);
            if known.is_alive && !is_still_there && own != Some(*number) {
                tracing::warn!("node {} is gone: it gave no sign of life, or it was stopped", known.name);
            }
            known.is_alive &= is_still_there;
        }
        for NodeEntry { node, name, advertise } in alive {
            let advert = Advert::read(advertise);
            if advert.is_none() {
                tracing::warn!("node {name} does not say where it is reached: its version may be another one");
            }
            let before = inner.known.get(&node.number.get());
            let is_told = before.is_some_and(|before| before.node == *node && before.is_told);
            let known = Known { node: *node, name: name.clone(), advert, is_alive: true, is_told };
            let before = inner.known.insert(node.number.get(), known);
            if before.is_none_or(|before| before.node != *node || !before.is_alive) {
                tracing::info!("node {name} is there");
            }
        }
        let gone = |known: &&Known| !known.is_alive;
        while inner.known.values().filter(gone).count() > self.max_gone {
            let oldest = inner.known.iter().find(|(_, known)| !known.is_alive).map(|(number, _)| *number);
            let Some(oldest) = oldest else { break };
            inner.known.remove(&oldest);
            metrics::count(DriverLimit::GoneNodes);
        }
        inner.publish();
    }

    /// Tells the cores from now on.
    pub(crate) fn connect(&self, nodes: Nodes) {
        let mut inner = self.inner.lock();
        inner.nodes = Some(nodes);
        inner.publish();
    }

    /// The number of servers that are alive, this one among them.
    pub(crate) fn alive_count(&self) -> usize {
        self.inner.lock().known.values().filter(|known| known.is_alive).count()
    }

    /// The name of the server that holds a flow; `None` if any server can reach the phone, and without a cluster.
    pub(crate) fn name_of(&self, flow: FlowId) -> Option<String> {
        let inner = self.inner.lock();
        let number = match flow {
            FlowId::None => return None,
            FlowId::Nat | FlowId::Connection(_) => inner.nodes.as_ref()?.own()?.number,
            FlowId::Elsewhere(flow) => flow.node.number,
        };
        inner.known.get(&number.get()).map(|known| known.name.clone())
    }

    /// The IP addresses of all servers, this one among them.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let inner = self.inner.lock();
        let addresses = inner.known.values().filter_map(|known| Some(known.advert.as_ref()?.address().ip()));
        addresses.collect::<Vec<_>>().into_iter()
    }

    /// Name, address and whether it is alive, of each server.
    pub(crate) fn list(&self) -> Vec<(String, Option<Advert>, bool)> {
        let inner = self.inner.lock();
        inner.known.values().map(|known| (known.name.clone(), known.advert.clone(), known.is_alive)).collect()
    }
}

impl Inner {
    fn publish(&mut self) {
        let Some(nodes) = &self.nodes else { return };
        let own = nodes.own().map(|own| own.number);
        let advert = own.and_then(|own| self.known.get(&own.get())?.advert.clone());
        for known in self.known.values_mut().filter(|known| known.is_alive && !known.is_told) {
            let (Some(own), Some(other)) = (&advert, &known.advert) else { continue };
            if own.transport() != other.transport() {
                known.is_told = true;
                let (name, own, other) = (&known.name, own.transport(), other.transport());
                tracing::warn!(
                    "node {name} is reached over {other}, this one over {own}: all nodes need the same cluster.transport"
                );
            }
        }
        let others = self.known.values().filter(|known| Some(known.node.number) != own);
        nodes.replace(others.filter_map(Known::other_node).collect());
    }
}

impl Known {
    fn other_node(&self) -> Option<OtherNode> {
        let advert = self.advert.as_ref()?;
        Some(OtherNode {
            node: self.node,
            at: advert.node_address()?,
            is_alive: self.is_alive,
            listeners: advert.listeners().to_vec(),
            advertise: advert.host().map(Into::into),
        })
    }
}
