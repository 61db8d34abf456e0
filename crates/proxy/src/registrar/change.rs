//! From a REGISTER to a `Change` (RFC 3261 10.3 steps 5 and 6): reads SIP, knows no rule.

use location::{Aor, Change, ContactChange, FlowId, Operation};
use parser::headers::{Contact, Expires, NameAddr, Path};
use parser::{HeaderName, Host, Method, ParseError, SipUri, Uri};
use smallvec::SmallVec;

use crate::nat::{self, Reach};
use crate::reach;
use crate::reject::Reject;
use crate::request::Request;
use crate::route::{Destination, Gruus, destination};
use crate::settings::{Settings, UnannouncedPath};

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
pub(super) fn read_change<'a>(
    request: &'a Request,
    path: &'a [u8],
    (aor, gruus): (&Aor, &Gruus),
    settings: &Settings,
) -> Result<Change<'a>, Reject> {
    let message = &request.message;
    Ok(Change {
        call_id: message.value(HeaderName::CallId).unwrap_or_default(),
        cseq: request.sequence,
        transaction: request.key.0,
        flow: request.flow,
        path,
        user_agent: message.value(HeaderName::UserAgent).unwrap_or_default(),
        operation: read_operation(request, (aor, gruus), settings)?,
    })
}

/// RFC 3261 10.3 step 6.
fn read_operation<'a>(request: &'a Request, own: (&Aor, &Gruus), settings: &Settings) -> Result<Operation<'a>, Reject> {
    let message = &request.message;
    // RFC 3261 20.19: an Expires that cannot be read is as good as none.
    let expires = message.header::<Expires>().ok().flatten().map(|Expires(seconds)| seconds);
    let mut contacts = SmallVec::<[ContactChange<'a>; 2]>::new();
    let mut wildcard = false;
    for contact in message.headers::<Contact<'a>>() {
        match contact.map_err(Reject::Malformed)? {
            Contact::Star => wildcard = true,
            Contact::Address(address) => contacts.push(read_contact(address, expires, request, own, settings)?),
        }
    }
    match (wildcard, contacts.is_empty()) {
        (true, true) if expires == Some(0) && message.values(HeaderName::Contact).count() == 1 => {
            Ok(Operation::RemoveAll)
        }
        (true, _) => Err(Reject::Wildcard),
        (false, true) => Ok(Operation::Query),
        (false, false) => {
            settle_reg_ids(request, &mut contacts)?;
            Ok(Operation::Update(contacts))
        }
    }
}

fn read_contact<'a>(
    address: NameAddr<'a>,
    header_expires: Option<u32>,
    request: &Request,
    own: (&Aor, &Gruus),
    settings: &Settings,
) -> Result<ContactChange<'a>, Reject> {
    let contact = Contact::Address(address);
    let q = contact
        .q()
        .map_err(|kind| Reject::Malformed(ParseError { kind, header: Some(HeaderName::Contact), offset: 0 }))?;
    let (instance, expires) = (contact.instance(), contact.expires().or(header_expires));
    match &address.uri {
        Uri::Sip(uri) => match leads_to(uri, own, settings)? {
            LeadsTo::OtherUser => {}
            // What is there from before the rule can be removed.
            LeadsTo::Address if expires == Some(0) => {}
            LeadsTo::Address => check_address("Contact", uri, request, settings)?,
        },
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
        flow_id: flow_id_to_keep(request, &address.uri),
    })
}

/// Whether this phone may have us send there.
fn check_address(place: &'static str, uri: &SipUri<'_>, request: &Request, settings: &Settings) -> Result<(), Reject> {
    reach::check_host(uri, request.flow.remote.ip(), settings, reach::may_name)
        .map_err(|barred| Reject::Address { place, barred })
}

/// Where calls to a Contact go.
enum LeadsTo {
    /// To another user of ours, or to one of its phones: it is looked up, and never connected to.
    OtherUser,
    /// To an address.
    Address,
}

/// Where calls to this Contact go. One of the user itself would lead back to it: the AoR, a GRUU of it (RFC 5627 5.1), or simply
/// where we listen.
fn leads_to(uri: &SipUri<'_>, (aor, gruus): (&Aor, &Gruus), settings: &Settings) -> Result<LeadsTo, Reject> {
    let is_other = match destination(&Uri::Sip(*uri), Method::Invite, settings)? {
        Destination::User(named) => named != *aor,
        // One that was not made here leads nowhere.
        Destination::Gruu(name) => gruus.read(uri.as_bytes(), name).is_ok_and(|callee| callee.aor != *aor),
        Destination::Server => false,
        Destination::Elsewhere => {
            let maddr = uri.maddr().and_then(|maddr| Host::parse(maddr).ok());
            let is_here = [Some(uri.host), maddr].into_iter().flatten().any(|host| settings.is_own(&host, uri.port));
            // A maddr that leads elsewhere from a name of ours.
            let is_ours = is_here || settings.domain_named_by(uri).is_some();
            return if is_ours { Err(Reject::SelfContact) } else { Ok(LeadsTo::Address) };
        }
    };
    if is_other { Ok(LeadsTo::OtherUser) } else { Err(Reject::SelfContact) }
}

/// What the binding keeps of the flow: the connection of the request, or over UDP whether the phone is reached at its source
/// only.
fn flow_id_to_keep(request: &Request, contact: &Uri<'_>) -> Option<FlowId> {
    if request.flow.transport.is_reliable() {
        return None;
    }
    let at_source = contact.sip().is_some_and(|uri| nat::reach(request, Some(uri)) == Reach::Source);
    Some(if at_source { FlowId::Nat } else { FlowId::None })
}
