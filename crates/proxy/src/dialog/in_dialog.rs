//! Whether a request of a dialog comes from one of its sides and goes to the other.
//!
//! Three questions, each answered from the token, the request and what has moved since: is the source the sender's peer,
//! does the next hop lead to the other side, and is the From one that the sender may use? What a registration can add is
//! asked by `core`, with [`InDialog::is_flow_of`] and [`InDialog::is_contact_of`].

use location::{Aor, Flow, Record};
use parser::headers::{Contact, Route};
use parser::{Header as _, HeaderName, SipUri, Uri, unescape};

use super::moved::{Moved, MovedSides, SideOfDialog};
use super::next_hop::{literal, next_hop};
use super::record_route::{check_phone_address, first_domain, identity};
use super::token::{DialogId, DialogToken, Sealed, Side, User, is_mark, split_mark};
use crate::clock::Wall;
use crate::connections::Connections;
use crate::hop::Hop;
use crate::mac::{Mac, Purpose};
use crate::nat;
use crate::peer::Peer;
use crate::reach;
use crate::reject::Reject;
use crate::request::{FlowToPeer, Request};
use crate::settings::{Authentication, Named, Settings};

/// What the token in a request says of the two ends of its dialog.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InDialog {
    sender: Side,
    other: Side,
    /// The next hop that the other side named, as a hash.
    target: Option<u32>,
    from_caller: bool,
    /// Names the dialog as it was made, where that is known.
    key: Option<u64>,
    /// When the other side was seen where it is now; the beginning of time if that is what the token says.
    other_seen: Wall,
}

/// A side of a dialog that is a phone of ours, and reached over its flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowOfDialog<'a> {
    /// The flow, as the dialog knows it.
    pub(crate) peer: Peer,
    /// The phone, as a hash of its instance, or one of its flows.
    pub(crate) phone: Option<u32>,
    /// When it was seen on that flow, if that was after the dialog was made.
    pub(crate) seen: Wall,
    /// Its Contact in the dialog.
    pub(crate) contact: SipUri<'a>,
}

/// Where a request goes next.
#[derive(Clone, Copy)]
pub(crate) struct Next<'a> {
    pub(crate) uri: SipUri<'a>,
    /// Whether a Route says so, and not the Request-URI.
    pub(crate) by_route: bool,
}

impl<'a> Next<'a> {
    /// Of a request with this Request-URI to route by, with what is ours taken off its Route.
    pub(crate) fn of(request: &'a Request, uri: &Uri<'a>) -> Result<Self, Reject> {
        if let Some(route) = request.next_route() {
            let address = Route::parse(route).map_err(|_| Reject::Unroutable)?.address;
            return Ok(Self { uri: *address.uri.sip().ok_or(Reject::Unroutable)?, by_route: true });
        }
        Ok(Self { uri: *uri.sip().ok_or(Reject::Scheme)?, by_route: false })
    }
}

impl InDialog {
    /// Reads a token from the user part of a Record-Route value of ours. `None` if it was not made here for this dialog.
    pub(crate) fn read(user: &[u8], request: &Request, mac: &Mac) -> Option<Self> {
        // RFC 3261 19.1.4: an escape means the character that it stands for. Twinkle writes every Z of a Route as %5a.
        let user = unescape(user);
        let (text, mark) = split_mark(&user);
        let sealed = Sealed::decode(text)?;
        let call_id = request.message.value(HeaderName::CallId)?;
        let [from_tag, to_tag] = request.tags();
        let opened = |caller_tag| {
            let hinted = sealed.seems_made_with(caller_tag);
            if hinted { sealed.open(DialogId { call_id, caller_tag }, mac) } else { None }
        };
        let (token, from_caller) = match opened(from_tag) {
            // Of another dialog of the same caller, or of somebody who made one with its identifiers.
            Some(token) if !is_mark(mark, text, (to_tag, token.callee.peer.remote), mac) => return None,
            Some(token) => (token, true),
            None => (opened(to_tag)?, false),
        };
        let DialogToken { caller, callee, target } = token;
        // Each side is given the target of the other one.
        let target = target.filter(|target| target.of_callee == from_caller).map(|target| target.next_hop);
        let (sender, other) = if from_caller { (caller, callee) } else { (callee, caller) };
        Some(Self { sender, other, target, from_caller, key: None, other_seen: Wall::default() })
    }

    /// The dialog of a request that came by twice when its dialog was made (a spiral): from the sender of this token to the
    /// other side of the next one. `None` if the two are not of one call. Anybody can make a dialog with the Call-ID and
    /// the tag of a call that it has read on the wire; but not with the same user as its caller.
    pub(crate) fn then(&self, next: Self) -> Option<Self> {
        let same_user = match self.from_caller {
            true => self.sender.user == next.sender.user,
            false => self.other.user == next.other.user,
        };
        let (one, two) = (self.other.peer, next.sender.peer);
        let same_peer =
            one.remote == two.remote || (one.connection != two.connection && one.remote.ip() == two.remote.ip());
        let linked = same_user && same_peer && self.from_caller == next.from_caller;
        linked.then(|| Self { sender: self.sender.clone(), ..next })
    }

