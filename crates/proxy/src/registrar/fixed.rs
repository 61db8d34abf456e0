//! Bindings that the configuration makes: a door phone or a gateway that cannot register (RFC 3261 10.1 leaves the
//! ways into the location service open).
//!
//! They are a record of their own, in the settings, so that whoever reads bindings reads them alike. No REGISTER changes
//! them; one that a phone registers as well is its own from then on, for as long as it stays.

use std::net::{Ipv4Addr, SocketAddr};

use location::{Applied, Ask, Binding, Change, ContactChange, Flow, Limits, Record, Wall};
use parser::{Transport, Uri, equivalent};

/// A record of these URIs, each with its preference in thousandths, in that order; they end in the next century.
pub fn fixed_bindings<'a>(contacts: impl IntoIterator<Item = (&'a str, Option<u16>)>) -> Record {
    let contact = |(uri, q): (&'a str, _)| ContactChange {
        uri: uri.as_bytes(),
        params: b"",
        expires: Some(u32::MAX),
        q,
        instance: None,
        reg_id: None,
    };
    let contacts: smallvec::SmallVec<_> = contacts.into_iter().map(contact).collect();
    let most = contacts.len();
    let limits = Limits { max_expires: u32::MAX, max_contacts: most, max_request_contacts: most, ..Limits::DEFAULT };
    let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let change = Change {
        call_id: b"",
        cseq: 0,
        transaction: 0,
        flow: Flow { transport: Transport::Udp, remote: nowhere, local: nowhere, connection: 0 },
        path: b"",
        user_agent: b"",
        ask: Ask::Update(contacts),
    };
    match Record::default().apply(&change, Wall::default(), &limits) {
        Ok(Applied::Changed(record) | Applied::Displaced(record)) => record,
        // None given, or a URI of some kilobytes: nothing that a phone could be reached at.
        Ok(Applied::Unchanged) | Err(_) => Record::default(),
    }
}

/// The fixed bindings, with their index, that no phone has registered itself.
pub(crate) fn besides<'r>(
    fixed: &'r Record,
    registered: Option<&'r Record>,
    now: Wall,
) -> impl Iterator<Item = (usize, Binding<'r>)> {
    let is_registered = move |fixed: &Binding<'_>| {
        let Ok(uri) = Uri::parse(fixed.contact()) else { return false };
        let same = |other: Binding<'_>| Uri::parse(other.contact()).is_ok_and(|other| equivalent(&uri, &other));
        registered.is_some_and(|registered| registered.live(now).any(same))
    };
    fixed.bindings().iter().enumerate().filter(move |(_, binding)| !is_registered(binding))
}
