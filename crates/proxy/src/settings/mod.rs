//! The settings of the core. They are valid, and a reload replaces all of them at once.
//!
//! Must not read or check the configuration; that is done by the server.

mod accounts;
mod callers;
mod digest;
mod fixed;
mod interfaces;
mod registrar;
mod watching;

use std::net::{IpAddr, SocketAddr};
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
pub use interfaces::Interfaces;
pub use registrar::{Registrar, UnannouncedPath};
pub(crate) use watching::REG_PACKAGE;
pub use watching::Watching;

/// The settings, which all workers share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The local domains, in lower case. Each has its own users. Never empty.
    pub domains: Vec<Box<str>>,
    /// Other names of the first domain, in lower case.
    pub aliases: Vec<Box<str>>,
    /// The listeners.
    pub listeners: Vec<Listener>,
    /// The host for Via and Record-Route; `None`: the address that a message is sent from.
    pub advertise: Option<Box<str>>,
    /// The addresses of this machine, to choose the one that a message is sent from.
    pub interfaces: Interfaces,
    /// Whether users must authenticate.
    pub authentication: Authentication,
    /// Digest parameters.
    pub digest: Digest,
    /// The users; empty with [`Authentication::Off`] means that every user exists.
    pub accounts: Accounts,
    /// Networks whose requests to local users need no credentials.
    pub trusted: Vec<IpNet>,
    /// Whether callers from foreign domains may call local users.
    pub strangers: Strangers,
    /// Whether local users may call foreign domains.
    pub foreign: Foreign,
    /// Settings of the registrar.
    pub registrar: Registrar,
    /// Settings of subscriptions to registrations.
    pub watching: Watching,
    /// How several contacts are tried.
    pub forking: Forking,
    /// Timers of RFC 3261 17.
    pub timers: Timers,
    /// Limits of memory use.
    pub limits: Limits,
}

/// A listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The transport.
    pub transport: Transport,
    /// The bound address; may be a wildcard (0.0.0.0, ::).
    pub address: SocketAddr,
}

/// Whether users must authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By digest: 401 for a REGISTER, 407 for other requests.
    Required,
    /// No user is challenged.
    Off,
}

/// Whether requests from foreign domains to local users are accepted. Requests from `trusted` always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// They are refused (403).
    Refuse,
    /// They are forwarded.
    Accept,
}

/// Whether local users may send requests to foreign domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// They are refused (403).
    Refuse,
    /// They are forwarded if the user has authenticated.
    Authenticated,
}

/// How the contacts of a user are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forking {
    /// How they are grouped.
    pub strategy: Strategy,
    /// How long each group rings.
    pub ring_time: Duration,
    /// Whether redirections are followed (RFC 3261 16.7 step 4) if the caller may call their targets.
    pub recurse: bool,
    /// Whether a phone that registers during a call to its user rings too.
    pub late_registration: bool,
    /// How a call to a user with one phone is forwarded.
    pub single_target: SingleTarget,
}

/// How a call with one target is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SingleTarget {
    /// Without a transaction (RFC 3261 16.11). The ring time does not apply, redirections go to the caller, and no
    /// phone can join.
    Stateless,
    /// With a response context, as if there were several targets.
    Stateful,
}

/// How contacts are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// All at the same time.
    Parallel,
    /// By descending q, those with the same q at the same time. A group is cancelled when its ring time is over.
    Sequential,
    /// By descending q, those with the same q at the same time. Each group continues to ring until the ring time of the
    /// last one is over.
    Wave,
}

/// The timers of RFC 3261 17 (table 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Estimate of the round-trip time: 500 ms.
    pub t1: Duration,
    /// The longest retransmission interval: 4 s.
    pub t2: Duration,
    /// How long a message can stay in the network: 5 s.
    pub t4: Duration,
    /// How long an INVITE may wait for a response after the last provisional one: more than 3 min.
    pub c: Duration,
}

impl Timers {
    /// 64·T1: timers B, F, H, J, L and M.
    pub const fn give_up(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// How long after the first request a retransmission can arrive: the last one is sent after 64·T1, and takes up to
    /// T4.
    pub(crate) const fn last_copy(&self) -> Duration {
        self.give_up().saturating_add(self.t4)
    }
}

/// Limits of the memory of each worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Response contexts.
    pub transactions: usize,
    /// Memory of all response contexts in bytes. Above it, none is created.
    pub transaction_memory: usize,
    /// Targets of one request, including those of redirections and late registrations. At most 255.
    pub targets: usize,
    /// Pins.
    pub pins: usize,
    /// Used nonces; also the number of nonces with wrong responses.
    pub nonces: usize,
    /// Challenged REGISTERs that are remembered, to recognise phones that give up.
    pub unanswered_challenges: usize,
    /// Subscriptions to registrations.
    pub subscriptions: usize,
    /// Subscriptions to one user.
    pub subscriptions_per_user: usize,
    /// Moved sides of dialogs that are remembered.
    pub moved_dialogs: usize,
    /// How many times as long as its request a response to an unauthenticated UDP source may be.
    pub amplification: usize,
}

