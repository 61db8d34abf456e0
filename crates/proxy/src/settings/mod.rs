//! What the core has to know of the configuration: already valid, swapped whole on reload.
//!
//! Reading and checking YAML is the server's work; nothing here can be wrong in itself.

mod accounts;
mod callers;
mod digest;
mod fixed;
mod registrar;
mod watching;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use location::Aor;
use parser::{Host, SipUri, Transport};

pub use accounts::{Account, Accounts, Secrets};
pub use callers::Caller;
pub(crate) use callers::Named;
pub(crate) use digest::Algorithms;
pub use digest::{Algorithm, Digest};
pub use fixed::fixed_bindings;
pub(crate) use fixed::unregistered_fixed_bindings;
pub use registrar::{Registrar, UnannouncedPath};
pub(crate) use watching::REG_PACKAGE;
pub use watching::Watching;

/// Settings of one core; shared by all workers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The AoR domains, lower case; each is a name space of its own. Never empty.
    pub domains: Vec<Box<str>>,
    /// Further names of the first domain, lower case.
    pub aliases: Vec<Box<str>>,
    /// Where the server listens.
    pub listeners: Vec<Listener>,
    /// Host for Via and Record-Route instead of the address a message goes out from.
    pub advertise: Option<Box<str>>,
    /// Our addresses, to find the one that a peer is reached from.
    pub interfaces: Interfaces,
    /// Whether users must prove who they are.
    pub authentication: Authentication,
    /// Digest parameters.
    pub digest: Digest,
    /// The users that may register and call; empty with [`Authentication::Off`] means everybody.
    pub accounts: Accounts,
    /// Networks whose requests to our users need no credentials.
    pub trusted: Vec<IpNet>,
    /// Whether foreign domains may call our users.
    pub strangers: Strangers,
    /// Whether our users may call foreign domains.
    pub foreign: Foreign,
    /// What a REGISTER may ask for, and what its 200 says.
    pub registrar: Registrar,
    /// What who watches registrations may ask for.
    pub watching: Watching,
    /// How several contacts are tried.
    pub forking: Forking,
    /// RFC 3261 17 timers.
    pub timers: Timers,
    /// Caps on memory.
    pub limits: Limits,
}

/// One listening address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What is spoken there.
    pub transport: Transport,
    /// The bound address; may be unspecified (0.0.0.0, ::).
    pub address: SocketAddr,
}

/// The addresses of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Each address with the network it is in.
    pub networks: Vec<(IpAddr, IpNet)>,
    /// The address that packets to far IPv4 networks leave from.
    pub default_v4: Option<Ipv4Addr>,
    /// The address that packets to far IPv6 networks leave from.
    pub default_v6: Option<Ipv6Addr>,
}

/// Whether users must prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Digest: 401 for REGISTER, 407 for requests whose From is ours.
    Required,
    /// Nobody is asked.
    Off,
}

/// Whether requests to our users from foreign domains outside the trusted networks are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// 403.
    Refuse,
    /// Forwarded.
    Accept,
}

/// Whether our users may send requests to foreign domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// 403.
    Refuse,
    /// Forwarded for users who proved who they are.
    Authenticated,
}

/// How several contacts are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forking {
    /// In which groups.
    pub strategy: Strategy,
    /// How long each group may ring.
    pub ring_time: Duration,
    /// Whether redirections are followed here (RFC 3261 16.7 step 4), if the caller may call their targets.
    pub recurse: bool,
    /// Whether a phone that registers while its user is being called rings too.
    pub late_registration: bool,
    /// What becomes of a call to a user with one phone.
    pub single_target: SingleTarget,
}

/// What becomes of a call with a single target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SingleTarget {
    /// Forwarded without a transaction (RFC 3261 16.11): the ring time does not bound it, its redirections go to the
    /// caller, and no phone can join it.
    Stateless,
    /// A response context, as if there were several.
    Stateful,
}

/// How contacts are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// All at once, whatever their q.
    Parallel,
    /// Down by q, equal q together; who rang in vain is told to stop.
    Sequential,
    /// Down by q, equal q together; who began to ring rings on, until the last group has rung its time.
    Wave,
}

