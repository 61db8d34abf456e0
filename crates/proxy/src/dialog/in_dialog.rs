//! Whether a request in a dialog comes from one side and goes to the other.
//!
//! The token and the record of moved sides (`moved.rs`) answer three questions: is the source the peer of the sender,
//! does the next hop lead to the other side, and may the sender use this From? If the answer is no, `core` loads
//! registrations and asks again with [`InDialog::is_flow_of`] and [`InDialog::is_contact_of`].

use std::net::SocketAddr;

use location::{Aor, Flow, Record};
use parser::headers::{Contact, Route};
use parser::{Header as _, SipUri, Uri, unescape};
use smallvec::SmallVec;

use super::mark::{is_valid_mark, split_mark};
use super::moved::{Moved, MovedSides, SideOfDialog};
use super::next_hop::{literal_address, next_hop_hash};
use super::record_route::{first_domain, identity_hash, is_allowed_target};
use super::token::{DialogId, DialogToken, MAX_TOKEN, Side, UnverifiedToken};
use super::user::User;
use crate::clock::Wall;
use crate::connections::Connections;
use crate::hop::Hop;
use crate::mac::{Mac, Purpose};
use crate::nat;
use crate::peer::{LocalPeer, Peer};
use crate::reach;
use crate::reject::Reject;
use crate::renumbering::Renumbering;
use crate::request::{FlowToPeer, Request};
use crate::settings::{Authentication, Named, Settings};

/// What the token in a request says about the two sides of its dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InDialog {
    sender: Side,
    other: Side,
    /// The next hop to the other side, as a hash.
    target: Option<u32>,
    from_caller: bool,
    /// The source addresses of the request that created the dialog, one for each time that it passed this server.
    sources: SmallVec<[SocketAddr; 1]>,
    /// Identifies the dialog by the values of its token; `None` until it is needed.
    key: Option<u64>,
    /// When the other side was last seen; zero if its peer is still the one in the token.
    other_seen: Wall,
    /// With the key that the token was signed with, as the hashes in it.
    mac: Mac,
}

/// A side of a dialog that is the phone of a local user and is reached over its flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowOfDialog<'a> {
    /// The peer that the dialog knows.
    pub(crate) peer: Peer,
    /// A hash of the instance, or of instance and reg-id.
    pub(crate) phone: Option<u32>,
    /// When it was last seen on that flow; zero if not since the dialog was created.
    pub(crate) seen: Wall,
    /// The Contact of the phone in the dialog.
    pub(crate) contact: SipUri<'a>,
    /// With the key that `phone` was made with.
    pub(crate) mac: Mac,
}

/// The URI that determines the next hop of a request.
#[derive(Clone, Copy)]
pub(crate) struct Next<'a> {
    pub(crate) uri: SipUri<'a>,
    /// Whether it is the URI of a Route value, and not the Request-URI.
    pub(crate) by_route: bool,
}

impl<'a> Next<'a> {
    /// For a request with this Request-URI. Route values of this server are skipped.
    pub(crate) fn of(request: &'a Request, uri: &Uri<'a>) -> Result<Self, Reject> {
        if let Some(route) = request.next_route() {
            let address = Route::parse(route).map_err(|_| Reject::Unroutable)?.address;
            return Ok(Self { uri: *address.uri.sip().ok_or(Reject::Unroutable)?, by_route: true });
        }
        Ok(Self { uri: *uri.sip().ok_or(Reject::Scheme)?, by_route: false })
    }
}

impl InDialog {
    /// Reads the token in the user part of a Route value of this server, which may be escaped. `None` if it is not a valid
    /// token of this dialog.
    pub(crate) fn read_escaped(user: &[u8], request: &Request, mac: &Mac) -> Option<Self> {
        // RFC 3261 19.1.4: an escape is equal to its character. Twinkle writes each Z in a Route as %5a.
        Self::read(&unescape(user), request, mac)
    }

