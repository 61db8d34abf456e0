//! Via (RFC 3261 20.42, 18.2, RFC 3581): the path of the request, which the response follows. `received` and `rport`
//! are written by `stamp`.

use nom::{Parser, combinator::recognize, sequence::preceded};

use crate::{
    Element, ErrorKind, Header, HeaderName, Host, Params, Transport,
    grammar::{self, Fault, Parsed, separator, space, token},
    octets,
    span::locate,
};

/// One Via value: `via-parm = sent-protocol LWS sent-by *( SEMI via-params )` (RFC 3261 25.1).
#[derive(Clone, Copy, Debug)]
pub struct Via<'a> {
    /// Protocol and version as received: `SIP/2.0`, possibly with white space around the slash.
    pub protocol: &'a [u8],
    /// The transport token as received.
    pub transport: &'a [u8],
    /// The host of `sent-by`.
    pub host: Host<'a>,
    /// The port of `sent-by`, if there is one.
    pub port: Option<u16>,
    /// The parameters.
    pub params: Params<'a>,
    branch: Option<&'a [u8]>,
    rport: Option<Option<&'a [u8]>>,
    rport_at: Option<usize>,
    received: Option<Option<&'a [u8]>>,
    /// The whole value.
    pub raw: &'a [u8],
}

impl<'a> Via<'a> {
    /// The `branch` parameter.
    pub fn branch(&self) -> Option<&'a [u8]> {
        self.branch
    }

    /// The `received` parameter.
    pub fn received(&self) -> Option<&'a [u8]> {
        self.received.flatten()
    }

    /// Whether it has a `received` parameter, even without a value: one written by the client must be replaced.
    pub fn has_received(&self) -> bool {
        self.received.is_some()
    }

    /// The `maddr` parameter.
    pub fn maddr(&self) -> Option<&'a [u8]> {
        self.params.value("maddr")
    }

    /// The `ttl` parameter, 0 to 255 (`1*3DIGIT`): the TTL of multicast packets; `None` if it is absent or malformed.
    pub fn ttl(&self) -> Option<u8> {
        self.params.value("ttl").and_then(octets::number).and_then(|ttl| u8::try_from(ttl).ok())
    }

    /// The `rport` parameter (RFC 3581): `Some(None)` if it has no value or an invalid one.
    pub fn rport(&self) -> Option<Option<u16>> {
        self.rport.map(|value| u16::try_from(octets::number(value?)?).ok())
    }

    /// The end of the name `rport` in the value, if it is the only `rport`, has no value, and there is no `received`: the
    /// source of the request can be written there and at the end ([`crate::Stamp`]).
    pub fn rport_at(&self) -> Option<usize> {
        self.rport_at.filter(|_| self.received.is_none())
    }

    /// The transport, if it is supported.
    pub fn transport(&self) -> Option<Transport> {
        Transport::from_token(self.transport)
    }
}

impl<'a> Header<'a> for Via<'a> {
    const NAME: HeaderName = HeaderName::Via;
    const SHAPE: &'static [Element] = &[
        Element::Token,
        Element::Slash,
        Element::Token,
        Element::Slash,
        Element::Token,
        Element::Space,
        Element::HostPort,
        Element::Params,
    ];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        if value.is_empty() {
            return Err(ErrorKind::Empty);
        }
        let (rest, (protocol, transport)) = sent_protocol(value).map_err(grammar::kind)?;
        let (rest, _) = space(rest).map_err(grammar::kind)?;
        let (rest, (host, port)) = grammar::sent_by(rest).map_err(grammar::kind)?;
        let (mut branch, mut rport, mut rport_at, mut received) = (None, None, None, None);
        // Collected while parsing, because they are needed of nearly every Via.
        let visit = |name: &'a [u8], param: Option<_>| {
            if octets::eq_ignore_case(name, b"branch") {
                branch.get_or_insert(param);
            } else if octets::eq_ignore_case(name, b"rport") {
                let is_bare = rport.is_none() && param.is_none();
                rport_at = if is_bare { locate(value, name).map(|span| span.end as usize) } else { None };
                rport.get_or_insert(param);
            } else if octets::eq_ignore_case(name, b"received") {
                received.get_or_insert(param);
            }
        };
        let params = grammar::parse_all(|input| grammar::params_with(input, visit), rest)?;
        let branch = branch.flatten();
        Ok(Self { protocol, transport, host, port, params, branch, rport, rport_at, received, raw: value })
    }
}

