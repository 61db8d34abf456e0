//! A message that came in, and a request with the facts that every later step needs.
//!
//! Nobody edits a message: what has to change on the way out is recorded here and written by `forward`.

use std::cell::OnceCell;
use std::hash::BuildHasher as _;
use std::net::SocketAddr;

use hashbrown::DefaultHashBuilder;
use location::{Aor, ConnectionId, Flow};
use parser::headers::{NameAddr, Via};
use parser::{HeaderName, Host, Message, Method, SipUri, Span, Stamp, Transport, Uri, headers};

use crate::connections::Connections;
use crate::hop::Hop;
use crate::ingress;
use crate::mac::{Mac, Purpose, octets_of};
use crate::peer::Peer;
use crate::reject::Reject;
use crate::settings::Settings;

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
    /// Where the URI of its From stands; none if it was not read.
    from: Option<Span>,
    /// The same of its To.
    to: Option<Span>,
    /// Where its From tag and its To tag stand; empty if there is none.
    tags: [Span; 2],
    /// Its CSeq number.
    pub(crate) sequence: u32,
    /// Whether it belongs to a dialog: its To has a tag.
    pub(crate) in_dialog: bool,
    /// Its Max-Forwards.
    pub(crate) hops: Option<u8>,
    /// How many of its first Route values are ours (RFC 3261 16.4).
    pub(crate) own_routes: usize,
    /// Whether it is known that no other follows them.
    pub(crate) has_only_own_routes: bool,
    /// The Request-URI to route by, where it is not the one in the start line (RFC 3261 16.4).
    pub(crate) effective_uri: Option<Box<[u8]>>,
    /// The user that its sender has authenticated as.
    pub(crate) proven: Proven,
    /// Whether no binding was found whose Contact its Request-URI is: a copy of it may find one.
    pub(crate) is_no_contact: bool,
    /// A hash of its octets, once somebody has asked for it.
    content: OnceCell<u64>,
    /// Whether the last Route value was that Request-URI, hidden there by a strict router upstream.
    pub(crate) last_route_is_uri: bool,
}

/// Hashes the octets of requests, with the same key in all of a core. Its keys are random and its values never leave, so that
/// nobody can write another request with the same one: each try would need a request from the address of the first.
pub(crate) type ContentHasher = DefaultHashBuilder;

/// The user that the sender of a request has authenticated as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proven {
    /// Nobody: nobody has to, or it has not been asked yet.
    Nobody,
    /// The user that the request names as its sender: in From, or in To of a REGISTER that is its own.
    InFrom,
    /// This user: From has another name that it may have, or none.
    As(Box<Aor>),
}

impl Proven {
    /// Whether it proved anything.
    pub(crate) const fn is_somebody(&self) -> bool {
        !matches!(self, Self::Nobody)
    }
}

/// The place that a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    transport: Transport,
    remote: SocketAddr,
    connection: Option<ConnectionId>,
    /// The address that its responses go to.
    back: SocketAddr,
}

impl Source {
    /// Whether another request with the same way back came from the same place: over UDP the same address and port; over a
    /// stream the same connection, one that was opened from here to where responses go, or any from that address once the
    /// first is closed.
    pub(crate) fn is(&self, other: &Self, connections: &Connections) -> bool {
        if self.transport != other.transport {
            return false;
        }
        if !self.transport.is_reliable() {
            return self.remote == other.remote;
        }
        self.connection == other.connection
            || other.remote == other.back
            || (self.remote.ip() == other.remote.ip() && self.connection.is_none_or(|it| !connections.is_open(it)))
    }
}

/// The flow that leads to the other side of a dialog.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowAhead {
    pub(crate) peer: Peer,
    /// Whether the address in the Request-URI may be tried once the flow is closed.
    pub(crate) or_named: bool,
}

/// A keyed hash of what names a transaction and comes back in its responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TransactionKey(pub(crate) u64);

