//! Whether a phone that uses UDP is behind a NAT, so that it is reached at the source of its request and not at its
//! Contact (RFC 3581, RFC 5626 1). RFC 3261 has no rule for this.
//!
//! A phone is behind a NAT if its Contact is meant to be its own address but does not lead to the source of the
//! request. The decision uses three facts: the source address, what the top Via says about the sender, and the Contact.
//! The table in [`Observed::reach`] gives each decision with its reason; the first matching row applies. The test below
//! lists examples of each row. A Contact that names another host on purpose is used as it is.
//!
//! Must not be used for streams: their connection leads to the phone with or without a NAT. Must not use DNS: the
//! address of a name may differ from network to network, and each REGISTER would need a lookup.

use std::net::{IpAddr, SocketAddr};

use parser::headers::Via;
use parser::{HeaderName, Host, SipUri, Transport};

use crate::request::Request;

/// Where a phone is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// At the source of its request.
    Source,
    /// At its Contact.
    Contact,
}

/// Where the sender of a UDP request is reached. If the request has no Contact, its Via takes the place of the Contact.
pub(crate) fn reach(request: &Request, contact: Option<&SipUri<'_>>) -> Reach {
    let source = request.flow.remote;
    // The usual case without NAT.
    if contact.is_some_and(|contact| contact.host.ip() == Some(source.ip()) && port_of(contact) == source.port()) {
        return Reach::Contact;
    }
    // RFC 3261 19.1.1: maddr is the address to send to, whatever the host is.
    if contact.is_some_and(|contact| contact.maddr().is_some()) {
        return Reach::Contact;
    }
    let Some(via) = request.message.header::<Via<'_>>().ok().flatten() else { return Reach::Contact };
    let via_port = via.port.unwrap_or_else(|| Transport::Udp.default_port());
    let (contact, contact_port) = contact.map_or((via.host, via_port), |contact| (contact.host, port_of(contact)));
    let rport = via.rport().is_some();
    let is_proxied = request.message.values(HeaderName::Via).nth(1).is_some();
    Observed { source, via: via.host, via_port, rport, is_proxied, contact, contact_port }.reach()
}

/// Whether the sender of a request is reached over the flow of the request (its connection, or the binding of its NAT)
/// and not at its Contact.
pub(crate) fn is_flow_bound(request: &Request, contact: Option<&SipUri<'_>>) -> bool {
    request.flow.transport.is_reliable() || reach(request, contact) == Reach::Source
}

fn port_of(uri: &SipUri<'_>) -> u16 {
    uri.port.unwrap_or_else(|| Transport::Udp.default_port())
}

/// The facts that the decision uses.
struct Observed<'a> {
    /// The source address of the request.
    source: SocketAddr,
    /// The sent-by of the top Via.
    via: Host<'a>,
    via_port: u16,
    /// Whether that Via has `rport`: the sender wants responses at the source, so it listens there (RFC 3581 3).
    rport: bool,
    /// Whether there are more Vias: the sender is a proxy, and the phone is behind it.
    is_proxied: bool,
    contact: Host<'a>,
    contact_port: u16,
}

/// What the top Via says about the sender of the request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// The sender is a proxy, so the source is not the address of the phone.
    Proxy,
    /// The address and port are those of the source: there is no NAT, or an ALG has corrected the Via.
    Source,
    /// The address is that of the source, the port is not.
    OtherPort,
    /// The address is not that of the source: a NAT translated it.
    Translated,
    /// The Via has a host name, which says nothing about the address.
    Named,
}

/// Where the Contact is, compared with the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The same address and port.
    Source,
    /// The same address with another port.
    OtherPort,
    /// Another address that is private, or a name of a local network.
    Private,
    /// Another address that is public.
    Public,
    /// A host name that no DNS server has.
    Unresolvable,
    /// Another host name.
    Named,
}

