//! Bindings that the configuration makes: a door phone or a gateway that cannot register (RFC 3261 10.1 leaves the
//! ways into the location service open).
//!
//! They are a record of their own, in the settings, so that all code reads both kinds of bindings alike. No REGISTER changes
//! them; one that a phone registers as well is its own from then on, for as long as it stays.

use location::{Applied, Binding, Change, ContactChange, Limits, Operation, Record, Wall};
use parser::{Uri, equivalent};

/// A record of these URIs, each with its preference in thousandths, in that order; they end in the next century.
pub fn fixed_bindings<'a>(contacts: impl IntoIterator<Item = (&'a str, Option<u16>)>) -> Record {
    let contact =
        |(uri, q): (&'a str, Option<u16>)| ContactChange { q, ..ContactChange::plain(uri.as_bytes(), u32::MAX) };
    let contacts: smallvec::SmallVec<_> = contacts.into_iter().map(contact).collect();
    let most = contacts.len();
    let limits = Limits { max_expires: u32::MAX, max_contacts: most, max_request_contacts: most, ..Limits::DEFAULT };
    let made = Record::default().apply(&Change::administrative(Operation::Update(contacts)), Wall::default(), &limits);
    // None given, or a URI of some kilobytes: nothing that a phone could be reached at.
    made.ok().and_then(Applied::changed).unwrap_or_default()
}

/// The fixed bindings, with their index, that no phone has registered itself.
pub(crate) fn unregistered_fixed_bindings<'r>(
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
