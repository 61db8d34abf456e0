//! Fixed bindings: contacts in the configuration of a device that does not register, such as a gateway. RFC 3261 10.1
//! allows other ways than REGISTER to fill the location service.
//!
//! The settings contain them as a record, so that all code reads both kinds of bindings alike. No REGISTER changes
//! them. If a phone registers a contact that is also fixed, the registered binding is used instead while it exists.

use location::{Applied, Binding, Change, ContactChange, Limits, Operation, Record, Wall};
use parser::{Uri, equivalent};

/// A record with a binding for each URI and q value (in thousandths), in this order. They expire after 136 years.
pub fn fixed_bindings<'a>(contacts: impl IntoIterator<Item = (&'a str, Option<u16>)>) -> Record {
    let contact =
        |(uri, q): (&'a str, Option<u16>)| ContactChange { q, ..ContactChange::plain(uri.as_bytes(), u32::MAX) };
    let contacts: smallvec::SmallVec<_> = contacts.into_iter().map(contact).collect();
    let most = contacts.len();
    let limits = Limits { max_expires: u32::MAX, max_contacts: most, max_request_contacts: most, ..Limits::DEFAULT };
    let operation = Operation::Update(contacts);
    let made = Record::default().apply(&Change::administrative(operation), Wall::default(), &limits);
    // Without URIs, or with a URI above the limit of the location service, there is no binding.
    made.ok().and_then(Applied::changed).unwrap_or_default()
}

/// The fixed bindings, with their index, except those whose contact a phone has registered.
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
