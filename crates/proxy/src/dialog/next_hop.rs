//! Where a URI leads, as far as two of them can be compared without DNS: its host and its port.

use std::net::SocketAddr;

use parser::{Host, SipUri, Transport, Uri};
use smallvec::SmallVec;

use crate::mac::{Mac, Purpose, octets_of};

/// The address that a URI names; `None` if it names a host.
pub(crate) fn literal(uri: &SipUri<'_>) -> Option<SocketAddr> {
    Some(SocketAddr::new(host_of(uri)?.ip()?, port_of(uri)))
}

/// The next hop that a URI names, as a hash: its host, or its maddr, and its port. 32 bits are enough where the hash stands
/// in a token, which nobody else can make: to guess one, a request for each try is needed.
pub(super) fn next_hop(uri: &SipUri<'_>, mac: &Mac) -> u32 {
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

/// The URI in a Record-Route or Contact value as it mostly is, in angle brackets and after no quoted name, which could hold
/// such brackets too. `None` says nothing.
pub(super) fn bracketed(value: &[u8]) -> Option<SipUri<'_>> {
    if value.first() == Some(&b'"') {
        return None;
    }
    let rest = value.get(memchr::memchr(b'<', value)? + 1..)?;
    match Uri::parse(rest.get(..memchr::memchr(b'>', rest)?)?) {
        Ok(Uri::Sip(uri)) => Some(uri),
        _ => None,
    }
}

/// A route or Contact value as most are, `<sip:USER@ADDRESS:PORT` with an IPv4 address and nothing escaped, and what follows
/// that: so that it need not be parsed as a URI each time. `None` says nothing, and the user is not checked.
pub(super) fn plain(value: &[u8]) -> Option<(&[u8], SocketAddr, &[u8])> {
    let rest = value.strip_prefix(b"<sip:")?;
    let (user, rest) = rest.split_at_checked(memchr::memchr(b'@', rest)?)?;
    let rest = rest.get(1..)?;
    let (host, rest) = rest.split_at_checked(memchr::memchr(b':', rest)?)?;
    let Ok(Host::V4(ip)) = Host::parse(host) else { return None };
    let mut rest = rest.get(1..)?;
    let mut port = 0_u16;
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        port = port.checked_mul(10)?.checked_add(u16::from(digit - b'0'))?;
        rest = after;
    }
    (memchr::memchr2(b'>', b'%', user).is_none() && port != 0).then_some((user, SocketAddr::new(ip.into(), port), rest))
}

/// The address that a value leads to as [`plain`] reads it. A maddr would be another one.
pub(super) fn plain_address(value: &[u8]) -> Option<SocketAddr> {
    let (_, address, rest) = plain(value)?;
    let leads_there = rest.first() == Some(&b'>') || memchr::memchr3(b'm', b'M', b'%', rest).is_none();
    leads_there.then_some(address)
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
    fn a_next_hop_is_host_and_port() {
        let mac = Mac::new([1; 16]);
        let uri = |text: &'static str| *Uri::parse(text.as_bytes()).unwrap().sip().unwrap();
        let hop = |text| next_hop(&uri(text), &mac);
        assert_eq!(hop("sip:a@GW.example"), hop("sip:b@gw.EXAMPLE:5060;transport=tcp"));
        assert_eq!(hop("sip:a@192.0.2.7"), hop("sip:x.example;maddr=192.0.2.7"));
        assert_ne!(hop("sip:a@192.0.2.7"), hop("sip:a@192.0.2.7:5061"));
        assert_ne!(hop("sip:a@192.0.2.7"), hop("sip:a@192.0.2.8"));
        assert_eq!(literal(&uri("sips:192.0.2.7")), Some("192.0.2.7:5061".parse().unwrap()));
        assert_eq!(literal(&uri("sip:a@gw.example")), None);
    }

    #[test]
    fn a_plain_value_says_what_its_uri_does() {
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
        let plain_ones = values.map(|value| {
            let address = plain_address(value.as_bytes());
            let uri = bracketed(value.as_bytes());
            assert!(address.is_none() || address == uri.and_then(|uri| literal(&uri)), "{value}");
            assert!(address.is_none() || plain(value.as_bytes()).map(|it| it.0) == uri.unwrap().user, "{value}");
            address.is_some()
        });
        assert_eq!(plain_ones[..3], [true; 3]);
        assert_eq!(plain_ones[3..], [false; 8]);
    }

    #[test]
    fn what_is_in_angle_brackets() {
        let host = |value: &'static str| bracketed(value.as_bytes()).map(|uri| uri.host.ip().unwrap().to_string());
        assert_eq!(host("\"A\" <sip:a@192.0.2.7;lr>;q=1").as_deref(), None);
        assert_eq!(host("A <sip:a@192.0.2.7;lr>;q=1").as_deref(), Some("192.0.2.7"));
        for nothing in ["sip:a@192.0.2.7", "\"<sip:a@192.0.2.8>\" <sip:a@192.0.2.7>", "<tel:5>", "<sip:a@192.0.2.7", ""]
        {
            assert_eq!(host(nothing), None, "{nothing}");
        }
    }
}