    /// The same of a user part without escapes.
    pub(crate) fn read(user: &[u8], request: &Request, mac: &Mac) -> Option<Self> {
        let (text, mark) = split_mark(user);
        let mut octets = [0; MAX_TOKEN];
        let unverified = UnverifiedToken::decode(text, &mut octets)?;
        let call_id = request.call_id();
        let [from_tag, to_tag] = request.tags();
        let signed_with = |caller_tag| {
            let may_be = unverified.may_be_of_caller(caller_tag);
            if may_be { unverified.signed_with(DialogId { call_id, caller_tag }, mac) } else { None }
        };
        let (own_mac, from_caller) = match signed_with(from_tag) {
            Some(own_mac) => (own_mac, true),
            None => (signed_with(to_tag)?, false),
        };
        let DialogToken { caller, callee, target } = unverified.content()?;
        // The mark is missing or wrong: the token is of another dialog of the caller, or of an attacker that copied
        // Call-ID and From tag into a call of its own. The key may have changed before the response got its mark.
        if from_caller && !is_valid_mark(mark, text, (to_tag, callee.peer.remote), mac) {
            return None;
        }
        // The token that a side gets contains the target of the other side.
        let target = target.filter(|target| target.of_callee == from_caller).map(|target| target.next_hop);
        let sources = SmallVec::from_buf([caller.peer.remote]);
        let (sender, other) = if from_caller { (caller, callee) } else { (callee, caller) };
        let other_seen = Wall::default();
        Some(Self { sender, other, target, from_caller, sources, key: None, other_seen, mac: own_mac })
    }

    /// Joins the dialogs of two tokens in one request, if the request that created the dialog passed this server twice
    /// (a spiral): from the sender in this token to the other side in `next`.
    ///
    /// `None` if they are not of one call. An attacker can create a dialog with the Call-ID and tag of a call that it
    /// has seen, but the caller in its token is then another user.
    pub(crate) fn join(&self, mut next: Self) -> Option<Self> {
        let same_user = match self.from_caller {
            true => self.sender.user == next.sender.user,
            false => self.other.user == next.other.user,
        };
        let (one, two) = (self.other.peer, next.sender.peer);
        let same_peer =
            one.remote == two.remote || (one.connection != two.connection && one.remote.ip() == two.remote.ip());
        let linked = same_user && same_peer && self.from_caller == next.from_caller;
        // The request leaves for a trunk once, whichever token says so.
        let renumbering = next.sender.renumbering.or(self.sender.renumbering);
        next.sources.extend_from_slice(&self.sources);
        linked.then(|| Self { sender: Side { renumbering, ..self.sender.clone() }, ..next })
    }

    /// How the numbers of the sender are changed.
    pub(crate) const fn renumbering(&self) -> Option<Renumbering> {
        self.sender.renumbering
    }

    /// Whether the sender is the side that created the dialog.
    pub(crate) const fn is_from_caller(&self) -> bool {
        self.from_caller
    }

    /// The source addresses of the request that created the dialog, one for each time that it passed this server.
    pub(crate) fn sources(&self) -> &[SocketAddr] {
        &self.sources
    }

    /// The local user on the side of the sender.
    pub(crate) fn sender_user(&self, settings: &Settings) -> Option<Aor> {
        self.sender.user.as_ref().map(|user| user.aor(first_domain(settings)))
    }

    /// The local user on the other side.
    pub(crate) fn other_user(&self, settings: &Settings) -> Option<Aor> {
        self.other.user.as_ref().map(|user| user.aor(first_domain(settings)))
    }

    /// The address of the peer of the other side.
    pub(crate) const fn address_of_other(&self) -> SocketAddr {
        self.other.peer.remote
    }

    /// Whether a request came from the peer of the sender: from the same address over UDP, over the same connection, or
    /// over a connection that this server opened to that address.
    pub(crate) fn is_from_sender(&self, flow: &Flow, settings: &Settings) -> bool {
        let Side { peer, user, .. } = &self.sender;
        if peer.transport(settings) != Some(flow.transport) {
            return false;
        }
        // A NAT that is shared by several customers may use one port for a phone towards one node, and for another phone
        // towards another node.
        let is_here = peer.node.is_none() || peer.connection_here(settings).is_some();
        if (peer.remote == flow.remote && is_here) || !flow.transport.is_reliable() {
            return peer.remote == flow.remote;
        }
        // A server without an account has no credentials to show, and may open a new connection for its requests.
        let connection = peer.connection_here(settings);
        (connection.is_some() && connection == flow.id.connection())
            || (user.is_none() && peer.remote.ip() == flow.remote.ip())
    }