impl Observed<'_> {
    fn reach(&self) -> Reach {
        let (place, sender) = (self.place(), self.sender());
        let from_public = !is_private(self.source.ip());
        let (same_host, is_symmetric) =
            (self.via.eq_ignore_case(&self.contact), self.rport || self.via_port == self.source.port());
        match (place, sender) {
            // The Contact is the source, so both are the same.
            (Place::Source, _) => Reach::Contact,
            // If the proxy is in the public network, only the proxy can reach a private address.
            (Place::Private, Sender::Proxy) if from_public => Reach::Source,
            (Place::Unresolvable, Sender::Proxy) => Reach::Source,
            // Otherwise the phone is at its Contact; the source is the address of the proxy.
            (_, Sender::Proxy) => Reach::Contact,
            // A private address, but the request came from the public network. An ALG may have changed the
            // Via.
            (Place::Private, _) if from_public => Reach::Source,
            // RFC 2606, RFC 6762, RFC 7118 5: `.invalid`, `.local`, `localhost`, or a host without a domain cannot be
            // resolved.
            (Place::Unresolvable, _) => Reach::Source,
            // A symmetric NAT: the phone learned a port by STUN, but its NAT uses another port towards us. An ALG has
            // corrected the Via.
            (Place::OtherPort, Sender::Source) if from_public => Reach::Source,
            // There is no STUN in a local network, so the Contact is another program of the same host, on purpose.
            (Place::OtherPort, Sender::Source) => Reach::Contact,
            // A symmetric NAT as above, and the Via still has the private address.
            (Place::OtherPort, Sender::Translated) => Reach::Source,
            // The Via has the port from STUN too, or a host name: the phone listens at its source.
            (Place::OtherPort, Sender::OtherPort | Sender::Named) if is_symmetric => Reach::Source,
            // Without NAT: a phone that sends from another port than it listens at. It gets responses at
            // the port of the Via too.
            (Place::OtherPort, _) => Reach::Contact,
            // The Via has the source address, so there is no NAT: the Contact names another host on purpose.
            (Place::Private | Place::Public | Place::Named, Sender::Source | Sender::OtherPort) => Reach::Contact,
            // Via and Contact have the same address, which is not the source: the phone does not know about
            // its NAT. An exception is a public address without `rport` in a request from a private source:
            // no NAT translates in this direction, so the phone has both addresses and sends from the other
            // one.
            (Place::Private, Sender::Translated) if same_host => Reach::Source,
            (Place::Public, Sender::Translated) if same_host && (self.rport || from_public) => Reach::Source,
            // A NAT between two private networks, or a host name in the Via: the private address is behind
            // the NAT.
            (Place::Private, _) => Reach::Source,
            // Another public host, on purpose.
            (Place::Public, _) => Reach::Contact,
            // The host name of a computer behind a NAT, which other networks usually cannot resolve.
            (Place::Named, Sender::Translated) => Reach::Source,
            // Via and Contact have the same host name, and the phone listens at its source.
            (Place::Named, Sender::Named) if same_host && is_symmetric => Reach::Source,
            // Another host on purpose, or a phone that sends from another port than it listens at.
            (Place::Named, Sender::Named) => Reach::Contact,
        }
    }

    fn sender(&self) -> Sender {
        match self.via.ip() {
            _ if self.is_proxied => Sender::Proxy,
            None => Sender::Named,
            Some(ip) if ip != self.source.ip() => Sender::Translated,
            Some(_) if self.via_port == self.source.port() => Sender::Source,
            Some(_) => Sender::OtherPort,
        }
    }

    fn place(&self) -> Place {
        match self.contact {
            Host::Name(name) => place_of_name(name),
            Host::V4(_) | Host::V6(_) if self.contact.ip() == Some(self.source.ip()) => {
                if self.contact_port == self.source.port() { Place::Source } else { Place::OtherPort }
            }
            Host::V4(ip) if is_private(ip.into()) => Place::Private,
            Host::V6(ip) if is_private(ip.into()) => Place::Private,
            Host::V4(_) | Host::V6(_) => Place::Public,
        }
    }
}

/// Whether an address is valid only within its own network (RFC 1918, RFC 6598, RFC 3927, RFC 4193).
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let is_shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            ip.is_private() || ip.is_link_local() || ip.is_loopback() || is_shared
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

/// Whether a host name is valid only within its own network.
pub(crate) fn is_local(name: &[u8]) -> bool {
    place_of_name(name) != Place::Named
}

fn place_of_name(name: &[u8]) -> Place {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let Some(dot) = memchr::memrchr(b'.', name) else { return Place::Unresolvable };
    let last = name.get(dot + 1..).unwrap_or_default();
    let is_one_of = |list: &[&[u8]]| list.iter().any(|it| last.eq_ignore_ascii_case(it));
    if is_one_of(&[b"invalid", b"local", b"localhost", b"localdomain"]) {
        Place::Unresolvable
    } else if is_one_of(&[b"lan", b"home", b"internal"]) || ends_with(name, b".home.arpa") {
        Place::Private
    } else {
        Place::Named
    }
}

fn ends_with(name: &[u8], end: &[u8]) -> bool {
    let start = name.len().saturating_sub(end.len());
    name.get(start..).is_some_and(|it| it.eq_ignore_ascii_case(end))
}

