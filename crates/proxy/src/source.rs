//! The address that failures are counted for and that is banned.
//!
//! An IPv4 address is one source. All IPv6 addresses of a /64 network are one source: a host can choose any address of
//! its network (RFC 4291 2.5.1, RFC 8981), and would send each guess from another one. A link-local address is a source
//! of its own, because all hosts on the link share its network.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// An IPv4 address, or the /64 network of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The IPv4 address, or the first address of the network.
    pub const fn ip(self) -> IpAddr {
        self.0
    }

    const fn is_network(self) -> bool {
        matches!(self.0, IpAddr::V6(ip) if !is_single(ip))
    }
}

/// Whether an IPv6 address is a source of its own, without the rest of its network.
const fn is_single(ip: Ipv6Addr) -> bool {
    ip.is_unicast_link_local() || ip.is_loopback()
}

impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V6(ip) if !is_single(ip) => Self(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into()),
            ip => Self(ip),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = if self.is_network() { "/64" } else { "" };
        write!(f, "{}{length}", self.0)
    }
}

/// Text that is neither an IP address nor a /64 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an IP address, like 198.51.100.7 or 2001:db8::/64")]
pub struct NoSource;

impl FromStr for Source {
    type Err = NoSource;

    fn from_str(text: &str) -> Result<Self, NoSource> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::from(ip));
        }
        let network: IpNet = text.parse().map_err(|_| NoSource)?;
        let source = Self::from(network.network());
        let whole = if source.is_network() { 64 } else { network.max_prefix_len() };
        (network.prefix_len() == whole).then_some(source).ok_or(NoSource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_or_a_64_network_is_one_source() {
        for (text, counted) in [
            ("198.51.100.7", "198.51.100.7"),
            ("::ffff:198.51.100.7", "198.51.100.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::/64", "2001:db8:1:2::/64"),
            ("fe80::1:2", "fe80::1:2"),
            ("::1", "::1"),
            ("198.51.100.7/32", "198.51.100.7"),
        ] {
            let source: Source = text.parse().expect(text);
            assert_eq!(source.to_string(), counted);
            assert_eq!(source.to_string().parse(), Ok(source), "{text}");
        }
        for bad in ["", "office.example", "198.51.100.0/24", "2001:db8::/48", "198.51.100.7:5060"] {
            assert_eq!(bad.parse::<Source>(), Err(NoSource), "{bad}");
        }
    }
}