/// Secret keys of the server.
#[derive(Clone)]
pub struct Keys {
    /// Signs dialog tokens and branches. The same after a restart, so that calls continue.
    pub route: [u8; 16],
    /// Encrypts temporary GRUUs. The same after a restart, so that they stay valid.
    pub gruu: [u8; 32],
    /// Signs nonces. New at every start: otherwise a nonce could be used again, since its counts are lost.
    pub nonce: [u8; 16],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl Settings {
    /// The local domain whose user `uri` names. It is one of `domains`, or the first one for an alias or a local
    /// address.
    ///
    /// Phones that are configured with our address and port often omit the port in the URI of a user. So an address
    /// without a port is ours whatever the port of the listener. With another port it is another server on this
    /// machine.
    pub(crate) fn domain_named_by(&self, uri: &SipUri<'_>) -> Option<&str> {
        self.domain(uri, |ip| match uri.port {
            Some(_) => self.is_own_address(ip, uri.port),
            None => self.listens_on(ip),
        })
    }

    /// Fast path: the user of the first domain in a URI that is exactly `sip:user@domain`, with letters and digits
    /// only, as most are. `None` means that the URI has to be parsed.
    pub(crate) fn plain_user<'u>(&self, uri: &'u [u8]) -> Option<&'u [u8]> {
        let domain = self.domains.first()?.as_bytes();
        let user = uri.strip_prefix(b"sip:")?.strip_suffix(domain)?.strip_suffix(b"@")?;
        (!user.is_empty() && user.iter().all(u8::is_ascii_alphanumeric)).then_some(user)
    }

    /// The local user or the foreign address that `uri` names.
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
                // Another port of our own address belongs to another server on this machine.
                if !is_own && uri.port.is_some() && (alias || literal.is_some()) && self.listens_on(ip) {
                    return None;
                }
                literal.map(|domain| &**domain).or_else(|| (alias || is_own).then_some(&**first))
            }
        }
    }

    /// Whether this host and port belong to this server (RFC 3261 16.4), over any transport.
    pub(crate) fn is_own(&self, host: &Host<'_>, port: Option<u16>) -> bool {
        match host {
            Host::Name(name) => {
                self.advertise.as_ref().is_some_and(|own| own.as_bytes().eq_ignore_ascii_case(without_root(name)))
            }
            Host::V4(_) | Host::V6(_) => host.ip().is_some_and(|ip| self.is_own_address(ip, port)),
        }
    }

    /// Whether this server listens on this address, on any port.
    pub(crate) fn listens_on(&self, ip: IpAddr) -> bool {
        self.listeners.iter().any(|listener| self.is_bound_to(listener, ip)) || self.advertises(ip)
    }

    /// Whether a local domain or alias is this address.
    pub(crate) fn has_literal_name(&self, ip: IpAddr) -> bool {
        self.domains.iter().any(|name| is_literal(name, ip)) || self.aliases.iter().any(|name| is_literal(name, ip))
    }

    /// Whether this is an address of this machine.
    pub(crate) fn is_own_ip(&self, ip: IpAddr) -> bool {
        self.interfaces.has(ip) || self.listeners.iter().any(|listener| listener.address.ip() == ip)
    }

    /// Whether this server listens on this address and port. `None` is the default port of the transport.
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

    /// The index of the listener with this local address; 0 if it no longer exists.
    pub(crate) fn listener_at(&self, transport: Transport, local: SocketAddr) -> u8 {
        let is_at = |listener: &Listener| {
            let ip = listener.address.ip();
            listener.transport == transport
                && listener.address.port() == local.port()
                && (ip == local.ip() || (ip.is_unspecified() && ip.is_ipv4() == local.is_ipv4()))
        };
        self.listeners.iter().position(is_at).and_then(|index| u8::try_from(index).ok()).unwrap_or_default()
    }

    /// The local address that a message to `remote` is sent from over this listener.
    pub(crate) fn local_of(&self, listener: &Listener, remote: IpAddr) -> Option<SocketAddr> {
        (listener.address.is_ipv4() == remote.is_ipv4()).then(|| self.concrete(listener, remote))
    }

    /// The local address that a message to `remote` is sent from over this transport; `None` if there is no listener
    /// for it.
    pub(crate) fn local_for(&self, transport: Transport, remote: IpAddr) -> Option<SocketAddr> {
        let fits = |l: &&Listener| l.transport == transport && l.address.is_ipv4() == remote.is_ipv4();
        // A socket that is bound to a loopback address cannot reach other hosts, and the reverse.
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

    /// Whether an address is in a trusted network.
    pub(crate) fn trusts(&self, source: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&source))
    }
}

/// A host name without the dot of the root, which it may have (RFC 3261 25.1, RFC 1034 3.1). The configured names have
/// none.
fn without_root(name: &[u8]) -> &[u8] {
    name.strip_suffix(b".").unwrap_or(name)
}

#[inline]
fn is_literal(name: &str, ip: IpAddr) -> bool {
    // Fast path: a host name never ends in a digit (RFC 3261 25.1 `toplabel` begins with a letter) and has no colon.
    let may_be = match ip {
        IpAddr::V4(_) => name.as_bytes().last().is_some_and(u8::is_ascii_digit),
        IpAddr::V6(_) => name.contains(':'),
    };
    if !may_be {
        return false;
    }
    name.trim_matches(['[', ']']).parse::<IpAddr>() == Ok(ip)
}
