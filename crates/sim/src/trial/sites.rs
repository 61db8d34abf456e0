//! Sites: host names with several servers, and their DNS records (RFC 3263). One site is the Contact of a local user, the
//! other one is a foreign domain.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parser::Transport;
use proxy::{Naptr, Query, Records, Srv};

use super::population::Population;
use crate::Agent;
use crate::judge::{Server, Site};

/// The local user whose Contact is a host name, and the user of the foreign domain.
pub(super) const SITES: [&str; 2] = ["grace", "henry"];

/// Which records lead to the servers of a site.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// NAPTR, SRV and address records (RFC 3263 4.1).
    Naptr,
    /// SRV and address records.
    Srv,
    /// Several address records of one name.
    Addresses,
}

/// A server, and where its SRV record has it.
struct Placed {
    agent: Agent,
    transport: Transport,
    priority: u16,
    target: Arc<str>,
}

impl Population<'_> {
    /// Adds the servers of a site, and its records.
    pub(super) fn add_site(&mut self, user: &'static str) -> Site {
        let host = format!("{user}.example");
        let form = [Form::Naptr, Form::Srv, Form::Addresses][self.random.index(3)];
        let all_on_streams = self.random.chance(400);
        let param = if form == Form::Addresses && all_on_streams { ";transport=tcp" } else { "" };
        let uri = format!("sip:{user}@{host}{param}");
        let by_name = self.random.chance(400);
        let mut placed: Vec<Placed> = Vec::new();
        for number in 0..2 + self.random.index(3) {
            let on_stream = if form == Form::Addresses { all_on_streams } else { self.random.chance(400) };
            let agent = self.agent_on(&format!("{user}/{number}"), if on_stream { 1000 } else { 0 });
            // Calls within its dialogs go to its name, or to the server that answered.
            let agent = if by_name { agent.named(&uri) } else { agent };
            let transport = if on_stream { Transport::Tcp } else { Transport::Udp };
            let priority = 1 + u16::try_from(self.random.below(3)).unwrap_or_default();
            let target = format!("s{number}.{host}").into();
            let mut one = Placed { agent, transport, priority, target };
            // Two servers may be the addresses of one host.
            if let Some(last) = placed.last().filter(|last| last.transport == transport && self.random.chance(300)) {
                (one.priority, one.target) = (last.priority, Arc::clone(&last.target));
            }
            if self.random.chance(400) {
                one.agent.reports_failures();
            }
            let behaviour = self.phone(&one.agent, 0, "", None);
            one.agent.acts_as(behaviour);
            placed.push(one);
        }
        let ranks = match form {
            Form::Addresses => self.add_addresses(&host, &placed),
            Form::Naptr | Form::Srv => self.add_services(&host, &placed, form == Form::Naptr),
        };
        let servers = placed.iter().zip(ranks).map(|(one, rank)| Server { agent: one.agent.id(), rank }).collect();
        Site { user, host, uri, servers }
    }

    /// All servers are addresses of the name itself. One more address cannot be used, as there is no IPv6 listener.
    fn add_addresses(&self, host: &str, placed: &[Placed]) -> Vec<u32> {
        let unusable = IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
        let all = [unusable].into_iter().chain(placed.iter().map(|one| one.agent.address.ip()));
        self.sim.dns_records(Query::Addresses(host.into()), Records::Addresses(all.collect()));
        (0..).take(placed.len()).collect()
    }

    /// SRV records for both transports, and NAPTR records that prefer one of them.
    fn add_services(&mut self, host: &str, placed: &[Placed], with_naptr: bool) -> Vec<u32> {
        let prefers_streams = with_naptr && self.random.chance(500);
        let mut naptr = Vec::new();
        for (transport, service, label) in
            [(Transport::Udp, "SIP+D2U", "_sip._udp"), (Transport::Tcp, "SIP+D2T", "_sip._tcp")]
        {
            let owner: Arc<str> = format!("{label}.{host}").into();
            let mut records: Vec<Srv> = Vec::new();
            for one in placed.iter().filter(|one| one.transport == transport) {
                let weight = u16::try_from(self.random.below(100)).unwrap_or_default();
                let Placed { priority, target, agent, .. } = one;
                if !records.iter().any(|srv| srv.target == *target) {
                    let (priority, target, port) = (*priority, Arc::clone(target), agent.address.port());
                    records.push(Srv { priority, weight, port, target });
                }
                let same = placed.iter().filter(|other| other.target == one.target);
                let addresses = same.map(|other| other.agent.address.ip()).collect();
                self.sim.dns_records(Query::Addresses(Arc::clone(target)), Records::Addresses(addresses));
            }
            if records.is_empty() {
                continue;
            }
            let order = if prefers_streams == (transport == Transport::Tcp) { 10 } else { 20 };
            let (flags, service, regexp) = ("s".into(), service.into(), "".into());
            naptr.push(Naptr { order, preference: 50, flags, service, regexp, replacement: Arc::clone(&owner) });
            self.sim.dns_records(Query::Srv(owner), Records::Srv(records));
        }
        if with_naptr {
            self.sim.dns_records(Query::Naptr(host.into()), Records::Naptr(naptr));
        }
        let second = |one: &Placed| prefers_streams != (one.transport == Transport::Tcp);
        placed.iter().map(|one| u32::from(second(one)) << 16 | u32::from(one.priority)).collect()
    }
}
