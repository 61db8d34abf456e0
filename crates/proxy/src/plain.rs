//! Fast paths for values as this server and most phones write them. `None` means that a value has to be parsed.

use std::net::SocketAddr;

/// An IPv4 address with a port, and the text behind them.
pub(crate) fn address_and_port(text: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (mut octets, mut rest) = ([0; 4], text);
    for (octet, end) in octets.iter_mut().zip(*b"...:") {
        let (value, after) = number(rest)?;
        *octet = u8::try_from(value).ok()?;
        rest = after.strip_prefix(&[end])?;
    }
    let (port, rest) = number(rest)?;
    (port != 0).then_some((SocketAddr::from((octets, port)), rest))
}

/// A decimal number without leading zeros, and the text behind it.
fn number(text: &[u8]) -> Option<(u16, &[u8])> {
    let (mut value, mut rest) = (0_u32, text);
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        value = value.wrapping_mul(10).wrapping_add(u32::from(digit - b'0'));
        rest = after;
    }
    let length = text.len() - rest.len();
    let is_plain = length == 1 || (2..=5).contains(&length) && text.first() != Some(&b'0');
    u16::try_from(value).ok().filter(|_| is_plain).map(|value| (value, rest))
}

/// The address and the branch in a Via that begins with `SIP/2.0/TRANSPORT ADDRESS:PORT;branch=BRANCH`. The branch is not
/// checked.
pub(crate) fn via_with_branch(value: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let rest = value.strip_prefix(b"SIP/2.0/")?;
    let (address, rest) = address_and_port(rest.get(memchr::memchr(b' ', rest)? + 1..)?)?;
    let rest = rest.strip_prefix(b";branch=")?;
    Some((address, rest.get(..memchr::memchr(b';', rest)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_four_numbers_and_a_port() {
        let read = |text: &'static str| address_and_port(text.as_bytes()).map(|(address, _)| address.to_string());
        for plain in ["192.0.2.7:5060", "0.10.255.1:65535", "10.0.0.1:1"] {
            assert_eq!(read(plain).as_deref(), Some(plain));
        }
        let rest = address_and_port(b"192.0.2.7:5060;lr>").map(|(_, rest)| rest);
        assert_eq!(rest, Some(&b";lr>"[..]));
        for other in [
            "192.0.2.7",
            "192.0.2.256:1",
            "192.0.2:1",
            "192.0.2.7.1:1",
            "192.0.2.07:1",
            "1.2.3.4:0",
            ".2.3.4:1",
            "1.2.3.4:4294972356",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!([read("1.2.3.4:65536"), read("a.2.3.4:1"), read("")], [None, None, None]);
    }

    #[test]
    fn a_via_is_read_as_this_server_writes_it() {
        let branch = |value: &'static str| via_with_branch(value.as_bytes()).map(|(_, branch)| branch);
        assert_eq!(branch("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKs1;rport"), Some(&b"z9hG4bKs1"[..]));
        for other in ["SIP/2.0/UDP a:5060;branch=z;rport", "SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z", "SIP / 2.0"] {
            assert_eq!(branch(other), None, "{other}");
        }
    }
}
