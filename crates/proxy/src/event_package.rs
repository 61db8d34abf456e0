//! The event packages that this server is a notifier of, and what RFC 6665 5.4 leaves to each package to decide: its
//! name, its media type, its durations and its authorization. `notifier` has the state that a package reports.
//!
//! A further package is one more variant here and one more variant of `notifier::state`. Must not know dialogs or
//! timers.

use location::Aor;
use parser::headers::Event;
use parser::{HeaderName, Message, Reply};

use crate::settings::{Settings, SubscriptionTimes};

/// An event package (RFC 6665 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventPackage {
    /// Registrations (RFC 3680).
    Reg,
    /// Dialogs of INVITEs (RFC 4235).
    Dialog,
}

/// Whether the Event header of a request names the voicemail messages of a user (RFC 3842). The voicemail server is their
/// notifier.
pub(crate) fn is_message_summary(request: &Message) -> bool {
    is_named(request, b"message-summary")
}

/// Whether no server or phone here can be the notifier of a SUBSCRIBE to a user. Phones would get it from the proxy, but
/// they refuse it, and the subscriber would not learn that the server lacks the package.
pub(crate) fn has_no_notifier(request: &Message, settings: &Settings) -> bool {
    match is_message_summary(request) {
        true => settings.office.voicemail.is_none(),
        // RFC 3856
        false => is_named(request, b"presence"),
    }
}

fn is_named(request: &Message, package: &[u8]) -> bool {
    matches!(request.header::<Event<'_>>(), Ok(Some(event)) if event.package == package)
}

/// A media type: the type and the subtype.
pub(crate) type MediaType = (&'static str, &'static str);

impl EventPackage {
    const ALL: [Self; 2] = [Self::Reg, Self::Dialog];

    /// The package that the Event header of a request names; `None` for a package that is not implemented here.
    pub(crate) fn of(request: &Message) -> Option<Self> {
        let event = request.header::<Event<'_>>().ok()??;
        Self::ALL.into_iter().find(|package| package.name().as_bytes() == event.package)
    }

    /// Writes Allow-Events with all packages (RFC 6665 8.2.2).
    pub(crate) fn write_allow_events(reply: &mut Reply<'_>) {
        reply.header(HeaderName::AllowEvents, |out| {
            for (index, package) in Self::ALL.into_iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                out.extend_from_slice(package.name().as_bytes());
            }
        });
    }

    /// The name in the Event header (RFC 6665 5.4.1).
    pub(crate) const fn name(self) -> &'static str {
        match self {
            // RFC 3680 4.1
            Self::Reg => "reg",
            // RFC 4235 3.1
            Self::Dialog => "dialog",
        }
    }

    /// The media type of the NOTIFY bodies, which is also the default of Accept (RFC 6665 5.4.5).
    pub(crate) const fn media_type(self) -> MediaType {
        match self {
            // RFC 3680 4.5
            Self::Reg => ("application", "reginfo+xml"),
            // RFC 4235 3.5
            Self::Dialog => ("application", "dialog-info+xml"),
        }
    }

    /// How long subscriptions last and how often they notify (RFC 6665 5.4.4, 5.4.10).
    pub(crate) const fn times(self, settings: &Settings) -> &SubscriptionTimes {
        match self {
            // RFC 3680 4.4, 4.10
            Self::Reg => &settings.subscriptions,
            // RFC 4235 3.4, 3.10
            Self::Dialog => &settings.dialog_subscriptions,
        }
    }

    /// Whether `user`, whose identity is proven, may subscribe to the state of `resource` (RFC 6665 5.4.6).
    pub(crate) fn authorizes(self, user: &Aor, resource: &Aor, settings: &Settings) -> bool {
        match self {
            // RFC 3680 4.6, RFC 4235 3.6
            Self::Reg | Self::Dialog => settings.accounts.may_watch(user, resource),
        }
    }
}
