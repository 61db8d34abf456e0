//! A message that came in, and a request with the facts that every later step needs.
//!
//! Nobody edits a message: what has to change on the way out is recorded here and written by `forward`.

use std::net::{IpAddr, SocketAddr};

use location::Flow;
use parser::headers::Via;
use parser::{HeaderName, Host, Message, Method, SipUri, Stamp, headers};

use crate::hop::Hop;
use crate::mac::{Mac, Purpose, octets_of};
use crate::peer::Peer;

/// RFC 5393 5.3.3: what a request without Max-Breadth has, and the most that any is granted.
const MAX_BREADTH: u32 = 60;

/// A message as it came from the network.
#[derive(Clone, Debug)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// The way it came; `local` is the concrete address it was sent to.
    pub flow: Flow,
}

/// A request that can be answered, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) message: Message,
    pub(crate) flow: Flow,
    /// Where responses go (RFC 3261 18.2.2, RFC 3581 4).
    pub(crate) back: Hop,
    /// What its top Via gets.
    pub(crate) stamp: Stamp,
    /// Its transaction: the same for an INVITE, its retransmissions, its CANCEL and the ACK of its non-2xx final.
    pub(crate) key: TransactionKey,
    /// Whether it came through a NAT by a client that speaks symmetrically (RFC 3581): the address it names leads nowhere.
    pub(crate) translated: bool,
    /// The phone at the other end of its dialog, where only its own flow leads to it: from our Record-Route.
    pub(crate) flow_ahead: Option<Peer>,
    /// How many of its first Route values are ours (RFC 3261 16.4).
    pub(crate) own_routes: usize,
    /// The Request-URI to route by, where it is not the one in the start line (RFC 3261 16.4).
    pub(crate) effective_uri: Option<Box<[u8]>>,
    /// Whether the last Route value was that Request-URI, hidden there by a strict router upstream.
    pub(crate) last_route_is_uri: bool,
}

/// A keyed hash of what names a transaction and comes back in its responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TransactionKey(pub(crate) u64);

impl Request {
    /// A request whose head is readable enough to be answered.
    pub(crate) fn new(received: Received, mac: &Mac) -> Self {
        let Received { message, flow } = received;
        let (back, stamp, translated, key) = match message.header::<Via<'_>>() {
            Ok(Some(via)) => {
                let key = TransactionKey::of(&message, &via, mac);
                (answer_hop(&via, &flow), stamp(&via, flow.remote), is_translated(&via, &flow), key)
            }
            // A Via that cannot be read is copied as it is; the source is all there is to answer to.
            _ => (Hop::back(&flow), Stamp { received: None, rport: None }, false, None),
        };
        let key = key.unwrap_or(TransactionKey(0));
        Self {
            message,
            flow,
            back,
            stamp,
            key,
            translated,
            flow_ahead: None,
            own_routes: 0,
            effective_uri: None,
            last_route_is_uri: false,
        }
    }

    /// Whether its sender is reached over the way it came, rather than at the address it names: its own connection, or
    /// through its NAT.
    pub(crate) fn is_flow_bound(&self) -> bool {
        self.flow.transport.is_reliable() || self.translated
    }

    pub(crate) fn method(&self) -> Method<'_> {
        self.message.method()
    }

    /// The Request-URI to route by.
    pub(crate) fn uri(&self) -> &[u8] {
        self.effective_uri.as_deref().unwrap_or_else(|| self.message.request_uri())
    }

    /// The URI that its sender names himself by.
    pub(crate) fn caller(&self) -> Option<SipUri<'_>> {
        self.message.header::<headers::From<'_>>().ok()??.address.uri.sip().copied()
    }

    /// How many branches it may still be forked into at once (RFC 5393 5.3.3): at most 60, and 60 if it does not say.
    pub(crate) fn max_breadth(&self) -> u32 {
        match self.message.header::<headers::MaxBreadth>() {
            Ok(Some(headers::MaxBreadth(breadth))) => breadth.min(MAX_BREADTH),
            _ => MAX_BREADTH,
        }
    }

    /// Whether it belongs to a dialog: its To has a tag.
    pub(crate) fn in_dialog(&self) -> bool {
        matches!(self.message.header::<headers::To<'_>>(), Ok(Some(to)) if to.tag().is_some())
    }

    /// The Route values left once ours are gone.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &[u8]> {
        let hidden = usize::from(self.last_route_is_uri);
        let count = self.message.values(HeaderName::Route).count().saturating_sub(hidden);
        self.message.values(HeaderName::Route).take(count).skip(self.own_routes)
    }
}

impl TransactionKey {
    /// The key of a request with this Via, read from the request or from a response to it. RFC 3261 17.2.3 asks for
    /// branch, sent-by and method. The method is left out on purpose, so that CANCEL and ACK find their INVITE (16.11);
    /// Call-ID, CSeq number and From tag serve clients that predate the branch.
    pub(crate) fn of(message: &Message, via: &Via<'_>, mac: &Mac) -> Option<Self> {
        let sequence = message.header::<headers::CSeq<'_>>().ok().flatten()?;
        let from = message.header::<headers::From<'_>>().ok().flatten()?;
        let name = match via.host {
            Host::Name(name) => name,
            Host::V4(_) | Host::V6(_) => b"",
        };
        let address = via.host.ip().map(octets_of).unwrap_or_default();
        Some(Self(mac.sign(
            Purpose::Transaction,
            &[
                via.branch().unwrap_or_default(),
                name,
                &address,
                &via.port.unwrap_or_default().to_be_bytes(),
                message.value(HeaderName::CallId).unwrap_or_default(),
                &sequence.number.to_be_bytes(),
                from.tag().unwrap_or_default(),
            ],
        )))
    }
}

/// RFC 3261 18.2.2, RFC 3581 4: the connection it came on; else the source, at the port the sender names.
fn answer_hop(via: &Via<'_>, flow: &Flow) -> Hop {
    let mut back = Hop::back(flow);
    let named = via.port.unwrap_or_else(|| flow.transport.default_port());
    let port = if flow.transport.is_reliable() {
        named
    } else if via.rport().is_some() || via.host.ip().is_some_and(|ip| ip != flow.remote.ip()) {
        // An address that is not the source's was translated on the way, and so was the port beside it.
        flow.remote.port()
    } else {
        named
    };
    back.remote = SocketAddr::new(flow.remote.ip(), port);
    back
}

fn is_translated(via: &Via<'_>, flow: &Flow) -> bool {
    via.rport().is_some() && via.host.ip().is_some_and(|ip| ip != flow.remote.ip())
}

/// RFC 3261 18.2.1, RFC 3581 4.
fn stamp(via: &Via<'_>, source: SocketAddr) -> Stamp {
    let same: Option<IpAddr> = via.host.ip().filter(|ip| *ip == source.ip());
    let rport = via.rport().map(|_| source.port());
    Stamp { received: (same.is_none() || rport.is_some()).then_some(source.ip()), rport }
}
