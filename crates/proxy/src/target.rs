//! A target of a request: its Request-URI and its next hop (RFC 3261 16.5, 16.6 steps 2, 6 and 7).
//!
//! Only values. `route` decides which targets a request has.

use std::net::SocketAddr;
use std::sync::Arc;

use location::{Binding, Record};
use parser::headers::Route;
use parser::{Header as _, SipUri, Span, Uri, escape_user, write_target};

use crate::calls::Reached;
use crate::event::CalledPhone;
use crate::hop::{Hop, Name};
use crate::renumbering::Renumbering;
use crate::request::Request;
use crate::settings::Trunk;

/// One URI of the target set (RFC 3261 16.5).
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The new Request-URI.
    pub(crate) uri: TargetUri,
    /// The next hop.
    pub(crate) next_hop: NextHop,
    /// Whether the next hop is the flow that the phone registered over, and not the address in its Contact.
    pub(crate) over_flow: bool,
}

/// The Request-URI of a target.
#[derive(Clone, Debug)]
pub(crate) enum TargetUri {
    /// The Contact of a binding.
    Binding(BoundContact),
    /// The Contact of a binding whose Path is not used: the request has a Route of its own (RFC 5627 6.1).
    BindingAlone(BoundContact),
    /// The Request-URI that the request has already.
    Request,
    /// The same, for a request within the dialog of a trunk whose challenge is answered.
    RequestAgain(Arc<Answered>),
    /// A Contact of a redirection.
    Redirect(Box<[u8]>),
    /// A number, by a trunk.
    Trunk(Arc<ToTrunk>),
}

/// The Contact of a binding, and where it is in the record: to decode the binding takes longer than to write the Contact.
#[derive(Clone, Debug)]
pub(crate) struct BoundContact {
    record: Record,
    index: u32,
    contact: Span,
    has_path: bool,
}

impl BoundContact {
    /// Of the binding with this index.
    pub(crate) fn new(record: &Record, index: usize, binding: &Binding<'_>) -> Self {
        let (contact, has_path) = (record.position_of(binding.contact()), !binding.path().is_empty());
        Self { record: record.clone(), index: u32::try_from(index).unwrap_or(u32::MAX), contact, has_path }
    }

    pub(crate) fn binding(&self) -> Option<Binding<'_>> {
        self.record.bindings().get(self.index())
    }

    pub(crate) const fn index(&self) -> usize {
        self.index as usize
    }

    fn path(&self) -> &[u8] {
        let binding = if self.has_path { self.binding() } else { None };
        binding.map(|binding| binding.path()).unwrap_or_default()
    }
}

/// A number that a trunk is asked to call, and how the caller is shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ToTrunk {
    pub(crate) trunk: Arc<Trunk>,
    /// The Request-URI.
    pub(crate) uri: Box<str>,
    /// The number of the caller.
    pub(crate) caller_id: Option<Box<str>>,
    pub(crate) is_emergency: bool,
    pub(crate) answered: Answered,
}

/// The challenges of a trunk that were answered for a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answered {
    /// How many there were.
    pub(crate) count: u8,
    /// The header line that answers the last one; empty if there was none.
    pub(crate) credentials: Box<[u8]>,
}

impl Answered {
    /// With these credentials for one more challenge.
    pub(crate) fn and(&self, credentials: Vec<u8>) -> Self {
        Self { count: self.count.saturating_add(1), credentials: credentials.into() }
    }
}

impl ToTrunk {
    /// `caller_id`: the number of the caller, if it is not that of the trunk.
    pub(crate) fn new(trunk: Arc<Trunk>, number: &str, caller_id: Option<&str>, is_emergency: bool) -> Self {
        let (scheme, server) = trunk.server.split_once(':').unwrap_or(("sip", &trunk.server));
        // RFC 3261 19.1.1: the user part is a telephone number.
        let uri = format!("{scheme}:{}@{server};user=phone", user_part(number)).into();
        let caller_id = caller_id.or(trunk.caller_id.as_deref()).map(Into::into);
        Self { trunk, uri, caller_id, is_emergency, answered: Answered::default() }
    }

