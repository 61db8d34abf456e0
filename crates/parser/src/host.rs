//! Hosts: names, IPv4 and bracketed IPv6 addresses (RFC 3261 25.1 `host`, RFC 5118). Decides what kind of host some
//! octets are; never resolves one. A zone of an IPv6 address is not in SIP's grammar and is refused.

use std::{
    hash::{Hash, Hasher},
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    ErrorKind,
    octets::{self, HOST},
};

/// A host as it is named in a URI or a Via. Equality of names is octet by octet; see [`Host::eq_ignore_case`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    /// A host name, as it was sent.
    Name(&'a [u8]),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, in brackets in SIP text.
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Parses a host. IPv6 addresses stand in brackets.
    ///
    /// # Errors
    /// [`ErrorKind::Host`] for anything but a name of letters, digits, `-`, `_` and `.`, or an address. A name whose
    /// last label is all digits is a broken address.
    pub fn parse(host: &'a [u8]) -> Result<Self, ErrorKind> {
        if let Some(inner) = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
            return text(inner).and_then(|text| text.parse().ok()).map(Self::V6).ok_or(ErrorKind::Host);
        }
        if !octets::all(host, HOST) {
            return Err(ErrorKind::Host);
        }
        if last_label(host).iter().all(u8::is_ascii_digit) {
            return text(host).and_then(|text| text.parse().ok()).map(Self::V4).ok_or(ErrorKind::Host);
        }
        let starts_well = host.first().is_some_and(|byte| *byte != b'.' && *byte != b'-');
        if starts_well && !host.windows(2).any(|pair| pair == b"..") {
            Ok(Self::Name(host))
        } else {
            Err(ErrorKind::Host)
        }
    }

    /// The address, if it is one.
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
        // Writing into a Vec cannot fail.
        let _done = match self {
            Self::Name(name) => out.write_all(name),
            Self::V4(ip) => write!(out, "{ip}"),
            Self::V6(ip) => write!(out, "[{ip}]"),
        };
    }

    /// Feeds a hash so that hosts that are equal by [`Host::eq_ignore_case`] hash alike.
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

/// The last label; a root dot at the end belongs to none.
fn last_label(host: &[u8]) -> &[u8] {
    let host = host.strip_suffix(b".").unwrap_or(host);
    memchr::memrchr(b'.', host).and_then(|dot| host.get(dot + 1..)).unwrap_or(host)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(host: &str) -> String {
        let mut out = Vec::new();
        Host::parse(host.as_bytes()).unwrap().write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn kinds() {
        assert_eq!(Host::parse(b"Office.Example."), Ok(Host::Name(b"Office.Example.")));
        assert_eq!(Host::parse(b"192.0.2.4"), Ok(Host::V4(Ipv4Addr::new(192, 0, 2, 4))));
        assert_eq!(written("[2001:DB8:0::10]"), "[2001:db8::10]");
        assert_eq!(written("3f2a9b.my_net"), "3f2a9b.my_net");
        assert!(Host::parse(b"[::1]").unwrap().eq_ignore_case(&Host::parse(b"[0:0::1]").unwrap()));
        assert!(Host::Name(b"aB").eq_ignore_case(&Host::Name(b"Ab")));
    }

    #[test]
    fn broken_ones() {
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
            "[fe80::1%25eth0]",
            "a b",
            "a/b",
        ] {
            assert_eq!(Host::parse(bad.as_bytes()), Err(ErrorKind::Host), "{bad}");
        }
    }
}
