//! A target of a request: what becomes its Request-URI, and the way there (RFC 3261 16.5, 16.6 steps 2, 6 and 7).
//!
//! Values only: which targets there are is decided by `route`.

use std::net::SocketAddr;

use location::{Binding, Record};
use parser::headers::Route;
use parser::{Header as _, SipUri, Uri};

use crate::hop::{Hop, Name};
use crate::request::Request;

/// One address to try.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// What becomes the Request-URI.
    pub(crate) uri: TargetUri,
    /// How it is reached.
    pub(crate) way: Way,
    /// Whether that is the phone's own flow: its Contact may not lead to it.
    pub(crate) over_flow: bool,
}

/// The Request-URI of a target.
#[derive(Clone, Debug)]
pub(crate) enum TargetUri {
    /// The Contact of a binding.
    Binding(Record, usize),
    /// The same for a request that brings its own Route: the Path of the binding is not used (RFC 5627 6.1).
    BindingAlone(Record, usize),
    /// The one that the request has.
    Request,
    /// One that a redirection named.
    Redirect(Box<[u8]>),
}

/// How a target is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Known.
    Hop(Hop),
    /// Through DNS.
    Name(Name),
}

impl TargetUri {
    /// The binding that it comes from.
    pub(crate) fn binding(&self) -> Option<Binding<'_>> {
        match self {
            Self::Binding(record, index) | Self::BindingAlone(record, index) => record.bindings().get(*index),
            Self::Request | Self::Redirect(_) => None,
        }
    }

    /// The address of record whose binding it is; empty for the bindings that the configuration makes, and for all else.
    pub(crate) fn aor(&self) -> &[u8] {
        match self {
            Self::Binding(record, _) | Self::BindingAlone(record, _) => record.aor(),
            Self::Request | Self::Redirect(_) => b"",
        }
    }

    /// As it stands there.
    pub(crate) fn bytes<'a>(&'a self, request: &'a Request) -> &'a [u8] {
        self.with_path(request).0
    }

    /// The same, and the stored Path, which goes before any other Route (RFC 3327 5.4); empty if there is none. Both at
    /// once: a binding is found by reading those before it.
    pub(crate) fn with_path<'a>(&'a self, request: &'a Request) -> (&'a [u8], &'a [u8]) {
        match self {
            Self::Binding(..) => self.binding().map(|binding| (binding.contact(), binding.path())).unwrap_or_default(),
            Self::BindingAlone(..) => (self.binding().map(|binding| binding.contact()).unwrap_or_default(), b""),
            Self::Request => (request.uri(), b""),
            Self::Redirect(uri) => (uri, b""),
        }
    }

    /// Whether a redirection named it.
    pub(crate) const fn is_redirect(&self) -> bool {
        matches!(self, Self::Redirect(_))
    }

    /// The phone that it is one contact of: `+sip.instance` (RFC 5626 4.1).
    pub(crate) fn instance(&self) -> Option<&[u8]> {
        self.binding().and_then(|binding| binding.instance())
    }
}

impl Way {
    /// Whether it may be used for `sips:` (RFC 3261 26.2.2).
    pub(crate) fn is_secure(&self) -> bool {
        match self {
            Self::Hop(hop) => hop.transport.is_secure(),
            Self::Name(name) => name.transport.is_secure(),
        }
    }
}

impl Target {
    /// The address at the other end of a hop to it. That of the hop is where to connect to once the phone's own connection
    /// is closed.
    pub(crate) fn remote(&self, hop: &Hop) -> SocketAddr {
        let flow = self.uri.binding().map(|binding| binding.flow());
        let flow = flow.filter(|flow| hop.connection().is_some() && flow.id.connection() == hop.connection());
        flow.map_or(hop.remote, |flow| flow.remote)
    }

    /// The URI that the request is sent with.
    pub(crate) fn uri<'a>(&'a self, request: &'a Request) -> &'a [u8] {
        self.uri.bytes(request)
    }
}

/// Whether a URI is a `sips:` one.
pub(crate) fn is_sips(uri: &[u8]) -> bool {
    uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:"))
}

/// The URI in a Route or Path value.
pub(crate) fn route_uri(value: &[u8]) -> Option<SipUri<'_>> {
    match Route::parse(value).ok()?.address.uri {
        Uri::Sip(uri) => Some(uri),
        Uri::Other { .. } => None,
    }
}
