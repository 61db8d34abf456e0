//! STUN on the SIP port (RFC 5626 8): a phone checks that its UDP flow is alive, and from which address it is seen.
//!
//! Decides which datagrams are answered: Binding requests (RFC 8489) and nothing else, without state. A response must
//! never be much longer than its request: the source may be forged.

use std::net::{IpAddr, SocketAddr};

/// RFC 8489 5.
const MAGIC_COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

/// RFC 8489 18.3.
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// Attributes from here on may be ignored by a server that does not know them.
const COMPREHENSION_OPTIONAL: u16 = 0x8000;

/// Comprehension-required attributes of RFC 8489. None of them requires anything of a server without credentials.
const KNOWN_ATTRIBUTES: [u16; 10] = [0x0001, 0x0006, 0x0008, 0x0014, 0x0015, 0x001C, 0x001D, 0x001E, 0x0020, 0x0009];

/// The response to a datagram from `source`; `None` if it is no Binding request.
pub(super) fn answer(datagram: &[u8], source: SocketAddr) -> Option<Vec<u8>> {
    let (head, attributes) = datagram.split_first_chunk::<20>()?;
    let (method, rest) = read_u16(head)?;
    let (length, rest) = read_u16(rest)?;
    let (cookie, transaction) = rest.split_first_chunk()?;
    if method != BINDING_REQUEST || usize::from(length) != attributes.len() || *cookie != MAGIC_COOKIE {
        return None;
    }
    let mut value = Vec::with_capacity(24);
    let Some(unknown) = first_unknown(attributes)? else {
        mapped_address(&mut value, source, transaction);
        return Some(write_message(BINDING_SUCCESS, transaction, &[(XOR_MAPPED_ADDRESS, &value)]));
    };
    // RFC 8489 6.3.1: 420 with the unknown attribute.
    let unknown = unknown.to_be_bytes();
    Some(write_message(BINDING_ERROR, transaction, &[(ERROR_CODE, &[0, 0, 4, 20]), (UNKNOWN_ATTRIBUTES, &unknown)]))
}

/// The first unknown comprehension-required attribute; `None` if the attributes are malformed.
fn first_unknown(mut attributes: &[u8]) -> Option<Option<u16>> {
    while !attributes.is_empty() {
        let (kind, rest) = read_u16(attributes)?;
        let (length, rest) = read_u16(rest)?;
        if kind < COMPREHENSION_OPTIONAL && !KNOWN_ATTRIBUTES.contains(&kind) {
            return Some(Some(kind));
        }
        attributes = rest.get(usize::from(length).next_multiple_of(4)..)?;
    }
    Some(None)
}

/// RFC 8489 14.2.
fn mapped_address(out: &mut Vec<u8>, source: SocketAddr, transaction: &[u8]) {
    let mask = || MAGIC_COOKIE.iter().chain(transaction);
    let family = if source.is_ipv4() { 1 } else { 2 };
    out.extend([0, family]);
    out.extend(source.port().to_be_bytes().iter().zip(mask()).map(|(octet, mask)| octet ^ mask));
    match source.ip() {
        IpAddr::V4(ip) => out.extend(ip.octets().iter().zip(mask()).map(|(octet, mask)| octet ^ mask)),
        IpAddr::V6(ip) => out.extend(ip.octets().iter().zip(mask()).map(|(octet, mask)| octet ^ mask)),
    }
}

fn write_message(kind: u16, transaction: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::with_capacity(32);
    for (kind, value) in attributes {
        body.extend(kind.to_be_bytes());
        body.extend(u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut out = Vec::with_capacity(20 + body.len());
    out.extend(kind.to_be_bytes());
    out.extend(u16::try_from(body.len()).unwrap_or_default().to_be_bytes());
    out.extend(MAGIC_COOKIE);
    out.extend_from_slice(transaction);
    out.extend_from_slice(&body);
    out
}

fn read_u16(octets: &[u8]) -> Option<(u16, &[u8])> {
    let (number, rest) = octets.split_first_chunk()?;
    Some((u16::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSACTION: [u8; 12] = [0xB7, 0xE7, 0xA7, 0x01, 0xBC, 0x34, 0xD6, 0x86, 0xFA, 0x87, 0xDF, 0xAE];

    fn request(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        write_message(BINDING_REQUEST, &TRANSACTION, attributes)
    }

    // checklist 145
    #[test]
    fn a_binding_response_has_the_source_address() {
        // RFC 5769 2.2 and 2.3 have this transaction and these addresses.
        let answered = answer(&request(&[]), "192.0.2.1:32853".parse().expect("an address")).expect("an answer");
        assert_eq!(answered[..4], [1, 1, 0, 12]);
        assert_eq!(answered[4..20], request(&[])[4..20]);
        assert_eq!(answered[20..], [0, 0x20, 0, 8, 0, 1, 0xA1, 0x47, 0xE1, 0x12, 0xA6, 0x43]);
        let source = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().expect("an address");
        let answered = answer(&request(&[]), source).expect("an answer");
        let octets = 0x0113_A9FA_A5D3_F179_BC25_F4B5_BED2_B9D9_u128.to_be_bytes();
        assert_eq!(answered[20..28], [0, 0x20, 0, 20, 0, 2, 0xA1, 0x47]);
        assert_eq!(answered[28..], octets);
    }

    #[test]
    fn an_unknown_required_attribute_is_refused() {
        let source = "192.0.2.1:5060".parse().expect("an address");
        let kind = |attributes: &[(u16, &[u8])]| answer(&request(attributes), source).map(|text| text[1]);
        assert_eq!(kind(&[(0x8022, b"phone"), (0x0006, b"user")]), Some(1));
        assert_eq!(kind(&[(0x8022, b"phone"), (0x0003, &[0, 0, 0, 6])]), Some(0x11), "CHANGE-REQUEST is RFC 5780");
    }

    #[test]
    fn no_answer_is_three_times_as_long_as_its_request() {
        // Without attributes, and with the shortest attribute that causes an error; from the addresses with the
        // shortest and the longest response.
        for attributes in [&[][..], &[(0x0003, &[][..])], &[(0x0003, &[0, 0, 0, 6][..])]] {
            let request = request(attributes);
            for source in ["192.0.2.1:5060", "[2001:db8:1234:5678:11:2233:4455:6677]:32853"] {
                let answered = answer(&request, source.parse().expect("an address")).expect("an answer");
                assert!(answered.len() <= 3 * request.len(), "{} for {}", answered.len(), request.len());
            }
        }
    }

    #[test]
    fn other_datagrams_are_not_answered() {
        let source = "192.0.2.1:5060".parse().expect("an address");
        let good = request(&[(0x8022, b"phone")]);
        for bad in [&b""[..], b"\0\x01", b"OPTIONS sip:a SIP/2.0\r\n\r\n", &good[..good.len() - 1]] {
            assert_eq!(answer(bad, source), None, "{bad:?}");
        }
        let mut broken = good;
        broken[23] = 200;
        assert_eq!(answer(&broken, source), None, "an attribute that is longer than the message");
        let answered = answer(&request(&[]), source).expect("an answer");
        assert_eq!(answer(&answered, source), None, "two servers must not answer each other without end");
    }
}
