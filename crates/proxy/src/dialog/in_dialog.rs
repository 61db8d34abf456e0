//! Whether a request of a dialog comes from one of its sides and goes to the other.
//!
//! Three questions, each answered from the token, the request and what has moved since: is the source the sender's peer,
//! does the next hop lead to the other side, and is the From one that the sender may use? What a registration can add is
//! asked by `core`, with [`InDialog::is_flow_of`] and [`InDialog::is_contact_of`].

use location::{Aor, Flow, Record};
use parser::headers::{From, To};
use parser::{HeaderName, SipUri, Uri};

use super::moved::{Moved, MovedSides, SideOfDialog};
use super::record_route::first_domain;
use super::token::{DialogId, DialogToken, Side, identity, literal, next_hop};
use crate::clock::Wall;
use crate::mac::Mac;
use crate::peer::Peer;
use crate::request::{FlowAhead, Request};
use crate::settings::Settings;

/// What the token in a request says of the two ends of its dialog.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InDialog {
    sender: Side,
    other: Side,
    /// The next hop that the other side named, as a hash.
    target: Option<u32>,
    from_caller: bool,
}

impl InDialog {
    /// Reads a token, the user part of a Record-Route value of ours. `None` if it was not made here for this dialog.
    pub(crate) fn read(token: &[u8], request: &Request, settings: &Settings, mac: &Mac) -> Option<Self> {
        let message = &request.message;
        let call_id = message.value(HeaderName::CallId)?;
        let from = message.header::<From<'_>>().ok()??;
        let to = message.header::<To<'_>>().ok()??;
        let tags = (from.tag().unwrap_or_default(), to.tag()?);
        let (token, from_caller) = DialogToken::read_in_request(token, call_id, tags, first_domain(settings), mac)?;
        let DialogToken { caller, callee, target } = token;
        // Each side is given the target of the other one.
        let target = target.filter(|target| target.of_callee == from_caller).map(|target| target.next_hop);
        let (sender, other) = if from_caller { (caller, callee) } else { (callee, caller) };
        Some(Self { sender, other, target, from_caller })
    }

    /// The dialog of a request that came by twice when its dialog was made (a spiral): from the sender of this token to the
    /// other side of the next one. `None` if the two are not of one call. Anybody can make a dialog with the Call-ID and
    /// the tag of a call that he has seen; that its caller is the same user, nobody else can.
    pub(crate) fn then(self, next: Self) -> Option<Self> {
        let same_user = match self.from_caller {
            true => self.sender.user == next.sender.user,
            false => self.other.user == next.other.user,
        };
        let (one, two) = (self.other.peer, next.sender.peer);
        let same_peer =
            one.remote == two.remote || (one.connection != two.connection && one.remote.ip() == two.remote.ip());
        let linked = same_user && same_peer && self.from_caller == next.from_caller;
        linked.then_some(Self { sender: self.sender, ..next })
    }

    /// The user of ours on the sender's side.
    pub(crate) const fn sender(&self) -> Option<&Aor> {
        self.sender.user.as_ref()
    }

    /// The user of ours on the other side.
    pub(crate) const fn other(&self) -> Option<&Aor> {
        self.other.user.as_ref()
    }

    /// Whether a request came from the sender's peer: the same address over UDP, the same connection, or a connection that
    /// was opened to its address from here.
    pub(crate) fn is_from_sender(&self, flow: &Flow, settings: &Settings) -> bool {
        let Side { peer, user, .. } = &self.sender;
        let listener = settings.listeners.get(usize::from(peer.listener));
        if listener.is_none_or(|listener| listener.transport != flow.transport) {
            return false;
        }
        if peer.remote == flow.remote || !flow.transport.is_reliable() {
            return peer.remote == flow.remote;
        }
        // Another server opens a connection of its own for its requests, and has no credentials of ours to show.
        (flow.connection != 0 && peer.connection == flow.connection)
            || (user.is_none() && peer.remote.ip() == flow.remote.ip())
    }

    /// Whether the From is one that the sender may use without credentials: no name of ours, or its own.
    pub(crate) fn may_use_from(&self, request: &Request, settings: &Settings, mac: &Mac) -> bool {
        let Some(uri) = request.caller() else { return true };
        if settings.domain_named_by(&uri).is_none() {
            return true;
        }
        let named = settings.aor_named_by(&uri);
        self.sender.user.as_ref() == Some(&named) || self.sender.identity == Some(identity(&named, mac))
    }

