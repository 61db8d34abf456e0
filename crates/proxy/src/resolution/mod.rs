//! From a host name to the addresses that a request may be sent to (RFC 3263 4).
//!
//! Decides which DNS records are asked for next and in which order their addresses are tried. Pure: the driver sends the
//! queries and caches the answers. DNS answers may be forged, so the number of queries and of addresses is bounded, and
//! whether an address may be used at all is decided by `reach` and `route`, not here.

mod order;
mod records;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parser::Transport;
use smallvec::SmallVec;

use crate::hop::{Endpoint, Endpoints, Name};
use crate::settings::{Sender, Senders};
use crate::source::Source;

pub use records::{Naptr, Query, Records, Srv};

// The three limits below are no keys of the configuration: more records than these serve nobody, since a caller gives up
// before so many addresses were tried. One name takes at most 1 + MAX_SERVICES + 2·MAX_HOSTS queries.

/// The largest number of services that are looked up for one name.
const MAX_SERVICES: usize = 4;

/// The largest number of hosts that the services of one name lead to.
const MAX_HOSTS: usize = 8;

/// The largest number of addresses of one name.
const MAX_ENDPOINTS: usize = 8;

/// The resolution of one name. The caller answers [`queries`](Self::queries) with [`answer`](Self::answer) until there
/// are none.
#[derive(Clone, Debug)]
pub struct Resolution {
    name: Name,
    senders: Senders,
    /// Chooses between SRV records of equal priority.
    seed: u64,
    /// The sender of the request that it is for, if the number of its lookups is limited.
    asker: Option<Source>,
    state: State,
}

/// What is being looked up.
#[derive(Clone, Debug)]
enum State {
    /// The services of the domain.
    Naptr,
    /// The hosts of these services.
    Srv(SmallVec<[Service; MAX_SERVICES]>),
    /// The addresses of these hosts.
    Addresses(SmallVec<[Host; 2]>),
    /// Nothing: the name is resolved.
    Resolved(Endpoints),
}

/// A service of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    transport: Transport,
    /// The owner name of its SRV records.
    owner: Arc<str>,
}

/// A host that offers the service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Host {
    name: Arc<str>,
    port: u16,
    transport: Transport,
}

impl Resolution {
    /// Starts with a name. `senders`: what requests can be sent over, the preferred one first. `seed`: equal for all
    /// messages of a call, so that a stateless proxy sends them to the same server (RFC 3263 4.4).
    pub fn new(name: &Name, senders: Senders, seed: u64) -> Self {
        let mut resolution = Self { name: name.clone(), senders, seed, asker: None, state: State::Naptr };
        resolution.state = match (name.transport, name.port) {
            // 4.2: an explicit port is never looked up.
            (transport, Some(port)) => resolution.only_host(transport.unwrap_or_else(|| resolution.default()), port),
            (Some(transport), None) => match resolution.service(transport) {
                Some(service) => State::Srv(SmallVec::from_iter([service])),
                None => resolution.only_host(transport, transport.default_port()),
            },
            (None, None) => State::Naptr,
        };
        resolution
    }

    /// The same, for a request from this address.
    #[must_use]
    pub fn for_asker(self, asker: IpAddr) -> Self {
        Self { asker: Some(asker.into()), ..self }
    }

    /// The sender of the request, if the number of its lookups is limited.
    pub const fn asker(&self) -> Option<Source> {
        self.asker
    }

    /// The records that are to be looked up now; none if the name is resolved.
    pub fn queries(&self) -> SmallVec<[Query; 2]> {
        match &self.state {
            State::Naptr => SmallVec::from_iter([Query::Naptr(Arc::clone(&self.name.host))]),
            State::Srv(services) => services.iter().map(|service| Query::Srv(Arc::clone(&service.owner))).collect(),
            State::Addresses(hosts) => hosts.iter().map(|host| Query::Addresses(Arc::clone(&host.name))).collect(),
            State::Resolved(_) => SmallVec::new(),
        }
    }

    /// Continues with the records for each of the queries, in their order. A missing answer, or one of another type, counts
    /// as no records.
    pub fn answer(&mut self, answers: &[Records]) {
        self.state = match &self.state {
            State::Naptr => self.services(answers.first()),
            State::Srv(services) => self.hosts(services, answers),
            State::Addresses(hosts) => State::Resolved(self.addresses(hosts, answers)),
            State::Resolved(_) => return,
        };
    }

    /// Carries out the resolution with records that are at hand.
    pub fn run(mut self, mut look_up: impl FnMut(&Query) -> Records) -> Endpoints {
        loop {
            let queries = self.queries();
            if queries.is_empty() {
                return self.endpoints();
            }
            let answers: SmallVec<[Records; 2]> = queries.iter().map(&mut look_up).collect();
            self.answer(&answers);
        }
    }