/// RFC 3261 17 timers (table 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Round-trip estimate; 500 ms.
    pub t1: Duration,
    /// Longest retransmission interval; 4 s.
    pub t2: Duration,
    /// How long a message stays in the network; 5 s.
    pub t4: Duration,
    /// How long an INVITE may go without news; over 3 min.
    pub c: Duration,
}

impl Timers {
    /// 64·T1: timers B, F, H, J, L and M.
    pub const fn give_up(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// How long after the first one a copy of a request can still come: 64·T1 until the last is sent, T4 on its way.
    pub(crate) const fn last_copy(&self) -> Duration {
        self.give_up().saturating_add(self.t4)
    }
}

/// Caps on what one worker's core holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Response contexts at a time.
    pub transactions: usize,
    /// Bytes that they hold together, above which none is begun.
    pub transaction_memory: usize,
    /// Targets of one request, those that redirections and late registrations add included; more than 255 are 255.
    pub targets: usize,
    /// Pins at a time.
    pub pins: usize,
    /// Nonces in use at a time; as many whose responses were wrong.
    pub nonces: usize,
    /// The last REGISTERs that were challenged, to know a phone that gives up.
    pub unanswered_challenges: usize,
    /// Subscriptions to registrations at a time.
    pub subscriptions: usize,
    /// Those to one user.
    pub subscriptions_per_user: usize,
    /// Sides of dialogs that are remembered to be elsewhere than when the dialog was made.
    pub moved_dialogs: usize,
    /// How many times as long as its request an answer over UDP may be to a sender that has proved nothing.
    pub amplification: usize,
}

