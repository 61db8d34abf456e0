//! Where the server listens, and the addresses of its machine.
//!
//! Decides which own address packets to a peer leave from. Must not ask the system: the server reads its addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use parser::Transport;

/// One listening address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The transport protocol.
    pub transport: Transport,
    /// The bound address; may be unspecified (0.0.0.0, ::).
    pub address: SocketAddr,
}

/// The addresses of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Each address with its network.
    pub networks: Vec<(IpAddr, IpNet)>,
    /// The address that packets to other IPv4 networks leave from.
    pub default_v4: Option<Ipv4Addr>,
    /// The address that packets to other IPv6 networks leave from.
    pub default_v6: Option<Ipv6Addr>,
}

impl Interfaces {
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.networks.iter().any(|(own, _)| *own == ip)
    }

    pub(super) fn towards(&self, remote: IpAddr) -> Option<IpAddr> {
        if remote.is_loopback() {
            return Some(loopback_like(remote));
        }
        if let Some((own, _)) = self.networks.iter().find(|(_, net)| net.contains(&remote)) {
            return Some(*own);
        }
        match remote {
            IpAddr::V4(_) => self.default_v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.default_v6.map(IpAddr::V6),
        }
    }
}

/// The loopback address of the same family.
pub(super) fn loopback_like(remote: IpAddr) -> IpAddr {
    match remote {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}