    /// Whether a request came over a new connection from the host of the sender, whose old connection is closed.
    pub(crate) fn is_reconnected(&self, flow: &Flow, connections: &Connections, settings: &Settings) -> bool {
        let Peer { remote, connection, .. } = self.sender.peer;
        let closed = connection.is_some() && !self.sender.peer.may_be_open(connections, settings);
        flow.transport.is_reliable() && closed && remote.ip() == flow.remote.ip()
    }

    /// Whether the sender may use this From without credentials. A local user may use its own name, the name in the
    /// request that created the dialog, and those in `may_call_as` of its account. Any other sender may use every name
    /// that is not a local user's, since RFC 4916 permits to change it.
    pub(crate) fn may_use_from(&self, request: &Request, settings: &Settings) -> bool {
        let (first, user) = (first_domain(settings), self.sender.user.as_ref());
        if user.is_some_and(|user| user.is_written_as(request.text_of_from(), first)) {
            return true;
        }
        let Some(named) = Named::of(request.text_of_from(), settings) else {
            return user.is_none() && self.sender.identity.is_none();
        };
        if self.sender.identity.is_some_and(|known| known == identity_hash(&named.address, &self.mac)) {
            return true;
        }
        match user.map(|user| user.aor(first)) {
            Some(user) if named.is_ours => user == named.address,
            Some(_) if settings.authentication == Authentication::Off => true,
            Some(user) => settings.accounts.may_call_as(&user, &named),
            None => !named.is_ours && self.sender.identity.is_none(),
        }
    }

    /// Whether the next hop of a request leads to the other side: over its flow, to its peer, or to the target in the
    /// token.
    pub(crate) fn leads_to_other(&self, next: &Next<'_>, settings: &Settings) -> bool {
        let Next { uri, by_route } = next;
        if self.other.only_flow && !by_route {
            return true;
        }
        let (address, peer) = (literal_address(uri), self.other.peer.remote);
        // A provider may move a call from one of its hosts to another, all of which are in `trusted`.
        let trusted = || address.is_some_and(|it| settings.trusts(it.ip())) && settings.trusts(peer.ip());
        address == Some(peer)
            || (self.target.is_some() && self.target == Some(next_hop_hash(uri, &self.mac)))
            || trusted()
    }

    /// The flow to the other side, if no Route value is left and only this flow leads there.
    pub(crate) fn flow_to_other(&self, next: &Next<'_>) -> Option<FlowToPeer> {
        let Next { uri, by_route } = next;
        if *by_route || !self.other.only_flow {
            return None;
        }
        // The sender chooses the Request-URI, so its address is used only if the other side named it.
        let address = literal_address(uri);
        let named = || {
            self.target == Some(next_hop_hash(uri, &self.mac))
                && address.map(|it| it.ip()) == Some(self.other.peer.remote.ip())
        };
        let may_use_uri = address == Some(self.other.peer.remote) || named();
        Some(FlowToPeer { peer: self.other.peer, may_use_uri })
    }

    /// The peer of the other side, for a request that does not lead there by its next hop: the Contact of a phone may
    /// have an address that is not reachable from here, and the Record-Route of a proxy next to it a host name. Only
    /// for a local user.
    pub(crate) fn peer_of_other(&self, next: &Next<'_>) -> Option<FlowToPeer> {
        let is_its_proxy = literal_address(&next.uri).is_none();
        let leads_there = self.other.user.is_some() && (!next.by_route || is_its_proxy);
        leads_there.then_some(FlowToPeer { peer: self.other.peer, may_use_uri: false })
    }

