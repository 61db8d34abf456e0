//! A received message, and a request with the facts that every later step needs.
//!
//! A message is never changed here. The fields record what is to be changed, and `forward` writes it.

mod key;
mod source;

use std::cell::OnceCell;
use std::hash::BuildHasher as _;
use std::net::SocketAddr;
use std::num::NonZeroU64;

use hashbrown::DefaultHashBuilder;
use location::{Aor, Flow};
use parser::headers::{NameAddr, Via};
use parser::{HeaderName, Message, Method, SipUri, Span, Stamp, Uri, headers};

use crate::calls::FoundCalls;
use crate::hop::Hop;
use crate::ingress;
use crate::mac::{Mac, Purpose};
use crate::peer::Peer;
use crate::plain::plain_tag;
use crate::reject::Reject;
use crate::renumbering::Renumbering;
use crate::settings::Settings;

pub(crate) use key::{SentBy, TransactionKey};
pub(crate) use source::RequestSource;

/// RFC 5393 5.3.3: the Max-Breadth of a request that has none, and the highest value that is accepted.
const MAX_BREADTH: u32 = 60;

/// A message as it came from the network.
#[derive(Clone, Debug)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// The flow that it came over. `local` is the concrete address that it was sent to, also if the listener is a
    /// wildcard.
    pub flow: Flow,
}

/// A request that can be answered, and where its response goes.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) message: Message,
    pub(crate) flow: Flow,
    /// The hop that responses are sent to (RFC 3261 18.2.2, RFC 3581 4).
    pub(crate) response_hop: Hop,
    /// `received` and `rport` for its top Via.
    pub(crate) stamp: Stamp,
    /// The key of its transaction. An INVITE, its CANCEL and the ACK to its non-2xx final response have the same
    /// one.
    pub(crate) key: TransactionKey,
    /// The position of the URI in From; empty if the request is malformed.
    from: Span,
    /// The position of the URI in To; empty if the request is malformed.
    to: Span,
    /// The positions of the From tag and the To tag; empty if there is none.
    tags: [Span; 2],
    /// The position of the Call-ID; empty if the request is malformed.
    call_id: Span,
    /// The CSeq number.
    pub(crate) sequence: u32,
    /// Whether To has a tag, so that the request belongs to a dialog.
    pub(crate) in_dialog: bool,
    /// The Max-Forwards.
    pub(crate) hops: Option<u8>,
    /// How many of the first Route values are from this server (RFC 3261 16.4).
    pub(crate) own_routes: u8,
    /// Whether no other Route values follow them, as far as this is known.
    pub(crate) has_only_own_routes: bool,
    /// What few requests have.
    rare: Option<Box<Rare>>,
    /// How its numbers are changed, if it goes to a trunk in a dialog where that is done.
    pub(crate) renumbering: Option<Box<Renumbering>>,
    /// The user that its sender has authenticated as.
    pub(crate) proven: Proven,
    /// Whether a retransmission that is routed again may go elsewhere: the search for a binding with this Request-URI as
    /// its Contact found none, or DNS was asked for the next hop.
    pub(crate) needs_pin: bool,
    /// A hash of the whole message, once it was needed. Not zero, so that the field has 8 octets.
    content: OnceCell<NonZeroU64>,
    /// Whether a strict router put the Request-URI into the last Route value (RFC 3261 16.4).
    pub(crate) last_route_is_uri: bool,
}

/// The memory of the last request, which the next one uses again, so that stateless forwarding does not allocate. A request
/// is large: it stays there until it has ended.
#[derive(Debug, Default)]
pub(crate) struct RequestMemory(Option<Box<Request>>);

impl RequestMemory {
    /// Puts a request here, to be read next.
    pub(crate) fn place(&mut self, received: Received) -> Box<Request> {
        match self.0.take() {
            Some(mut memory) => {
                *memory = Request::unread(received);
                memory
            }
            None => Box::new(Request::unread(received)),
        }
    }

    /// Keeps the memory of a request that has ended.
    pub(crate) fn keep(&mut self, mut request: Box<Request>) {
        request.message.release();
        self.0 = Some(request);
    }
}

/// What few requests have.
#[derive(Clone, Debug, Default)]
struct Rare {
    effective_uri: Option<Box<[u8]>>,
    replaced: Option<FoundCalls>,
}

/// Hashes whole requests, with one random key for each core. The hashes are never sent, so an attacker cannot find two
/// requests with the same one: each guess would need a request from the address of the first.
pub(crate) type ContentHasher = DefaultHashBuilder;

/// The user that the sender of a request has authenticated as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proven {
    /// None: authentication is not required, or has not happened yet.
    Nobody,
    /// The user in From, or for a REGISTER the user in To.
    InFrom,
    /// This user: From names another user that it may call as, or none.
    As(Box<Aor>),
}

impl Proven {
    /// Whether the sender has authenticated.
    pub(crate) const fn is_authenticated(&self) -> bool {
        !matches!(self, Self::Nobody)
    }
}

/// The flow to the other side of a dialog.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowToPeer {
    pub(crate) peer: Peer,
    /// Whether the address in the Request-URI may be used if the flow is closed.
    pub(crate) may_use_uri: bool,
}