impl Request {
    /// A request that can be answered, and whether it is fit for more (RFC 3261 16.3 step 1). Its head is typed here, once.
    pub(crate) fn new(received: Received, mac: &Mac) -> (Self, Result<(), Reject>) {
        // It is moved once, at the end: it is large.
        let (message, flow) = (&received.message, received.flow);
        let (head, verdict) = match ingress::syntax(message) {
            Ok(head) => (Some(head), Ok(())),
            Err(reject) => (None, Err(reject)),
        };
        let readable = if head.is_none() { message.header().ok().flatten() } else { None };
        let via = head.as_ref().map(|head| &head.via).or(readable.as_ref());
        let (back, stamp) = match via {
            Some(via) => {
                let elsewhere = via.host.ip().is_some_and(|ip| ip != flow.remote.ip());
                let symmetric = via.rport().is_some();
                (answer_hop(via, &flow, symmetric || elsewhere), stamp(via, flow.remote, symmetric))
            }
            // A Via that cannot be read is copied as it is; the source is all there is to answer to.
            None => (Hop::back(&flow), Stamp { received: None, rport: None }),
        };
        let key = match (&head, via) {
            (Some(head), _) => {
                let numbers = (head.sequence, message.method());
                Some(TransactionKey::new(message, (&head.via, back.remote), numbers, head.from_tag, mac))
            }
            (None, Some(via)) => TransactionKey::of(message, via, back.remote, mac).map(|(key, _)| key),
            (None, None) => None,
        };
        // What names no transaction is refused, and its copies with the same To tag (RFC 3261 8.2.7).
        let key = key.unwrap_or_else(|| TransactionKey(mac.sign(Purpose::Transaction, &[message.bytes()])));
        let request = Self {
            key,
            from: head.as_ref().and_then(|head| message.span_of(head.caller)),
            to: head.as_ref().and_then(|head| message.span_of(head.callee)),
            tags: head.as_ref().map_or_else(Default::default, |head| {
                [head.from_tag, head.to_tag].map(|tag| tag.and_then(|tag| message.span_of(tag)).unwrap_or_default())
            }),
            sequence: head.as_ref().map_or(0, |head| head.sequence),
            in_dialog: head.as_ref().is_some_and(|head| head.to_tag.is_some()),
            hops: head.as_ref().and_then(|head| head.hops),
            message: received.message,
            flow,
            back,
            stamp,
            own_routes: 0,
            has_only_own_routes: false,
            effective_uri: None,
            proven: Proven::Nobody,
            is_no_contact: false,
            content: OnceCell::new(),
            last_route_is_uri: false,
        };
        (request, verdict)
    }

    /// A hash of its octets, which tells a copy of it from every other request.
    pub(crate) fn content(&self, hasher: &ContentHasher) -> u64 {
        *self.content.get_or_init(|| hasher.hash_one(&self.message.bytes()[..]))
    }

    /// Where it came from.
    pub(crate) const fn source(&self) -> Source {
        let Flow { transport, remote, id, .. } = self.flow;
        Source { transport, remote, connection: id.connection(), back: self.back.remote }
    }

    pub(crate) fn method(&self) -> Method<'_> {
        self.message.method()
    }

    /// The Request-URI to route by.
    pub(crate) fn uri(&self) -> &[u8] {
        self.effective_uri.as_deref().unwrap_or_else(|| self.message.request_uri())
    }

    /// The same, typed.
    pub(crate) fn typed_uri(&self) -> Result<Uri<'_>, Reject> {
        match &self.effective_uri {
            Some(uri) => Uri::parse(uri).map_err(|_| Reject::RequestUri),
            None => self.message.uri().map_err(Reject::Malformed),
        }
    }

    /// Whether its sender lists this option tag in Supported (RFC 3261 20.37).
    pub(crate) fn supports(&self, tag: &str) -> bool {
        self.message.values(HeaderName::Supported).any(|listed| listed.eq_ignore_ascii_case(tag.as_bytes()))
    }

    /// The URI of its From.
    pub(crate) fn caller(&self) -> Option<SipUri<'_>> {
        let uri = match self.from {
            Some(span) => self.uri_at(span)?,
            None => self.message.header::<headers::From<'_>>().ok()??.address.uri,
        };
        uri.sip().copied()
    }

    /// The URI of its To.
    pub(crate) fn addressee(&self) -> Result<Uri<'_>, Reject> {
        match self.to.and_then(|span| self.uri_at(span)) {
            Some(uri) => Ok(uri),
            None => Ok(self.message.required::<headers::To<'_>>().map_err(Reject::Malformed)?.address.uri),
        }
    }

    /// The AoR domain that its From names a user of ([`Settings::domain_named_by`]).
    pub(crate) fn caller_domain<'s>(&self, settings: &'s Settings) -> Option<&'s str> {
        match settings.usual_user(self.caller_text()) {
            Some(_) => settings.domains.first().map(|domain| &**domain),
            None => settings.domain_named_by(&self.caller()?),
        }
    }

    /// The URI that its sender names itself by, as it stands there.
    pub(crate) fn caller_text(&self) -> &[u8] {
        self.from.map(|span| self.text_at(span)).unwrap_or_default()
    }

    /// The URI of its To, as it stands there.
    pub(crate) fn addressee_text(&self) -> &[u8] {
        self.to.map(|span| self.text_at(span)).unwrap_or_default()
    }

    /// Its From tag and its To tag; empty if there is none.
    pub(crate) fn tags(&self) -> [&[u8]; 2] {
        self.tags.map(|tag| self.text_at(tag))
    }

    fn uri_at(&self, span: Span) -> Option<Uri<'_>> {
        Uri::parse(self.text_at(span)).ok()
    }

    fn text_at(&self, Span { start, end }: Span) -> &[u8] {
        self.message.bytes().get(start as usize..end as usize).unwrap_or_default()
    }

    /// Whether it asks for a dialog, so that this server puts itself into its route (RFC 3261 16.6 step 4).
    pub(crate) fn forms_dialog(&self) -> bool {
        matches!(self.method(), Method::Invite | Method::Subscribe | Method::Refer) && !self.in_dialog
    }

    /// Whether it is a NOTIFY whose dialog was record-routed here, as far as its Route shows: it makes the dialog at the
    /// subscriber (RFC 6665 4.3, 4.4.1).
    pub(crate) fn is_notify_in_dialog(&self) -> bool {
        self.method() == Method::Notify && self.in_dialog && self.own_routes > 0
    }

    /// How many branches it may still be forked into at once (RFC 5393 5.3.3): at most 60, and 60 if it does not say.
    pub(crate) fn max_breadth(&self) -> u32 {
        match self.message.header::<headers::MaxBreadth>() {
            Ok(Some(headers::MaxBreadth(breadth))) => breadth.min(MAX_BREADTH),
            _ => MAX_BREADTH,
        }
    }

    /// The first Route value left once ours are gone.
    pub(crate) fn next_route(&self) -> Option<&[u8]> {
        if self.has_only_own_routes { None } else { self.routes().next() }
    }

    /// The Route values left once ours are gone.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &[u8]> {
        let hidden = usize::from(self.last_route_is_uri);
        let count = self.message.values(HeaderName::Route).count().saturating_sub(hidden);
        self.message.values(HeaderName::Route).take(count).skip(self.own_routes)
    }
}

