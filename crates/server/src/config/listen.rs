//! `listen`: transport and address of each listener.
//!
//! Decides the default port (RFC 3261 19.1.2).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use parser::Transport;

use super::scalar::{Scalar, scalars};

/// One address to listen on, written `udp://0.0.0.0:5060`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listen {
    /// The transport.
    pub(crate) transport: Transport,
    /// Port 0 takes a free one.
    pub(crate) address: SocketAddr,
}

scalars!(Listen);

impl Scalar for Listen {
    const EXPECTED: &'static str = "udp://, tcp://, tls://, ws:// or wss:// and an IP address with port, like udp://0.0.0.0:5060 or tcp://[::]:5060";

    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let transport = Transport::from_token(scheme.as_bytes())?;
        let without_port = || {
            let bare = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(rest);
            let ip = bare.parse::<IpAddr>().ok()?;
            Some(SocketAddr::new(ip, transport.default_port()))
        };
        let address = rest.parse().ok().or_else(without_port)?;
        Some(Self { transport, address })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.transport.param(), self.address)
    }
}

impl fmt::Debug for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listener_addresses_are_read() {
        let read = |text| Listen::read(text).map(|listen| listen.to_string());
        assert_eq!(read("udp://0.0.0.0:5060"), Some("udp://0.0.0.0:5060".to_owned()));
        assert_eq!(read("TCP://[::1]:5080"), Some("tcp://[::1]:5080".to_owned()));
        assert_eq!(read("tcp://192.0.2.1"), Some("tcp://192.0.2.1:5060".to_owned()));
        assert_eq!(read("ws://127.0.0.1:5080"), Some("ws://127.0.0.1:5080".to_owned()));
        // RFC 7118 5.2
        assert_eq!(read("ws://192.0.2.1"), Some("ws://192.0.2.1:80".to_owned()));
        assert_eq!(read("tls://192.0.2.1"), Some("tls://192.0.2.1:5061".to_owned()));
        assert_eq!(read("wss://[::1]"), Some("wss://[::1]:443".to_owned()));
        assert_eq!(read("udp://[::]"), Some("udp://[::]:5060".to_owned()));
        for bad in ["0.0.0.0:5060", "upd://0.0.0.0:5060", "udp://office.example:5060", "udp://:5060"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
