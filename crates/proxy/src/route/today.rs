//! Over which flow a phone is reached today that a dialog knows on another one (RFC 5626 5.3, 7): after its NAT gave it another
//! port, or its connection was closed, it has registered anew.
//!
//! Decides which binding of the user is that phone: by its instance and reg-id, or by its Contact in the dialog. A wrong one
//! would answer 481 (RFC 3261 12.2.2), so the only phone that is left is not taken for it. Must not decide whether
//! a request may go there: it has passed as one of the dialog.

use location::{Binding, Record};
use parser::{SipUri, Uri};

use crate::clock::Wall;
use crate::connections::Connections;
use crate::dialog::{FlowOfDialog, phone_of};
use crate::hop::Hop;
use crate::mac::Mac;
use crate::reach;
use crate::settings::Settings;

use super::Way;
use super::targets::way_of;

/// The way to this side of a dialog by what is registered now; none if the way that the dialog knows is as good.
pub(crate) fn flow_today(
    record: &Record,
    side: &FlowOfDialog<'_>,
    now: Wall,
    connections: &Connections,
    settings: &Settings,
    mac: &Mac,
) -> Option<Hop> {
    let is_known = |binding: &Binding<'_>| {
        let flow = binding.flow();
        match flow.transport.is_reliable() {
            true => flow.id.connection() == side.peer.connection,
            false => side.peer.connection.is_none() && flow.remote == side.peer.remote,
        }
    };
    if record.live(now).any(|binding| is_known(&binding)) && is_usable_peer(side, connections) {
        return None;
    }
    // What the phone has said in the dialog since it registered is the younger news.
    let is_news = |binding: &Binding<'_>| binding.registered_at() >= side.seen;
    let usable = || record.live(now).filter(|it| is_news(it) && is_open(it, connections));
    let named = |binding: &Binding<'_>| is_named(binding, side, mac);
    let same = usable().filter(|it| named(it) == Some(true));
    let others = || usable().filter(|it| named(it).is_none());
    let at_contact = || others().filter(|it| is_at(it, &side.contact));
    // A datagram may still get through the old way. A closed connection leads nowhere, and the next one has another port.
    let from_host = || others().filter(|it| side.peer.connection.is_some() && is_from(it, &side.contact));
    let newest = same.max_by_key(Binding::registered_at);
    let newest = newest.or_else(|| at_contact().max_by_key(Binding::registered_at));
    let newest = newest.or_else(|| from_host().max_by_key(Binding::registered_at));
    hop_of(&newest?, settings)
}

/// Whether a binding says that it is this phone, or this flow of it; none if one of them says nothing.
fn is_named(binding: &Binding<'_>, side: &FlowOfDialog<'_>, mac: &Mac) -> Option<bool> {
    let (phone, instance) = side.phone.zip(binding.instance())?;
    let names = [binding.reg_id(), None].map(|reg_id| phone_of(instance, reg_id, mac) == phone);
    match names {
        [true, _] => Some(true),
        // Which of its flows the phone has called over is not known: its Contact tells.
        [false, true] => None,
        [false, false] => Some(false),
    }
}

fn is_usable_peer(side: &FlowOfDialog<'_>, connections: &Connections) -> bool {
    side.peer.connection.is_none_or(|connection| connections.is_open(connection))
}

fn is_open(binding: &Binding<'_>, connections: &Connections) -> bool {
    let flow = binding.flow();
    !flow.transport.is_reliable() || flow.id.connection().is_some_and(|connection| connections.is_open(connection))
}

/// By an address: a name would have to be resolved first.
fn hop_of(binding: &Binding<'_>, settings: &Settings) -> Option<Hop> {
    let flow = binding.flow();
    match way_of(binding, settings)? {
        // The hop has the address to connect to once the connection is closed; the flow is where the phone speaks from.
        (Way::Hop(hop), true) if flow.transport.is_reliable() => Some(Hop { remote: flow.remote, ..hop }),
        (Way::Hop(hop), over_flow) => {
            let is_reachable = reach::may_be_at(binding, hop.remote.ip(), over_flow, settings);
            let way = Way::Hop(hop.clone());
            (is_reachable && reach::leads_to_own_place(binding, &way, over_flow, settings)).then_some(hop)
        }
        _ => None,
    }
}

/// Whether a URI is the Contact of a binding, as far as it is written: the same user, host and port.
pub(super) fn is_at(binding: &Binding<'_>, uri: &SipUri<'_>) -> bool {
    let Ok(Uri::Sip(contact)) = Uri::parse(binding.contact()) else { return false };
    let port = |uri: &SipUri<'_>| uri.port.or_else(|| uri.transport().map(|transport| transport.default_port()));
    let same_port = port(&contact).unwrap_or(5060) == port(uri).unwrap_or(5060);
    same_port && contact.secure == uri.secure && is_from(binding, uri)
}

/// Whether a URI names the same user and host as the Contact of a binding.
fn is_from(binding: &Binding<'_>, uri: &SipUri<'_>) -> bool {
    let Ok(Uri::Sip(contact)) = Uri::parse(binding.contact()) else { return false };
    contact.host.eq_ignore_case(&uri.host) && contact.user_unescaped() == uri.user_unescaped()
}
