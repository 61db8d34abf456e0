//! The next hop of a phone whose flow another node holds, and of one whose node is gone.
//!
//! Must not decide which node holds a flow; that is done by `settings/nodes.rs`.

use location::{Binding, Flow, NodeFlow};
use parser::SipUri;

use crate::dialog::literal_address;
use crate::hop::{Hop, Over};
use crate::settings::{Settings, Way};
use crate::target::NextHop;

use super::targets::{allows_transport, back_through_nat, is_outbound};
use super::{next_hop_of, next_hop_over};

/// The hop to a phone that registered at another node, or behind a NAT in an earlier run of this node; and whether that is
/// its flow. `None` if the flow is gone and its phone is not reached at its Contact: what waits for it would delay the other phones.
#[cold]
pub(super) fn hop_of_node(
    flow: &Flow,
    at: &NodeFlow,
    binding: &Binding<'_>,
    contact: &SipUri<'_>,
    settings: &Settings,
) -> Option<(NextHop, bool)> {
    let is_followed = is_outbound(binding) || allows_transport(contact, flow.transport);
    match settings.nodes.way(at) {
        Way::Here => Some((NextHop::Hop(back_through_nat(flow, settings)), true)),
        Way::Node(_) if is_followed => Some((NextHop::Hop(Hop::back(flow)), true)),
        // The Contact names another transport, so the phone is reached there, as at the node that it registered at.
        Way::Node(_) => Some((next_hop_of(contact, settings).ok()?, false)),
        Way::Gone if is_outbound(binding) || !flow.transport.is_reliable() => None,
        // Without a NAT the phone may accept a connection of this node.
        Way::Gone => {
            let next_hop = match is_followed {
                true => next_hop_over(contact, Some(flow.transport), settings),
                false => next_hop_of(contact, settings),
            };
            let next_hop = next_hop.ok()?;
            let is_there = matches!(&next_hop, NextHop::Hop(hop) if hop.remote.ip() == flow.remote.ip());
            is_there.then_some((next_hop, false))
        }
    }
}

/// The hop, or one to the address in the URI `named` if the flow is of a node that is gone. Only for a phone that accepts
/// connections.
pub(super) fn without_node(hop: Hop, named: &SipUri<'_>, settings: &Settings) -> Hop {
    let Over::Elsewhere(flow) = &hop.over else { return hop };
    if flow.connection.is_none() || hop.transport.is_websocket() || settings.nodes.way(flow) != Way::Gone {
        return hop;
    }
    let address = literal_address(named);
    let local = address.and_then(|remote| Some((remote, settings.local_for(hop.transport, remote.ip())?)));
    local.map_or_else(|| hop.clone(), |(remote, local)| Hop::to_address(hop.transport, remote, local))
}