/// Long-lived secrets of the server.
#[derive(Clone)]
pub struct Keys {
    /// Signs Record-Route and marks branches; the same after a restart, so that calls go on.
    pub route: [u8; 16],
    /// Seals temporary GRUUs; the same after a restart, so that they stay good.
    pub gruu: [u8; 32],
    /// Signs nonces; a new one at every start, so that no nonce outlives the table of its counts.
    pub nonce: [u8; 16],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl Settings {
    /// The AoR domain that `uri` names a user of: one of `domains`, or the first for an alias or an address of ours. Phones
    /// that were given our address with its port leave the port out when they name a user, so without a port it is ours
    /// whatever the port; with another port it is somebody beside us.
    pub(crate) fn domain_named_by(&self, uri: &SipUri<'_>) -> Option<&str> {
        self.domain(uri, |ip| match uri.port {
            Some(_) => self.is_own_address(ip, uri.port),
            None => self.listens_on(ip),
        })
    }

    /// The user of our first domain that a URI names, where it is written as nearly all are: `sip:user@domain`, with a user
    /// of letters and digits. So that these are not parsed each time; `None` says nothing.
    pub(crate) fn usual_user<'u>(&self, uri: &'u [u8]) -> Option<&'u [u8]> {
        let domain = self.domains.first()?.as_bytes();
        let user = uri.strip_prefix(b"sip:")?.strip_suffix(domain)?.strip_suffix(b"@")?;
        (!user.is_empty() && user.iter().all(u8::is_ascii_alphanumeric)).then_some(user)
    }

    /// The user of ours that `uri` names, or the foreign address that it is.
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
                // At another port of our own address is somebody beside us, whatever its name.
                if !is_own && uri.port.is_some() && (alias || literal.is_some()) && self.listens_on(ip) {
                    return None;
                }
                literal.map(|domain| &**domain).or_else(|| (alias || is_own).then_some(&**first))
            }
        }
    }

    /// Whether a host and port is an address this server listens on (RFC 3261 16.4), whatever the transport.
    pub(crate) fn is_own(&self, host: &Host<'_>, port: Option<u16>) -> bool {
        match host {
            Host::Name(name) => {
                self.advertise.as_ref().is_some_and(|own| own.as_bytes().eq_ignore_ascii_case(without_root(name)))
            }
            Host::V4(_) | Host::V6(_) => host.ip().is_some_and(|ip| self.is_own_address(ip, port)),
        }
    }

    /// Whether this server listens at this address, on whatever port.
    pub(crate) fn listens_on(&self, ip: IpAddr) -> bool {
        self.listeners.iter().any(|listener| self.is_bound_to(listener, ip)) || self.advertises(ip)
    }

    /// Whether one of our domains or aliases is this address.
    pub(crate) fn has_literal_name(&self, ip: IpAddr) -> bool {
        self.domains.iter().any(|name| is_literal(name, ip)) || self.aliases.iter().any(|name| is_literal(name, ip))
    }

    /// Whether this is an address of this machine, whatever the port.
    pub(crate) fn is_own_ip(&self, ip: IpAddr) -> bool {
        self.interfaces.has(ip) || self.listeners.iter().any(|listener| listener.address.ip() == ip)
    }

    /// Whether this server listens there; `port` none is the transport's own.
    pub(crate) fn is_own_address(&self, ip: IpAddr, port: Option<u16>) -> bool {
        let advertised = self.advertises(ip);
        self.listeners.iter().any(|listener| {
            let port_fits = listener.address.port() == port.unwrap_or_else(|| listener.transport.default_port());
            port_fits && (advertised || self.is_bound_to(listener, ip))
        })
    }

    fn is_bound_to(&self, listener: &Listener, ip: IpAddr) -> bool {
        let bound = listener.address.ip();
        let wildcard = bound.is_unspecified() && bound.is_ipv4() == ip.is_ipv4();
        bound == ip || (wildcard && self.interfaces.has(ip))
    }

    fn advertises(&self, ip: IpAddr) -> bool {
        self.advertise.as_ref().is_some_and(|own| is_literal(own, ip))
    }

    /// Index of the listener that has this local address; the first if it has been closed since.
    pub(crate) fn listener_at(&self, transport: Transport, local: SocketAddr) -> u8 {
        let is_at = |listener: &Listener| {
            let ip = listener.address.ip();
            listener.transport == transport
                && listener.address.port() == local.port()
                && (ip == local.ip() || (ip.is_unspecified() && ip.is_ipv4() == local.is_ipv4()))
        };
        self.listeners.iter().position(is_at).and_then(|index| u8::try_from(index).ok()).unwrap_or_default()
    }

    /// The address that a message to `remote` goes out from over this listener.
    pub(crate) fn local_of(&self, listener: &Listener, remote: IpAddr) -> Option<SocketAddr> {
        let same_family = listener.address.is_ipv4() == remote.is_ipv4();
        // A reverse proxy may reach a WebSocket listener over IPv4 for a client that has an IPv6 address.
        match same_family || !listener.transport.is_websocket() {
            true => same_family.then(|| self.concrete(listener, remote)),
            false => Some(self.concrete(listener, remote_loopback(listener.address.ip()))),
        }
    }

    /// The address of ours that a message to `remote` over `transport` goes out from; none if nothing listens for it.
    pub(crate) fn local_for(&self, transport: Transport, remote: IpAddr) -> Option<SocketAddr> {
        let fits = |l: &&Listener| l.transport == transport && l.address.is_ipv4() == remote.is_ipv4();
        // A loopback listener cannot reach the LAN, and the other way round.
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

    /// Whether a source needs no credentials to reach our users.
    pub(crate) fn trusts(&self, source: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&source))
    }
}

impl Interfaces {
    fn has(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.networks.iter().any(|(own, _)| *own == ip)
    }

    fn towards(&self, remote: IpAddr) -> Option<IpAddr> {
        if remote.is_loopback() {
            return Some(remote_loopback(remote));
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

fn remote_loopback(remote: IpAddr) -> IpAddr {
    match remote {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

/// RFC 3261 25.1 hostname: a name may end with the dot of the root (RFC 1034 3.1), and is the same name then. The names of
/// the configuration come without it.
fn without_root(name: &[u8]) -> &[u8] {
    name.strip_suffix(b".").unwrap_or(name)
}

#[inline]
fn is_literal(name: &str, ip: IpAddr) -> bool {
    // Mostly it is a host name: its last label is not a number (RFC 3261 25.1 toplabel), and it has no colon.
    let may_be = match ip {
        IpAddr::V4(_) => name.as_bytes().last().is_some_and(u8::is_ascii_digit),
        IpAddr::V6(_) => name.contains(':'),
    };
    if !may_be {
        return false;
    }
    name.trim_matches(['[', ']']).parse::<IpAddr>() == Ok(ip)
}
