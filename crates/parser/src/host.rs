//! Hosts: names, IPv4 and bracketed IPv6 addresses (RFC 3261 25.1 `host`, RFC 5118). Must not resolve names. The zone
//! of a link-local IPv6 address is not in SIP's grammar and is only meaningful to its sender (RFC 4007 6, RFC 6874 1):
//! it is accepted and dropped.

use std::{
    hash::{Hash, Hasher},
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use memchr::memchr;

use crate::{
    ErrorKind,
    octets::{self, DIGIT, HOST, LABEL},
};

/// `host = hostname / IPv4address / IPv6reference` (RFC 3261 25.1), in a URI or a Via. Equality of names is octet by
/// octet; see [`Host::eq_ignore_case`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
// Aligns the fields to words. Otherwise a copy right after the fields are written causes a store-forwarding stall.
#[repr(u64)]
pub enum Host<'a> {
    /// A host name, as it was sent.
    Name(&'a [u8]),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, in brackets in SIP text.
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Parses a host. IPv6 addresses must be in brackets.
    ///
    /// # Errors
    /// [`ErrorKind::Host`] for anything but a name of letters, digits, `-`, `_` and `.`, or an address. A name whose
    /// last label is all digits is taken as a malformed address.
    pub fn parse(host: &'a [u8]) -> Result<Self, ErrorKind> {
        match Self::prefix(host) {
            Some((host, b"")) => Ok(host),
            _ => Err(ErrorKind::Host),
        }
    }

    /// The host at the start of `input`, and the rest.
    #[inline]
    pub(crate) fn prefix(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        if let Some(inside) = input.strip_prefix(b"[") {
            let (inner, rest) = inside.split_at_checked(memchr(b']', inside)?)?;
            return Some((Self::V6(address(without_zone(inner))?), rest.get(1..)?));
        }
        if let Some((ip, rest)) = v4(input) {
            return Some((Self::V4(ip), rest));
        }
        name(input).map(|(name, rest)| (Self::Name(name), rest))
    }

    /// The IP address, `None` for a name.
    pub fn ip(&self) -> Option<IpAddr> {
        match *self {
            Self::Name(_) => None,
            Self::V4(ip) => Some(IpAddr::V4(ip)),
            Self::V6(ip) => Some(IpAddr::V6(ip)),
        }
    }

    /// Whether both are the same host, names in any case (RFC 3261 19.1.4). A name never equals an address.
    pub fn eq_ignore_case(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Self::Name(a), Host::Name(b)) => a.eq_ignore_ascii_case(b),
            (Self::V4(a), Host::V4(b)) => a == b,
            (Self::V6(a), Host::V6(b)) => a == b,
            _ => false,
        }
    }

    /// Appends the host as SIP text: an IPv6 address in brackets and in its canonical form.
    pub fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Name(name) => out.extend_from_slice(name),
            Self::V4(ip) => write_ip(ip.into(), out),
            Self::V6(ip) => {
                out.push(b'[');
                write_ip(ip.into(), out);
                out.push(b']');
            }
        }
    }

    /// Hashes it so that hosts that are equal by [`Host::eq_ignore_case`] have the same hash.
    pub fn hash_ignore_case<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Name(name) => name.iter().for_each(|byte| state.write_u8(byte.to_ascii_lowercase())),
            Self::V4(ip) => ip.hash(state),
            Self::V6(ip) => ip.hash(state),
        }
    }
}

impl From<IpAddr> for Host<'_> {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => Self::V6(ip),
        }
    }
}

/// An IPv6 address by RFC 3986, whose rule replaces that of RFC 3261 (RFC 5954 4.1). The old rule results in three
/// colons before an IPv4 address (RFC 5118 4.10, RFC 5954 3.1), which some implementations may still send: three colons
/// are read as two, and written as two.
fn address(inner: &[u8]) -> Option<Ipv6Addr> {
    let text = text(inner)?;
    let Some((high, low)) = text.split_once(":::") else { return text.parse().ok() };
    let low: Ipv4Addr = low.parse().ok()?;
    let [a, b, c, d, e, f, 0, 0] = text.get(..high.len() + 2)?.parse::<Ipv6Addr>().ok()?.segments() else {
        return None;
    };
    let [w, x, y, z] = low.octets();
    Some(Ipv6Addr::new(a, b, c, d, e, f, u16::from_be_bytes([w, x]), u16::from_be_bytes([y, z])))
}

/// Removes the zone from a link-local address: `%25` (RFC 6874 2) or `%`, and the name of an interface of its sender.
/// Anything else is returned unchanged.
fn without_zone(inner: &[u8]) -> &[u8] {
    let parts = memchr(b'%', inner).and_then(|at| inner.split_at_checked(at));
    let Some((address, zone)) = parts else { return inner };
    let zone = zone.strip_prefix(b"%25").or_else(|| zone.strip_prefix(b"%")).unwrap_or_default();
    let is_link_local = address.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"fe80"));
    if is_link_local && zone.iter().all(|&byte| octets::is(byte, HOST) || byte == b'~') && !zone.is_empty() {
        address
    } else {
        inner
    }
}

/// An IPv4 address without leading zeros at the start of `input`, and the rest.
#[inline]
fn v4(input: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let (first, rest) = number(input)?;
    let (second, rest) = number(rest.strip_prefix(b".")?)?;
    let (third, rest) = number(rest.strip_prefix(b".")?)?;
    let (fourth, rest) = number(rest.strip_prefix(b".")?)?;
    let is_whole = rest.first().is_none_or(|&byte| !octets::is(byte, HOST));
    is_whole.then_some((Ipv4Addr::new(first, second, third, fourth), rest))
}

