//! Whether a phone that registers or calls over UDP is behind a NAT: then it is reached at the source of its request, and not
//! at its Contact (RFC 3581, RFC 5626 1; RFC 3261 has no such rule).
//!
//! Behind a NAT means that the Contact does not lead to where the request came from, although its sender meant itself. Three
//! things tell: where the request came from, what its top Via says of the sender, and the Contact. The decision is the one
//! table in [`Seen::reach`], first row first, with the reason of each row; the test below it reads the same. A Contact that is
//! elsewhere on purpose (another host, registered by somebody else) is called there.
//!
//! Must not be asked for streams: a connection is the way to its phone, NAT or not. Must not ask DNS: what a name leads to may
//! differ from place to place, and it would have to be asked for each REGISTER.

use std::net::{IpAddr, SocketAddr};

use parser::headers::Via;
use parser::{HeaderName, Host, SipUri, Transport};

use crate::request::Request;

/// Where a phone is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Where its request came from.
    Source,
    /// Where its Contact leads.
    Contact,
}

/// Where the sender of a request over UDP is reached that names this Contact; none: that named no Contact, only its Via.
pub(crate) fn reach(request: &Request, contact: Option<&SipUri<'_>>) -> Reach {
    let source = request.flow.remote;
    // Nearly all that are not behind a NAT.
    if contact.is_some_and(|contact| contact.host.ip() == Some(source.ip()) && port_of(contact) == source.port()) {
        return Reach::Contact;
    }
    // RFC 3261 19.1.1: it names the address to send to, whatever the host is.
    if contact.is_some_and(|contact| contact.maddr().is_some()) {
        return Reach::Contact;
    }
    let Some(via) = request.message.header::<Via<'_>>().ok().flatten() else { return Reach::Contact };
    let via_port = via.port.unwrap_or_else(|| Transport::Udp.default_port());
    let (contact, contact_port) = contact.map_or((via.host, via_port), |contact| (contact.host, port_of(contact)));
    let rport = via.rport().is_some();
    let is_proxied = request.message.values(HeaderName::Via).nth(1).is_some();
    Seen { source, via: via.host, via_port, rport, is_proxied, contact, contact_port }.reach()
}

/// Whether the sender of a request is reached over the way it came, rather than at the Contact that it names: over its own
/// connection, or through its NAT.
pub(crate) fn is_flow_bound(request: &Request, contact: Option<&SipUri<'_>>) -> bool {
    request.flow.transport.is_reliable() || reach(request, contact) == Reach::Source
}

fn port_of(uri: &SipUri<'_>) -> u16 {
    uri.port.unwrap_or_else(|| Transport::Udp.default_port())
}

/// All that the decision is made of.
struct Seen<'a> {
    /// Where the request came from.
    source: SocketAddr,
    /// The sent-by of the top Via.
    via: Host<'a>,
    via_port: u16,
    /// Whether that Via asks for the answer at the source (RFC 3581 3): its sender listens where it sends from.
    rport: bool,
    /// Whether there are further Vias: the sender is a proxy, and the phone behind it.
    is_proxied: bool,
    contact: Host<'a>,
    contact_port: u16,
}

/// The sender of the request, by its Vias.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// A proxy: the source is no phone.
    Proxy,
    /// It says the very source: nothing was translated, or an ALG has corrected it.
    True,
    /// It says the address of the source, and another port.
    OtherPort,
    /// It says another address: it was translated on the way.
    Translated,
    /// It says a host name, which may be anywhere.
    Named,
}

/// Where the Contact is, seen from the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// There.
    Source,
    /// At its address, at another port.
    OtherPort,
    /// At another address, a private one, or at a name of a local network.
    Private,
    /// At another, public address.
    Public,
    /// At a name that no DNS has.
    Nowhere,
    /// At another name.
    Named,
}

