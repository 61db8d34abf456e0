//! DNS records as far as RFC 3263 uses them.
//!
//! Host names are in presentation format without the final dot; the root is the empty string.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use parser::Transport;

/// What is looked up in DNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// The NAPTR records of a domain (RFC 3403).
    Naptr(Arc<str>),
    /// The SRV records of a service (RFC 2782).
    Srv(Arc<str>),
    /// The A and AAAA records of a host.
    Addresses(Arc<str>),
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Naptr(name) => write!(f, "NAPTR records of {name}"),
            Self::Srv(name) => write!(f, "SRV records of {name}"),
            Self::Addresses(name) => write!(f, "A and AAAA records of {name}"),
        }
    }
}

/// The records that answer a [`Query`]; empty if there are none or the query failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// Of [`Query::Naptr`].
    Naptr(Vec<Naptr>),
    /// Of [`Query::Srv`].
    Srv(Vec<Srv>),
    /// Of [`Query::Addresses`], the preferred one first.
    Addresses(Vec<IpAddr>),
}

/// A NAPTR record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naptr {
    /// Records with a lower order are used first.
    pub order: u16,
    /// Among those with the same order the one with the lower preference.
    pub preference: u16,
    /// `s`: the replacement has SRV records.
    pub flags: Arc<str>,
    /// The service, for example `SIP+D2U`.
    pub service: Arc<str>,
    /// A rewrite rule; empty in the records of RFC 3263.
    pub regexp: Arc<str>,
    /// The owner name of the SRV records.
    pub replacement: Arc<str>,
}

/// An SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Records with a lower priority are tried first.
    pub priority: u16,
    /// The share of the requests among the records with the same priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host.
    pub target: Arc<str>,
}

impl Naptr {
    /// The transport that the record leads to; none if it is not a record of RFC 3263 4.1.
    pub(super) fn transport(&self) -> Option<Transport> {
        let is_usable = self.flags.eq_ignore_ascii_case("s") && self.regexp.is_empty() && !self.replacement.is_empty();
        let services = [("SIP+D2U", Transport::Udp), ("SIP+D2T", Transport::Tcp), ("SIPS+D2T", Transport::Tls)];
        let found = services.into_iter().find(|(service, _)| self.service.eq_ignore_ascii_case(service));
        found.filter(|_| is_usable).map(|(_, transport)| transport)
    }

    /// The order in which records are used. The replacement makes it the same whatever the order of the answer
    /// (RFC 3263 4.4).
    pub(super) fn sort_key(&self) -> (u16, u16, &str) {
        (self.order, self.preference, &self.replacement)
    }
}
