//! Every refusal and the one place that maps it to what the peer sees: status, reason phrase, headers.
//!
//! RFC 3261 21 for the codes. Nothing here decides; nothing elsewhere writes an error response.

use std::borrow::Cow;

use parser::{HeaderName, Message, OptionTag, ParseError, Reply, reason_phrase, write_decimal};

use crate::event::Offence;
use crate::event_package::EventPackage;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reject {
    #[error("{0}")]
    Malformed(ParseError),
    #[error("not SIP/2.0")]
    Version,
    #[error("CSeq and start line name different methods")]
    MethodMismatch,
    #[error("bad Request-URI")]
    RequestUri,
    #[error("bad Route")]
    Route,
    #[error("a URI scheme that is not sip")]
    Scheme,
    #[error("Max-Forwards is used up")]
    TooManyHops,
    #[error("the request came by before")]
    Loop,
    #[error("Max-Breadth is used up")]
    Breadth,
    #[error("an extension that is not understood")]
    Extension { header: HeaderName, known: &'static [&'static [u8]] },
    #[error("credentials needed")]
    Challenge { of: ChallengeFor, stale: bool },
    #[error("digest URI and Request-URI differ")]
    DigestUri,
    #[error("authenticated as somebody else")]
    Identity,
    #[error("a stranger")]
    Stranger,
    #[error("not relaying to foreign domains")]
    Relay,
    #[error("Route values of several dialogs")]
    ForeignRoute,
    #[error("not from a peer of its dialog")]
    NotThePeer,
    #[error("a Path that is no SIP URI")]
    Path,
    #[error("a Path that the phone does not know of")]
    UnannouncedPath,
    #[error("an address that is none to send to")]
    Address { place: &'static str, barred: Barred },
    #[error("privacy that is critical and not to be had")]
    Privacy(Missing),
    #[error("a flow that the first hop cannot find again")]
    FirstHop,
    #[error("a flow among several contacts")]
    SeveralFlows,
    #[error("a Contact that leads back here")]
    SelfContact,
    #[error("a Contact with an instance that is no SIP URI")]
    ContactScheme,
    #[error("no such user")]
    NotFound,
    #[error("nothing registered")]
    NotRegistered,
    #[error("no address to send to")]
    Unroutable,
    #[error("sips without a way that is secure")]
    SipsNotAllowed,
    #[error("a Contact that is sips, and a request that is not")]
    SipsRequired,
    #[error("no such transaction")]
    NoTransaction,
    #[error("the wildcard Contact must stand alone with Expires: 0")]
    Wildcard,
    #[error("bad Contact")]
    ContactTooLong,
    #[error("expiry too brief")]
    TooBrief { min: u32 },
    #[error("more contacts than allowed")]
    TooManyContacts,
    #[error("older than the stored binding")]
    OutOfOrder,
    #[error("the same request came another way")]
    Merged,
    #[error("the store failed")]
    Store,
    #[error("the store has no room")]
    StoreFull,
    #[error("the location service does not answer")]
    LocationDown,
    #[error("at the limit of transactions")]
    Overload,
    #[error("an event package that is not ours")]
    Event,
    #[error("takes nothing that we tell")]
    Unacceptable,
    #[error("no such subscription")]
    Subscription,
    #[error("not to watch this user")]
    Subscriber,
    #[error("a Contact that is no SIP URI")]
    Target,
    #[error("a dialog with too much text")]
    DialogTooLong,
    #[error("older than the last request of its dialog")]
    LateInDialog,
}

/// Which role asks for credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChallengeFor {
    /// The registrar, a UAS: 401, `WWW-Authenticate`, `Authorization`.
    Registrar,
    /// The proxy: 407, `Proxy-Authenticate`, `Proxy-Authorization`.
    Proxy,
}

