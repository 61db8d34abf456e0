//! Replaces the host names in a plan by their addresses (RFC 3263 4).
//!
//! Must not resolve names; that is done by the driver.

use std::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;

use crate::hop::{Endpoint, Endpoints, Hop};
use crate::reach;
use crate::settings::Settings;
use crate::target::{NextHop, Target};

use super::Plan;

impl Plan {
    /// Replaces the host names of the targets by their endpoints, in the order of [`Plan::targets`]. A target without a
    /// usable endpoint is removed. If the request may be tried again, the further endpoints are targets for failover
    /// (RFC 3263 4.3). Those that failed a short time ago are the last. Among the others, the address that the dialog knows
    /// its other side by is the first: the request that created the dialog went there, perhaps because another server of
    /// the name had failed, and no other server may know the dialog.
    pub(super) fn resolve(
        &mut self,
        endpoints: &[Endpoints],
        may_try_again: bool,
        from: IpAddr,
        settings: &Settings,
        is_unreachable: impl Fn(&Endpoint) -> bool,
    ) {
        let other_side = self.other_side;
        let mut found = endpoints.iter();
        let mut further = Vec::new();
        for target in self.targets_mut() {
            let NextHop::Name(name) = target.next_hop.clone() else { continue };
            let reachable = |endpoint: &Endpoint| {
                let remote = endpoint.address;
                // The owner of a name can change its address at any time, so it is checked here again.
                if settings.is_own_address(remote.ip(), Some(remote.port()))
                    || !reach::may_resolve_to(target, remote.ip(), from, settings)
                {
                    return None;
                }
                let local = settings.local_for(endpoint.transport, remote.ip())?;
                Some(NextHop::Hop(Hop::to_endpoint(&name, *endpoint, local)))
            };
            let mut endpoints = found.next().cloned().unwrap_or_default();
            // All of them are tried if all have failed. The sort is stable.
            endpoints.sort_by_key(|endpoint| (is_unreachable(endpoint), distance(endpoint.address, other_side)));
            let hops: SmallVec<[NextHop; 2]> = endpoints.iter().filter_map(reachable).collect();
            let mut hops = hops.into_iter();
            if let Some(next_hop) = hops.next() {
                target.next_hop = next_hop;
                further.extend(hops.filter(|_| may_try_again).map(|next_hop| Target { next_hop, ..target.clone() }));
            }
        }
        for group in &mut self.groups {
            group.targets.retain(|target| matches!(target.next_hop, NextHop::Hop(_)));
        }
        self.groups.retain(|group| !group.targets.is_empty());
        self.spares.retain(|target| matches!(target.next_hop, NextHop::Hop(_)));
        self.spares.extend(further);
    }
}

/// How far an endpoint is from the other side of the dialog: 0 if it is the same address, 1 on the same host. The port may
/// differ, because a side that has connected to this server is known by the port that it connected from.
fn distance(endpoint: SocketAddr, other_side: Option<SocketAddr>) -> u8 {
    match other_side {
        Some(other_side) if other_side == endpoint => 0,
        Some(other_side) if other_side.ip() == endpoint.ip() => 1,
        _ => 2,
    }
}
