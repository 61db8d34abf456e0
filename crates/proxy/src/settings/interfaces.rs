//! The addresses and networks of this machine.
//!
//! Must not read them from the system; that is done by the server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The addresses of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Each address with its network.
    pub networks: Vec<(IpAddr, IpNet)>,
    /// The local address for other IPv4 networks.
    pub default_v4: Option<Ipv4Addr>,
    /// The local address for other IPv6 networks.
    pub default_v6: Option<Ipv6Addr>,
}

impl Interfaces {
    /// Whether this is an address of this machine.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.networks.iter().any(|(own, _)| *own == ip)
    }

    /// The local address that a message to `remote` is sent from.
    pub(super) fn towards(&self, remote: IpAddr) -> Option<IpAddr> {
        if remote.is_loopback() {
            return Some(loopback_of(remote));
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
fn loopback_of(remote: IpAddr) -> IpAddr {
    match remote {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}