impl TransactionKey {
    /// The key of a request, from its top Via and the values beside it. RFC 3261 17.2.3 asks for branch, sent-by and
    /// method, where ACK and CANCEL count as the INVITE that they belong to (9.2, 16.11); Call-ID, CSeq number and From tag
    /// serve clients that predate the branch. Whoever has read a request can repeat all of these: so the key has the
    /// address too that responses go to, which a request from elsewhere cannot have.
    fn new(
        message: &Message,
        (via, way_back): (&Via<'_>, SocketAddr),
        (sequence, method): (u32, Method<'_>),
        from_tag: Option<&[u8]>,
        mac: &Mac,
    ) -> Self {
        let name = match via.host {
            Host::Name(name) => name,
            Host::V4(_) | Host::V6(_) => b"",
        };
        let sent_by = via.host.ip().map(octets_of).unwrap_or_default();
        let (kind, method) = kind_of(method);
        let mut numbers = [0; 25];
        numbers[..16].copy_from_slice(&octets_of(way_back.ip()));
        numbers[16..18].copy_from_slice(&way_back.port().to_be_bytes());
        numbers[18..20].copy_from_slice(&via.port.unwrap_or_default().to_be_bytes());
        numbers[20..24].copy_from_slice(&sequence.to_be_bytes());
        numbers[24] = kind;
        // Mostly responses go to the sent-by address, which is in it already then.
        let sent_by = if numbers.starts_with(&sent_by) { &b""[..] } else { &sent_by };
        let branch = via.branch().unwrap_or_default();
        let call_id = message.value(HeaderName::CallId).unwrap_or_default();
        let from_tag = from_tag.unwrap_or_default();
        if name.is_empty() && method.is_empty() && sent_by.is_empty() {
            return Self(mac.sign(Purpose::Transaction, &[branch, &numbers, call_id, from_tag]));
        }
        Self(mac.sign(Purpose::Transaction, &[branch, &numbers, call_id, from_tag, method, name, sent_by]))
    }

    /// The key of the request that this is, or that this answers, and its method; `via` is the one it came here with, and
    /// `way_back` is where its responses go.
    pub(crate) fn of<'m>(
        message: &'m Message,
        via: &Via<'_>,
        way_back: SocketAddr,
        mac: &Mac,
    ) -> Option<(Self, Method<'m>)> {
        let headers::CSeq { number, method } = message.header().ok()??;
        let from = NameAddr::params_of(message.value(HeaderName::From)?);
        Some((Self::new(message, (via, way_back), (number, method), from.value("tag"), mac), method))
    }
}

/// A number for what a request is matched by: its method, where ACK and CANCEL count as their INVITE; and the name of a
/// method that has none.
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

/// RFC 3261 18.2.2, RFC 3581 4: the connection it came on; else the source, at its own port or at the one the sender
/// names.
fn answer_hop(via: &Via<'_>, flow: &Flow, at_source: bool) -> Hop {
    let mut back = Hop::back(flow);
    // An address that is not the source's was translated on the way, and so was the port beside it.
    if flow.transport.is_reliable() || !at_source {
        back.remote.set_port(via.port.unwrap_or_else(|| flow.transport.default_port()));
    }
    back
}

/// RFC 3261 18.2.1, RFC 3581 4.
fn stamp(via: &Via<'_>, source: SocketAddr, symmetric: bool) -> Stamp {
    let same = via.host.ip() == Some(source.ip());
    // A client that writes `received` itself names where our responses are to be looked for: nobody has checked that.
    let due = !same || symmetric || via.has_received();
    Stamp { received: due.then_some(source.ip()), rport: symmetric.then_some(source.port()) }
}

/// The tag of the From or the To of a message, if those are known to parse.
pub(crate) fn tag_of(message: &Message, name: HeaderName) -> Option<&[u8]> {
    NameAddr::params_of(message.value(name)?).value("tag")
}