    /// The endpoints in the order in which they are tried; none if the name does not exist or is not resolved yet.
    pub fn endpoints(self) -> Endpoints {
        match self.state {
            State::Resolved(endpoints) => endpoints,
            State::Naptr | State::Srv(_) | State::Addresses(_) => Endpoints::new(),
        }
    }

    /// RFC 3263 4.1: the transport where neither the URI nor DNS names one. TLS for `sips:` (RFC 3261 26.2.2).
    const fn default(&self) -> Transport {
        if self.name.secure { Transport::Tls } else { Transport::Udp }
    }

    /// The name without SRV records: its own addresses.
    fn only_host(&self, transport: Transport, port: u16) -> State {
        State::Addresses(SmallVec::from_iter([Host { name: Arc::clone(&self.name.host), port, transport }]))
    }

    fn may_use(&self, transport: Transport) -> bool {
        (transport.is_secure() || !self.name.secure) && self.senders.iter().any(|sender| sender.transport == transport)
    }

    /// The service of the name for a transport (4.1, 4.2).
    fn service(&self, transport: Transport) -> Option<Service> {
        if !self.may_use(transport) {
            return None;
        }
        let owner = format!("{}.{}", service_label(transport)?, self.name.host).into();
        Some(Service { transport, owner })
    }

    /// From the NAPTR records to the services; without usable ones those that a domain may have without NAPTR records (4.1).
    fn services(&self, answer: Option<&Records>) -> State {
        let mut records: Vec<_> = match answer {
            Some(Records::Naptr(records)) => {
                records.iter().filter_map(|naptr| Some((naptr, self.offer(naptr)?))).collect()
            }
            _ => Vec::new(),
        };
        records.sort_by(|(one, _), (other, _)| one.sort_key().cmp(&other.sort_key()));
        let mut services: SmallVec<[Service; MAX_SERVICES]> =
            records.into_iter().map(|(_, service)| service).take(MAX_SERVICES).collect();
        if services.is_empty() {
            services = self.senders.iter().filter_map(|sender| self.service(sender.transport)).collect();
            services.dedup();
            services.truncate(MAX_SERVICES);
        }
        State::Srv(services)
    }

    /// The service that a NAPTR record offers, if requests can be sent over its transport.
    fn offer(&self, naptr: &Naptr) -> Option<Service> {
        let transport = naptr.transport().filter(|transport| self.may_use(*transport))?;
        Some(Service { transport, owner: Arc::clone(&naptr.replacement) })
    }

    /// From the SRV records to the hosts; without any the name itself with the default port (4.2).
    fn hosts(&self, services: &[Service], answers: &[Records]) -> State {
        let mut hosts = SmallVec::new();
        let mut is_service_known = false;
        for (service, answer) in services.iter().zip(answers) {
            let Records::Srv(records) = answer else { continue };
            is_service_known |= !records.is_empty();
            for srv in order::by_priority_and_weight(records, self.seed) {
                // RFC 2782: the root as the target says that the service is not offered.
                if hosts.len() < MAX_HOSTS && !srv.target.is_empty() && srv.port != 0 {
                    let name = Arc::clone(&srv.target);
                    hosts.push(Host { name, port: srv.port, transport: service.transport });
                }
            }
        }
        if is_service_known {
            return if hosts.is_empty() { State::Resolved(Endpoints::new()) } else { State::Addresses(hosts) };
        }
        let transport = self.name.transport.unwrap_or_else(|| self.default());
        self.only_host(transport, transport.default_port())
    }

    /// From the addresses of the hosts to the endpoints.
    fn addresses(&self, hosts: &[Host], answers: &[Records]) -> Endpoints {
        let mut endpoints = Endpoints::new();
        for (host, answer) in hosts.iter().zip(answers) {
            let Records::Addresses(addresses) = answer else { continue };
            for ip in addresses.iter().filter(|ip| is_unicast(**ip)) {
                let endpoint = Endpoint { transport: host.transport, address: SocketAddr::new(*ip, host.port) };
                let sender = Sender { transport: host.transport, is_ipv4: ip.is_ipv4() };
                let may_add = endpoints.len() < MAX_ENDPOINTS && !endpoints.contains(&endpoint);
                if may_add && self.senders.contains(&sender) {
                    endpoints.push(endpoint);
                }
            }
        }
        endpoints
    }
}

fn is_unicast(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::from([255, 255, 255, 255])
}

/// The labels of the service of a transport (RFC 3263 4.1, 4.2).
const fn service_label(transport: Transport) -> Option<&'static str> {
    match transport {
        Transport::Udp => Some("_sip._udp"),
        Transport::Tcp => Some("_sip._tcp"),
        Transport::Tls => Some("_sips._tcp"),
        Transport::Ws | Transport::Wss => None,
    }
}

#[cfg(test)]
mod tests;
