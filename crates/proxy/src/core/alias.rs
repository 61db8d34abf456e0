//! Connections that their peers offer for requests to them (RFC 5923): `alias` in the top Via of a request over TLS.
//!
//! Decides only that the peer asks for it. The driver uses the connection for hosts that the peer has proved to be with
//! its certificate, and for no others.

use location::Flow;
use parser::headers::Via;
use parser::{Message, Transport};

use crate::outbox::{Alias, Outbox};

/// Passes on that the peer offers its connection (RFC 5923 8.2). The address is the source of the request, and the port
/// that of its Via.
pub(super) fn note_alias(message: &Message, flow: &Flow, outbox: &mut Outbox) {
    let Some(connection) = flow.id.connection().filter(|_| flow.transport == Transport::Tls) else { return };
    let Ok(Some(via)) = message.header::<Via<'_>>() else { return };
    if via.params.has("alias") {
        let port = via.port.unwrap_or_else(|| Transport::Tls.default_port());
        outbox.aliases.push(Alias { connection, port });
    }
}