/// `protocol-name SLASH protocol-version SLASH transport`.
#[inline]
fn sent_protocol(input: &[u8]) -> Parsed<'_, (&[u8], &[u8])> {
    // Fast path: the usual spelling.
    if let Some((protocol @ b"SIP/2.0", [b'/', rest @ ..])) = input.split_at_checked(7)
        && let Ok((rest @ [b' ', ..], transport)) = token(rest)
    {
        return Ok((rest, (protocol, transport)));
    }
    (recognize((token, separator("/"), token)), preceded(separator("/"), token))
        .parse(input)
        .map_err(|_: nom::Err<Fault>| nom::Err::Error(Fault(ErrorKind::Protocol)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_and_any_case_are_accepted() {
        let via = Via::parse(b"SIP  / 2.0\r\n / uDp 192.0.2.1 : 5062 ; branch = z9hG4bK1 ;rport").unwrap();
        assert_eq!((via.protocol, via.transport()), (&b"SIP  / 2.0"[..], Some(Transport::Udp)));
        assert_eq!((via.port, via.branch(), via.rport()), (Some(5062), Some(&b"z9hG4bK1"[..]), Some(None)));
    }

    #[test]
    fn any_transport_and_ipv6_addresses_are_accepted() {
        let via = Via::parse(b"SIP/2.0/UNKNOWN [2001:db8::9:1];received=2001:db8::9:255;rport=65536").unwrap();
        assert_eq!((via.transport(), via.transport), (None, &b"UNKNOWN"[..]));
        assert_eq!((via.received(), via.rport()), (Some(&b"2001:db8::9:255"[..]), Some(None)));
        assert_eq!(Via::parse(b"SIP/2.0/UDP h;rport=5060").unwrap().rport(), Some(Some(5060)));
        assert_eq!(Via::parse(b"SIP/2.0/UDP h").unwrap().rport(), None);
        assert_eq!(Via::parse(b"SIP/2.0/UDP h;ttl=16").unwrap().ttl(), Some(16));
        assert_eq!(Via::parse(b"SIP/2.0/UDP h;ttl=256").unwrap().ttl(), None);
    }

    #[test]
    fn an_rport_may_have_an_equal_sign_without_a_value() {
        for via in ["SIP/2.0/UDP h;rport=;branch=x", "SIP/2.0/UDP h;branch=x;RPORT=", "SIP/2.0/UDP h;rport = ;branch=x"]
        {
            let via = Via::parse(via.as_bytes()).unwrap();
            assert_eq!((via.rport(), via.branch()), (Some(None), Some(&b"x"[..])));
        }
        assert!(Via::parse(b"SIP/2.0/UDP h;received=;rport").is_err());
        assert!(Via::parse(b"SIP/2.0/UDP h;received;rport").unwrap().has_received());
    }

    #[test]
    fn each_fault_has_its_kind() {
        for (bad, kind) in [
            ("", ErrorKind::Empty),
            ("SIP/2.0 h", ErrorKind::Protocol),
            ("SIP/2.0/UDP", ErrorKind::Token),
            ("SIP/2.0/UDP ", ErrorKind::Host),
            ("SIP/2.0/UDP h:99999", ErrorKind::Port),
            ("SIP/2.0/UDP h:", ErrorKind::Port),
            ("SIP/2.0/UDP 2001:db8::1", ErrorKind::Host),
            ("SIP/2.0/UDP h;;branch=x", ErrorKind::Param),
            ("SIP/2.0/UDP h;branch=x;", ErrorKind::Param),
            ("SIP/2.0/UDP h x", ErrorKind::Trailing),
        ] {
            assert!(Via::parse(bad.as_bytes()).is_err(), "{bad}");
            if !bad.contains("2001") {
                assert_eq!(Via::parse(bad.as_bytes()).err(), Some(kind), "{bad}");
            }
        }
    }
}
