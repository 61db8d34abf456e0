//! A plan once DNS has answered: addresses in place of names (RFC 3263 4).

use std::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;

use crate::hop::Hop;
use crate::reach;
use crate::settings::Settings;
use crate::target::{Target, Way};

use super::Plan;

impl Plan {
    /// Puts addresses in place of names; targets without any are left out. Where a request may be tried again, the further
    /// addresses of a name are spares (RFC 3263 4.3).
    pub(super) fn resolve(
        &mut self,
        addresses: &[SmallVec<[SocketAddr; 2]>],
        may_try_again: bool,
        from: Option<IpAddr>,
        settings: &Settings,
    ) {
        let mut found = addresses.iter();
        let mut further = Vec::new();
        for target in self.targets_mut() {
            let Way::Name(name) = target.way.clone() else { continue };
            let reachable = |remote: &SocketAddr| {
                // The sender that named the host (`from` where no binding did) may have it lead elsewhere by now.
                if settings.is_own_address(remote.ip(), Some(remote.port()))
                    || !reach::may_lead_to(target, remote.ip(), from, settings)
                {
                    return None;
                }
                let local = settings.local_for(name.transport, remote.ip())?;
                Some(Way::Hop(Hop::to_name(&name, *remote, local)))
            };
            let ways: SmallVec<[Way; 2]> = found.next().into_iter().flatten().filter_map(reachable).collect();
            let mut ways = ways.into_iter();
            if let Some(way) = ways.next() {
                target.way = way;
                further.extend(ways.filter(|_| may_try_again).map(|way| Target { way, ..target.clone() }));
            }
        }
        for group in &mut self.groups {
            group.targets.retain(|target| matches!(target.way, Way::Hop(_)));
        }
        self.groups.retain(|group| !group.targets.is_empty());
        self.spares.retain(|target| matches!(target.way, Way::Hop(_)));
        self.spares.extend(further);
    }
}