impl Request {
    /// With the headers as if there were none.
    pub(crate) fn unread(Received { message, flow }: Received) -> Self {
        Self {
            message,
            response_hop: Hop::back(&flow),
            flow,
            stamp: Stamp::default(),
            key: TransactionKey(0),
            from: Span::default(),
            to: Span::default(),
            tags: Default::default(),
            call_id: Span::default(),
            sequence: 0,
            in_dialog: false,
            hops: None,
            own_routes: 0,
            has_only_own_routes: false,
            rare: None,
            renumbering: None,
            proven: Proven::Nobody,
            needs_pin: false,
            content: OnceCell::new(),
            last_route_is_uri: false,
        }
    }

    /// Reads the headers, once for all steps. Fails if they are not valid (RFC 3261 16.3 step 1); then the request only
    /// serves to send the response.
    pub(crate) fn read(&mut self, mac: &Mac) -> Result<(), Reject> {
        let (message, flow) = (&self.message, self.flow);
        let head = ingress::syntax(message);
        let readable = if head.is_err() { message.header().ok().flatten() } else { None };
        let via = head.as_ref().ok().map(|head| &head.via).or(readable.as_ref());
        self.response_hop = Hop::back(&flow);
        // A malformed Via is copied unchanged, and the response goes to the source.
        if let Some(via) = via {
            let elsewhere = via.host.ip().is_some_and(|ip| ip != flow.remote.ip());
            let symmetric = via.rport().is_some();
            self.response_hop.remote = response_address(via, &flow, symmetric || elsewhere);
            self.stamp = stamp(via, flow.remote, symmetric);
        }
        let back = self.response_hop.remote;
        let key = match (&head, via) {
            (Ok(head), _) => {
                let (numbers, names) = ((head.sequence, message.method()), (head.call_id, head.from.tag));
                Some(TransactionKey::new((&(&head.via).into(), back), numbers, names, mac))
            }
            (Err(_), Some(via)) => TransactionKey::of(message, &via.into(), back, mac).map(|(key, _)| key),
            (Err(_), None) => None,
        };
        // A request without the values of a key is refused. Its retransmissions are equal and must get the same
        // To tag (RFC 3261 8.2.7).
        self.key = key.unwrap_or_else(|| TransactionKey(mac.sign(Purpose::Transaction, &[message.bytes()])));
        let head = head?;
        let span = |text: Option<&[u8]>| text.and_then(|text| message.span_of(text)).unwrap_or_default();
        (self.from, self.to) = (span(Some(head.from.uri)), span(Some(head.to.uri)));
        self.tags = [span(head.from.tag), span(head.to.tag)];
        self.call_id = span(Some(head.call_id));
        (self.sequence, self.in_dialog, self.hops) = (head.sequence, head.to.tag.is_some(), head.hops);
        Ok(())
    }

    /// A hash of the whole message, to tell a retransmission from another request.
    pub(crate) fn content(&self, hasher: &ContentHasher) -> u64 {
        let hash = || NonZeroU64::new(hasher.hash_one(&self.message.bytes()[..])).unwrap_or(NonZeroU64::MIN);
        self.content.get_or_init(hash).get()
    }

    /// The source of the request.
    pub(crate) const fn source(&self) -> RequestSource {
        let Flow { transport, remote, id, .. } = self.flow;
        RequestSource { transport, remote, connection: id.connection(), response_address: self.response_hop.remote }
    }

