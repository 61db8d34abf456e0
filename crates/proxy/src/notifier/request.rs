//! A SUBSCRIBE as the notifier reads it: whether it is for this server, what it asks for, and its 200 (RFC 6665 4.2.1).
//!
//! Must not begin or change a subscription.

use std::time::Duration;

use location::Aor;
use parser::HeaderName;
use parser::headers::{Accept, Expires};

use crate::clock::Instant;
use crate::context::Context;
use crate::event_package::{EventPackage, has_no_notifier};
use crate::ingress;
use crate::reject::Reject;
use crate::request::{Request, RequestSource, TransactionKey};
use crate::route::Destination;
use crate::settings::{Settings, SubscriptionTimes};

use super::dialog::{Dialog, write_answer};
use super::table::LocalTag;

/// What a SUBSCRIBE asks of the notifier.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SubscribeKind {
    /// A new subscription to the state of this user.
    Initial(EventPackage, Aor),
    /// To refresh or end an existing subscription.
    InDialog(LocalTag),
}

/// Decides whether a SUBSCRIBE is for the notifier. `None` if it is forwarded: to another server, or with an event
/// package that is not implemented here.
pub(crate) fn kind_of(
    request: &Request,
    destination: &Destination,
    settings: &Settings,
) -> Result<Option<SubscribeKind>, Reject> {
    let here = matches!(destination, Destination::User(_) | Destination::Server);
    if !here || request.next_route().is_some() {
        return Ok(None);
    }
    match (destination, EventPackage::of(&request.message)) {
        // RFC 6665 4.2.1.1
        (Destination::Server, None) => Err(Reject::Event),
        (_, None) if !request.in_dialog && has_no_notifier(&request.message, settings) => Err(Reject::Event),
        (_, None) => Ok(None),
        _ if request.in_dialog => {
            LocalTag::in_to(&request.message).map(SubscribeKind::InDialog).map(Some).ok_or(Reject::Subscription)
        }
        // A group has no state of its own.
        (Destination::User(aor), Some(_)) if settings.is_group(aor) => Ok(None),
        (Destination::User(aor), Some(package)) => {
            Ok(Some(SubscribeKind::Initial(package, settings.user_named(aor).clone())))
        }
        _ => Ok(None),
    }
}

/// An initial SUBSCRIBE that can be accepted.
pub(crate) struct InitialSubscribe {
    pub(super) dialog: Dialog,
    /// Seconds; 0 asks for the current state only.
    pub(super) granted: u32,
}

impl InitialSubscribe {
    /// Checks the SUBSCRIBE. `tag` is our tag in the new dialog.
    pub(crate) fn of(
        package: EventPackage,
        request: &Request,
        tag: LocalTag,
        settings: &Settings,
    ) -> Result<Self, Reject> {
        let granted = granted_expires(package, request, settings)?;
        Ok(Self { granted, dialog: Dialog::new(package, request, tag, settings)? })
    }
}

/// The SUBSCRIBE that was accepted last.
#[derive(Debug)]
pub(super) struct LastSubscribe {
    pub(super) accepted: Accepted,
    pub(super) source: RequestSource,
    /// Retransmissions may come until this moment (Timer J).
    pub(super) copies_until: Instant,
}

/// What the 200 to a SUBSCRIBE is made of: each retransmission gets the same one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    pub(super) key: TransactionKey,
    /// Seconds.
    pub(super) granted: u32,
}

impl Accepted {
    /// Answers the SUBSCRIBE, for the first time or again.
    pub(crate) fn answer(self, tag: LocalTag, request: &Request, context: &mut Context<'_>) {
        let mut text = Vec::with_capacity(LocalTag::LENGTH);
        tag.write(&mut text);
        let settings = context.settings;
        context.reply_as(request, &text, 200, b"OK", |reply| write_answer(reply, request, self.granted, settings));
    }
}

impl LastSubscribe {
    pub(super) fn new(request: &Request, granted: u32, context: &Context<'_>) -> Self {
        let now = context.now.mono;
        let is_reliable = request.flow.transport.is_reliable();
        Self {
            accepted: Accepted { key: request.key, granted },
            source: request.source(),
            copies_until: if is_reliable { now } else { now + context.settings.timers.give_up() },
        }
    }
}

/// The seconds that a SUBSCRIBE is granted. 0 ends the subscription after one more NOTIFY.
pub(super) fn granted_expires(package: EventPackage, request: &Request, settings: &Settings) -> Result<u32, Reject> {
    ingress::understood(&request.message, HeaderName::Require, &[])?;
    if !accepts(package, request) {
        return Err(Reject::Unacceptable);
    }
    let expires = request.message.header::<Expires>().ok().flatten().map(|Expires(seconds)| seconds);
    grant(expires, package.times(settings))
}

/// Whether the subscriber accepts the bodies of the package. Without an Accept it does (RFC 6665 5.4.5).
fn accepts(package: EventPackage, request: &Request) -> bool {
    let (kind, subtype) = package.media_type();
    let fits = |range: Accept<'_>| {
        let is = |part: &[u8], name: &str| part == b"*" || part.eq_ignore_ascii_case(name.as_bytes());
        is(range.kind, kind) && is(range.subtype, subtype) && range.q() != Ok(0)
    };
    let message = &request.message;
    message.count(HeaderName::Accept) == 0 || message.headers::<Accept<'_>>().flatten().any(fits)
}

/// RFC 6665 4.2.1.1: as for registrations, a duration of an hour or more is never too brief.
fn grant(asked: Option<u32>, times: &SubscriptionTimes) -> Result<u32, Reject> {
    const HOUR: Duration = Duration::from_secs(3600);
    match asked {
        Some(seconds @ 1..) if seconds < times.min_expires && Duration::from_secs(seconds.into()) < HOUR => {
            Err(Reject::TooBrief { min: times.min_expires })
        }
        asked => Ok(asked.unwrap_or(times.default_expires).min(times.max_expires)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_granted_within_the_limits() {
        // checklist 155
        let times = SubscriptionTimes { min_expires: 7000, max_expires: 8000, ..SubscriptionTimes::default() };
        for (asked, granted) in [
            (None, Ok(3761)),
            (Some(0), Ok(0)),
            (Some(1), Err(Reject::TooBrief { min: 7000 })),
            (Some(3599), Err(Reject::TooBrief { min: 7000 })),
            (Some(3600), Ok(3600)),
            (Some(u32::MAX), Ok(8000)),
        ] {
            assert_eq!(grant(asked, &times), granted, "{asked:?}");
        }
    }
}