impl ChallengeFor {
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Registrar => 401,
            Self::Proxy => 407,
        }
    }

    pub(crate) const fn challenge(self) -> HeaderName {
        match self {
            Self::Registrar => HeaderName::WwwAuthenticate,
            Self::Proxy => HeaderName::ProxyAuthenticate,
        }
    }

    pub(crate) const fn credentials(self) -> HeaderName {
        match self {
            Self::Registrar => HeaderName::Authorization,
            Self::Proxy => HeaderName::ProxyAuthorization,
        }
    }
}

/// How long a peer should wait after a 503, in seconds.
const RETRY_AFTER: u32 = 10;

impl Reject {
    /// The response's code.
    pub(crate) const fn status(self) -> u16 {
        match self {
            Self::Malformed(_)
            | Self::MethodMismatch
            | Self::RequestUri
            | Self::Route
            | Self::DigestUri
            | Self::Path
            | Self::SeveralFlows
            | Self::Wildcard
            | Self::ContactTooLong
            | Self::Target
            | Self::DialogTooLong => 400,
            Self::Challenge { of, .. } => of.status(),
            Self::Identity
            | Self::Stranger
            | Self::Relay
            | Self::ForeignRoute
            | Self::NotThePeer
            | Self::SelfContact
            | Self::Address { .. }
            | Self::ContactScheme
            | Self::TooManyContacts
            | Self::Subscriber => 403,
            Self::NotFound => 404,
            Self::Unacceptable => 406,
            Self::Scheme => 416,
            Self::Extension { .. } | Self::UnannouncedPath => 420,
            Self::TooBrief { .. } => 423,
            Self::FirstHop => 439,
            Self::Breadth => 440,
            // RFC 5630 5.3
            Self::NotRegistered | Self::Unroutable | Self::SipsNotAllowed | Self::SipsRequired => 480,
            Self::NoTransaction | Self::Subscription => 481,
            // RFC 3261 8.2.2.2
            Self::Loop | Self::Merged => 482,
            Self::TooManyHops => 483,
            Self::Event => 489,
            // RFC 3261 10.3 step 7: a registration that cannot be stored is a 500; 12.2.2; RFC 3323 5
            Self::OutOfOrder | Self::Store | Self::LateInDialog | Self::Privacy(_) => 500,
            Self::StoreFull | Self::LocationDown | Self::Overload => 503,
            Self::Version => 505,
        }
    }

