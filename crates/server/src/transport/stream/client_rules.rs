//! Which clients may connect over WebSocket or read a page, and which address a client has behind a reverse proxy.
//!
//! Decides by `ws.origins`, `trusted` and the names of this server. Must not read requests.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::uri::Authority;
use ipnet::IpNet;
use parking_lot::{RwLock, RwLockReadGuard};

use crate::config::Config;

/// Which clients may connect, by the configuration in force.
#[derive(Debug)]
pub(crate) struct ClientRules {
    inner: RwLock<Rules>,
}

/// The rules of one configuration.
#[derive(Debug)]
pub(super) struct Rules {
    origins: Vec<Box<str>>,
    trusted: Vec<IpNet>,
    /// The names of this server. The first one is a domain, for the phone in the browser.
    names: Vec<Box<str>>,
}

impl ClientRules {
    /// By `ws.origins` and `trusted`.
    pub(crate) fn new(config: &Config) -> Self {
        Self { inner: RwLock::new(Rules::of(config)) }
    }

    /// Applies a new configuration. Open connections stay.
    pub(crate) fn reconfigure(&self, config: &Config) {
        *self.inner.write() = Rules::of(config);
    }

    /// The rules in force.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Rules> {
        self.inner.read()
    }
}

impl Rules {
    fn of(config: &Config) -> Self {
        let origins = config.ws.origins.iter().map(|origin| origin.0.clone()).collect();
        let names = config.domains.iter().chain(&config.aliases).chain(&config.advertise);
        let names = names.map(|name| name.0.clone()).collect();
        Self { origins, trusted: config.trusted.iter().map(|network| network.0).collect(), names }
    }

    /// The first domain.
    pub(super) fn domain(&self) -> &str {
        self.names.first().map(|name| &**name).unwrap_or_default()
    }

    /// Whether this address is in `trusted`: it may be a reverse proxy.
    pub(super) fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&ip))
    }

    /// Whether a page may connect. Browsers let every page open a WebSocket to every address, and a client in `trusted` needs
    /// no password: so any page that its user visits could call and be relayed. Such a client needs a listed page, or one of
    /// this server.
    pub(super) fn allows_page(&self, headers: &HeaderMap, client: IpAddr) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let is_allowed = self.origins.is_empty() && (!self.trusts(client) || self.is_own(origin, headers));
        self.lists(origin) || is_allowed
    }

    /// Whether the request comes from a page that is neither listed nor of this server. The user of the browser may not know
    /// what it sends.
    pub(super) fn is_foreign_page(&self, headers: &HeaderMap) -> bool {
        headers.get(header::ORIGIN).is_some_and(|origin| !self.lists(origin) && !self.is_own(origin, headers))
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|listed| listed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
    }

    /// Whether a page was loaded from this server, by any of its listeners. A name counts only if it is configured, because
    /// the owner of another name can let it lead here (DNS rebinding).
    fn is_own(&self, origin: &HeaderValue, headers: &HeaderMap) -> bool {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")?.1.parse::<Authority>().ok());
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        let Some(page) = origin.as_ref().map(Authority::host) else { return false };
        let ip = page.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        let is_named = |name: &str| page.eq_ignore_ascii_case(name);
        is_named("localhost")
            || self.names.iter().any(|name| is_named(name))
            || ip.is_some_and(|ip| ip.is_loopback() || host.is_some_and(|host| is_named(host.host())))
    }

    /// The address of the client of a peer: of those in X-Forwarded-For the last one that is not trusted. Each proxy
    /// appends the address that it sees, and a client may have written those before, so only what a trusted proxy appended
    /// counts.
    ///
    /// `None` if that cannot be read. Then the request is refused: the client would otherwise get the address of the proxy,
    /// and with it the permission to call without a password. A client can cause this, for proxies append to what it wrote.
    pub(super) fn client_behind(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let values: Vec<_> = headers.get_all("x-forwarded-for").into_iter().map(HeaderValue::as_bytes).collect();
        let mut client = peer;
        for item in values.iter().rev().flat_map(|value| value.rsplit(|octet| *octet == b',')) {
            if !self.trusts(client) {
                break;
            }
            client = address(item)?;
        }
        Some(client)
    }
}

