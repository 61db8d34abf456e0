//! What a server tells the others about itself, as the text of its lease in Redis.
//!
//! JSON, so that an administrator can read it there. A text that another version has written may have further members.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use parser::Transport;
use proxy::{Interfaces, NodeAddress};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::text::printable::escape_line;

/// Where a server is reached.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Advert {
    /// `cluster.transport`: tcp or tls.
    transport: String,
    /// `cluster.advertise`
    address: SocketAddr,
    /// Where phones reach it.
    listeners: Vec<SocketAddr>,
    /// `advertise`
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
}

impl Advert {
    /// Of the server with this configuration; `None` without `cluster.advertise`.
    pub(crate) fn of(config: &Config, interfaces: &Interfaces) -> Option<Self> {
        let address = config.cluster.advertise?.0;
        let mut listeners: Vec<SocketAddr> = Vec::new();
        for listen in &config.listen {
            let ips = interfaces.networks.iter().map(|(ip, _)| *ip);
            let of_family = ips.filter(|ip| ip.is_ipv4() == listen.address.is_ipv4() && !ip.is_loopback());
            let found: Vec<_> = match listen.address.ip().is_unspecified() {
                true => of_family.map(|ip| SocketAddr::new(ip, listen.address.port())).collect(),
                false => vec![listen.address],
            };
            listeners.extend(found);
        }
        listeners.sort_unstable();
        listeners.dedup();
        let host = config.advertise.as_ref().map(|host| host.0.to_string());
        Some(Self { transport: config.cluster.transport.0.param().to_owned(), address, listeners, host })
    }

    /// As it is stored.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what a server has stored.
    pub(crate) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Where the other servers reach it. Over TLS it proves the host that it puts into Via, or else its address (RFC 5922).
    pub(crate) fn node_address(&self) -> Option<NodeAddress> {
        let transport = [Transport::Tcp, Transport::Tls].into_iter().find(|known| known.param() == self.transport)?;
        let host = || self.host.clone().unwrap_or_else(|| self.address.ip().to_string());
        let host = transport.is_secure().then(|| Arc::from(host()));
        Some(NodeAddress { transport, address: self.address, host })
    }

    /// `cluster.transport`, made safe to print: another version may have written it.
    pub(crate) fn transport(&self) -> Cow<'_, str> {
        escape_line(&self.transport)
    }

    /// Where the other servers reach it.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The addresses where phones reach it.
    pub(crate) fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// The host that it puts into Record-Route, if that is not the address of a listener.
    pub(crate) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "cluster: { node: a, advertise: \"192.0.2.11:5060\", transport: tcp }\n";

    fn advert(text: &str) -> Advert {
        let config: Config = serde_yaml::from_str(&format!("{OWN}{text}")).expect("a configuration");
        let network = |text: &str| {
            let ip: std::net::IpAddr = text.parse().expect("an address");
            (ip, ip.into())
        };
        let networks = ["127.0.0.1", "192.0.2.11", "2001:db8::11"].map(network).to_vec();
        Advert::of(&config, &Interfaces { networks, ..Interfaces::default() }).expect("a cluster")
    }

    #[test]
    fn the_text_is_read_back() {
        let own = advert("advertise: sip.office.example\nlisten: [\"udp://0.0.0.0:5060\", \"tcp://[::]:5070\"]\n");
        assert_eq!(Advert::read(&own.text()), Some(own.clone()));
        let listeners: Vec<_> = own.listeners().iter().map(ToString::to_string).collect();
        assert_eq!(listeners, ["192.0.2.11:5060", "[2001:db8::11]:5070"]);
        assert_eq!(own.host(), Some("sip.office.example"));
        assert_eq!(own.node_address().expect("TCP").host, None);
        assert_eq!(Advert::read("tcp 192.0.2.11:5060"), None);
    }

    #[test]
    fn a_server_proves_its_host_or_its_address_over_tls() {
        for (advertise, host) in [("advertise: sip.office.example\n", "sip.office.example"), ("", "192.0.2.11")] {
            let own = Advert { transport: "tls".to_owned(), ..advert(advertise) };
            assert_eq!(own.node_address().expect("TLS").host.as_deref(), Some(host));
        }
        assert_eq!(Advert { transport: "ws".to_owned(), ..advert("") }.node_address(), None);
    }
}
