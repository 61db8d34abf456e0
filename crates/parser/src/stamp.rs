//! The parameters that the receiver of a request writes into its top Via (RFC 3261 18.2.1, RFC 3581 4): `received` and
//! `rport`. Whether they are needed is decided by the proxy.

use std::net::IpAddr;

use memchr::memchr;

use crate::{grammar, host::write_ip, octets};

/// The source of a request, for the parameters of its top Via.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The source address, for `received`; `None` leaves an existing or missing `received` unchanged.
    pub received: Option<IpAddr>,
    /// The source port, for an existing `rport` parameter; a Via without `rport` gets none (RFC 3581 4).
    pub rport: Option<u16>,
    /// Where the source port is written, see [`Via::rport_at`](crate::Via::rport_at). With `None` the parameters are read
    /// again.
    pub rport_at: Option<usize>,
}

impl Stamp {
    /// Appends the Via value `element` with these parameters. If its parameters cannot be parsed, it is copied
    /// unchanged.
    pub(crate) fn write(&self, element: &[u8], out: &mut Vec<u8>) {
        if self.received.is_none() && self.rport.is_none() {
            return out.extend_from_slice(element);
        }
        // A longer name, or a value, would follow without a semicolon.
        if let Some((before, after @ ([] | [b';', ..]))) = self.rport_at.and_then(|at| element.split_at_checked(at)) {
            out.extend_from_slice(before);
            if let Some(port) = self.rport {
                out.push(b'=');
                octets::write_decimal(out, port);
            }
            out.extend_from_slice(after);
        } else if !self.write_params(element, out) {
            return out.extend_from_slice(element);
        }
        if let Some(ip) = self.received {
            // RFC 3261 25.1 `via-received`: an IPv6 address has no brackets.
            out.extend_from_slice(b";received=");
            write_ip(ip, out);
        }
    }

    /// Writes all but a new `received`. Returns false, and writes nothing, if the parameters cannot be parsed.
    fn write_params(&self, element: &[u8], out: &mut Vec<u8>) -> bool {
        // The part before the parameters of a Via cannot contain a semicolon.
        let head = memchr(b';', element).unwrap_or(element.len());
        let (head, params) = element.split_at_checked(head).unwrap_or_default();
        let start = out.len();
        out.extend_from_slice(octets::trim_end(head));
        let write = |name: &[u8], value: Option<&[u8]>| self.write_param(name, value, out);
        let is_valid = grammar::parse_all(|input| grammar::params_with(input, write), params).is_ok();
        if !is_valid {
            out.truncate(start);
        }
        is_valid
    }

    #[inline]
    fn write_param(&self, name: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
        if self.received.is_some() && octets::eq_ignore_case(name, b"received") {
            return;
        }
        out.push(b';');
        out.extend_from_slice(name);
        match (self.rport, value) {
            (Some(port), _) if octets::eq_ignore_case(name, b"rport") => {
                out.push(b'=');
                octets::write_decimal(out, port);
            }
            (_, Some(value)) => {
                out.push(b'=');
                out.extend_from_slice(value);
            }
            (_, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Header as _, Via};

    fn stamped(via: &str, received: Option<&str>, rport: Option<u16>) -> String {
        let mut out = Vec::new();
        let received = received.map(|ip| ip.parse().unwrap());
        Stamp { received, rport, rport_at: None }.write(via.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    // The parameters of the Via are not read again.
    fn stamped_at(via: &str) -> Option<String> {
        let rport_at = Some(Via::parse(via.as_bytes()).unwrap().rport_at()?);
        let mut out = Vec::new();
        Stamp { received: Some([192, 0, 2, 9].into()), rport: Some(9), rport_at }.write(via.as_bytes(), &mut out);
        String::from_utf8(out).ok()
    }

    #[test]
    fn a_position_has_the_same_result() {
        for via in [
            "SIP/2.0/UDP h;rport;branch=x",
            "SIP/2.0/UDP h;branch=x;rport",
            "SIP/2.0/UDP h;branch=x;RPORT;a=\"b;rport;c\"",
            "SIP/2.0/UDP h;rport=;branch=x",
        ] {
            assert_eq!(stamped_at(via), Some(stamped(via, Some("192.0.2.9"), Some(9))), "{via}");
        }
        for via in [
            "SIP/2.0/UDP h;branch=x",
            "SIP/2.0/UDP h;rport=1",
            "SIP/2.0/UDP h;rport;rport",
            "SIP/2.0/UDP h;received=192.0.2.1;rport",
            "SIP/2.0/UDP h;rport;received",
        ] {
            assert_eq!(stamped_at(via), None, "{via}");
        }
    }

    #[test]
    fn received_is_added_and_rport_filled() {
        let via = "SIP/2.0/UDP h ;branch=x; rport;a=\"b;c\"";
        assert_eq!(stamped(via, None, None), via);
        assert_eq!(
            stamped(via, Some("192.0.2.9"), Some(40000)),
            "SIP/2.0/UDP h;branch=x;rport=40000;a=\"b;c\";received=192.0.2.9"
        );
        assert_eq!(stamped("SIP/2.0/UDP h", Some("2001:db8::1"), Some(1)), "SIP/2.0/UDP h;received=2001:db8::1");
        assert_eq!(stamped("SIP/2.0/UDP h;rport=1", None, Some(2)), "SIP/2.0/UDP h;rport=2");
    }

    #[test]
    fn a_forged_received_is_replaced() {
        assert_eq!(
            stamped("SIP/2.0/UDP h;received=198.51.100.1;branch=x", Some("192.0.2.9"), None),
            "SIP/2.0/UDP h;branch=x;received=192.0.2.9"
        );
    }

    #[test]
    fn all_values_of_the_client_are_replaced() {
        let via = "SIP/2.0/UDP h;rport=1;Received=198.51.100.1;rport=2;branch=x;received=\"a\"";
        assert_eq!(
            stamped(via, Some("192.0.2.9"), Some(40000)),
            "SIP/2.0/UDP h;rport=40000;rport=40000;branch=x;received=192.0.2.9"
        );
        assert_eq!(stamped("SIP/2.0/UDP h;rport=;branch=x", None, Some(9)), "SIP/2.0/UDP h;rport=9;branch=x");
    }

    #[test]
    fn a_malformed_via_is_copied_unchanged() {
        assert_eq!(stamped("SIP/2.0/UDP h;;", Some("192.0.2.9"), Some(1)), "SIP/2.0/UDP h;;");
    }
}