#[cfg(test)]
mod tests {
    use parser::Uri;

    use super::*;

    /// Source, top Via (sent-by, `rport`, number of Vias), Contact; where the phone is reached, and the reason.
    type Row = (&'static str, &'static str, &'static str, Reach, &'static str);

    use Reach::{Contact, Source};

    const PUBLIC: &[Row] = &[
        ("198.51.100.7:4000", "198.51.100.7:4000 rport", "198.51.100.7:4000", Contact, "no NAT"),
        ("198.51.100.7:5060", "198.51.100.7", "198.51.100.7", Contact, "no NAT, 5060 is not written"),
        (
            "198.51.100.7:4000",
            "192.168.1.5:5060 rport",
            "198.51.100.7:4000",
            Contact,
            "the phone has learned its address",
        ),
        // A private Contact.
        ("198.51.100.7:4000", "192.168.1.5:5060 rport", "192.168.1.5:5060", Source, "as most phones are"),
        ("198.51.100.7:4000", "192.168.1.5:5060", "192.168.1.5:5060", Source, "without rport"),
        ("198.51.100.7:4000", "198.51.100.7:4000", "192.168.1.5:5060", Source, "an ALG has rewritten the Via alone"),
        ("198.51.100.7:4000", "198.51.100.7:5060", "192.168.1.5:5060", Source, "its address alone"),
        ("198.51.100.7:4000", "laptop:5060 rport", "192.168.1.5:5060", Source, "a host name in the Via"),
        ("198.51.100.7:4000", "pc.office.example", "192.168.1.5:5060", Source, "a host name in the Via, no rport"),
        ("198.51.100.7:4000", "10.0.0.9:5060 rport", "192.168.1.5:5060", Source, "two networks"),
        ("198.51.100.7:4000", "100.64.0.9", "100.64.0.9", Source, "a NAT of the carrier"),
        ("[2001:db8::7]:4000", "[fd00::5]:5060 rport", "[fd00::5]:5060", Source, "IPv6 has it too"),
        // The same address, another port.
        ("198.51.100.7:4000", "192.168.1.5:5060 rport", "198.51.100.7:7777", Source, "STUN behind a symmetric NAT"),
        ("198.51.100.7:4000", "192.168.1.5:5060", "198.51.100.7:7777", Source, "the same without rport"),
        ("198.51.100.7:4000", "198.51.100.7:7777 rport", "198.51.100.7:7777", Source, "the Via by STUN too"),
        ("198.51.100.7:4000", "198.51.100.7:4000 rport", "198.51.100.7:7777", Source, "the Via by an ALG"),
        ("198.51.100.7:4000", "laptop:5060 rport", "198.51.100.7:7777", Source, "a host name in the Via"),
        ("198.51.100.7:4000", "laptop:4000", "198.51.100.7:7777", Source, "a host name in the Via, at the same port"),
        (
            "198.51.100.7:4000",
            "laptop:5060",
            "198.51.100.7",
            Contact,
            "sends from another port; answers go to 5060 too",
        ),
        ("198.51.100.7:4000", "198.51.100.7", "198.51.100.7", Contact, "sends from another port than it listens at"),
        // Another public address.
        ("198.51.100.7:4000", "203.0.113.9:5060 rport", "203.0.113.9:5060", Source, "a NAT with several addresses"),
        ("198.51.100.7:4000", "203.0.113.9:5060", "203.0.113.9:5060", Source, "the same without rport"),
        ("198.51.100.7:4000", "198.51.100.7:4000 rport", "203.0.113.9:5060", Contact, "on purpose"),
        ("198.51.100.7:4000", "198.51.100.7:5060", "203.0.113.9:5060", Contact, "on purpose"),
        ("198.51.100.7:4000", "192.168.1.5:5060 rport", "203.0.113.9:5060", Contact, "on purpose, from behind a NAT"),
        ("198.51.100.7:4000", "laptop:5060 rport", "203.0.113.9:5060", Contact, "on purpose"),
        // A host name.
        ("198.51.100.7:4000", "198.51.100.7:4000 rport", "abc.invalid", Source, "RFC 7118 5, RFC 2606"),
        ("198.51.100.7:4000", "192.168.1.5:5060 rport", "laptop", Source, "no domain"),
        ("198.51.100.7:4000", "198.51.100.7:4000", "laptop.local:5060", Source, "RFC 6762"),
        ("198.51.100.7:4000", "198.51.100.7:4000", "laptop.lan", Source, "of a local network"),
        ("198.51.100.7:4000", "192.168.1.5:5060 rport", "pc.home.example", Source, "of a computer behind a NAT"),
        ("198.51.100.7:4000", "pc.home.example rport", "PC.home.example", Source, "the phone means itself"),
        ("198.51.100.7:4000", "pc.home.example", "pc.home.example", Contact, "it does not listen where it sends from"),
        ("198.51.100.7:4000", "198.51.100.7:4000 rport", "gateway.example", Contact, "on purpose"),
        ("198.51.100.7:4000", "pc.home.example rport", "gateway.example", Contact, "on purpose"),
        // Through an edge proxy that adds no Path. With a Path, the request would follow that.
        ("198.51.100.9:5060", "198.51.100.9 2", "198.51.100.7:4000", Contact, "the source is the proxy's"),
        ("198.51.100.9:5060", "198.51.100.9 rport 2", "198.51.100.9:7777", Contact, "the phone beside the proxy"),
        ("198.51.100.9:5060", "198.51.100.9 2", "192.168.1.5:5060", Source, "only the proxy knows the way"),
        ("198.51.100.9:5060", "198.51.100.9 2", "abc.invalid", Source, "only the proxy knows the way"),
        ("198.51.100.9:5060", "10.0.0.9 rport 2", "203.0.113.9:5060", Contact, "the proxy is behind a NAT"),
    ];