impl Seen<'_> {
    fn reach(&self) -> Reach {
        let (place, sender) = (self.place(), self.sender());
        let from_public = !is_private(self.source.ip());
        let (same_host, is_symmetric) =
            (self.via.eq_ignore_case(&self.contact), self.rport || self.via_port == self.source.port());
        match (place, sender) {
            // The Contact is the source: no difference.
            (Place::Source, _) => Reach::Contact,
            // A private address leads nowhere from here if the proxy is in the public network: only the proxy knows the way.
            (Place::Private, Sender::Proxy) if from_public => Reach::Source,
            (Place::Nowhere, Sender::Proxy) => Reach::Source,
            // Else the source is the proxy's, and the phone is at its Contact.
            (_, Sender::Proxy) => Reach::Contact,
            // A private address, and a request from the public network: whatever the Via says, perhaps by an ALG.
            (Place::Private, _) if from_public => Reach::Source,
            // RFC 2606, 6762, 7118 5: `.invalid`, `.local`, `localhost`, a host without a domain. Nothing can be sent there.
            (Place::Nowhere, _) => Reach::Source,
            // A symmetric NAT: STUN told the phone a port that is not the one towards us. An ALG has corrected the Via.
            (Place::OtherPort, Sender::True) if from_public => Reach::Source,
            // In the local network nobody needs STUN: it is another program of the same host, on purpose.
            (Place::OtherPort, Sender::True) => Reach::Contact,
            // A symmetric NAT, and the Via is private still.
            (Place::OtherPort, Sender::Translated) => Reach::Source,
            // The Via has STUN's port too, or a name: the phone listens where it sends from.
            (Place::OtherPort, Sender::OtherPort | Sender::Named) if is_symmetric => Reach::Source,
            // A phone that sends from another port than it listens at, without NAT. Its answers go to the Via's port as well.
            (Place::OtherPort, _) => Reach::Contact,
            // The Via is true, so nothing was translated: the Contact is elsewhere on purpose.
            (Place::Private | Place::Public | Place::Named, Sender::True | Sender::OtherPort) => Reach::Contact,
            // The phone believes to be at its Contact, and came from elsewhere. But not a public host that came from a private
            // address and does not ask for an answer there: no NAT is so placed, it sends from another of its addresses.
            (Place::Private, Sender::Translated) if same_host => Reach::Source,
            (Place::Public, Sender::Translated) if same_host && (self.rport || from_public) => Reach::Source,
            // Translated from one private network to another, or nothing is known of it: a private address is behind it.
            (Place::Private, _) => Reach::Source,
            // Another public host, on purpose.
            (Place::Public, _) => Reach::Contact,
            // The host name of a computer behind a NAT: mostly nobody else knows it.
            (Place::Named, Sender::Translated) => Reach::Source,
            // The phone means itself by that name, and listens where it sends from.
            (Place::Named, Sender::Named) if same_host && is_symmetric => Reach::Source,
            // Another host, on purpose, or one that sends from another port than it listens at.
            (Place::Named, Sender::Named) => Reach::Contact,
        }
    }

    fn sender(&self) -> Sender {
        match self.via.ip() {
            _ if self.is_proxied => Sender::Proxy,
            None => Sender::Named,
            Some(ip) if ip != self.source.ip() => Sender::Translated,
            Some(_) if self.via_port == self.source.port() => Sender::True,
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

/// Whether an address means nothing outside of its own network (RFC 1918, 6598, 3927, 4193).
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let is_shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            ip.is_private() || ip.is_link_local() || ip.is_loopback() || is_shared
        }
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

/// Whether a host name means nothing outside of its own network.
pub(crate) fn is_local(name: &[u8]) -> bool {
    place_of_name(name) != Place::Named
}

fn place_of_name(name: &[u8]) -> Place {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let Some(dot) = memchr::memrchr(b'.', name) else { return Place::Nowhere };
    let last = name.get(dot + 1..).unwrap_or_default();
    let is_one_of = |list: &[&[u8]]| list.iter().any(|it| last.eq_ignore_ascii_case(it));
    if is_one_of(&[b"invalid", b"local", b"localhost", b"localdomain"]) {
        Place::Nowhere
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

    /// Source, sent-by of the top Via with what else it says, Contact; where the phone is called, and why.
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
        // Through an edge proxy that puts in no Path (with one, that is followed).
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
    fn where_a_phone_is_called() {
        // checklist 166: a phone whose Contact ends in `.invalid` is called at its source.
        for (source, via, contact, expected, why) in PUBLIC.iter().chain(PRIVATE) {
            let source: SocketAddr = source.parse().unwrap();
            let (sent_by, said) = via.split_once(' ').unwrap_or((via, ""));
            let parsed = |place: &str| format!("sip:{place}");
            let (via, contact) = (parsed(sent_by), parsed(contact));
            let uri = |text: &'static str| *Uri::parse(text.as_bytes()).unwrap().sip().unwrap();
            let (via, contact) = (uri(via.leak()), uri(contact.leak()));
            let seen = Seen {
                source,
                via: via.host,
                via_port: port_of(&via),
                rport: said.contains("rport"),
                is_proxied: said.contains('2'),
                contact: contact.host,
                contact_port: port_of(&contact),
            };
            assert_eq!(
                seen.reach(),
                *expected,
                "{source} {sent_by} {said} {}: {why}",
                String::from_utf8_lossy(contact.as_bytes())
            );
        }
    }
}