    /// The other side, if it is the phone of a local user that is reached over its flow only. It may have registered
    /// over another flow since.
    pub(crate) fn flow_of_other<'a>(&self, next: &Next<'a>) -> Option<FlowOfDialog<'a>> {
        let Side { peer, only_flow, user, phone, .. } = &self.other;
        let is_such = *only_flow && user.is_some() && !next.by_route;
        is_such.then_some(FlowOfDialog {
            peer: *peer,
            phone: *phone,
            seen: self.other_seen,
            contact: next.uri,
            mac: self.mac,
        })
    }

    /// Replaces the peer of the other side by the current one.
    pub(crate) fn set_peer_of_other(&mut self, hop: &Hop, request: &Request, settings: &Settings) {
        // The key is computed from the peers in the token, so it must be computed before.
        self.key = self.key(request);
        self.other.peer = Peer::of_dialog(hop, false, settings);
    }

    /// Replaces the peers by those that were recorded since the dialog was created.
    pub(crate) fn apply_moves(&mut self, moved: &MovedSides, request: &Request) {
        if moved.len() == 0 {
            return;
        }
        let Some(dialog) = self.key(request) else { return };
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

    /// The current peer and target of the sender, if they are not those that are known already.
    pub(crate) fn move_of_sender(
        &self,
        request: &Request,
        now: Wall,
        settings: &Settings,
    ) -> Option<(SideOfDialog, Moved)> {
        let back = Hop::back(&request.flow);
        let known = &self.sender.peer;
        let is_known = match &known.node {
            Some(at) => {
                at.transport == back.transport
                    && known.remote == back.remote
                    && known.connection_here(settings) == back.connection()
            }
            None => known.local() == LocalPeer::of_hop(&back, settings),
        };
        let contact = request.message.header::<Contact<'_>>().ok().flatten();
        let target =
            contact.as_ref().and_then(|contact| contact.address()).and_then(|address| address.uri.sip().copied());
        // A side that was not behind a NAT, and still sends from the same address, names another Contact on purpose.
        let may_be_behind_nat = self.sender.only_flow || !is_known;
        let only_flow = may_be_behind_nat && nat::is_flow_bound(request, target.as_ref());
        let target = target.filter(|uri| is_allowed_target(uri, &self.sender, request.flow.remote, settings));
        let elsewhere =
            target.filter(|uri| !self.sender.only_flow && literal_address(uri) != Some(self.sender.peer.remote));
        if is_known && elsewhere.is_none() {
            return None;
        }
        let peer = if is_known { *known } else { Peer::of_dialog(&back, only_flow, settings) };
        let side = SideOfDialog { dialog: self.key(request)?, is_caller: self.from_caller };
        let next_hop = target.map(|uri| next_hop_hash(&uri, &self.mac));
        Some((side, Moved { peer, only_flow, next_hop, at: now }))
    }

    /// Whether a user is registered over this flow now. Such a flow belongs to a phone of that user.
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

    /// Whether the next hop is the Contact of a binding of this user that leads to the host that registered it, or that
    /// is configured.
    pub(crate) fn is_contact_of(record: &Record, next: &Next<'_>, now: Wall, settings: &Settings, mac: &Mac) -> bool {
        let (address, hop) = (literal_address(&next.uri), next_hop_hash(&next.uri, mac));
        record.live(now).any(|binding| {
            let source = binding.flow().remote;
            let is_own = reach::is_exempt_source(source.ip(), settings)
                || address.is_some_and(|address| reach::is_own_address(address, source));
            let contact = Uri::parse(binding.contact()).ok().and_then(|uri| uri.sip().copied());
            let is_contact = contact.is_some_and(|contact| next_hop_hash(&contact, mac) == hop);
            address == Some(source) || (is_contact && is_own)
        })
    }

    /// The key of the dialog in [`MovedSides`]. It contains the peers and users in the token: otherwise an attacker
    /// could create a dialog with the Call-ID and the tag of a call that it has seen, and redirect that call.
    fn key(&self, request: &Request) -> Option<u64> {
        if self.key.is_some() {
            return self.key;
        }
        let call_id = request.call_id();
        let [from_tag, to_tag] = request.tags();
        let (caller, callee, caller_tag) = match self.from_caller {
            true => (&self.sender, &self.other, from_tag),
            false => (&self.other, &self.sender, to_tag),
        };
        let [caller_user, callee_user] =
            [caller, callee].map(|side| side.user.as_ref().map(User::as_bytes).unwrap_or_default());
        let parts = [
            call_id,
            caller_tag,
            &caller.peer.local().octets(),
            &callee.peer.local().octets(),
            caller_user,
            callee_user,
        ];
        Some(self.mac.sign(Purpose::Dialog, &parts))
    }
}
