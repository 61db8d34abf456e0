//! How the page reaches the server.
//!
//! Decides which listener a page of the admin listener uses (RFC 7118). Browsers give the microphone to pages of
//! `https` and of `localhost` only.

use std::net::IpAddr;

use parser::Transport;
use proxy::Listener;

/// The WebSocket for a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WebSocket {
    /// At the host and port that the page came from: a `ws` or `wss` listener.
    SameOrigin,
    /// Elsewhere; begins with `ws://` or `wss://` and ends with `/`.
    Url(String),
    /// There is no listener that the page could reach.
    Missing,
}

impl WebSocket {
    /// The WebSocket for a page of the admin listener.
    ///
    /// `host` is that of the Host header, without port. A listener of another machine's loopback address cannot be
    /// reached; for one of all addresses the browser uses the host that it knows. `ws` comes first: the certificate of a
    /// `wss` listener may have another name.
    pub(crate) fn for_admin_page(listeners: &[Listener], host: &str) -> Self {
        // The host becomes part of a header and of a URL.
        if !is_host(host) {
            return Self::Missing;
        }
        let transports = [(Transport::Ws, "ws"), (Transport::Wss, "wss")];
        let candidates = transports.iter().flat_map(|&(transport, scheme)| {
            listeners
                .iter()
                .filter(move |listener| listener.transport == transport)
                .map(move |listener| (scheme, listener))
        });
        let mut reachable = candidates.filter_map(|(scheme, listener)| {
            let (ip, port) = (listener.address.ip(), listener.address.port());
            match ip {
                _ if scheme == "wss" || ip.is_unspecified() => Some(format!("{scheme}://{host}:{port}/")),
                _ if ip.is_loopback() && !is_this_machine(host) => None,
                _ => Some(format!("{scheme}://{}/", listener.address)),
            }
        });
        reachable.next().map_or(Self::Missing, Self::Url)
    }

    /// The URL for the page, relative to its own.
    pub(super) fn url(&self) -> Option<&str> {
        match self {
            Self::SameOrigin => Some("/"),
            Self::Url(url) => Some(url),
            Self::Missing => None,
        }
    }

    /// The source of Content-Security-Policy; empty if `'self'` covers it.
    pub(super) fn source(&self) -> &str {
        let Self::Url(url) = self else { return "" };
        // CSP 3 2.3.1: a host-source cannot be an IPv6 address, so the scheme must do.
        match url.split_once('[') {
            Some((scheme, _)) => scheme.trim_end_matches('/'),
            None => url.trim_end_matches('/'),
        }
    }
}

fn is_host(host: &str) -> bool {
    let is_name = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-');
    literal(host).is_some() || (!host.is_empty() && host.bytes().all(is_name))
}

fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse().ok().filter(IpAddr::is_ipv6),
        None => host.parse().ok().filter(IpAddr::is_ipv4),
    }
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || literal(host).is_some_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn page(listeners: &[(Transport, &str)], host: &str, expected: Option<&str>) {
        let listener = |&(transport, address): &(Transport, &str)| Listener {
            transport,
            address: address.parse().expect("an address"),
        };
        let listeners: Vec<_> = listeners.iter().map(listener).collect();
        assert_eq!(WebSocket::for_admin_page(&listeners, host).url(), expected);
    }

    #[test]
    fn the_page_uses_a_listener_that_it_can_reach() {
        use Transport::{Udp, Ws, Wss};
        let local = (Ws, "127.0.0.1:5080");
        page(&[(Udp, "0.0.0.0:5060"), local], "localhost", Some("ws://127.0.0.1:5080/"));
        page(&[local], "127.0.0.1", Some("ws://127.0.0.1:5080/"));
        page(&[local], "[::1]", Some("ws://127.0.0.1:5080/"));
        page(&[local], "office.example", None);
        page(&[local, (Ws, "192.0.2.1:80")], "office.example", Some("ws://192.0.2.1:80/"));
        page(&[(Ws, "0.0.0.0:5080")], "office.example", Some("ws://office.example:5080/"));
        page(&[(Ws, "[::]:5080")], "[2001:db8::1]", Some("ws://[2001:db8::1]:5080/"));
        page(&[(Ws, "[2001:db8::2]:5080")], "office.example", Some("ws://[2001:db8::2]:5080/"));
        page(&[(Wss, "192.0.2.1:5443")], "office.example", Some("wss://office.example:5443/"));
        page(&[(Wss, "0.0.0.0:5443"), local], "localhost", Some("ws://127.0.0.1:5080/"));
        page(&[(Udp, "0.0.0.0:5060")], "localhost", None);
    }

    #[test]
    fn a_host_that_is_none_becomes_no_part_of_a_header() {
        for host in ["", "a;b", "a b", "a'b", "[::1", "[127.0.0.1]", "::1", "a/b", "a\r\nb", "a@b", "a:1"] {
            page(&[(Transport::Ws, "0.0.0.0:5080")], host, None);
        }
    }
}
