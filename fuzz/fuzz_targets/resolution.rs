//! DNS answers: a resolution asks for a bounded number of records, whatever the answers are, and leads to a bounded number
//! of endpoints, each of them once, in the order that the records prescribe (RFC 3263 4.1, 4.2, RFC 2782).
//!
//! The first octets: the name, then the seed; the rest is read as records. Host names are from a small set, so that records
//! refer to one another, and to themselves.
#![no_main]

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use parser::Transport;
use proxy::{Endpoint, Endpoints, Name, Naptr, Query, Records, Resolution, Sender, Senders, Srv};

/// The largest number of queries: one for services, four services, eight hosts.
const MAX_QUERIES: usize = 13;

/// The largest number of endpoints.
const MAX_ENDPOINTS: usize = 8;

/// Of more SRV records some are left out, so that their order does not tell which endpoints there are.
const ORDERED_RECORDS: usize = 64;

const HOSTS: [&str; 8] = ["a", "b", "c", "d", "example.com", "_sip._udp.example.com", "_sip._tcp.example.com", ""];
const SERVICES: [&str; 6] = ["SIP+D2U", "SIP+D2T", "SIPS+D2T", "sip+d2u", "SIP+D2S", "E2U+sip"];
const TRANSPORTS: [Transport; 5] = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

fuzz_target!(|input: &[u8]| {
    let mut octets = Octets(input);
    let (name, senders) = (octets.name(), octets.senders());
    let seed = u64::from(octets.number()) << 16 | u64::from(octets.number());
    let mut zone = Zone::default();
    let endpoints = resolve(Resolution::new(&name, senders.clone(), seed), |query| zone.look_up(query, &mut octets));
    check_endpoints(&endpoints, &name, &senders);
    zone.check_order(&endpoints);
    // RFC 3263 4.4: resolvers rotate the records, and a retransmission must take the same way.
    let again = Resolution::new(&name, senders, seed).run(|query| zone.rotated(query));
    assert_eq!(again, endpoints, "the order of the SRV records in an answer does not matter");
});

/// Carries out a resolution, and counts its queries.
fn resolve(mut resolution: Resolution, mut look_up: impl FnMut(&Query) -> Records) -> Endpoints {
    let mut asked = 0;
    loop {
        let queries = resolution.queries();
        if queries.is_empty() {
            break;
        }
        asked += queries.len();
        assert!(asked <= MAX_QUERIES, "{asked} queries for one name");
        let answers: Vec<Records> = queries.iter().map(&mut look_up).collect();
        resolution.answer(&answers);
    }
    let endpoints = resolution.clone().endpoints();
    resolution.answer(&[]);
    assert_eq!(resolution.endpoints(), endpoints, "a late answer changes nothing");
    endpoints
}

fn check_endpoints(endpoints: &[Endpoint], name: &Name, senders: &Senders) {
    assert!(endpoints.len() <= MAX_ENDPOINTS);
    for (place, endpoint) in endpoints.iter().enumerate() {
        let Endpoint { transport, address } = endpoint;
        assert!(!endpoints[..place].contains(endpoint), "an endpoint is tried once");
        assert!(senders.contains(&Sender { transport: *transport, is_ipv4: address.is_ipv4() }), "there is a listener");
        assert!(!address.ip().is_unspecified() && !address.ip().is_multicast(), "it is the address of one host");
        // A transport that the URI names is secure already if the URI is; `route` refuses the others.
        assert!(!name.secure || transport.is_secure() || name.transport == Some(*transport), "`sips:` uses TLS");
        assert!(name.transport.is_none_or(|wanted| wanted == *transport), "the URI names the transport");
        assert!(name.port.is_none_or(|port| port == address.port()), "the URI names the port");
    }
}

/// The answers that were given. Equal queries get equal answers.
#[derive(Default)]
struct Zone {
    answers: HashMap<Query, Records>,
    /// The services that were asked for, in order.
    services: Vec<Arc<str>>,
}

impl Zone {
    fn look_up(&mut self, query: &Query, octets: &mut Octets<'_>) -> Records {
        if let Query::Srv(owner) = query {
            self.services.push(Arc::clone(owner));
        }
        self.answers.entry(query.clone()).or_insert_with(|| octets.records(query)).clone()
    }

    fn rotated(&self, query: &Query) -> Records {
        let mut records = self.answers.get(query).cloned().expect("the same queries");
        if let Records::Srv(records) = &mut records
            && records.len() <= ORDERED_RECORDS
        {
            records.reverse();
        }
        records
    }

    /// The endpoints follow the services, and within a service the priorities.
    fn check_order(&self, endpoints: &[Endpoint]) {
        let ranks: Option<Vec<_>> = endpoints.iter().map(|endpoint| self.rank(endpoint)).collect();
        let Some(ranks) = ranks.filter(|_| !self.services.is_empty()) else { return };
        assert!(ranks.is_sorted(), "{endpoints:?} have the ranks {ranks:?}");
    }

