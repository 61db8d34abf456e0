//! A SUBSCRIBE as the notifier reads it: is it for us, and what does it ask (RFC 3680 4.2 to 4.5, RFC 6665 4.2.1).

use std::time::Duration;

use location::Aor;
use parser::headers::{Accept, Event, Expires};
use parser::{HeaderName, Message};

use crate::ingress;
use crate::reject::Reject;
use crate::request::Request;
use crate::route::Destination;
use crate::settings::{REG_PACKAGE, Settings, Watching};

use super::dialog::Dialog;
use super::table::LocalTag;

/// What a SUBSCRIBE is to us.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SubscribeKind {
    /// It begins a subscription to this user.
    Initial(Aor),
    /// It is about one that there is.
    InDialog(LocalTag),
}

/// What a SUBSCRIBE is; none if it goes on to somebody else, as all other event packages do.
pub(crate) fn kind_of(request: &Request, destination: &Destination) -> Result<Option<SubscribeKind>, Reject> {
    let here = matches!(destination, Destination::User(_) | Destination::Server);
    if !here || request.next_route().is_some() {
        return Ok(None);
    }
    let event = request.message.header::<Event<'_>>().ok().flatten();
    let is_reg = event.is_some_and(|event| event.package == REG_PACKAGE);
    match destination {
        // RFC 6665 4.2.1.1
        Destination::Server if !is_reg => Err(Reject::Event),
        _ if !is_reg => Ok(None),
        _ if request.in_dialog => {
            LocalTag::in_to(&request.message).map(SubscribeKind::InDialog).map(Some).ok_or(Reject::Subscription)
        }
        Destination::User(aor) => Ok(Some(SubscribeKind::Initial(aor.clone()))),
        _ => Ok(None),
    }
}

/// What a SUBSCRIBE that begins something asks, if that can be granted.
pub(crate) struct InitialSubscribe {
    pub(super) dialog: Dialog,
    /// Seconds; 0 is one look.
    pub(super) granted: u32,
}

impl InitialSubscribe {
    /// What it asks; `tag` is the subscription's.
    pub(crate) fn of(request: &Request, tag: LocalTag, settings: &Settings) -> Result<Self, Reject> {
        Ok(Self { granted: granted(request, settings)?, dialog: Dialog::new(request, tag, settings)? })
    }
}

/// The seconds that a SUBSCRIBE gets; 0 is one look, or the end.
pub(super) fn granted(request: &Request, settings: &Settings) -> Result<u32, Reject> {
    ingress::understood(&request.message, HeaderName::Require, &[])?;
    if !accepts(&request.message) {
        return Err(Reject::Unacceptable);
    }
    let expires = request.message.header::<Expires>().ok().flatten().map(|Expires(seconds)| seconds);
    grant(expires, &settings.watching)
}

/// RFC 3680 4.5: without an Accept it is reginfo that is taken.
fn accepts(message: &Message) -> bool {
    let fits = |range: Accept<'_>| {
        let is = |part: &[u8], name: &[u8]| part == b"*" || part.eq_ignore_ascii_case(name);
        is(range.kind, b"application") && is(range.subtype, b"reginfo+xml") && range.q() != Ok(0)
    };
    message.count(HeaderName::Accept) == 0 || message.headers::<Accept<'_>>().flatten().any(fits)
}

/// RFC 6665 4.2.1.1: as with registrations, an hour is never too brief.
fn grant(asked: Option<u32>, limits: &Watching) -> Result<u32, Reject> {
    const HOUR: Duration = Duration::from_secs(3600);
    match asked {
        Some(seconds @ 1..) if seconds < limits.min_expires && Duration::from_secs(seconds.into()) < HOUR => {
            Err(Reject::TooBrief { min: limits.min_expires })
        }
        asked => Ok(asked.unwrap_or(limits.default_expires).min(limits.max_expires)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_granted_within_bounds() {
        // checklist 155
        let limits = Watching { min_expires: 7000, max_expires: 8000, ..Watching::default() };
        for (asked, granted) in [
            (None, Ok(3761)),
            (Some(0), Ok(0)),
            (Some(1), Err(Reject::TooBrief { min: 7000 })),
            (Some(3599), Err(Reject::TooBrief { min: 7000 })),
            (Some(3600), Ok(3600)),
            (Some(u32::MAX), Ok(8000)),
        ] {
            assert_eq!(grant(asked, &limits), granted, "{asked:?}");
        }
    }
}