    pub(crate) fn method(&self) -> Method<'_> {
        self.message.method()
    }

    /// The Request-URI to route by, as text.
    pub(crate) fn uri(&self) -> &[u8] {
        self.effective_uri().unwrap_or_else(|| self.message.request_uri())
    }

    /// The Request-URI to route by.
    pub(crate) fn typed_uri(&self) -> Result<Uri<'_>, Reject> {
        match self.effective_uri() {
            Some(uri) => Uri::parse(uri).map_err(|_| Reject::RequestUri),
            None => self.message.uri().map_err(Reject::Malformed),
        }
    }

    /// The Request-URI to use if it is not the one in the start line (RFC 3261 16.4).
    fn effective_uri(&self) -> Option<&[u8]> {
        self.rare.as_ref()?.effective_uri.as_deref()
    }

    /// Sets the Request-URI to use in place of the one in the start line.
    pub(crate) fn set_effective_uri(&mut self, uri: Box<[u8]>) {
        self.rare.get_or_insert_default().effective_uri = Some(uri);
    }

    /// The calls of other nodes that it replaces, once these have been asked.
    pub(crate) fn replaced(&self) -> Option<&FoundCalls> {
        self.rare.as_ref()?.replaced.as_ref()
    }

    /// The other nodes have been asked for the calls that it replaces.
    pub(crate) fn set_replaced(&mut self, found: FoundCalls) {
        self.rare.get_or_insert_default().replaced = Some(found);
    }

    /// Whether Supported lists this option tag (RFC 3261 20.37).
    pub(crate) fn supports(&self, tag: &str) -> bool {
        self.message.has_token(HeaderName::Supported, tag)
    }

    /// The URI in From.
    pub(crate) fn uri_of_from(&self) -> Option<SipUri<'_>> {
        let uri = match self.text_of_from() {
            b"" => self.message.header::<headers::From<'_>>().ok()??.address.uri,
            text => Uri::parse(text).ok()?,
        };
        uri.sip().copied()
    }

    /// The URI in To.
    pub(crate) fn uri_of_to(&self) -> Result<Uri<'_>, Reject> {
        match Uri::parse(self.text_of_to()) {
            Ok(uri) => Ok(uri),
            Err(_) => Ok(self.message.required::<headers::To<'_>>().map_err(Reject::Malformed)?.address.uri),
        }
    }

    /// The local domain of the user in From ([`Settings::domain_named_by`]).
    pub(crate) fn domain_of_from<'s>(&self, settings: &'s Settings) -> Option<&'s str> {
        match settings.plain_user(self.text_of_from()) {
            Some(_) => settings.domains.first().map(|domain| &**domain),
            None => settings.domain_named_by(&self.uri_of_from()?),
        }
    }

    /// The URI in From, as text.
    pub(crate) fn text_of_from(&self) -> &[u8] {
        self.text_at(self.from)
    }

    /// The URI in To, as text.
    pub(crate) fn text_of_to(&self) -> &[u8] {
        self.text_at(self.to)
    }

    /// The host name in its top Via; `None` if that has an address.
    pub(crate) fn sent_by_name(&self) -> Option<&str> {
        self.message.values(HeaderName::Via).next().and_then(SentBy::of)?.name()
    }

    /// The From tag and the To tag; empty if there is none.
    pub(crate) fn tags(&self) -> [&[u8]; 2] {
        self.tags.map(|tag| self.text_at(tag))
    }

    /// The Call-ID; empty if the request is malformed.
    pub(crate) fn call_id(&self) -> &[u8] {
        self.text_at(self.call_id)
    }

    fn text_at(&self, Span { start, end }: Span) -> &[u8] {
        self.message.bytes().get(start as usize..end as usize).unwrap_or_default()
    }

    /// Whether it creates a dialog, so that this server adds a Record-Route (RFC 3261 16.6 step 4).
    pub(crate) fn forms_dialog(&self) -> bool {
        matches!(self.method(), Method::Invite | Method::Subscribe | Method::Refer) && !self.in_dialog
    }

    /// Whether it is a NOTIFY that follows a Record-Route of this server. It creates the dialog at the subscriber
    /// (RFC 6665 4.3, 4.4.1), so it needs a Record-Route too.
    pub(crate) fn is_notify_in_dialog(&self) -> bool {
        self.method() == Method::Notify && self.in_dialog && self.own_routes > 0
    }

    /// The highest number of parallel branches for it (RFC 5393 5.3.3).
    pub(crate) fn max_breadth(&self) -> u32 {
        match self.message.header::<headers::MaxBreadth>() {
            Ok(Some(headers::MaxBreadth(breadth))) => breadth.min(MAX_BREADTH),
            _ => MAX_BREADTH,
        }
    }

    /// The first Route value behind ours.
    pub(crate) fn next_route(&self) -> Option<&[u8]> {
        if self.has_only_own_routes { None } else { self.routes().next() }
    }

    /// The Route values behind ours.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &[u8]> {
        let all = || self.message.values(HeaderName::Route);
        let count = if self.last_route_is_uri { all().count().saturating_sub(1) } else { usize::MAX };
        all().take(count).skip(self.own_routes.into())
    }
}

/// The address that responses go to (RFC 3261 18.2.2, RFC 3581 4), if not over the connection of the request: the source,
/// with its port or that of the Via.
fn response_address(via: &Via<'_>, flow: &Flow, at_source: bool) -> SocketAddr {
    let mut back = flow.remote;
    // A NAT that translated the address translated the port too, so the port of the Via is used only with its address.
    // An address that is not the source's was translated on the way, and so was the port beside it.
    if flow.transport.is_reliable() || !at_source {
        back.set_port(via.port.unwrap_or_else(|| flow.transport.default_port()));
    }
    back
}

/// `received` and `rport` for the top Via (RFC 3261 18.2.1, RFC 3581 4).
fn stamp(via: &Via<'_>, source: SocketAddr, symmetric: bool) -> Stamp {
    let same = via.host.ip() == Some(source.ip());
    // A `received` of the client must be overwritten: otherwise the response would carry an address that nobody
    // checked.
    let is_needed = !same || symmetric || via.has_received();
    let rport = symmetric.then_some(source.port());
    Stamp { received: is_needed.then_some(source.ip()), rport, rport_at: via.rport_at() }
}

/// A checksum of a text (FNV-1a), the same at every worker and after a restart. It proves nothing, since it has no key.
pub(crate) fn checksum(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &octet| (sum ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3))
}

/// The tag in the From or To of a valid message.
pub(crate) fn tag_of(message: &Message, name: HeaderName) -> Option<&[u8]> {
    let value = message.value(name)?;
    plain_tag(value).or_else(|| NameAddr::params_of(value).value("tag"))
}