    /// The reason phrase: the standard one, or what exactly is wrong where the sender can mend it.
    pub(crate) fn phrase(self) -> Cow<'static, str> {
        match self {
            Self::Malformed(error) => error.reason().to_string().into(),
            Self::Address { place, barred } => format!("{place} names {}", barred.as_str()).into(),
            Self::Privacy(missing) => format!("Privacy Failure: {}", missing.list()).into(),
            _ => self.reason().into(),
        }
    }

    /// The same, for the log: of a malformed message only that it is.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::MethodMismatch => "Bad CSeq: not the method of the start line",
            Self::RequestUri => "Bad Request-URI",
            Self::Route => "Bad Route: not a SIP URI",
            Self::DigestUri => "Bad Authorization: uri is not the Request-URI",
            Self::Path => "Bad Path: not a SIP URI",
            Self::UnannouncedPath => "Path without Supported: path",
            Self::SeveralFlows => "Bad Contact: reg-id allows no other",
            Self::Wildcard => "Bad Contact: * must stand alone with Expires: 0",
            Self::ContactTooLong => "Bad Contact: too long to be stored, with its Path and instance",
            Self::OutOfOrder => "CSeq is not higher than that of the stored binding",
            Self::Merged => "Loop Detected: the same REGISTER came another way",
            Self::TooManyContacts => "Too Many Contacts",
            Self::SelfContact => "Contact leads back to this server",
            Self::ContactScheme => "Contact with +sip.instance is no SIP URI",
            Self::ForeignRoute => "Route of several dialogs",
            Self::NotThePeer => "Not from a peer of this dialog",
            Self::Relay => "Not relaying to foreign domains",
            Self::Identity => "Authenticated as another user",
            Self::Subscription => "Subscription Does Not Exist",
            Self::Subscriber => "Not allowed to watch this user",
            Self::Target => "Bad Contact: not a SIP URI",
            Self::DialogTooLong => "Too much text in From, To, Call-ID, Contact and Record-Route",
            Self::Address { .. } => "Names an address that is none to send to",
            Self::Privacy(_) => "Privacy Failure",
            Self::LateInDialog => "CSeq is not higher than that of the last SUBSCRIBE",
            _ => reason_phrase(self.status()),
        }
    }

    /// What the sender may not, if that is the reason: for the log.
    pub(crate) const fn offence(self) -> Option<Offence> {
        match self {
            Self::Identity => Some(Offence::Identity),
            Self::Stranger => Some(Offence::Stranger),
            Self::Relay => Some(Offence::Relay),
            Self::ForeignRoute => Some(Offence::ForeignRoute),
            _ => None,
        }
    }

    /// The headers that belong to the refusal, but for challenges, which `auth` writes.
    pub(crate) fn write_headers(self, reply: &mut Reply<'_>, request: &Message) {
        match self {
            // RFC 3261 8.2.2.3
            Self::Extension { header, known } => {
                // In one line: a line for each would make a long answer of a short list.
                let is_unknown = |tag: &&[u8]| !known.iter().any(|own| own.eq_ignore_ascii_case(tag));
                let is_tag = |tag: &&[u8]| OptionTag::parse(tag).is_ok();
                reply.header(HeaderName::Unsupported, |out| {
                    for (place, tag) in request.values(header).filter(is_unknown).filter(is_tag).enumerate() {
                        out.extend_from_slice(if place > 0 { b", " } else { b"" });
                        out.extend_from_slice(tag);
                    }
                });
            }
            // RFC 3327 5.3
            Self::UnannouncedPath => reply.header(HeaderName::Unsupported, |out| out.extend_from_slice(b"path")),
            // RFC 6665 8.3.2
            Self::Event => EventPackage::write_allow_events(reply),
            // RFC 5630 5.3, RFC 3261 20.43
            Self::SipsNotAllowed => {
                reply.header(HeaderName::Warning, |out| out.extend_from_slice(b"380 frontdesk \"SIPS Not Allowed\""));
            }
            Self::SipsRequired => {
                reply.header(HeaderName::Warning, |out| out.extend_from_slice(b"381 frontdesk \"SIPS Required\""));
            }
            // RFC 3261 10.3 step 7
            Self::TooBrief { min } => reply.header(HeaderName::MinExpires, |out| write_decimal(out, min)),
            Self::Store | Self::StoreFull | Self::LocationDown | Self::Overload => {
                reply.header(HeaderName::RetryAfter, |out| write_decimal(out, RETRY_AFTER))
            }
            _ => {}
        }
    }
}

/// Why an address is none to send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Barred {
    Loopback,
    Unspecified,
    Multicast,
    Broadcast,
    LinkLocal,
    Reserved,
    /// An address of this machine.
    Own,
    /// Outside the networks of the configuration.
    Network,
    /// Another host than that of its sender.
    Elsewhere,
    /// A number that only inet_aton takes for an address.
    Name,
}

impl Barred {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "a loopback address",
            Self::Unspecified => "an unspecified address",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "a broadcast address",
            Self::LinkLocal => "a link-local address",
            Self::Reserved => "a reserved address",
            Self::Own => "an address of this server",
            Self::Network => "an address outside registrar.contact_networks",
            Self::Elsewhere => "the address of another host",
            Self::Name => "neither an address nor a host name",
        }
    }
}

/// Kinds of privacy that a request asks for and that are not to be had here (RFC 3323 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) header: bool,
    pub(crate) session: bool,
    pub(crate) user: bool,
    pub(crate) others: bool,
}

impl Missing {
    /// As a reason phrase lists it (RFC 3323 5); what nobody knows is not repeated.
    pub(crate) fn list(self) -> String {
        let all = [(self.header, "header"), (self.session, "session"), (self.user, "user"), (self.others, "others")];
        all.into_iter().filter(|(missing, _)| *missing).map(|(_, name)| name).collect::<Vec<_>>().join(", ")
    }
}
