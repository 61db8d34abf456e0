//! The addresses of this machine, for the core and for the instructions of the first start.
//!
//! Decides which address is used towards remote networks. Sends no packets to find out.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use ipnet::IpNet;
use proxy::Interfaces;

/// The current addresses; none if the system does not report them.
pub(crate) fn list() -> Interfaces {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot read the addresses of this machine");
        Vec::new()
    });
    let network = |interface: &if_addrs::Interface| {
        let (ip, length) = match &interface.addr {
            if_addrs::IfAddr::V4(v4) => (IpAddr::V4(v4.ip), v4.prefixlen),
            if_addrs::IfAddr::V6(v6) => (IpAddr::V6(v6.ip), v6.prefixlen),
        };
        Some((ip, IpNet::new(ip, length).ok()?.trunc()))
    };
    Interfaces {
        networks: interfaces.iter().filter_map(network).collect(),
        // Documentation addresses (RFC 5737, RFC 3849) are never local, so the default route is used.
        default_v4: source_address(([192, 0, 2, 1], 9).into()).and_then(|ip| match ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        }),
        default_v6: source_address(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9).into()).and_then(|ip| match ip {
            IpAddr::V6(ip) => Some(ip),
            IpAddr::V4(_) => None,
        }),
    }
}

/// The address to enter into a phone in the LAN.
pub(crate) fn lan_address(interfaces: &Interfaces) -> Option<IpAddr> {
    let lan = || interfaces.networks.iter().map(|(ip, _)| *ip).find(|ip| ip.is_ipv4() && !ip.is_loopback());
    interfaces.default_v4.map(IpAddr::V4).or_else(lan).or_else(|| interfaces.default_v6.map(IpAddr::V6))
}

/// The source address of packets to `remote`. Connecting a UDP socket only queries the routing table.
fn source_address(remote: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if remote.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 16], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(remote).ok()?;
    socket.local_addr().ok().map(|local| local.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_address_is_listed() {
        let interfaces = list();
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let found = interfaces.networks.iter().find(|(ip, _)| *ip == loopback);
        assert!(found.is_some_and(|(_, network)| network.contains(&IpAddr::from([127, 9, 9, 9]))));
        assert_eq!(source_address(([127, 0, 0, 9], 9).into()), Some(loopback));
    }
}
