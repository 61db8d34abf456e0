//! Requests that are too long for UDP: they go over TCP, and over UDP if TCP is refused (RFC 3261 18.1.1).
//!
//! Decides which requests go over TCP instead. A request that can still go over UDP needs a response context, because
//! it has two next hops. Must not decide where a request goes: the address and the port stay the same.
//!
//! The RFC makes no exception for a URI with `transport=udp`. There is one for the flow of a phone behind a NAT: only
//! datagrams reach it. ACK and CANCEL go where their INVITE went; the ACK of a 2xx stays on UDP, because nothing would
//! report that TCP was refused.

use parser::{Method, Transport};

use crate::clock::Instant;
use crate::context::Context;
use crate::event::{Event, LargeRequest, Limit};
use crate::hop::{Endpoint, Hop, Over};
use crate::settings::Settings;
use crate::target::Target;
use crate::unreachable::Unreachable;

/// The longest request that is sent over UDP if TCP can be used. The path MTU is not known.
pub(crate) const MAX_OVER_UDP: usize = 1300;

/// The hop over TCP for a request to this target that was written for `hop`, in so many octets; `None` if it stays on
/// that hop.
pub(crate) fn hop_over_tcp(
    (target, hop): (&Target, &Hop),
    (method, length): (Method<'_>, usize),
    settings: &Settings,
    udp_only: &Unreachable,
    now: Instant,
) -> Option<Hop> {
    let is_by_address = hop.transport == Transport::Udp && hop.over == Over::Address && !target.over_flow;
    if length <= MAX_OVER_UDP || !is_by_address || !may_change(method) || !settings.large_requests.over_tcp {
        return None;
    }
    let endpoint = Endpoint { transport: Transport::Tcp, address: hop.remote };
    if udp_only.contains(&endpoint, now) {
        return None;
    }
    // The response comes back over the connection, but a peer that lost it connects to the address in our Via.
    let local = settings.local_for(Transport::Tcp, hop.remote.ip())?;
    Some(Hop { transport: Transport::Tcp, remote: hop.remote, local, over: Over::InsteadOfUdp })
}

/// Whether a request of this method may change its transport. If it is forwarded without a transaction, it needs a
/// pin then: a retransmission must not take the other transport when the refusal is forgotten.
pub(crate) const fn may_change(method: Method<'_>) -> bool {
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
