//! Reads a REGISTER into a `Change` (RFC 3261 10.3 steps 5 and 6), and refuses Contacts and Paths that this server must
//! not send to. Must not apply the change; that is done by `location`.

use location::{Aor, Change, ContactChange, FlowId, Operation};
use parser::headers::{BindingContact, BindingParams, Expires, NameAddr, Path};
use parser::{HeaderName, Host, Method, ParseError, SipUri, Uri};
use smallvec::SmallVec;

use crate::nat::{self, Reach};
use crate::reach;
use crate::reject::Reject;
use crate::request::Request;
use crate::route::{Destination, Gruus, destination};
use crate::settings::{Settings, UnannouncedPath};

use super::outbound::filter_reg_ids;

/// The AoR in the To of a REGISTER (RFC 3261 10.3 step 5).
pub(crate) fn address_of_record(request: &Request, settings: &Settings) -> Result<Aor, Reject> {
    if let Some(aor) = settings.plain_aor(request.text_of_to()) {
        return Ok(aor);
    }
    let Uri::Sip(uri) = request.uri_of_to()? else { return Err(Reject::NotFound) };
    let domain = settings.domain_named_by(&uri).ok_or(Reject::ForeignAor)?;
    let user = uri.user_unescaped();
    if user.is_empty() {
        return Err(Reject::NotFound);
    }
    Ok(Aor::new(&user, domain.as_bytes()))
}

/// The Path values as one list, in their order (RFC 3327 5.3).
pub(super) fn read_path(request: &Request, settings: &Settings) -> Result<Vec<u8>, Reject> {
    let mut list = Vec::new();
    if request.message.count(HeaderName::Path) == 0 {
        return Ok(list);
    }
    let paths = request.message.headers::<Path<'_>>();
    for (path, value) in paths.zip(request.message.values(HeaderName::Path)) {
        // A Path becomes the Route of requests to the phone (5.4). If it cannot be followed, the phone is unreachable,
        // so it is refused now.
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

/// The change that a REGISTER asks for.
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

/// The Contacts of a REGISTER (RFC 3261 10.3 step 6).
fn read_operation<'a>(request: &'a Request, own: (&Aor, &Gruus), settings: &Settings) -> Result<Operation<'a>, Reject> {
    let message = &request.message;
    // RFC 3261 20.19: a malformed Expires is treated as absent.
    let expires = message.header::<Expires>().ok().flatten().map(|Expires(seconds)| seconds);
    let mut contacts = SmallVec::<[ContactChange<'a>; 2]>::new();
    let mut wildcard = false;
    for contact in message.headers::<BindingContact<'a>>() {
        let BindingContact { address, binding } = contact.map_err(Reject::Malformed)?;
        match address {
            None => wildcard = true,
            Some(address) => contacts.push(read_contact((address, binding), expires, request, own, settings)?),
        }
    }
    match (wildcard, contacts.is_empty()) {
        (true, true) if expires == Some(0) && message.values(HeaderName::Contact).count() == 1 => {
            Ok(Operation::RemoveAll)
        }
        (true, _) => Err(Reject::Wildcard),
        (false, true) => Ok(Operation::Query),
        (false, false) => {
            filter_reg_ids(request, &mut contacts)?;
            Ok(Operation::Update(contacts))
        }
    }
}

fn read_contact<'a>(
    (address, binding): (NameAddr<'a>, BindingParams<'a>),
    header_expires: Option<u32>,
    request: &Request,
    own: (&Aor, &Gruus),
    settings: &Settings,
) -> Result<ContactChange<'a>, Reject> {
    let q = binding
        .q()
        .map_err(|kind| Reject::Malformed(ParseError { kind, header: Some(HeaderName::Contact), offset: 0 }))?;
    let (instance, expires) = (binding.instance(), binding.expires().or(header_expires));
    match &address.uri {
        Uri::Sip(uri) => match leads_to(uri, own, settings)? {
            LeadsTo::OtherUser => {}
            // A Contact that was stored before its address was forbidden can still be removed.
            LeadsTo::Address if expires == Some(0) => {}
            LeadsTo::Address => check_address("Contact", uri, request, settings)?,
        },
        // RFC 5627 5.1: only a SIP URI can get a GRUU.
        Uri::Other { .. } if instance.is_some() && expires != Some(0) => return Err(Reject::ContactScheme),
        _ => {}
    }
    Ok(ContactChange {
        uri: address.uri.as_bytes(),
        params: address.params.as_bytes(),
        // RFC 3261 10.3 step 7: the parameter of the Contact, or else Expires, or else the default.
        expires,
        q,
        instance,
        reg_id: binding.reg_id(),
        flow_id: flow_id_to_keep(request, &address.uri),
    })
}

/// Checks whether the phone may name this address.
fn check_address(place: &'static str, uri: &SipUri<'_>, request: &Request, settings: &Settings) -> Result<(), Reject> {
    reach::check_host(uri, request.flow.remote.ip(), settings, reach::check_phone_address)
        .map_err(|barred| Reject::Address { place, barred })
}

/// Where requests to a Contact go.
enum LeadsTo {
    /// To another local user, or one of its phones. That user is looked up; nothing is sent to the host.
    OtherUser,
    /// To an address.
    Address,
}

/// Where requests to a Contact go. A Contact that leads back to this server for the same user would be a loop: its AoR,
/// one of its GRUUs (RFC 5627 5.1), or an address of this server. It is refused.
fn leads_to(uri: &SipUri<'_>, (aor, gruus): (&Aor, &Gruus), settings: &Settings) -> Result<LeadsTo, Reject> {
    let is_other = match destination(&Uri::Sip(*uri), Method::Invite, settings)? {
        Destination::User(named) => named != *aor,
        // A GRUU that this server did not issue leads nowhere.
        Destination::Gruu(name) => gruus.read(uri.as_bytes(), name).is_ok_and(|callee| callee.aor != *aor),
        Destination::Server => false,
        Destination::Elsewhere => {
            let is_here = |host: &Host<'_>| settings.is_own(host, uri.port);
            // An own address is a domain of this server.
            let is_ours = matches!(uri.host, Host::Name(_)) && is_here(&uri.host)
                || uri.maddr().is_some_and(|maddr| {
                    // Or the host is local, but the maddr leads elsewhere.
                    Host::parse(maddr).is_ok_and(|host| is_here(&host)) || settings.domain_named_by(uri).is_some()
                });
            return if is_ours { Err(Reject::SelfContact) } else { Ok(LeadsTo::Address) };
        }
    };
    if is_other { Ok(LeadsTo::OtherUser) } else { Err(Reject::SelfContact) }
}

/// How the binding is reached: `None` over the connection of the request; over UDP at its source if the phone is behind
/// a NAT.
fn flow_id_to_keep(request: &Request, contact: &Uri<'_>) -> Option<FlowId> {
    if request.flow.transport.is_reliable() {
        return None;
    }
    let at_source = contact.sip().is_some_and(|uri| nat::reach(request, Some(uri)) == Reach::Source);
    Some(if at_source { FlowId::Nat } else { FlowId::None })
}