/// An address, which some proxies write with a port.
fn address(item: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(item).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))?;
    Some(IpAddr::to_canonical(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        serde_yaml::from_str(text).expect("a configuration")
    }

    #[test]
    fn a_page_elsewhere_cannot_use_the_trust_in_the_address_of_a_browser() {
        let trusted = "domains: [office.example]\ntrusted: [192.0.2.1]\n";
        let listed = format!("{trusted}ws: {{ origins: [\"https://a.example\"] }}\n");
        for (text, origin, host, expected) in [
            ("{}", "https://any.example", "198.51.100.1", true),
            (trusted, "https://any.example", "198.51.100.1", false),
            (trusted, "null", "198.51.100.1", false),
            (trusted, "http://203.0.113.1", "198.51.100.1", false),
            // DNS rebinding: the name leads here now.
            (trusted, "http://any.example:5080", "any.example:5080", false),
            (trusted, "http://198.51.100.1:9090", "198.51.100.1:5080", true),
            (trusted, "http://[2001:db8::1]:9090", "[2001:db8::1]:5080", true),
            (trusted, "http://localhost:9090", "127.0.0.1:5080", true),
            (trusted, "https://Office.example", "198.51.100.1", true),
            (&listed, "https://a.example", "198.51.100.1", true),
            (&listed, "https://office.example", "198.51.100.1", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            headers.insert(header::HOST, HeaderValue::from_static(host));
            let is_allowed = Rules::of(&config(text)).allows_page(&headers, [192, 0, 2, 1].into());
            assert_eq!(is_allowed, expected, "{text} {origin} {host}");
        }
    }

    #[test]
    fn only_what_trusted_proxies_appended_counts() {
        let rules = Rules::of(&config("trusted: [192.0.2.0/24, 2001:db8::/32]"));
        let client = |peer: &str, values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
            }
            let client = rules.client_behind(peer.parse().expect("an address"), &headers);
            client.map_or_else(|| "unreadable".to_owned(), |ip| ip.to_string())
        };
        for (peer, values, expected) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            ("203.0.113.1", &["198.51.100.7"], "203.0.113.1"),
            ("192.0.2.1", &["198.51.100.7"], "198.51.100.7"),
            ("192.0.2.1", &["10.0.0.1, 198.51.100.7"], "198.51.100.7"),
            ("192.0.2.1", &["10.0.0.1", "198.51.100.7"], "198.51.100.7"),
            ("192.0.2.1", &["198.51.100.7, 192.0.2.2", "192.0.2.3"], "198.51.100.7"),
            ("192.0.2.1", &["192.0.2.9"], "192.0.2.9"),
            ("192.0.2.1", &["198.51.100.7:1234"], "198.51.100.7"),
            ("192.0.2.1", &["[2001:4860::1]:1234"], "2001:4860::1"),
            ("192.0.2.1", &["[2001:4860::1]"], "2001:4860::1"),
            ("2001:db8::1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("192.0.2.1", &["\u{fc}, 198.51.100.7"], "198.51.100.7"),
            ("192.0.2.1", &["\u{fc}", "198.51.100.7"], "198.51.100.7"),
            // Otherwise the client would be the proxy, which needs no password.
            ("192.0.2.1", &["198.51.100.7, unknown"], "unreadable"),
            ("192.0.2.1", &["198.51.100.7, \u{fc}"], "unreadable"),
            ("192.0.2.1", &["198.51.100.7", ""], "unreadable"),
            ("192.0.2.1", &[""], "unreadable"),
        ] {
            assert_eq!(client(peer, values), expected, "{peer} {values:?}");
        }
    }
}