    /// Whether a request leads to the other side by its next hop: over its flow, to its peer, to the target that it named.
    pub(crate) fn leads_to_other(&self, request: &Request, settings: &Settings, mac: &Mac) -> bool {
        let Some((next, by_route)) = next_of(request) else { return false };
        if self.other.only_flow && !by_route {
            return true;
        }
        let address = literal(&next);
        // The trunk's own networks: a provider moves a call from one of its hosts to another.
        let trusted =
            || address.is_some_and(|it| settings.trusts(it.ip())) && settings.trusts(self.other.peer.remote.ip());
        address == Some(self.other.peer.remote) || self.target == Some(next_hop(&next, mac)) || trusted()
    }

    /// The other side's own flow, where the request has no Route left and only that flow leads there.
    pub(crate) fn flow_ahead(&self, request: &Request, mac: &Mac) -> Option<FlowAhead> {
        let (next, by_route) = next_of(request)?;
        if by_route || !self.other.only_flow {
            return None;
        }
        // The address in the Request-URI is the sender's to choose: it is used only if the other side named it.
        let or_named = self.target == Some(next_hop(&next, mac)) || literal(&next) == Some(self.other.peer.remote);
        Some(FlowAhead { peer: self.other.peer, or_named })
    }

    /// Takes over what has moved since the dialog was made.
    pub(crate) fn catch_up(&mut self, moved: &MovedSides, request: &Request, mac: &Mac) {
        if moved.len() == 0 {
            return;
        }
        let Some(dialog) = self.key(request, mac) else { return };
        if let Some(Moved { peer, .. }) = moved.find(SideOfDialog { dialog, is_caller: self.from_caller }) {
            self.sender.peer = *peer;
        }
        if let Some(Moved { peer, only_flow, next_hop }) =
            moved.find(SideOfDialog { dialog, is_caller: !self.from_caller })
        {
            self.other.peer = *peer;
            self.other.only_flow = *only_flow;
            self.target = next_hop.or(self.target);
        }
    }

    /// Where the sender is now, if that is not what its token says: another peer, or a Contact that leads elsewhere.
    pub(crate) fn moved(&self, request: &Request, settings: &Settings, mac: &Mac) -> Option<(SideOfDialog, Moved)> {
        let peer = Peer::of_hop(&crate::hop::Hop::back(&request.flow), settings);
        let contact = request.message.header::<parser::headers::Contact<'_>>().ok().flatten();
        let target =
            contact.as_ref().and_then(|contact| contact.address()).and_then(|address| address.uri.sip().copied());
        let elsewhere = target.filter(|uri| !self.sender.only_flow && literal(uri) != Some(self.sender.peer.remote));
        if peer == self.sender.peer && elsewhere.is_none() {
            return None;
        }
        let side = SideOfDialog { dialog: self.key(request, mac)?, is_caller: self.from_caller };
        let next_hop = target.map(|uri| next_hop(&uri, mac));
        Some((side, Moved { peer, only_flow: request.is_flow_bound(), next_hop }))
    }

    /// Whether a flow is one over which a user is registered now: what a phone is reached over is its own.
    pub(crate) fn is_flow_of(record: &Record, flow: &Flow, now: Wall) -> bool {
        record.live(now).any(|binding| {
            let own = binding.flow();
            let same_place = match flow.transport.is_reliable() {
                true => own.connection == flow.connection,
                false => own.remote == flow.remote,
            };
            own.transport == flow.transport && same_place
        })
    }

    /// Whether a request goes where a user is registered now, or is configured to be.
    pub(crate) fn is_contact_of(record: &Record, request: &Request, now: Wall, mac: &Mac) -> bool {
        let Some((next, _)) = next_of(request) else { return false };
        let (address, hop) = (literal(&next), next_hop(&next, mac));
        record.live(now).any(|binding| {
            let contact = Uri::parse(binding.contact()).ok().and_then(|uri| uri.sip().copied());
            address == Some(binding.flow().remote) || contact.is_some_and(|contact| next_hop(&contact, mac) == hop)
        })
    }

    fn key(&self, request: &Request, mac: &Mac) -> Option<u64> {
        let call_id = request.message.value(HeaderName::CallId)?;
        let caller_tag = match self.from_caller {
            true => request.message.header::<From<'_>>().ok()??.tag(),
            false => request.message.header::<To<'_>>().ok()??.tag(),
        };
        Some(DialogId { call_id, caller_tag: caller_tag? }.key(mac))
    }
}

/// Where a request goes next, and whether a Route says so.
fn next_of(request: &Request) -> Option<(SipUri<'_>, bool)> {
    if let Some(route) = request.routes().next() {
        let address = <parser::headers::Route<'_> as parser::Header<'_>>::parse(route).ok()?.address;
        return Some((*address.uri.sip()?, true));
    }
    match Uri::parse(request.uri()) {
        Ok(Uri::Sip(uri)) => Some((uri, false)),
        _ => None,
    }
}