    /// The number of the first service that leads to an endpoint, and the priority there; `None` if no service does, or if
    /// that cannot be told.
    fn rank(&self, endpoint: &Endpoint) -> Option<(usize, u16)> {
        let mut ranks = Vec::new();
        for (number, owner) in self.services.iter().enumerate() {
            let Some(Records::Srv(records)) = self.answers.get(&Query::Srv(Arc::clone(owner))) else { continue };
            if records.len() > ORDERED_RECORDS {
                return None;
            }
            let is_of_service = self.transport(owner)? == endpoint.transport;
            let leads = |srv: &&Srv| {
                let addresses = self.answers.get(&Query::Addresses(Arc::clone(&srv.target)));
                let has = matches!(addresses, Some(Records::Addresses(all)) if all.contains(&endpoint.address.ip()));
                has && is_of_service && srv.port == endpoint.address.port() && !srv.target.is_empty()
            };
            ranks.extend(records.iter().filter(leads).map(|srv| (number, srv.priority)));
        }
        ranks.into_iter().min()
    }

    /// The transport of a service; `None` if NAPTR records and its labels say different things.
    fn transport(&self, owner: &str) -> Option<Transport> {
        let mut found = Vec::new();
        for records in self.answers.values() {
            let Records::Naptr(records) = records else { continue };
            let named =
                records.iter().filter(|naptr| *naptr.replacement == *owner && naptr.flags.eq_ignore_ascii_case("s"));
            found.extend(named.filter_map(|naptr| match naptr.service.to_ascii_uppercase().as_str() {
                "SIP+D2U" => Some(Transport::Udp),
                "SIP+D2T" => Some(Transport::Tcp),
                "SIPS+D2T" => Some(Transport::Tls),
                _ => None,
            }));
        }
        let labels = [("_sip._udp.", Transport::Udp), ("_sip._tcp.", Transport::Tcp), ("_sips._tcp.", Transport::Tls)];
        found.extend(labels.into_iter().find(|(label, _)| owner.starts_with(label)).map(|(_, transport)| transport));
        let first = *found.first()?;
        found.iter().all(|transport| *transport == first).then_some(first)
    }
}

/// The rest of the input, read in pieces. At its end there are zeros.
struct Octets<'a>(&'a [u8]);

impl Octets<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.next(), self.next()])
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.next()) % all.len()]
    }

    fn name(&mut self) -> Name {
        let flags = self.next();
        Name {
            host: "example.com".into(),
            port: (flags & 1 != 0).then(|| self.number().max(1)),
            transport: (flags & 2 != 0).then(|| self.one_of(&TRANSPORTS)),
            secure: flags & 4 != 0,
        }
    }

    fn senders(&mut self) -> Senders {
        let chosen = self.next();
        let all = [Transport::Udp, Transport::Tcp, Transport::Tls].into_iter();
        let all = all.flat_map(|transport| [true, false].map(|is_ipv4| Sender { transport, is_ipv4 }));
        // Without any there is nothing to test, so zero stands for all of them.
        all.enumerate()
            .filter(|(bit, _)| chosen & 63 == 0 || chosen >> bit & 1 != 0)
            .map(|(_, sender)| sender)
            .collect()
    }

    /// An answer, sometimes of another type than the query.
    fn records(&mut self, query: &Query) -> Records {
        let head = self.next();
        let count = if head & 0x30 == 0x30 { usize::from(self.next()) } else { usize::from(head & 0x0f) };
        let asked = match query {
            Query::Naptr(_) => 0,
            Query::Srv(_) => 1,
            Query::Addresses(_) => 2,
        };
        match if head >= 0xf0 { self.next() % 3 } else { asked } {
            0 => Records::Naptr((0..count).map(|_| self.naptr()).collect()),
            1 => Records::Srv((0..count).map(|_| self.srv()).collect()),
            _ => Records::Addresses((0..count).map(|_| self.address()).collect()),
        }
    }

    fn host(&mut self) -> Arc<str> {
        self.one_of(&HOSTS).into()
    }

    fn naptr(&mut self) -> Naptr {
        Naptr {
            order: u16::from(self.next()),
            preference: u16::from(self.next()),
            flags: self.one_of(&["s", "S", "s", "a", "u", ""]).into(),
            service: self.one_of(&SERVICES).into(),
            regexp: self.one_of(&["", "", "", "!^.*$!sip:x@y!"]).into(),
            replacement: self.host(),
        }
    }

    fn srv(&mut self) -> Srv {
        let priority = u16::from(self.next() & 7);
        Srv {
            priority,
            weight: self.number(),
            port: self.one_of(&[5060, 5060, 5061, 5070, 0, 65535]),
            target: self.host(),
        }
    }

    fn address(&mut self) -> IpAddr {
        match self.next() {
            0 => IpAddr::from([0, 0, 0, 0]),
            1 => IpAddr::from([255, 255, 255, 255]),
            2 => IpAddr::from([224, 0, 0, 1]),
            3 => Ipv6Addr::UNSPECIFIED.into(),
            last if last < 128 => IpAddr::from([192, 0, 2, last]),
            last => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into(),
        }
    }
}
