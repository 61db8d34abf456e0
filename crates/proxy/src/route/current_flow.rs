//! The current flow of a phone in a dialog (RFC 5626 5.3, 7). If its NAT assigned another port or its connection was
//! closed, the phone has registered again, and the flow that the dialog knows is out of date.
//!
//! Finds the binding of that phone: by instance and reg-id, or by its Contact in the dialog. It must be the right one,
//! because another phone would answer 481 (RFC 3261 12.2.2). So a binding is not chosen only because it is the last one
//! left. Must not decide whether the request may go there.

use location::{Binding, FlowId, Record};
use parser::{SipUri, Uri};

use crate::clock::Wall;
use crate::connections::Connections;
use crate::dialog::{FlowOfDialog, phone_hash};
use crate::hop::Hop;
use crate::reach;
use crate::settings::{Settings, Way};

use super::NextHop;
use super::targets::next_hop_of_binding;

/// The next hop to this side of a dialog according to the registration; `None` if the hop that the dialog knows is
/// still good.
pub(crate) fn current_flow(
    record: &Record,
    side: &FlowOfDialog<'_>,
    now: Wall,
    connections: &Connections,
    settings: &Settings,
) -> Option<Hop> {
    let is_known = |binding: &Binding<'_>| side.peer.is_flow(&binding.flow(), settings);
    let known = record.live(now).find(is_known);
    if let Some(known) = known.filter(|_| side.peer.may_be_open(connections, settings)) {
        // Whether a connection to another node is closed is not known here. A phone that has registered later over another
        // flow has left it; without a reg-id the binding of the old flow stays, if the Contact is another one.
        let is_later = |binding: &Binding<'_>| {
            binding.registered_at() > known.registered_at() && is_same_phone(binding, side) == Some(true)
        };
        let is_elsewhere = side.peer.connection.is_some() && side.peer.connection_here(settings).is_none();
        if !is_elsewhere || !record.live(now).any(|binding| is_later(&binding)) {
            return None;
        }
    }
    // A registration older than the last message in the dialog does not know better than the dialog.
    let is_newer = |binding: &Binding<'_>| binding.registered_at() >= side.seen;
    let usable = || record.live(now).filter(|it| is_newer(it) && is_open(it, connections, settings));
    let same_phone = |binding: &Binding<'_>| is_same_phone(binding, side);
    let same = usable().filter(|it| same_phone(it) == Some(true));
    let unknown = || usable().filter(|it| same_phone(it).is_none());
    let at_contact = || unknown().filter(|it| has_contact(it, &side.contact));
    // After a reconnect the port differs, so the host is enough. A datagram may still reach the old address, so it is
    // kept.
    let at_host = || unknown().filter(|it| side.peer.connection.is_some() && has_contact_host(it, &side.contact));
    let newest = same.max_by_key(Binding::registered_at);
    let newest = newest.or_else(|| at_contact().max_by_key(Binding::registered_at));
    let newest = newest.or_else(|| at_host().max_by_key(Binding::registered_at));
    hop_of(&newest?, settings)
}

/// Whether a binding is of this flow of the phone, by instance and reg-id; `None` if the binding or the dialog lacks
/// them.
fn is_same_phone(binding: &Binding<'_>, side: &FlowOfDialog<'_>) -> Option<bool> {
    let (phone, instance) = side.phone.zip(binding.instance())?;
    let names = [binding.reg_id(), None].map(|reg_id| phone_hash(instance, reg_id, &side.mac) == phone);
    match names {
        [true, _] => Some(true),
        // The dialog knows the phone, but not which of its flows. Its Contact tells.
        [false, true] => None,
        [false, false] => Some(false),
    }
}

fn is_open(binding: &Binding<'_>, connections: &Connections, settings: &Settings) -> bool {
    let flow = binding.flow();
    match flow.id {
        FlowId::Elsewhere(at) => settings.nodes.way(&at) != Way::Gone,
        FlowId::Connection(connection) => connections.is_open(connection),
        FlowId::None | FlowId::Nat => !flow.transport.is_reliable(),
    }
}

/// The hop to a binding. A host name is not used: it would have to be resolved first.
fn hop_of(binding: &Binding<'_>, settings: &Settings) -> Option<Hop> {
    let flow = binding.flow();
    match next_hop_of_binding(binding, settings)? {
        // The hop of a binding has the address in the Contact, for a new connection. A dialog compares its peer with
        // the flow.
        (NextHop::Hop(hop), true) if flow.transport.is_reliable() => Some(Hop { remote: flow.remote, ..hop }),
        (NextHop::Hop(hop), over_flow) => {
            let next_hop = NextHop::Hop(hop.clone());
            let is_reachable = reach::is_allowed_at(binding, hop.remote.ip(), over_flow, settings);
            (is_reachable && reach::leads_to_own_address(binding, &next_hop, over_flow, settings)).then_some(hop)
        }
        _ => None,
    }
}

/// Whether the Contact of a binding has the same scheme, user, host and port as a URI.
pub(super) fn has_contact(binding: &Binding<'_>, uri: &SipUri<'_>) -> bool {
    let Ok(Uri::Sip(contact)) = Uri::parse(binding.contact()) else { return false };
    let port = |uri: &SipUri<'_>| uri.port.or_else(|| uri.transport().map(|transport| transport.default_port()));
    let same_port = port(&contact).unwrap_or(5060) == port(uri).unwrap_or(5060);
    same_port && contact.secure == uri.secure && has_contact_host(binding, uri)
}

/// Whether the Contact of a binding has the same user and host as a URI.
fn has_contact_host(binding: &Binding<'_>, uri: &SipUri<'_>) -> bool {
    let Ok(Uri::Sip(contact)) = Uri::parse(binding.contact()) else { return false };
    contact.host.eq_ignore_case(&uri.host) && contact.user_unescaped() == uri.user_unescaped()
}
