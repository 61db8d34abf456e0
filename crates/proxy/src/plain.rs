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
    let (&first, mut rest) = text.split_first().filter(|(first, _)| first.is_ascii_digit())?;
    let mut value = u32::from(first - b'0');
    // Neither a leading zero nor a digit after a number that is too large.
    while let 1..=0xffff = value
        && let [digit @ b'0'..=b'9', after @ ..] = rest
    {
        value = value * 10 + u32::from(digit - b'0');
        rest = after;
    }
    u16::try_from(value).ok().map(|value| (value, rest))
}

/// The address and the branch in a Via that begins with `SIP/2.0/TRANSPORT ADDRESS:PORT;branch=BRANCH;`. Of the branch only
/// the ends are checked: there is neither white space nor a quote.
pub(crate) fn via_with_branch(value: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let rest = value.strip_prefix(b"SIP/2.0/")?;
    let (address, rest) = address_and_port(rest.get(memchr::memchr(b' ', rest)? + 1..)?)?;
    let rest = rest.strip_prefix(b";branch=")?;
    let branch = rest.get(..memchr::memchr(b';', rest)?)?;
    matches!(branch, [b'0'..=b'z', .., b'0'..=b'z']).then_some((address, branch))
}

/// The tag in a From or To that ends with `>;tag=TAG`.
pub(crate) fn plain_tag(value: &[u8]) -> Option<&[u8]> {
    let (address, tag) = value.split_at_checked(memchr::memrchr(b';', value)?)?;
    let tag = tag.strip_prefix(b";tag=").filter(|_| address.ends_with(b">"))?;
    // Neither white space nor a quote. If the semicolon were in a display name, an address would follow.
    matches!(tag, [b'#'..=b'~', .., b'#'..=b'=' | b'?'..=b'~']).then_some(tag)
}

#[cfg(test)]
mod tests {
    use parser::headers::Via;
    use parser::{Header as _, NameAddr};

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
        for other in [
            "SIP/2.0/UDP a:5060;branch=z;rport",
            "SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z",
            "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1 ;rport",
            "SIP/2.0/UDP 192.0.2.1:5060;branch=\"z;\";rport",
            "SIP / 2.0",
        ] {
            assert_eq!(branch(other), None, "{other}");
        }
    }

    #[test]
    fn a_tag_at_the_end_is_found() {
        let tag = |value: &'static str| plain_tag(value.as_bytes());
        assert_eq!(tag("\"A>;tag=b\" <sip:a@b;x>;tag=a-1.x"), Some(&b"a-1.x"[..]));
        for other in ["<sip:a@b>", "<sip:a@b>;tag=", "<sip:a@b>;tag=a;x", "<sip:a@b>;x=\">;tag=a\"", "sip:a@b;tag=a"] {
            assert_eq!(tag(other), None, "{other}");
        }
    }

    /// What is read without the grammar is what the grammar reads: otherwise a response would be dropped, or a call not found.
    #[test]
    fn values_are_read_as_by_the_grammar() {
        let (mut tags, mut branches) = (0, 0);
        let names = ["", "Al ", "\"A\" ", "\"A>;tag=bc\" ", "\"\\\">;tag=bc\""];
        let uris = ["<sip:a@b>", "<sip:a@b;tag=x>", "<sip:a@b?x=%3e>", "sip:a@b", "<tel:+1>"];
        let params = ["", ";tag=a-1.x", ";tag=1", ";x;tag=ab", ";tag=ab;x", ";tag = ab", ";TAG=ab", ";tag=ab "]
            .into_iter()
            .chain([";x=\">;tag=ab\"", ";x=\"<\";tag=ab", ";x=\">;tag=ab\" ", ";tag=\"ab\"", ";tag=", ";tag=~*"]);
        for (name, uri, params) in
            params.flat_map(|params| names.map(|name| uris.map(|uri| (name, uri, params)))).flatten()
        {
            let value = format!("{name}{uri}{params}");
            // A display name needs the brackets (RFC 3261 25.1).
            if !name.is_empty() && !uri.starts_with('<') {
                continue;
            }
            if let Some(tag) = plain_tag(value.as_bytes()) {
                assert_eq!(NameAddr::params_of(value.as_bytes()).value("tag"), Some(tag), "{value}");
                tags += 1;
            }
        }
        let begins = ["SIP/2.0/UDP ", "SIP/2.0/TLS-SCTP ", "SIP/2.0/UDP  ", "SIP/2.0/\tUDP "];
        let hosts = ["192.0.2.1:5060", "192.0.2.1", "192.0.2.1 :5060", "a.b:5060", "[::1]:5060", "192.0.2.1:05060"];
        let params =
            [";branch=z9hG4bK-1;rport", ";branch=z9;x=\";\"", ";branch=z9", ";rport;branch=z9;x", ";branch=\"z;\";x"];
        for (begin, host, params) in
            params.into_iter().flat_map(|params| begins.map(|begin| hosts.map(|host| (begin, host, params)))).flatten()
        {
            let value = format!("{begin}{host}{params}");
            if let Some((address, branch)) = via_with_branch(value.as_bytes()) {
                let via = Via::parse(value.as_bytes()).expect("valid");
                assert_eq!((via.host.ip(), via.port), (Some(address.ip()), Some(address.port())), "{value}");
                assert_eq!(via.branch(), Some(branch), "{value}");
                branches += 1;
            }
        }
        assert!(tags > 10 && branches > 1, "{tags} {branches}");
    }
}
