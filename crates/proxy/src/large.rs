//! Requests that are too long for UDP: they go over TCP, and over UDP if TCP is refused (RFC 3261 18.1.1).
//!
//! Decides which requests go over TCP instead. Must not decide where a request goes: the address and the port stay the
//! same.
//!
//! The RFC makes no exception for a URI with `transport=udp`. There is one for the flow of a phone behind a NAT: only
//! datagrams reach it. CANCEL and the ACK of a failure go where their INVITE went. So that TCP can be refused, a request has
//! a response context, a NOTIFY of this server its subscription, and the ACK of a 2xx a branch that names the address for UDP.

use parser::{Method, Transport};

use crate::clock::Instant;
use crate::context::Context;
use crate::event::{Event, LargeRequest, Limit};
use crate::hop::{Endpoint, Hop, Over};
use crate::settings::Settings;
use crate::unreachable::Unreachable;

/// The longest request that is sent over UDP if TCP can be used. The path MTU is not known.
pub(crate) const MAX_OVER_UDP: usize = 1300;

/// The hop over TCP for a request that was written for `hop`, in so many octets; `None` if it stays on that hop.
/// `over_flow`: the hop is the flow of a phone, and not the address in its Contact.
pub(crate) fn hop_over_tcp(
    (hop, over_flow): (&Hop, bool),
    length: usize,
    settings: &Settings,
    udp_only: &Unreachable,
    now: Instant,
) -> Option<Hop> {
    let is_by_address = hop.transport == Transport::Udp && hop.over == Over::Address && !over_flow;
    if length <= MAX_OVER_UDP || !is_by_address || !settings.large_requests.over_tcp {
        return None;
    }
    let endpoint = Endpoint { transport: Transport::Tcp, address: hop.remote };
    if udp_only.contains(&endpoint, now) {
        return None;
    }
    instead_of(hop, settings)
}

/// The hop over TCP to the address of a hop over UDP, if there is a listener for TCP.
pub(crate) fn instead_of(hop: &Hop, settings: &Settings) -> Option<Hop> {
    // The response comes back over the connection, but a peer that lost it connects to the address in our Via.
    let local = settings.local_for(Transport::Tcp, hop.remote.ip())?;
    Some(Hop { transport: Transport::Tcp, remote: hop.remote, local, over: Over::InsteadOfUdp })
}

/// Whether a request of this method needs a pin if it is long and forwarded without a transaction: a retransmission must
/// not take the other transport when the refusal is forgotten.
pub(crate) const fn needs_pin(method: Method<'_>) -> bool {
    !matches!(method, Method::Ack | Method::Cancel)
}

/// Records that nobody accepted a request at this hop, so that the next ones do not wait for it.
pub(crate) fn record_refusal(hop: &Hop, settings: &Settings, context: &mut Context<'_>) {
    let now = context.now.mono;
    let until = now + settings.large_requests.udp_for;
    context.outbox.emit(Event::LargeRequest { outcome: LargeRequest::Refused });
    if !context.udp_only.add(hop, until, now, settings.limits.udp_only) {
        context.outbox.emit(Event::LimitReached(Limit::UdpOnly));
    }
}
