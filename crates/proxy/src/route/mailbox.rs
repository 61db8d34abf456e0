//! A SUBSCRIBE to the voicemail messages of a user (`Event: message-summary`, RFC 3842).
//!
//! Only the voicemail server knows these messages, so the SUBSCRIBE goes to its URI with the user part of the user. Who
//! may watch the user may subscribe. Must not decide how the sender authenticates; `admission` does.

use parser::{Method, Uri, escape_user, write_decimal};

use crate::clock::Now;
use crate::event_package::is_message_summary;
use crate::reject::Reject;
use crate::request::Request;
use crate::settings::Settings;

use super::office::caller_of;
use super::targets::plan_for_uri;
use super::{Callee, Destination, NextStep, destination};

/// Replaces the step of a SUBSCRIBE to the messages of a user: it goes to the voicemail server.
pub(crate) fn mailbox_step(
    step: &mut NextStep,
    request: &Request,
    settings: &Settings,
    now: Now,
) -> Result<(), Reject> {
    let NextStep::LookUp(Callee { aor, phone: None }) = step else { return Ok(()) };
    let is_subscribe = request.method() == Method::Subscribe && !request.in_dialog;
    if !is_subscribe || !is_message_summary(&request.message) {
        return Ok(());
    }
    let voicemail = settings.office.voicemail.as_deref().ok_or(Reject::Event)?;
    let user = settings.user_named(aor);
    let watcher = caller_of(request, settings);
    if !watcher.is_some_and(|watcher| settings.accounts.may_watch(&watcher, user)) {
        return Err(Reject::Subscriber);
    }
    let Ok(Uri::Sip(uri)) = Uri::parse(voicemail.as_bytes()) else { return Err(Reject::Event) };
    // The voicemail server is registered here. The To names the mailbox, since the Request-URI becomes its Contact.
    if let Ok(Destination::User(name)) = destination(&Uri::Sip(uri), Method::Subscribe, settings) {
        let name = settings.user_named(&name).clone();
        *step = NextStep::LookUp(Callee::user(name));
        return Ok(());
    }
    let mut mailbox = if uri.secure { b"sips:".to_vec() } else { b"sip:".to_vec() };
    escape_user(user.user(), &mut mailbox);
    mailbox.push(b'@');
    uri.host.write(&mut mailbox);
    if let Some(port) = uri.port {
        mailbox.push(b':');
        write_decimal(&mut mailbox, port);
    }
    mailbox.extend_from_slice(uri.params.as_bytes());
    let mailbox = String::from_utf8_lossy(&mailbox);
    *step = NextStep::ByPlan(Box::new(plan_for_uri(request, &mailbox, settings, now)?));
    Ok(())
}
