//! Sends a message over its hop, or to the node that holds its flow.
//!
//! The text of a message does not depend on the node but for its Via (`forward`). The Route value is added here, each time
//! that the message is sent: so a retransmission has a token that is valid now.

use location::Node;
use parser::Transport;

use super::token::{Addressee, NodeToken, sign};
use crate::clock::Wall;
use crate::hop::{Hop, Over};
use crate::mac::Mac;
use crate::outbox::Outbox;
use crate::peer::Peer;
use crate::settings::Settings;

/// What is needed to sign a message for another node.
#[derive(Clone, Copy)]
pub(crate) struct Link<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) mac: &'a Mac,
    pub(crate) now: Wall,
}

impl Outbox {
    /// Appends what `write` writes as one request to `hop`, or to the node that holds its flow.
    #[inline]
    pub(crate) fn send_over(
        &mut self,
        hop: &Hop,
        report_failure: bool,
        link: Link<'_>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        if matches!(hop.over, Over::Elsewhere(_)) {
            self.send_to_node(hop, report_failure, link, write);
        } else {
            self.send(hop, report_failure, write);
        }
    }

    #[cold]
    fn send_to_node(&mut self, hop: &Hop, report_failure: bool, link: Link<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        // The driver returns a message for a node that is gone, as one for a closed connection.
        let Some(leaves) = hop.over_node(link.settings) else {
            self.send(hop, report_failure, write);
            return;
        };
        let to = Addressee::Phone(Peer::of_dialog(hop, true, link.settings));
        self.send_signed(&leaves, report_failure, (to, link), write);
    }

    /// Tells a node something. It is never answered: what is lost is told again.
    pub(crate) fn publish_to_node(&mut self, to: Node, link: Link<'_>, content: &[u8]) {
        let Link { settings, now, .. } = link;
        let Some(from) = settings.nodes.own() else { return };
        let Some(hop) = Hop::to_node(to, settings) else { return };
        let (transport, local, remote) = (hop.transport, hop.local, hop.remote);
        self.send_signed(&hop, false, (Addressee::Node { from, to }, link), |out| {
            let head = format!(
                "PUBLISH sip:{remote} SIP/2.0\r\nVia: SIP/2.0/{} {local};branch=z9hG4bK-node\r\nMax-Forwards: 0\r\n\
                 From: <sip:{local}>;tag=node\r\nTo: <sip:{remote}>\r\nCall-ID: {}@{}\r\nCSeq: 1 PUBLISH\r\n\
                 Content-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
                transport.as_str(),
                now.millis(),
                local.ip(),
                content.len(),
            );
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(content);
        });
    }

    fn send_signed(
        &mut self,
        leaves: &Hop,
        report_failure: bool,
        (to, link): (Addressee, Link<'_>),
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let token = NodeToken { to, time: link.now };
        self.send(leaves, report_failure, |out| {
            let start = out.len();
            write(out);
            let Some(line) = out.get(start..).and_then(|text| memchr::memchr(b'\n', text)) else { return };
            let mut route = b"Route: <sip:".to_vec();
            token.write_unsigned(&mut route);
            let user = route.len();
            write_rest(&mut route, leaves);
            let at = start + line + 1;
            out.splice(at..at, route);
            sign(out, start, at + user, link.mac);
        });
    }
}

/// The rest of the Route line: the address of the node.
fn write_rest(route: &mut Vec<u8>, node: &Hop) {
    let transport = if node.transport == Transport::Tls { Transport::Tls } else { Transport::Tcp };
    route.extend_from_slice(format!("@{};transport={};lr>\r\n", node.remote, transport.param()).as_bytes());
}
