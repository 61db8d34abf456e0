//! From a REGISTER to a `Change` (RFC 3261 10.3 steps 5 and 6): reads SIP, knows no rule.

use location::{Aor, Ask, Change, ContactChange};
use parser::headers::{Contact, Expires, NameAddr, Path};
use parser::{HeaderName, Host, ParseError, SipUri, Uri};
use smallvec::SmallVec;

use crate::nat::{self, Reach};
use crate::reach;
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::{Settings, UnannouncedPath};

use super::AT_SOURCE;
use super::outbound::settle_reg_ids;

/// The AoR that a REGISTER is about (RFC 3261 10.3 step 5): its To.
pub(crate) fn address_of_record(request: &Request, settings: &Settings) -> Result<Aor, Reject> {
    let Uri::Sip(uri) = request.addressee()? else { return Err(Reject::NotFound) };
    let domain = settings.domain_named_by(&uri).ok_or(Reject::NotFound)?;
    let user = uri.user_unescaped();
    if user.is_empty() {
        return Err(Reject::NotFound);
    }
    Ok(Aor::new(&user, domain.as_bytes()))
}

/// Its Path values as one list, in their order (RFC 3327 5.3).
pub(super) fn read_path(request: &Request, settings: &Settings) -> Result<Vec<u8>, Reject> {
    let mut list = Vec::new();
    if request.message.count(HeaderName::Path) == 0 {
        return Ok(list);
    }
    let paths = request.message.headers::<Path<'_>>();
    for (path, value) in paths.zip(request.message.values(HeaderName::Path)) {
        // It becomes a Route (5.4), and one that cannot be followed makes the phone unreachable: better said now.
        let address = path.map_err(Reject::Malformed)?.address;
        let uri = address.uri.sip().ok_or(Reject::Path)?;
        check_address("Path", uri, request, settings)?;
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(value);
    }
    let unannounced = !list.is_empty() && !request.supports("path");
    if unannounced && settings.registrar.unannounced_path == UnannouncedPath::Refuse {
        return Err(Reject::UnannouncedPath);
    }
    Ok(list)
}

/// What it asks for.
pub(super) fn read_change<'a>(request: &'a Request, path: &'a [u8], settings: &Settings) -> Result<Change<'a>, Reject> {
    let message = &request.message;
    Ok(Change {
        call_id: message.value(HeaderName::CallId).unwrap_or_default(),
        cseq: request.sequence,
        transaction: request.key.0,
        flow: request.flow,
        path,
        user_agent: message.value(HeaderName::UserAgent).unwrap_or_default(),
        ask: read_ask(request, settings)?,
    })
}

/// RFC 3261 10.3 step 6.
fn read_ask<'a>(request: &'a Request, settings: &Settings) -> Result<Ask<'a>, Reject> {
    let message = &request.message;
    // RFC 3261 20.19: an Expires that cannot be read is as good as none.
    let expires = message.header::<Expires>().ok().flatten().map(|Expires(seconds)| seconds);
    let mut contacts = SmallVec::<[ContactChange<'a>; 2]>::new();
    let mut wildcard = false;
    for contact in message.headers::<Contact<'a>>() {
        match contact.map_err(Reject::Malformed)? {
            Contact::Star => wildcard = true,
            Contact::Address(address) => contacts.push(read_contact(address, expires, request, settings)?),
        }
    }
    match (wildcard, contacts.is_empty()) {
        (true, true) if expires == Some(0) && message.values(HeaderName::Contact).count() == 1 => Ok(Ask::RemoveAll),
        (true, _) => Err(Reject::Wildcard),
        (false, true) => Ok(Ask::Query),
        (false, false) => {
            settle_reg_ids(request, &mut contacts)?;
            Ok(Ask::Update(contacts))
        }
    }
}

fn read_contact<'a>(
    address: NameAddr<'a>,
    header_expires: Option<u32>,
    request: &Request,
    settings: &Settings,
) -> Result<ContactChange<'a>, Reject> {
    let contact = Contact::Address(address);
    let q = contact
        .q()
        .map_err(|kind| Reject::Malformed(ParseError { kind, header: Some(HeaderName::Contact), offset: 0 }))?;
    let (instance, expires) = (contact.instance(), contact.expires().or(header_expires));
    match &address.uri {
        Uri::Sip(uri) if leads_back(uri, settings) => return Err(Reject::SelfContact),
        // What is there from before the rule can be removed.
        Uri::Sip(uri) if expires != Some(0) => check_address("Contact", uri, request, settings)?,
        // RFC 5627 5.1: a GRUU leads to SIP phones only.
        Uri::Other { .. } if instance.is_some() && expires != Some(0) => return Err(Reject::ContactScheme),
        _ => {}
    }
    Ok(ContactChange {
        uri: address.uri.as_bytes(),
        params: address.params.as_bytes(),
        // RFC 3261 10.3 step 7: the Contact's own parameter, then the header, then the default.
        expires,
        q,
        instance,
        reg_id: contact.reg_id(),
        connection: connection_to_keep(request, &address.uri),
    })
}

/// Whether this phone may have us send there.
fn check_address(place: &'static str, uri: &SipUri<'_>, request: &Request, settings: &Settings) -> Result<(), Reject> {
    reach::check_host(uri, request.flow.remote.ip(), settings, reach::may_name)
        .map_err(|barred| Reject::Address { place, barred })
}

/// Whether calls to this Contact would come back here, and go round in circles: it is the AoR, a GRUU of ours (RFC 5627
/// 5.1), or simply where we listen.
fn leads_back(uri: &SipUri<'_>, settings: &Settings) -> bool {
    let maddr = uri.maddr().and_then(|maddr| Host::parse(maddr).ok());
    if [Some(uri.host), maddr].into_iter().flatten().any(|host| settings.is_own(&host, uri.port)) {
        return true;
    }
    match uri.host {
        Host::Name(_) => settings.domain_of(uri).is_some(),
        // Without a port it is what a To may say instead of our domain; with another port it is somebody beside us.
        Host::V4(_) | Host::V6(_) => uri.port.is_none() && settings.domain_named_by(uri).is_some(),
    }
}

/// Whether the source is kept as the way to this Contact. A stream always is.
fn connection_to_keep(request: &Request, contact: &Uri<'_>) -> Option<u64> {
    if request.flow.transport.is_reliable() {
        return None;
    }
    let at_source = contact.sip().is_some_and(|uri| nat::reach(request, Some(uri)) == Reach::Source);
    Some(if at_source { AT_SOURCE } else { 0 })
}
