//! The next hop of a URI as host and port, so that two of them can be compared without DNS.
//!
//! Must not resolve names. `None` of a fast path means that the value has to be parsed.

use std::net::SocketAddr;

use parser::{Host, SipUri, Transport, Uri};
use smallvec::SmallVec;

use crate::mac::{Mac, Purpose, octets_of};
use crate::plain::address_and_port;

/// The address in a URI; `None` if it has a host name.
pub(crate) fn literal_address(uri: &SipUri<'_>) -> Option<SocketAddr> {
    Some(SocketAddr::new(host_of(uri)?.ip()?, port_of(uri)))
}

/// A hash of the next hop of a URI: its maddr or host, and its port. 32 bits are enough, because the hash is in a
/// signed token: an attacker can test a guess only with a request for each.
pub(super) fn next_hop_hash(uri: &SipUri<'_>, mac: &Mac) -> u32 {
    let port = port_of(uri).to_be_bytes();
    let hash = match host_of(uri) {
        Some(Host::Name(name)) => {
            let mut lower = SmallVec::<[u8; 64]>::from_slice(name);
            lower.make_ascii_lowercase();
            mac.sign(Purpose::NextHop, &[&lower, &port])
        }
        Some(Host::V4(ip)) => mac.sign(Purpose::NextHop, &[&octets_of(ip.into()), &port]),
        Some(Host::V6(ip)) => mac.sign(Purpose::NextHop, &[&octets_of(ip.into()), &port]),
        None => mac.sign(Purpose::NextHop, &[uri.as_bytes()]),
    };
    (hash & u64::from(u32::MAX)) as u32
}

/// Fast path for the URI in the angle brackets of a Record-Route or Contact. A quoted display name or parameter could contain
/// brackets too, so a value with one before them is left to the parser.
pub(super) fn bracketed_uri(value: &[u8]) -> Option<SipUri<'_>> {
    let rest = value.get(memchr::memchr3(b'<', b'"', b';', value)?..)?.strip_prefix(b"<")?;
    match Uri::parse(rest.get(..memchr::memchr(b'>', rest)?)?) {
        Ok(Uri::Sip(uri)) => Some(uri),
        _ => None,
    }
}

/// Fast path for a value that begins with `<sip:USER@ADDRESS:PORT`, with an IPv4 address and no escapes, as most do:
/// its user, its address, and the rest of the value. The user is not checked.
pub(super) fn plain_uri(value: &[u8]) -> Option<(&[u8], SocketAddr, &[u8])> {
    plain_parts(value.strip_prefix(b"<sip:")?)
}

fn plain_parts(rest: &[u8]) -> Option<(&[u8], SocketAddr, &[u8])> {
    let (user, rest) = rest.split_at_checked(memchr::memchr3(b'@', b'>', b'%', rest)?)?;
    let (address, rest) = address_and_port(rest.strip_prefix(b"@")?)?;
    Some((user, address, rest))
}

/// The address of such a value. `None` if it may have a maddr, which would be another address.
pub(super) fn plain_address(value: &[u8]) -> Option<SocketAddr> {
    let (_, address, rest) = plain_uri(value)?;
    let leads_there = rest.first() == Some(&b'>') || memchr::memchr3(b'm', b'M', b'%', rest).is_none();
    leads_there.then_some(address)
}

/// The same of a URI, if that names no transport, so that requests go there over UDP (RFC 3263 4.1).
pub(crate) fn plain_udp_address(uri: &[u8]) -> Option<SocketAddr> {
    let (_, address, rest) = plain_parts(uri.strip_prefix(b"sip:")?)?;
    // The names of `maddr` and `transport` begin with these, or with an escape.
    let may_lead_elsewhere = |param: &[u8]| matches!(param.first(), Some(b'm' | b'M' | b't' | b'T' | b'%'));
    (!rest.split(|octet| *octet == b';').skip(1).any(may_lead_elsewhere)).then_some(address)
}

fn host_of<'a>(uri: &SipUri<'a>) -> Option<Host<'a>> {
    if uri.params.as_bytes().is_empty() {
        return Some(uri.host);
    }
    match uri.maddr() {
        Some(maddr) => Host::parse(maddr).ok(),
        None => Some(uri.host),
    }
}