    /// The same call with credentials for one more challenge.
    fn with_credentials(&self, credentials: Vec<u8>) -> Self {
        Self {
            trunk: Arc::clone(&self.trunk),
            uri: self.uri.clone(),
            caller_id: self.caller_id.clone(),
            is_emergency: self.is_emergency,
            answered: self.answered.and(credentials),
        }
    }

    /// The host of the server, without port.
    pub(crate) fn host(trunk: &Trunk) -> Vec<u8> {
        let mut host = Vec::new();
        if let Ok(Uri::Sip(uri)) = Uri::parse(trunk.server.as_bytes()) {
            uri.host.write(&mut host);
        }
        host
    }
}

/// A number as the user part of a URI.
fn user_part(number: &str) -> String {
    let mut user = Vec::new();
    escape_user(number.as_bytes(), &mut user);
    String::from_utf8_lossy(&user).into_owned()
}

/// The next hop of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NextHop {
    /// An address or a flow.
    Hop(Hop),
    /// A host name that has to be resolved.
    Name(Name),
}

impl TargetUri {
    /// The binding whose Contact it is.
    pub(crate) fn binding(&self) -> Option<Binding<'_>> {
        match self {
            Self::Binding(contact) | Self::BindingAlone(contact) => contact.binding(),
            Self::Request | Self::RequestAgain(_) | Self::Redirect(_) | Self::Trunk(_) => None,
        }
    }

    /// The binding of the registered phone that is the next hop: `None` if a Path or a Route leads to another host first,
    /// or if the binding is configured.
    pub(crate) fn registered_phone(&self) -> Option<Binding<'_>> {
        match self {
            Self::Binding(contact) if !contact.has_path && !contact.record.aor().is_empty() => contact.binding(),
            _ => None,
        }
    }

    /// The phone of that binding, for the log.
    pub(crate) fn phone(&self) -> Option<CalledPhone> {
        match self {
            Self::Binding(contact) | Self::BindingAlone(contact) => {
                Some(CalledPhone::new(contact.record.clone(), contact.index()))
            }
            Self::Request | Self::RequestAgain(_) | Self::Redirect(_) | Self::Trunk(_) => None,
        }
    }

    /// Who is reached by it, for the record of the call.
    pub(crate) fn reached(&self) -> Reached {
        match self {
            Self::Trunk(to) => Reached::Trunk(to.trunk.name.clone()),
            _ => self.phone().map_or(Reached::Nobody, Reached::Phone),
        }
    }

    /// The address of record of that binding; empty for a configured binding, or if there is no binding.
    pub(crate) fn aor(&self) -> &[u8] {
        match self {
            Self::Binding(contact) | Self::BindingAlone(contact) => contact.record.aor(),
            Self::Request | Self::RequestAgain(_) | Self::Redirect(_) | Self::Trunk(_) => b"",
        }
    }

    /// The URI as text.
    pub(crate) fn bytes<'a>(&'a self, request: &'a Request) -> &'a [u8] {
        self.with_path(request).0
    }

    /// The URI as text, and the stored Path (RFC 3327 5.4), which may be empty.
    pub(crate) fn with_path<'a>(&'a self, request: &'a Request) -> (&'a [u8], &'a [u8]) {
        match self {
            Self::Binding(bound) => (bound.record.part(bound.contact), bound.path()),
            Self::BindingAlone(bound) => (bound.record.part(bound.contact), b""),
            Self::Request | Self::RequestAgain(_) => (request.uri(), b""),
            Self::Redirect(uri) => (uri, b""),
            Self::Trunk(to) => (to.uri.as_bytes(), b""),
        }
    }

    /// Whether it is a Contact of a redirection.
    pub(crate) const fn is_redirect(&self) -> bool {
        matches!(self, Self::Redirect(_))
    }

    /// How the numbers of a request are changed that goes there.
    pub(crate) fn renumbering(&self, request: &Request) -> Option<Renumbering> {
        match self {
            Self::Trunk(to) if to.trunk.login.is_some() => {
                Renumbering::of_invite(request.sequence, to.answered.count, to.trunk.id())
            }
            Self::Trunk(_) => None,
            Self::RequestAgain(answered) => request.renumbering.as_deref().map(|it| it.answering(answered.count)),
            _ => request.renumbering.as_deref().copied(),
        }
    }

    /// The trunk that it leads to.
    pub(crate) fn trunk(&self) -> Option<&Arc<ToTrunk>> {
        if let Self::Trunk(to) = self { Some(to) } else { None }
    }

    /// The challenges that were answered for the request.
    pub(crate) fn answered(&self) -> Option<&Answered> {
        match self {
            Self::Trunk(to) => Some(&to.answered),
            Self::RequestAgain(answered) => Some(answered),
            _ => None,
        }
    }

    /// The same URI, for the request with credentials for one more challenge.
    pub(crate) fn with_credentials(&self, credentials: Vec<u8>) -> Self {
        match self {
            Self::Trunk(to) => Self::Trunk(Arc::new(to.with_credentials(credentials))),
            _ => {
                let none = Answered::default();
                Self::RequestAgain(Arc::new(self.answered().unwrap_or(&none).and(credentials)))
            }
        }
    }

    /// The instance of its phone: `+sip.instance` (RFC 5626 4.1).
    pub(crate) fn instance(&self) -> Option<&[u8]> {
        self.binding().and_then(|binding| binding.instance())
    }
}

