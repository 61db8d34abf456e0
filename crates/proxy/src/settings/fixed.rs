//! Configured bindings: of a door phone or a gateway that cannot register. RFC 3261 10.1 permits other ways to create
//! bindings than REGISTER.
//!
//! They are a record in the settings, so that the same code reads both kinds of bindings. Must not be changed by a
//! REGISTER. If a phone registers the same Contact, its own binding is used as long as it exists.

use location::{Applied, Ask, Binding, Change, ContactChange, Limits, Record, Wall};
use parser::{Uri, equivalent};

/// A record with these URIs and their q values in thousandths, in this order. The bindings do not expire within a
/// lifetime.
pub fn fixed_bindings<'a>(contacts: impl IntoIterator<Item = (&'a str, Option<u16>)>) -> Record {
    let contact =
        |(uri, q): (&'a str, Option<u16>)| ContactChange { q, ..ContactChange::plain(uri.as_bytes(), u32::MAX) };
    let contacts: smallvec::SmallVec<_> = contacts.into_iter().map(contact).collect();
    let most = contacts.len();
    let limits = Limits { max_expires: u32::MAX, max_contacts: most, max_request_contacts: most, ..Limits::DEFAULT };
    let made = Record::default().apply(&Change::administrative(Ask::Update(contacts)), Wall::default(), &limits);
    // Without a URI, or with one that is too long for a record, there is no binding.
    made.ok().and_then(Applied::changed).unwrap_or_default()
}

/// The configured bindings, with their index, that no phone has registered.
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