    const PRIVATE: &[Row] = &[
        ("192.168.1.5:5060", "192.168.1.5", "192.168.1.5", Contact, "as in most offices"),
        ("192.168.1.5:50321", "192.168.1.5", "192.168.1.5", Contact, "sends from another port than it listens at"),
        (
            "192.168.1.5:50321",
            "192.168.1.5 rport",
            "192.168.1.5",
            Source,
            "it says that it listens where it sends from",
        ),
        ("192.168.1.5:4000", "192.168.1.5:4000 rport", "192.168.1.5:7777", Contact, "another program of the host"),
        ("127.0.0.1:4000", "127.0.0.1:4000 rport", "127.0.0.1:7777", Contact, "another program of this host"),
        ("192.168.1.5:4000", "192.168.1.5:4000 rport", "192.168.1.6:5060", Contact, "another host, on purpose"),
        ("172.17.0.1:4000", "192.168.1.5:5060 rport", "192.168.1.5:5060", Source, "a NAT between two networks"),
        ("172.17.0.1:4000", "192.168.1.5:5060", "192.168.1.5:5060", Source, "the same without rport"),
        ("172.17.0.1:4000", "10.0.0.5:5060", "192.168.1.5:5060", Source, "two networks behind it"),
        ("127.0.0.1:4000", "laptop rport", "192.168.1.5:5060", Source, "a host name in the Via"),
        ("192.168.1.5:4000", "192.168.1.5:4000", "gateway.lan", Contact, "a name of this network, on purpose"),
        ("192.168.1.5:4000", "192.168.1.5:4000", "laptop", Source, "no domain"),
        ("192.168.1.9:5060", "192.168.1.9 2", "192.168.1.5:5060", Contact, "a proxy of the same network"),
        ("192.168.1.5:4000", "192.168.1.5:4000 rport", "203.0.113.9:5060", Contact, "another public host, on purpose"),
        ("192.168.1.5:4000", "203.0.113.9:7777 rport", "203.0.113.9:7777", Source, "STUN, for a server that is inside"),
        ("127.0.0.1:4000", "203.0.113.9:5060", "203.0.113.9", Contact, "another of its own addresses"),
    ];

    #[test]
    fn a_phone_is_reached_at_its_source_or_contact() {
        // checklist 166: a phone whose Contact ends in `.invalid` is called at its source.
        for (source, via, contact, expected, why) in PUBLIC.iter().chain(PRIVATE) {
            let source: SocketAddr = source.parse().unwrap();
            let (sent_by, said) = via.split_once(' ').unwrap_or((via, ""));
            let parsed = |place: &str| format!("sip:{place}");
            let (via, contact) = (parsed(sent_by), parsed(contact));
            let uri = |text: &'static str| *Uri::parse(text.as_bytes()).unwrap().sip().unwrap();
            let (via, contact) = (uri(via.leak()), uri(contact.leak()));
            let observed = Observed {
                source,
                via: via.host,
                via_port: port_of(&via),
                rport: said.contains("rport"),
                is_proxied: said.contains('2'),
                contact: contact.host,
                contact_port: port_of(&contact),
            };
            assert_eq!(
                observed.reach(),
                *expected,
                "{source} {sent_by} {said} {}: {why}",
                String::from_utf8_lossy(contact.as_bytes())
            );
        }
    }
}
