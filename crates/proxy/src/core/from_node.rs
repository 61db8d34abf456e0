//! Requests that another node hands over, for a phone whose flow this node holds, and their responses; and what it tells this
//! node itself (`node_calls.rs`).
//!
//! The other node has got the request from its sender, and has decided that it may go to this phone. Its token proves this
//! (`nodes`), so nothing is decided again here: no authentication, no loop check, no lookup. The request goes over exactly
//! the flow in the token. It is forwarded without a transaction and without a pin (RFC 3261 16.11): the way of a
//! retransmission, of a CANCEL and of an ACK is in their own tokens, and the branch follows from that of the other node.
//!
//! Must not deliver anything without a valid token: a phone accepts from this server what it would accept from nobody else.

use std::net::SocketAddr;

use location::{Flow, FlowId};
use parser::headers::Via;
use parser::{HeaderName, Message, Method};

use super::Core;
use crate::clock::Now;
use crate::event::{Drop, Event, NodeRequest};
use crate::forward::{FOR_NODE, Origin, ViaBranch, write_for_node};
use crate::hop::Hop;
use crate::node_link::{Addressee, NodeToken, Refused, token_in};
use crate::outbox::Outbox;
use crate::peer::Peer;
use crate::reject::Reject;
use crate::request::{Request, TransactionKey};
use crate::settings::Way;
use crate::target::{SentTo, TargetUri};

use super::responses::via_below;

impl Core {
    /// Delivers a request whose first Route value is a token of a node.
    pub(super) fn deliver_for_node(&mut self, now: Now, mut request: Box<Request>, outbox: &mut Outbox) {
        let token = token_in(&request.message).unwrap_or_default();
        let verified = match NodeToken::read(token, &request.message, now.wall, &self.mac) {
            Ok(NodeToken { to: Addressee::Node { from, to }, .. }) => {
                return self.receive_from_node(now, (from, to), &request.message, outbox);
            }
            Ok(NodeToken { to: Addressee::Phone(peer), .. }) => {
                self.sender_of(&request.message).map(|flow| (peer, flow)).ok_or(Refused::Forged)
            }
            Err(refused) => Err(refused),
        };
        let (peer, flow) = match verified {
            Ok(verified) => verified,
            Err(refused) => {
                let outcome = match refused {
                    Refused::Forged => NodeRequest::Forged,
                    Refused::Late => NodeRequest::Late,
                };
                // Whether it is valid does not matter any more.
                let _ = request.read(&self.mac);
                return self.refuse_from_node(now, &request, (outcome, Reject::NodeToken), outbox);
            }
        };
        request.flow = flow;
        if let Err(reject) = request.read(&self.mac) {
            return self.refuse_from_node(now, &request, (NodeRequest::Forged, reject), outbox);
        }
        match self.own_flow(&peer) {
            Some(hop) => self.send_for_node(&request, hop, outbox),
            None => self.refuse_gone(now, &request, outbox),
        }
    }

    /// The hop over a flow of this node; `None` if it is gone, or is not of this node.
    fn own_flow(&self, peer: &Peer) -> Option<Hop> {
        let flow = peer.node_flow()?;
        let is_here =
            self.settings.nodes.way(&flow) == Way::Here && peer.may_be_open(&self.connections, &self.settings);
        let hop = peer.hop(&self.settings).filter(|_| is_here)?;
        Some(hop.only_over_connection())
    }

    fn send_for_node(&mut self, request: &Request, hop: Hop, outbox: &mut Outbox) {
        let to = SentTo { uri: &TargetUri::Request, hop: &hop, over_flow: true };
        let origin = Origin::new(request, to, Some(FOR_NODE), &self.settings, &self.mac);
        let way = (&hop, ViaBranch::ForNode(origin));
        // RFC 3261 17: an ACK is never answered.
        let reports = request.method() != Method::Ack;
        let (settings, rewrite) = (&self.settings, &mut self.rewrite);
        outbox.send(&hop, reports, |out| write_for_node(request, way, settings, rewrite, out));
        outbox.emit(Event::NodeRequest { outcome: NodeRequest::Delivered });
    }

    /// Tells the node that the flow is gone. That node reports the call; here it would be one more refused call.
    fn refuse_gone(&mut self, now: Now, request: &Request, outbox: &mut Outbox) {
        // The ACK of that response takes the way of its INVITE, too.
        if request.method() == Method::Ack {
            return;
        }
        outbox.emit(Event::NodeRequest { outcome: NodeRequest::FlowGone });
        let (status, phrase) = (Reject::FlowGone.status(), Reject::FlowGone.phrase());
        let (_, mut context) = self.split(now, outbox);
        context.reply(request, status, phrase.as_bytes(), |_| {});
    }

    /// Refuses what no node has handed over.
    fn refuse_from_node(
        &mut self,
        now: Now,
        request: &Request,
        (outcome, reject): (NodeRequest, Reject),
        outbox: &mut Outbox,
    ) {
        outbox.emit(Event::NodeRequest { outcome });
        self.refuse(now, request, reject, outbox);
    }

    /// Forwards a response of a phone to the node that handed the request over. That node removes and adds what
    /// `forward` would.
    pub(super) fn answer_node(
        &mut self,
        response: &Message,
        branch: &ViaBranch,
        source: Option<&Flow>,
        outbox: &mut Outbox,
    ) {
        let below = via_below(response);
        let address = branch.origin().map(Origin::response_address);
        let method = below.zip(address).and_then(|(below, address)| {
            self.mac.find(|mac| {
                let (key, method) = TransactionKey::of(response, &below, address, mac)?;
                let is_valid = source.is_none_or(|source| branch.verify(key, source, &self.settings, mac));
                is_valid.then_some(method)
            })
        });
        let Some(method) = method else { return outbox.emit(Event::Dropped(Drop::StrayResponse)) };
        let hop = self.settings.nodes.own_address().zip(address);
        let hop = hop.and_then(|(own, address)| Hop::to_node_at(own.transport, address, &self.settings));
        let Some(hop) = hop else { return outbox.emit(Event::Dropped(Drop::Unroutable)) };
        let status = response.status().unwrap_or_default();
        outbox.emit(Event::ResponseSent { method: method.as_str_or("other"), status, transport: hop.transport });
        let rewrite = &mut self.rewrite;
        outbox.send(&hop, false, |out| {
            rewrite.clear();
            rewrite.remove_first(response, HeaderName::Via);
            rewrite.write(response, out);
        });
    }

    /// The flow that a node sends from, as its Via names it. The token covers the Via, so the transport and the address of
    /// the packet do not matter: the response to a copy that somebody else sends goes to the node too, and the phone gets
    /// the same octets.
    fn sender_of(&self, message: &Message) -> Option<Flow> {
        let via = message.header::<Via<'_>>().ok().flatten()?;
        let (remote, transport) =
            (SocketAddr::new(via.host.ip()?, via.port?), self.settings.nodes.own_address()?.transport);
        let local = self.settings.local_for(transport, remote.ip())?;
        Some(Flow { transport, remote, local, id: FlowId::None })
    }
}