    /// The user of ours on the sender's side.
    pub(crate) fn sender(&self, settings: &Settings) -> Option<Aor> {
        self.sender.user.as_ref().map(|user| user.aor(first_domain(settings)))
    }

    /// The user of ours on the other side.
    pub(crate) fn other(&self, settings: &Settings) -> Option<Aor> {
        self.other.user.as_ref().map(|user| user.aor(first_domain(settings)))
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
        (peer.connection.is_some() && peer.connection == flow.id.connection())
            || (user.is_none() && peer.remote.ip() == flow.remote.ip())
    }

    /// Whether a request came over a stream from the host of the sender, whose own connection is closed.
    pub(crate) fn is_reconnected(&self, flow: &Flow, connections: &Connections) -> bool {
        let Peer { remote, connection, .. } = self.sender.peer;
        let closed = connection.is_some_and(|connection| !connections.is_open(connection));
        flow.transport.is_reliable() && closed && remote.ip() == flow.remote.ip()
    }

    /// Whether the From is one that the sender may use without credentials: of a user of ours its own name, the one that the
    /// dialog was made with, or one that its account lists; of anybody else any but one of ours (RFC 4916 lets it change).
    pub(crate) fn may_use_from(&self, request: &Request, settings: &Settings, mac: &Mac) -> bool {
        let (first, user) = (first_domain(settings), self.sender.user.as_ref());
        if user.is_some_and(|user| user.is_written(request.from_text(), first)) {
            return true;
        }
        let Some(named) = Named::of(request.from_text(), settings) else {
            return user.is_none() && self.sender.identity.is_none();
        };
        if self.sender.identity.is_some_and(|known| known == identity(&named.address, mac)) {
            return true;
        }
        match user.map(|user| user.aor(first)) {
            Some(user) if named.is_ours => user == named.address,
            Some(_) if settings.authentication == Authentication::Off => true,
            Some(user) => settings.accounts.may_call_as(&user, &named),
            None => !named.is_ours && self.sender.identity.is_none(),
        }
    }

    /// Whether a request leads to the other side by its next hop: over its flow, to its peer, to the target that it named.
    pub(crate) fn leads_to_other(&self, next: &Next<'_>, settings: &Settings, mac: &Mac) -> bool {
        let Next { uri, by_route } = next;
        if self.other.only_flow && !by_route {
            return true;
        }
        let (address, peer) = (literal(uri), self.other.peer.remote);
        // The trunk's own networks: a provider moves a call from one of its hosts to another.
        let trusted = || address.is_some_and(|it| settings.trusts(it.ip())) && settings.trusts(peer.ip());
        address == Some(peer) || (self.target.is_some() && self.target == Some(next_hop(uri, mac))) || trusted()
    }

    /// The other side's own flow, where the request has no Route left and only that flow leads there.
    pub(crate) fn flow_ahead(&self, next: &Next<'_>, mac: &Mac) -> Option<FlowToPeer> {
        let Next { uri, by_route } = next;
        if *by_route || !self.other.only_flow {
            return None;
        }
        // The address in the Request-URI is the sender's to choose: it is used only if the other side named it.
        let address = literal(uri);
        let named = || {
            self.target == Some(next_hop(uri, mac)) && address.map(|it| it.ip()) == Some(self.other.peer.remote.ip())
        };
        let may_use_uri = address == Some(self.other.peer.remote) || named();
        Some(FlowToPeer { peer: self.other.peer, may_use_uri })
    }

    /// The other side's peer, for a request whose next hop leads elsewhere: a phone may name an address in its Contact at
    /// which it cannot be reached from here, and a proxy before it a name. Only for a user of ours.
    pub(crate) fn peer_of_other(&self, next: &Next<'_>) -> Option<FlowToPeer> {
        let is_its_proxy = literal(&next.uri).is_none();
        let leads_there = self.other.user.is_some() && (!next.by_route || is_its_proxy);
        leads_there.then_some(FlowToPeer { peer: self.other.peer, may_use_uri: false })
    }

