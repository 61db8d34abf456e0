//! Outbound (RFC 5626 6): whether the reg-ids of a REGISTER count, and what its 200 says of it.
//!
//! A reg-id names one of several flows that a phone keeps open. It only counts if the first hop can find such a flow
//! again: the hop is this server, or a proxy that says so by `ob` in its Path. Which binding a flow replaces is
//! `location`'s rule.

use location::{ContactChange, Operation};
use parser::HeaderName;
use parser::headers::Path;

use crate::reject::Reject;
use crate::request::Request;
use crate::settings::Registrar;

/// Drops the reg-ids that do not count, and refuses what RFC 5626 6 does not allow.
pub(super) fn settle_reg_ids(request: &Request, contacts: &mut [ContactChange<'_>]) -> Result<(), Reject> {
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
    // One REGISTER, one flow.
    if added().count() > 1 && added().any(|contact| contact.reg_id.is_some()) {
        return Err(Reject::SeveralFlows);
    }
    Ok(())
}

/// Whether the 200 has to say that a flow was registered as one.
pub(super) fn is_asked(request: &Request, operation: &Operation<'_>) -> bool {
    let Operation::Update(contacts) = operation else { return false };
    contacts.iter().any(|contact| contact.reg_id.is_some()) && request.supports("outbound")
}

/// Its Flow-Timer in seconds (RFC 5626 5.4), where the flow ends here. Only of a stream do we know for how long it may be
/// silent; over UDP that is a matter of the NATs on the way.
pub(super) fn flow_timer(request: &Request, settings: &Registrar) -> Option<u32> {
    settings.flow_timer.filter(|_| request.flow.transport.is_reliable() && is_first_hop(request))
}

/// Whether the phone itself is at the other end of the flow.
fn is_first_hop(request: &Request) -> bool {
    request.message.values(HeaderName::Via).nth(1).is_none()
}

fn first_hop_finds_flows(request: &Request) -> bool {
    if is_first_hop(request) {
        return true;
    }
    // Each proxy puts its Path above those that are there (RFC 3327 5.2): the phone's own is the last.
    let nearest = request.message.headers::<Path<'_>>().last().and_then(Result::ok);
    nearest.and_then(|path| path.address.uri.sip().copied()).is_some_and(|uri| uri.param("ob").is_some())
}