/// `dec-octet` (RFC 3986 3.2.2) at the start of `input`, and the rest.
#[inline]
fn number(input: &[u8]) -> Option<(u8, &[u8])> {
    let (&first, mut rest) = input.split_first().filter(|(first, _)| first.is_ascii_digit())?;
    let mut number = u16::from(first - b'0');
    // Neither a leading zero nor a fourth digit.
    while let 1..=25 = number
        && let [digit @ b'0'..=b'9', after @ ..] = rest
    {
        number = number * 10 + u16::from(digit - b'0');
        rest = after;
    }
    u8::try_from(number).ok().map(|number| (number, rest))
}

/// A host name at the start of `input`, and the rest. Only the last label may be empty (a trailing dot). The name must
/// not start with `-`, and the last label must not be all digits, which would be a malformed address.
#[inline]
fn name(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut len, mut last) = (0, &b""[..]);
    while let Some(rest) = input.get(len..)
        && let Some(label @ [_, ..]) = rest.get(..octets::run(rest, LABEL))
    {
        last = label;
        len += label.len();
        if input.get(len) != Some(&b'.') {
            break;
        }
        len += 1;
    }
    let (name, rest) = input.split_at_checked(len)?;
    let has_empty_label = rest.first() == Some(&b'.');
    let is_name = !has_empty_label && name.first().is_some_and(|first| *first != b'-');
    (is_name && octets::run(last, DIGIT) < last.len()).then_some((name, rest))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Appends an address without brackets. IPv4 is formatted without `fmt` and appended at once, because it is written into
/// every message.
pub(crate) fn write_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            let (mut text, mut len) = ([0; 16], 0);
            for octet in ip.octets() {
                let (dotted, length) = DOTTED.get(usize::from(octet)).copied().unwrap_or_default();
                if let Some(place) = text.get_mut(len..len + dotted.len()) {
                    place.copy_from_slice(&dotted);
                }
                len += usize::from(length);
            }
            // Without the last dot.
            out.extend_from_slice(text.get(..len - 1).unwrap_or_default());
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(ip) => drop(write!(out, "{ip}")),
    }
}

/// Each octet in decimal with a dot after it, and the length of that.
#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where an index out of bounds is an error")]
static DOTTED: [([u8; 4], u8); 256] = {
    let mut table = [([b'.'; 4], 0); 256];
    let mut octet = 0;
    while octet < table.len() {
        let digits = [octet / 100, octet / 10 % 10, octet % 10];
        let leading = (octet < 100) as usize + (octet < 10) as usize;
        let mut at = leading;
        while at < digits.len() {
            table[octet].0[at - leading] = b'0' + digits[at] as u8;
            at += 1;
        }
        table[octet].1 = (digits.len() - leading + 1) as u8;
        octet += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn written(host: &str) -> String {
        let mut out = Vec::new();
        Host::parse(host.as_bytes()).unwrap().write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        assert_eq!(Host::parse(b"Office.Example."), Ok(Host::Name(b"Office.Example.")));
        assert_eq!(Host::parse(b"192.0.2.4"), Ok(Host::V4(Ipv4Addr::new(192, 0, 2, 4))));
        assert_eq!(written("[2001:DB8:0::10]"), "[2001:db8::10]");
        assert_eq!(written("3f2a9b.my_net"), "3f2a9b.my_net");
        assert!(Host::parse(b"[::1]").unwrap().eq_ignore_case(&Host::parse(b"[0:0::1]").unwrap()));
        assert!(Host::Name(b"aB").eq_ignore_case(&Host::Name(b"Ab")));
    }

    #[test]
    fn each_ipv4_address_is_written_as_the_standard_library_does() {
        for octet in 0..=255 {
            for ip in [[octet, 0, 9, 10], [99, 100, octet, 255], [255, 255, 255, octet]].map(Ipv4Addr::from) {
                let mut out = Vec::new();
                write_ip(ip.into(), &mut out);
                assert_eq!(out, ip.to_string().into_bytes());
            }
        }
    }

    #[test]
    fn three_colons_are_read_as_two() {
        assert_eq!(Host::parse(b"[2001:db8:::192.0.2.1]"), Host::parse(b"[2001:db8::192.0.2.1]"));
        assert_eq!(Host::parse(b"[:::192.0.2.1]"), Host::parse(b"[::192.0.2.1]"));
    }

    #[test]
    fn a_zone_is_dropped() {
        assert_eq!(written("[fe80::1%25eth0]"), "[fe80::1]");
        assert_eq!(written("[FE80::1%eth0.7]"), "[fe80::1]");
    }

    #[test]
    fn malformed_hosts_are_refused() {
        for bad in [
            "",
            ".",
            "a..b",
            "-a",
            "256.1.1.1",
            "1.2.3",
            "010.0.0.1",
            "::1",
            "[::1",
            "[1.2.3.4]",
            "[2001:db8::1%25eth0]",
            "[2001:db8:::1]",
            "[1::2:::192.0.2.1]",
            "[1:::2:::192.0.2.1]",
            "[fe80::1%25]",
            "[fe80::1%]",
            "[fe80::1%25a;b]",
            "a b",
            "a/b",
        ] {
            assert_eq!(Host::parse(bad.as_bytes()), Err(ErrorKind::Host), "{bad}");
        }
    }
}