impl NextHop {
    /// Whether it may carry a request to a `sips:` URI (RFC 3261 26.2.2).
    pub(crate) fn is_secure(&self) -> bool {
        match self {
            Self::Hop(hop) => hop.transport.is_secure(),
            Self::Name(name) => name.is_secure(),
        }
    }
}

/// Where a request is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentTo<'a> {
    /// Its Request-URI.
    pub(crate) uri: &'a TargetUri,
    pub(crate) hop: &'a Hop,
    /// Whether the hop is the flow that the phone registered over, and not the address in its Contact.
    pub(crate) over_flow: bool,
}

impl SentTo<'_> {
    /// The address of the peer if the request is sent now. After a connection was closed, the hop has the address to
    /// connect to instead.
    pub(crate) fn remote(self) -> SocketAddr {
        // Only a hop over a connection needs the binding, which has to be decoded.
        let flow = self.hop.connection().and_then(|id| {
            let flow = self.uri.binding()?.flow();
            (flow.id.connection() == Some(id)).then_some(flow)
        });
        flow.map_or(self.hop.remote, |flow| flow.remote)
    }
}

impl Target {
    /// A request to this target that is sent over this hop.
    pub(crate) const fn sent_over<'a>(&'a self, hop: &'a Hop) -> SentTo<'a> {
        SentTo { uri: &self.uri, hop, over_flow: self.over_flow }
    }

    /// The Request-URI that the request is sent with.
    pub(crate) fn uri<'a>(&'a self, request: &'a Request) -> &'a [u8] {
        self.uri.bytes(request)
    }
}

const SIPS: &[u8] = b"sips:";

/// Whether a URI is a `sips:` one.
pub(crate) fn is_sips(uri: &[u8]) -> bool {
    uri.get(..SIPS.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SIPS))
}

/// Appends the Request-URI of a request to this target. RFC 5630 5.3: a request to a `sip:` URI does not become one to a
/// `sips:` URI, so a `sips:` Contact gets the scheme `sip:`. The request is sent over TLS all the same.
pub(crate) fn write_request_uri(out: &mut Vec<u8>, request: &Request, target: &[u8]) {
    match target.get(SIPS.len()..).filter(|_| is_sips(target) && !is_sips(request.uri())) {
        Some(rest) => write_target(out, &[b"sip:", rest].concat()),
        None => write_target(out, target),
    }
}

/// The URI in a Route or Path value.
pub(crate) fn route_uri(value: &[u8]) -> Option<SipUri<'_>> {
    match Route::parse(value).ok()?.address.uri {
        Uri::Sip(uri) => Some(uri),
        Uri::Other { .. } => None,
    }
}