fn port_of(uri: &SipUri<'_>) -> u16 {
    let default = if uri.secure { Transport::Tls } else { Transport::Udp };
    uri.port.unwrap_or_else(|| uri.transport().unwrap_or(default).default_port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_hop_is_a_host_and_a_port() {
        let mac = Mac::new([1; 16]);
        let uri = |text: &'static str| *Uri::parse(text.as_bytes()).unwrap().sip().unwrap();
        let hop = |text| next_hop_hash(&uri(text), &mac);
        assert_eq!(hop("sip:a@GW.example"), hop("sip:b@gw.EXAMPLE:5060;transport=tcp"));
        assert_eq!(hop("sip:a@192.0.2.7"), hop("sip:x.example;maddr=192.0.2.7"));
        assert_ne!(hop("sip:a@192.0.2.7"), hop("sip:a@192.0.2.7:5061"));
        assert_ne!(hop("sip:a@192.0.2.7"), hop("sip:a@192.0.2.8"));
        assert_eq!(literal_address(&uri("sips:192.0.2.7")), Some("192.0.2.7:5061".parse().unwrap()));
        assert_eq!(literal_address(&uri("sip:a@gw.example")), None);
    }

    #[test]
    fn the_fast_path_reads_the_same_as_the_parser() {
        let values = [
            "<sip:a@192.0.2.7:5060>",
            "<sip:a@192.0.2.7:5061;lr>",
            "<sip:a;b@192.0.2.7:65535;transport=tcp>;q=1",
            "<sip:a@192.0.2.7:5060;maddr=192.0.2.9>",
            "<sip:a@192.0.2.7>",
            "<sip:a@192.0.2.7:65536>",
            "<sip:a@192.0.2.7:0>",
            "<sip:a%40b@192.0.2.7:5060>",
            "<sip:a@[2001:db8::1]:5060>",
            "<sip:gw.example:5060>;x=<sip:a@192.0.2.7:5060>",
            "\"A\" <sip:a@192.0.2.7:5060>",
        ];
        let are_plain = values.map(|value| {
            let address = plain_address(value.as_bytes());
            let uri = bracketed_uri(value.as_bytes());
            assert!(address.is_none() || address == uri.and_then(|uri| literal_address(&uri)), "{value}");
            assert!(address.is_none() || plain_uri(value.as_bytes()).map(|it| it.0) == uri.unwrap().user, "{value}");
            address.is_some()
        });
        assert_eq!(are_plain[..3], [true; 3]);
        assert_eq!(are_plain[3..], [false; 8]);
    }

    #[test]
    fn only_a_uri_that_is_reached_over_udp_has_a_plain_address() {
        for (uri, is_plain) in [
            ("sip:a@192.0.2.7:5060", true),
            ("sip:a@192.0.2.7:5060;line=mt;ob", true),
            ("sip:a@192.0.2.7:5060;Transport=tcp", false),
            ("sip:a@192.0.2.7:5060;line=1;maddr=192.0.2.9", false),
            ("sip:a@192.0.2.7:5060;%74ransport=tcp", false),
            ("sip:a@192.0.2.7:5060;%6daddr=192.0.2.9", false),
            ("sip:a@192.0.2.7", false),
            ("sips:a@192.0.2.7:5060", false),
            ("<sip:a@192.0.2.7:5060>", false),
        ] {
            assert_eq!(plain_udp_address(uri.as_bytes()).is_some(), is_plain, "{uri}");
        }
    }

    #[test]
    fn a_uri_in_angle_brackets_is_read() {
        let host = |value: &'static str| bracketed_uri(value.as_bytes()).map(|uri| uri.host.ip().unwrap().to_string());
        assert_eq!(host("\"A\" <sip:a@192.0.2.7;lr>;q=1").as_deref(), None);
        assert_eq!(host("A <sip:a@192.0.2.7;lr>;q=1").as_deref(), Some("192.0.2.7"));
        for nothing in [
            "sip:a@192.0.2.7",
            "sip:a@192.0.2.7;x=\"<sip:a@192.0.2.8>\"",
            "\"<sip:a@192.0.2.8>\" <sip:a@192.0.2.7>",
            "<tel:5>",
            "<sip:a@192.0.2.7",
            "",
        ] {
            assert_eq!(host(nothing), None, "{nothing}");
        }
    }
}