    /// The other side, if only a flow leads there that its phone may have given up since: it is a user of ours, and may have
    /// registered over another one.
    pub(crate) fn flow_of_other<'a>(&self, next: &Next<'a>) -> Option<FlowOfDialog<'a>> {
        let Side { peer, only_flow, user, phone, .. } = &self.other;
        let is_such = *only_flow && user.is_some() && !next.by_route;
        is_such.then_some(FlowOfDialog { peer: *peer, phone: *phone, seen: self.other_seen, contact: next.uri })
    }

    /// The other side is reached over this flow today.
    pub(crate) fn other_is_at(&mut self, hop: &Hop, request: &Request, settings: &Settings, mac: &Mac) {
        // The dialog keeps the name that it was made with.
        self.key = self.key(request, mac);
        self.other.peer = Peer::of_hop(hop, settings);
    }

    /// Takes over what has moved since the dialog was made.
    pub(crate) fn catch_up(&mut self, moved: &MovedSides, request: &Request, mac: &Mac) {
        if moved.len() == 0 {
            return;
        }
        let Some(dialog) = self.key(request, mac) else { return };
        self.key = Some(dialog);
        if let Some(Moved { peer, .. }) = moved.find(SideOfDialog { dialog, is_caller: self.from_caller }) {
            self.sender.peer = *peer;
        }
        if let Some(Moved { peer, only_flow, next_hop, at }) =
            moved.find(SideOfDialog { dialog, is_caller: !self.from_caller })
        {
            self.other.peer = *peer;
            self.other.only_flow = *only_flow;
            self.target = next_hop.or(self.target);
            self.other_seen = *at;
        }
    }

    /// Where the sender is now, if that is not what its token says: another peer, or a Contact that leads elsewhere.
    pub(crate) fn moved(
        &self,
        request: &Request,
        now: Wall,
        settings: &Settings,
        mac: &Mac,
    ) -> Option<(SideOfDialog, Moved)> {
        let peer = Peer::of_hop(&Hop::back(&request.flow), settings);
        let contact = request.message.header::<Contact<'_>>().ok().flatten();
        let target =
            contact.as_ref().and_then(|contact| contact.address()).and_then(|address| address.uri.sip().copied());
        // A side that was not behind a NAT when the dialog was made, and sends from the same place, names another Contact on purpose.
        let may_be_behind_nat = self.sender.only_flow || peer != self.sender.peer;
        let only_flow = may_be_behind_nat && nat::is_flow_bound(request, target.as_ref());
        let target = target.filter(|uri| check_phone_address(uri, &self.sender, request.flow.remote, settings));
        let elsewhere = target.filter(|uri| !self.sender.only_flow && literal(uri) != Some(self.sender.peer.remote));
        if peer == self.sender.peer && elsewhere.is_none() {
            return None;
        }
        let side = SideOfDialog { dialog: self.key(request, mac)?, is_caller: self.from_caller };
        let next_hop = target.map(|uri| next_hop(&uri, mac));
        Some((side, Moved { peer, only_flow, next_hop, at: now }))
    }

    /// Whether a flow is one over which a user is registered now: what a phone is reached over is its own.
    pub(crate) fn is_flow_of(record: &Record, flow: &Flow, now: Wall) -> bool {
        record.live(now).any(|binding| {
            let own = binding.flow();
            let same_place = match flow.transport.is_reliable() {
                true => own.id == flow.id,
                false => own.remote == flow.remote,
            };
            own.transport == flow.transport && same_place
        })
    }

    /// Whether a request goes where a user is registered now, at a place of its own, or is configured to be.
    pub(crate) fn is_contact_of(record: &Record, next: &Next<'_>, now: Wall, settings: &Settings, mac: &Mac) -> bool {
        let (address, hop) = (literal(&next.uri), next_hop(&next.uri, mac));
        record.live(now).any(|binding| {
            let source = binding.flow().remote;
            let is_own = reach::is_exempt_source(source.ip(), settings)
                || address.is_some_and(|address| reach::is_own_address(address, source));
            let contact = Uri::parse(binding.contact()).ok().and_then(|uri| uri.sip().copied());
            let is_contact = contact.is_some_and(|contact| next_hop(&contact, mac) == hop);
            address == Some(source) || (is_contact && is_own)
        })
    }

    /// Anybody may make a dialog with the Call-ID and the tag of a call that it has seen: so the peers and the users of both
    /// sides, as they were when the dialog was made, are part of its name.
    fn key(&self, request: &Request, mac: &Mac) -> Option<u64> {
        if self.key.is_some() {
            return self.key;
        }
        let call_id = request.message.value(HeaderName::CallId)?;
        let [from_tag, to_tag] = request.tags();
        let (caller, callee, caller_tag) = match self.from_caller {
            true => (&self.sender, &self.other, from_tag),
            false => (&self.other, &self.sender, to_tag),
        };
        let [caller_user, callee_user] =
            [caller, callee].map(|side| side.user.as_ref().map(User::as_bytes).unwrap_or_default());
        let parts = [call_id, caller_tag, &caller.peer.octets(), &callee.peer.octets(), caller_user, callee_user];
        Some(mac.sign(Purpose::Dialog, &parts))
    }
}
