//! Which URIs and addresses are this server's (RFC 3261 16.4, 16.5).
//!
//! Decides the domain that a URI belongs to, and the own address that a message leaves from. Must not resolve names.

use std::net::{IpAddr, SocketAddr};

use location::Aor;
use parser::{Host, SipUri, Transport};

use super::listener::loopback_like;
use super::{Listener, Settings};

impl Settings {
    /// The domain of the user that `uri` names: one of `domains`, or the first one for an alias or an own address.
    /// `None` if it is not a domain of this server.
    ///
    /// A phone that is configured with the server's address and port omits the port when it names a user, so an own
    /// address without a port matches any listener. With a port that this server does not listen on, it is another
    /// program on this machine.
    pub(crate) fn domain_named_by(&self, uri: &SipUri<'_>) -> Option<&str> {
        self.domain(uri, |ip| match uri.port {
            Some(_) => self.is_own_address(ip, uri.port),
            None => self.listens_on(ip),
        })
    }

    /// The user part of a URI of the usual form: `sip:user@domain` with the first domain and a user of letters and
    /// digits. Saves parsing the URI. `None` for any other URI, also if it names a user of this server.
    pub(crate) fn plain_user<'u>(&self, uri: &'u [u8]) -> Option<&'u [u8]> {
        let domain = self.plain_domain()?;
        let user = uri.strip_prefix(b"sip:")?.strip_suffix(domain)?.strip_suffix(b"@")?;
        (!user.is_empty() && user.iter().all(u8::is_ascii_alphanumeric)).then_some(user)
    }

    /// The first domain; `None` if it is an IPv6 address, which has brackets in a URI.
    fn plain_domain(&self) -> Option<&[u8]> {
        let domain = self.domains.first()?.as_bytes();
        let may_be_address = domain.first().is_some_and(|first| first.is_ascii_hexdigit() || *first == b':');
        (!may_be_address || !domain.contains(&b':')).then_some(domain)
    }

    /// The user that a URI of this form names.
    pub(crate) fn plain_aor(&self, uri: &[u8]) -> Option<Aor> {
        Some(Aor::new(self.plain_user(uri)?, self.plain_domain()?))
    }

    /// Whether a URI is `sip:domain` with the first domain.
    pub(crate) fn is_plain_domain(&self, uri: &[u8]) -> bool {
        uri.strip_prefix(b"sip:").is_some_and(|domain| Some(domain) == self.plain_domain())
    }

    /// The AoR that `uri` names: a user of this server, or a foreign address.
    pub(crate) fn aor_named_by(&self, uri: &SipUri<'_>) -> Aor {
        let user = uri.user_unescaped();
        if let Some(domain) = self.domain_named_by(uri) {
            return Aor::new(&user, domain.as_bytes());
        }
        let mut host = Vec::new();
        uri.host.write(&mut host);
        Aor::new(&user, without_root(&host))
    }

    fn domain(&self, uri: &SipUri<'_>, is_own: impl FnOnce(IpAddr) -> bool) -> Option<&str> {
        let first = self.domains.first()?;
        match uri.host {
            Host::Name(name) => {
                let name = without_root(name);
                let same = |own: &str| parser::eq_ignore_case(name, own.as_bytes());
                if let Some(domain) = self.domains.iter().find(|domain| same(domain)) {
                    return Some(domain);
                }
                let mut others = self.aliases.iter().chain(&self.advertise);
                others.any(|other| same(other)).then_some(&**first)
            }
            Host::V4(_) | Host::V6(_) => {
                let ip = uri.host.ip()?;
                let literal = self.domains.iter().find(|domain| is_literal(domain, ip));
                let alias = literal.is_none() && self.aliases.iter().any(|alias| is_literal(alias, ip));
                let is_own = is_own(ip);
                // Another port of an own address is another program on this machine, even if the address is also a
                // name.
                if !is_own && uri.port.is_some() && (alias || literal.is_some()) && self.listens_on(ip) {
                    return None;
                }
                literal.map(|domain| &**domain).or_else(|| (alias || is_own).then_some(&**first))
            }
        }
    }

    /// Whether this server or another node listens on a host and port (RFC 3261 16.4), over any transport.
    pub(crate) fn is_own(&self, host: &Host<'_>, port: Option<u16>) -> bool {
        match host {
            Host::Name(name) => {
                self.advertise.as_ref().is_some_and(|own| own.as_bytes().eq_ignore_ascii_case(without_root(name)))
                    || self.nodes.has_name(without_root(name))
            }
            Host::V4(_) | Host::V6(_) => host.ip().is_some_and(|ip| self.is_own_address(ip, port)),
        }
    }

    /// Whether this server or another node listens on this address, on any port.
    pub(crate) fn listens_on(&self, ip: IpAddr) -> bool {
        let is_own = self.listeners.iter().any(|listener| self.is_bound_to(listener, ip)) || self.advertises(ip);
        is_own || self.nodes.has_address(ip, None)
    }

    /// Whether a domain or alias is this address.
    pub(crate) fn has_literal_name(&self, ip: IpAddr) -> bool {
        self.domains.iter().any(|name| is_literal(name, ip)) || self.aliases.iter().any(|name| is_literal(name, ip))
    }

    /// Whether this is an address of this machine.
    pub(crate) fn is_own_ip(&self, ip: IpAddr) -> bool {
        self.interfaces.has(ip) || self.listeners.iter().any(|listener| listener.address.ip() == ip)
    }

    /// Whether this server listens on this address; without `port`, on the default port of the transport. Or whether
    /// another node does.
    pub(crate) fn is_own_address(&self, ip: IpAddr, port: Option<u16>) -> bool {
        let advertised = self.advertises(ip);
        let is_own = self.listeners.iter().any(|listener| {
            let port_fits = listener.address.port() == port.unwrap_or_else(|| listener.transport.default_port());
            port_fits && (advertised || self.is_bound_to(listener, ip))
        });
        is_own || self.nodes.has_address(ip, port) || self.is_address_for_nodes(ip, port)
    }

    /// Whether the other nodes reach this one at this address.
    fn is_address_for_nodes(&self, ip: IpAddr, port: Option<u16>) -> bool {
        self.nodes.own_address().is_some_and(|at| at.address.ip() == ip && port == Some(at.address.port()))
    }

    /// Whether this server listens on this local address.
    pub(crate) fn is_listener(&self, transport: Transport, local: SocketAddr) -> bool {
        self.listeners.iter().any(|listener| {
            let has_port = listener.transport == transport && listener.address.port() == local.port();
            has_port && self.is_bound_to(listener, local.ip())
        })
    }

    fn is_bound_to(&self, listener: &Listener, ip: IpAddr) -> bool {
        let bound = listener.address.ip();
        bound == ip || bound.is_unspecified() && bound.is_ipv4() == ip.is_ipv4() && self.interfaces.has(ip)
    }

    fn advertises(&self, ip: IpAddr) -> bool {
        self.advertise.as_ref().is_some_and(|own| is_literal(own, ip))
    }

    /// Index of the listener with this local address; 0 if there is none.
    pub(crate) fn listener_at(&self, transport: Transport, local: SocketAddr) -> u8 {
        let is_at = |listener: &Listener| {
            let ip = listener.address.ip();
            listener.transport == transport
                && listener.address.port() == local.port()
                && (ip == local.ip() || (ip.is_unspecified() && ip.is_ipv4() == local.is_ipv4()))
        };
        self.listeners.iter().position(is_at).and_then(|index| u8::try_from(index).ok()).unwrap_or_default()
    }

    /// The local address of a message to `remote` over this listener; `None` if the address families differ.
    pub(crate) fn local_of(&self, listener: &Listener, remote: IpAddr) -> Option<SocketAddr> {
        let same_family = listener.address.is_ipv4() == remote.is_ipv4();
        // A reverse proxy may reach a WebSocket listener over IPv4 for a client that has an IPv6 address.
        match same_family || !listener.transport.is_websocket() {
            true => same_family.then(|| self.concrete(listener, remote)),
            false => Some(self.concrete(listener, loopback_like(listener.address.ip()))),
        }
    }

    /// The local address of a message to `remote` over `transport`; `None` if there is no such listener.
    pub(crate) fn local_for(&self, transport: Transport, remote: IpAddr) -> Option<SocketAddr> {
        let fits = |l: &&Listener| l.transport == transport && l.address.is_ipv4() == remote.is_ipv4();
        // A socket that is bound to loopback cannot reach the LAN, and one that is bound to the LAN cannot reach
        // loopback.
        let near =
            |l: &&Listener| l.address.ip().is_unspecified() || l.address.ip().is_loopback() == remote.is_loopback();
        let listener = self.listeners.iter().filter(fits).find(near);
        let listener = listener.or_else(|| self.listeners.iter().find(fits))?;
        Some(self.concrete(listener, remote))
    }

    fn concrete(&self, listener: &Listener, remote: IpAddr) -> SocketAddr {
        let mut local = listener.address;
        if local.ip().is_unspecified() {
            local.set_ip(self.interfaces.towards(remote).unwrap_or_else(|| local.ip()));
        }
        local
    }

    /// Whether a source needs no credentials to reach our users, and what it says about identities is believed. Trunks
    /// reach numbers only (`route::called_by_trunk`).
    pub(crate) fn trusts(&self, source: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&source)) || self.trunk_at(source).is_some()
    }
}

/// A host name without the dot of the DNS root (RFC 3261 25.1, RFC 1034 3.1). The names of the configuration have no
/// such dot.
fn without_root(name: &[u8]) -> &[u8] {
    name.strip_suffix(b".").unwrap_or(name)
}

#[inline]
fn is_literal(name: &str, ip: IpAddr) -> bool {
    // Saves parsing most host names: their last label is not a number (RFC 3261 25.1 toplabel), and they have no colon.
    let may_be = match ip {
        IpAddr::V4(_) => name.as_bytes().last().is_some_and(u8::is_ascii_digit),
        IpAddr::V6(_) => name.contains(':'),
    };
    if !may_be {
        return false;
    }
    name.trim_matches(['[', ']']).parse::<IpAddr>() == Ok(ip)
}
