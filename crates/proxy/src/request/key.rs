//! The key of a transaction (RFC 3261 17.1.3, 17.2.3).
//!
//! Must not depend on anything that a retransmission, or the ACK or CANCEL of an INVITE, does not repeat.

use std::net::SocketAddr;

use parser::headers::Via;
use parser::{Header as _, HeaderName, Host, Message, Method, headers};

use super::tag_of;
use crate::mac::{Mac, Purpose, octets_of};
use crate::plain::via_with_branch;

/// A keyed hash of the values that identify a transaction. All of them come back in its responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TransactionKey(pub(crate) u64);

/// What identifies a transaction in a Via (RFC 3261 17.2.3).
#[derive(Clone, Copy)]
pub(crate) struct SentBy<'v> {
    pub(crate) host: Host<'v>,
    pub(crate) port: Option<u16>,
    pub(crate) branch: &'v [u8],
}

impl<'v> From<&Via<'v>> for SentBy<'v> {
    fn from(via: &Via<'v>) -> Self {
        Self { host: via.host, port: via.port, branch: via.branch().unwrap_or_default() }
    }
}

impl<'v> SentBy<'v> {
    /// In a Via value; `None` if it is malformed.
    pub(crate) fn of(value: &'v [u8]) -> Option<Self> {
        match via_with_branch(value) {
            Some((address, branch)) => Some(Self { host: address.ip().into(), port: Some(address.port()), branch }),
            None => Some(Self::from(&Via::parse(value).ok()?)),
        }
    }

    /// The host name; `None` if it is an address.
    pub(crate) fn name(&self) -> Option<&'v str> {
        match self.host {
            Host::Name(name) => std::str::from_utf8(name).ok(),
            Host::V4(_) | Host::V6(_) => None,
        }
    }
}

impl TransactionKey {
    /// The key of a request.
    ///
    /// RFC 3261 17.2.3 matches branch, sent-by and method; ACK and CANCEL match the INVITE that they belong to
    /// (9.2, 16.11). Call-ID, CSeq number and From tag serve clients of RFC 2543, whose branch is not unique.
    /// Everybody on the path can read and repeat these values. So the key also has the address that responses go
    /// to: with it, nobody at another address can match a transaction, and so cancel a call.
    pub(super) fn new(
        (via, response_address): (&SentBy<'_>, SocketAddr),
        (sequence, method): (u32, Method<'_>),
        (call_id, from_tag): (&[u8], Option<&[u8]>),
        mac: &Mac,
    ) -> Self {
        let name = match via.host {
            Host::Name(name) => name,
            Host::V4(_) | Host::V6(_) => b"",
        };
        let sent_by = via.host.ip().map(octets_of).unwrap_or_default();
        let (kind, method) = kind_of(method);
        let mut numbers = [0; 25];
        numbers[..16].copy_from_slice(&octets_of(response_address.ip()));
        numbers[16..18].copy_from_slice(&response_address.port().to_be_bytes());
        numbers[18..20].copy_from_slice(&via.port.unwrap_or_default().to_be_bytes());
        numbers[20..24].copy_from_slice(&sequence.to_be_bytes());
        numbers[24] = kind;
        // Responses usually go to the sent-by address, which `numbers` then already contains.
        let sent_by = if numbers.starts_with(&sent_by) { &b""[..] } else { &sent_by };
        let branch = via.branch;
        let from_tag = from_tag.unwrap_or_default();
        if name.is_empty() && method.is_empty() && sent_by.is_empty() {
            return Self(mac.sign(Purpose::Transaction, &[branch, &numbers, call_id, from_tag]));
        }
        Self(mac.sign(Purpose::Transaction, &[branch, &numbers, call_id, from_tag, method, name, sent_by]))
    }

    /// The key and the method of a request, or of the request that a response belongs to. `via` is the Via that the
    /// request arrived with, and `response_address` the address that its responses go to.
    pub(crate) fn of<'m>(
        message: &'m Message,
        via: &SentBy<'_>,
        response_address: SocketAddr,
        mac: &Mac,
    ) -> Option<(Self, Method<'m>)> {
        let headers::CSeq { number, method } = message.header().ok()??;
        let names = (message.value(HeaderName::CallId).unwrap_or_default(), tag_of(message, HeaderName::From));
        Some((Self::new((via, response_address), (number, method), names, mac), method))
    }
}

/// A number for the method, where ACK and CANCEL have that of INVITE; 0 and the name for an unknown method.
fn kind_of(method: Method<'_>) -> (u8, &[u8]) {
    let kind = match method {
        Method::Invite | Method::Ack | Method::Cancel => 1,
        Method::Bye => 2,
        Method::Register => 3,
        Method::Options => 4,
        Method::Message => 5,
        Method::Subscribe => 6,
        Method::Notify => 7,
        Method::Info => 8,
        Method::Update => 9,
        Method::Prack => 10,
        Method::Refer => 11,
        Method::Publish => 12,
        Method::Other(name) => return (0, name),
    };
    (kind, b"")
}
