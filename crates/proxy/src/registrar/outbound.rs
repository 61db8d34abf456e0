//! Outbound (RFC 5626 6): whether the reg-ids of a REGISTER are used, and what the 200 says about them.
//!
//! A phone with several flows gives each one a reg-id. A reg-id is used only if the first hop can find the flow again:
//! this server can, and so can a proxy with `ob` in its Path. Must not decide which binding a flow replaces; that is a
//! rule of `location`.

use location::{ContactChange, Operation};
use parser::HeaderName;
use parser::headers::Path;

use crate::reject::Reject;
use crate::request::Request;
use crate::settings::Registrar;

/// Removes the reg-ids that cannot be used, and refuses what RFC 5626 6 forbids.
pub(super) fn filter_reg_ids(request: &Request, contacts: &mut [ContactChange<'_>]) -> Result<(), Reject> {
    for contact in contacts.iter_mut().filter(|contact| contact.instance.is_none()) {
        contact.reg_id = None;
    }
    if contacts.iter().all(|contact| contact.reg_id.is_none()) {
        return Ok(());
    }
    if !first_hop_finds_flows(request) {
        if request.supports("outbound") {
            return Err(Reject::FirstHop);
        }
        contacts.iter_mut().for_each(|contact| contact.reg_id = None);
        return Ok(());
    }
    let added = || contacts.iter().filter(|contact| contact.expires != Some(0));
    // RFC 5626 4.2: a REGISTER registers one flow.
    if added().count() > 1 && added().any(|contact| contact.reg_id.is_some()) {
        return Err(Reject::SeveralFlows);
    }
    Ok(())
}

/// Whether the 200 must confirm that a flow was registered (RFC 5626 6).
pub(super) fn needs_confirmation(request: &Request, operation: &Operation<'_>) -> bool {
    let Operation::Update(contacts) = operation else { return false };
    contacts.iter().any(|contact| contact.reg_id.is_some()) && request.supports("outbound")
}

/// The Flow-Timer in seconds (RFC 5626 5.4). Only for a connection from the phone itself: over UDP, the time without
/// traffic depends on the NATs on the path.
pub(super) fn flow_timer(request: &Request, settings: &Registrar) -> Option<u32> {
    settings.flow_timer.filter(|_| request.flow.transport.is_reliable() && is_first_hop(request))
}

/// Whether no proxy is between the phone and this server.
fn is_first_hop(request: &Request) -> bool {
    request.message.values(HeaderName::Via).nth(1).is_none()
}

/// Whether the first hop of the phone can find its flow again.
fn first_hop_finds_flows(request: &Request) -> bool {
    if is_first_hop(request) {
        return true;
    }
    // RFC 3327 5.2: each proxy adds its Path above the others, so the one next to the phone is the last.
    let nearest = request.message.headers::<Path<'_>>().last().and_then(Result::ok);
    nearest.and_then(|path| path.address.uri.sip().copied()).is_some_and(|uri| uri.param("ob").is_some())
}
