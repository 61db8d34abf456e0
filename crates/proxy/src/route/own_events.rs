//! A SUBSCRIBE or PUBLISH of a user for its own AoR, as phones send for message-summary or presence.
//!
//! It is meant for a server that has this information. This server would forward it to the phone that sent it, which
//! refuses it; the phone then shows this refusal as an error of the server. So the sending phone is not a target:
//! neither its flow, nor its Contact, nor its other flows. Other phones of the user are targets. If there are none, the
//! response to an unsupported event package is 489 with the list of the supported ones (RFC 6665 8.3.2), and the phone
//! stops asking.
//!
//! Must not decide who the sender is; that is done by `admission`.

use location::{Aor, Binding};
use parser::headers::Contact;
use parser::{Method, Uri, equivalent};

use crate::event_package::EventPackage;
use crate::reject::Reject;
use crate::request::{Proven, Request};
use crate::settings::Settings;

use super::Plan;

/// Whether this is a SUBSCRIBE or PUBLISH outside of a dialog, from this user for itself.
pub(crate) fn is_to_itself(request: &Request, aor: &Aor, settings: &Settings) -> bool {
    if !matches!(request.method(), Method::Subscribe | Method::Publish) || request.in_dialog {
        return false;
    }
    match &request.proven {
        Proven::As(user) => **user == *aor,
        _ => request.uri_of_from().is_some_and(|caller| settings.aor_named_by(&caller) == *aor),
    }
}

/// The same plan without the phone that sent the request.
pub(crate) fn without_sender(plan: Result<Plan, Reject>, request: &Request) -> Result<Plan, Reject> {
    let Ok(mut plan) = plan else { return Err(refusal(request)) };
    let contact = request.message.header::<Contact<'_>>().ok().flatten();
    let uri = contact.as_ref().and_then(|contact| contact.address()).map(|address| address.uri);
    let mut instance = contact.as_ref().and_then(|contact| contact.binding().instance()).map(<[u8]>::to_vec);
    // The instance identifies the other flows of the phone.
    let own = plan.targets().find_map(|target| {
        target.uri.binding().filter(|binding| is_senders(binding, uri.as_ref(), request))?.instance()
    });
    if let Some(own) = own {
        instance.get_or_insert_with(|| own.to_vec());
    }
    let is_other = |target: &super::Target| {
        target.uri.binding().is_none_or(|binding| {
            let same_phone = instance.is_some() && binding.instance() == instance.as_deref();
            !same_phone && !is_senders(&binding, uri.as_ref(), request)
        })
    };
    plan.groups.iter_mut().for_each(|group| group.targets.retain(|target| is_other(target)));
    plan.groups.retain(|group| !group.targets.is_empty());
    plan.spares.retain(is_other);
    if plan.groups.is_empty() && plan.users.is_none() { Err(refusal(request)) } else { Ok(plan) }
}

/// Whether a binding is of the phone that sent this request: it has the same flow or the same Contact.
fn is_senders(binding: &Binding<'_>, contact: Option<&Uri<'_>>, request: &Request) -> bool {
    let (own, flow) = (binding.flow(), &request.flow);
    let same_flow = match flow.transport.is_reliable() {
        true => own.id == flow.id,
        false => own.remote == flow.remote,
    };
    (own.transport == flow.transport && same_flow)
        || contact.is_some_and(|contact| Uri::parse(binding.contact()).is_ok_and(|bound| equivalent(&bound, contact)))
}

/// The response if no other phone is left.
fn refusal(request: &Request) -> Reject {
    let is_ours = EventPackage::of(&request.message).is_some() && request.method() == Method::Subscribe;
    if is_ours { Reject::NotRegistered } else { Reject::Event }
}
