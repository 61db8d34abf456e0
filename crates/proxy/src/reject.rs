//! Every refusal, and the only mapping from a refusal to its response: status (RFC 3261 21), reason phrase, headers.
//!
//! Must not decide whether a request is refused. No other module writes an error response.

use std::borrow::Cow;

use parser::{HeaderName, Message, Method, OptionTag, ParseError, Reply, reason_phrase, write_decimal};

use crate::config_key::ConfigKey;
use crate::event::Offence;
use crate::event_package::EventPackage;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    /// The message has a syntax error.
    Malformed(ParseError),
    /// The SIP version is not 2.0.
    Version,
    /// CSeq and start line name different methods.
    MethodMismatch,
    /// The Request-URI has a syntax error.
    RequestUri,
    /// A Route value is not a SIP URI.
    Route,
    /// The scheme of the Request-URI is not `sip` or `sips`.
    Scheme,
    /// Max-Forwards is 0.
    TooManyHops,
    /// The request has passed this server before and would be forwarded in the same way again.
    Loop,
    /// Max-Breadth does not suffice for one branch per target.
    Breadth,
    /// `header` requires an option tag that is not in `known`.
    Extension { header: HeaderName, known: &'static [&'static [u8]] },
    /// Credentials are required. `stale`: the credentials are refused only because of their nonce.
    Challenge { of: ChallengeFor, stale: bool },
    /// The digest URI is not the Request-URI.
    DigestUri,
    /// The sender has authenticated as another user than the one it names.
    Identity,
    /// Callers without an account must not call local users.
    Stranger,
    /// The request is for a foreign domain, and its sender may not call there.
    Relay,
    /// The Request-URI of a REGISTER is of a foreign domain.
    ForeignRegistrar,
    /// The To of a REGISTER is of a foreign domain.
    ForeignAor,
    /// Only users of this server may dial this number outside of the office.
    DialledByStranger,
    /// The request comes from a trunk, and is not a call to a number of this server.
    FromTrunk,
    /// The request comes from a trunk, and no number of this server is the one that it calls.
    NoNumber,
    /// The Route values of this server belong to several dialogs.
    ForeignRoute,
    /// The request did not come from a side of its dialog.
    NotThePeer,
    /// No node has handed the request over, or not lately.
    NodeToken,
    /// The flow that the request was handed over for is gone.
    FlowGone,
    /// A Path value is not a SIP URI.
    Path,
    /// The REGISTER has a Path, but the phone does not announce support for it.
    UnannouncedPath,
    /// `place` names an address that this server must not send to.
    Address { place: &'static str, barred: Barred },
    /// The request insists on kinds of privacy that this server does not offer.
    Privacy(MissingPrivacy),
    /// The first proxy of the phone does not support flows (RFC 5626 6).
    FirstHop,
    /// A Contact with reg-id is not the only one.
    SeveralFlows,
    /// The Contact leads back to this server.
    SelfContact,
    /// A Contact with `+sip.instance` is not a SIP URI.
    ContactScheme,
    /// The user does not exist.
    NotFound,
    /// The user has no binding.
    NotRegistered,
    /// The number leads nowhere while the office is closed.
    Closed,
    /// A party is busy, and there is no other one.
    Busy,
    /// The user does not want to be disturbed.
    DoNotDisturb,
    /// The user may not dial this class of numbers.
    Class,
    /// All lines of the trunk are in use.
    TrunkFull,
    /// A feature code was called: this is set now.
    Code(CodeOutcome),
    /// No address to send to is known.
    Unroutable,
    /// A `sips` request can only be sent over an insecure transport.
    SipsNotAllowed,
    /// The Contact is a `sips` URI, but the request is not.
    SipsRequired,
    /// The CANCEL belongs to no transaction.
    NoTransaction,
    /// The caller cancelled the INVITE before it was forwarded.
    Cancelled,
    /// `Contact: *` needs `Expires: 0` and no other Contact.
    Wildcard,
    /// A Contact with its Path and instance is too long to be stored.
    ContactTooLong,
    /// The requested expiry is below the minimum.
    TooBrief { min: u32 },
    /// The AoR would have too many bindings.
    TooManyContacts,
    /// The CSeq is not higher than that of the stored binding.
    OutOfOrder,
    /// The same REGISTER arrived with another branch (RFC 3261 8.2.2.2).
    Merged,
    /// The store failed.
    Store,
    /// The store is full.
    StoreFull,
    /// The location service did not answer a lookup.
    LocationDown,
    /// There are too many response contexts.
    Overload,
    /// Another node may know the call that the request replaces, and has not answered.
    NodeSilent,
    /// The call that the request replaces may be one that the table of calls had no room for.
    CallNotKept,
    /// The request is to a group, and only calls and messages go to all members.
    Group,
    /// The event package is not supported.
    Event,
    /// Accept does not list the body type of our NOTIFYs.
    Unacceptable,
    /// The subscription does not exist.
    Subscription,
    /// The account may not watch this user.
    Subscriber,
    /// The account may not pick up the calls of this user.
    PickUp,
    /// Replaces is not one header with one to-tag and one from-tag.
    Replaces,
    /// The Contact of a SUBSCRIBE is not a SIP URI.
    Target,
    /// The headers of a dialog are too long to be stored.
    DialogTooLong,
    /// The CSeq is not higher than that of the last SUBSCRIBE.
    LateInDialog,
}

/// The role in which this server asks for credentials.
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

/// Retry-After of a 503, in seconds.
const RETRY_AFTER: u32 = 10;

impl Reject {
    /// The status of the response.
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
            | Self::Replaces
            | Self::DialogTooLong => 400,
            Self::Challenge { of, .. } => of.status(),
            Self::Identity
            | Self::Stranger
            | Self::Relay
            | Self::ForeignRegistrar
            | Self::DialledByStranger
            | Self::FromTrunk
            | Self::Class
            | Self::ForeignRoute
            | Self::NotThePeer
            | Self::NodeToken
            | Self::SelfContact
            | Self::Address { .. }
            | Self::ContactScheme
            | Self::TooManyContacts
            | Self::Subscriber
            | Self::PickUp => 403,
            // RFC 3261 10.3 step 5 (an AoR that is not of the domain of the registrar)
            Self::NotFound | Self::NoNumber | Self::ForeignAor => 404,
            Self::Unacceptable => 406,
            Self::Scheme => 416,
            Self::Extension { .. } | Self::UnannouncedPath => 420,
            Self::TooBrief { .. } => 423,
            // RFC 5626 11.5
            Self::FlowGone => 430,
            Self::FirstHop => 439,
            Self::Breadth => 440,
            // RFC 3261 21.4.6
            Self::Group => 405,
            // RFC 5630 5.3
            Self::NotRegistered
            | Self::Closed
            | Self::Code(_)
            | Self::Unroutable
            | Self::SipsNotAllowed
            | Self::SipsRequired => 480,
            Self::NoTransaction | Self::Subscription => 481,
            Self::Busy | Self::DoNotDisturb | Self::TrunkFull => 486,
            // RFC 3261 8.2.2.2
            Self::Loop | Self::Merged => 482,
            Self::TooManyHops => 483,
            Self::Cancelled => 487,
            Self::Event => 489,
            // RFC 3261 10.3 step 7 (a failure to store), RFC 3261 12.2.2 (CSeq), RFC 3323 5 (privacy)
            Self::OutOfOrder | Self::Store | Self::LateInDialog | Self::Privacy(_) => 500,
            Self::StoreFull | Self::LocationDown | Self::Overload | Self::NodeSilent | Self::CallNotKept => 503,
            Self::Version => 505,
        }
    }

    /// The reason phrase: the standard one, or a more precise one where the sender can correct its request.
    pub(crate) fn phrase(self) -> Cow<'static, str> {
        match self {
            Self::Malformed(error) => error.reason().to_string().into(),
            Self::Address { place, barred } => format!("{place} names {}", barred.as_str()).into(),
            Self::Privacy(missing) => format!("Privacy Failure: {}", missing.list()).into(),
            _ => self.reason().into(),
        }
    }

    /// The reason phrase for the log. It contains no text from the message.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Code(outcome) => outcome.as_str(),
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
            Self::NodeToken => "Not from a node",
            Self::Stranger => "Callers without an account are not accepted",
            Self::Relay => "Not relaying to foreign domains",
            Self::ForeignRegistrar | Self::ForeignAor => "Not a domain of this server",
            Self::DialledByStranger => "Only users of this server may dial this number",
            Self::FromTrunk => "A trunk may call numbers of this server only",
            Self::NoNumber => "Not a number of this server",
            Self::Closed => "The office is closed",
            Self::Class => "Not allowed to dial this number",
            Self::TrunkFull => "All lines of the trunk are in use",
            Self::Identity => "Authenticated as another user",
            Self::Subscription => "Subscription Does Not Exist",
            Self::Subscriber => "Not allowed to watch this user",
            Self::PickUp => "Not allowed to pick up this call",
            Self::CallNotKept => "Not all calls are known",
            Self::Target => "Bad Contact: not a SIP URI",
            Self::Replaces => "Bad Replaces: needs one to-tag and one from-tag",
            // The text of the Warning too (RFC 5630 6.3).
            Self::SipsNotAllowed => "SIPS Not Allowed",
            Self::SipsRequired => "SIPS Required",
            Self::DialogTooLong => "Too much text in From, To, Call-ID, Contact and Record-Route",
            Self::Address { .. } => "Names an address that is none to send to",
            Self::Privacy(_) => "Privacy Failure",
            Self::LateInDialog => "CSeq is not higher than that of the last SUBSCRIBE",
            _ => reason_phrase(self.status()),
        }
    }

    /// The permission that the sender lacks, if this is why it is refused. For the log.
    pub(crate) const fn offence(self) -> Option<Offence> {
        match self {
            Self::Identity | Self::PickUp => Some(Offence::Identity),
            Self::Stranger => Some(Offence::Stranger),
            Self::DialledByStranger => Some(Offence::Stranger),
            Self::Relay | Self::FromTrunk => Some(Offence::Relay),
            Self::ForeignRoute => Some(Offence::ForeignRoute),
            _ => None,
        }
    }

    /// The key of the configuration that decided, if another value would let a request with this method pass.
    pub(crate) fn key(self, method: Method<'_>) -> Option<ConfigKey> {
        Some(match self {
            Self::ForeignRegistrar | Self::ForeignAor => ConfigKey::Domains,
            Self::NotFound => ConfigKey::Accounts,
            Self::Stranger => ConfigKey::Strangers,
            Self::Relay => ConfigKey::Foreign,
            Self::Class => ConfigKey::MayDial,
            Self::Identity if method == Method::Register => ConfigKey::MayRegister,
            Self::Identity => ConfigKey::MayCallAs,
            Self::Subscriber => ConfigKey::MayWatch,
            Self::PickUp => ConfigKey::MayPickUp,
            Self::DoNotDisturb => ConfigKey::DoNotDisturb,
            Self::Group => ConfigKey::Groups,
            Self::Closed => ConfigKey::Closed,
            Self::NoNumber => ConfigKey::Numbers,
            Self::DialledByStranger => ConfigKey::Outgoing,
            Self::FromTrunk => ConfigKey::Trunks,
            Self::TrunkFull => ConfigKey::MaxCalls,
            Self::TooBrief { .. } if method == Method::Register => ConfigKey::MinExpires,
            Self::TooManyContacts => ConfigKey::MaxContacts,
            Self::ContactTooLong => ConfigKey::ContactSize,
            Self::Address { barred: Barred::Network, .. } => ConfigKey::ContactNetworks,
            Self::UnannouncedPath => ConfigKey::UnannouncedPath,
            Self::StoreFull => ConfigKey::Users,
            _ => return None,
        })
    }

    /// Writes the headers that the response needs. `auth` writes those of challenges.
    pub(crate) fn write_headers(self, reply: &mut Reply<'_>, request: &Message) {
        match self {
            // RFC 3261 8.2.2.3
            Self::Extension { header, known } => {
                // All in one line: a header name for each tag would multiply the length of the request.
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
            Self::Group => reply.header(HeaderName::Allow, |out| {
                out.extend_from_slice(b"INVITE, ACK, CANCEL, BYE, MESSAGE, OPTIONS");
            }),
            // RFC 5630 5.3, RFC 3261 20.43
            Self::SipsNotAllowed => {
                reply.header(HeaderName::Warning, |out| out.extend_from_slice(b"380 frontdesk \"SIPS Not Allowed\""));
            }
            Self::SipsRequired => {
                reply.header(HeaderName::Warning, |out| out.extend_from_slice(b"381 frontdesk \"SIPS Required\""));
            }
            // RFC 3261 10.3 step 7
            Self::TooBrief { min } => reply.header(HeaderName::MinExpires, |out| write_decimal(out, min)),
            Self::Store
            | Self::StoreFull
            | Self::LocationDown
            | Self::Overload
            | Self::NodeSilent
            | Self::CallNotKept => reply.header(HeaderName::RetryAfter, |out| write_decimal(out, RETRY_AFTER)),
            _ => {}
        }
    }
}

/// What a call to a feature code has done. Phones show the reason phrase, since there is no media to speak it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodeOutcome {
    Forwarded,
    NotForwarded,
    DoNotDisturb,
    MayDisturb,
    /// The change was refused: the party does not exist, or is the user itself.
    Refused,
    /// The server is busy with other changes.
    Busy,
}

impl CodeOutcome {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "All calls are forwarded now",
            Self::NotForwarded => "Calls are not forwarded now",
            Self::DoNotDisturb => "Do not disturb is on",
            Self::MayDisturb => "Do not disturb is off",
            Self::Refused => "Not changed: no such number",
            Self::Busy => "Not changed: try again later",
        }
    }
}

/// Why an address must not be sent to.
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
    /// Outside of `registrar.contact_networks`.
    Network,
    /// An address of a trunk.
    Trunk,
    /// The address of another host than the sender.
    Elsewhere,
    /// Text that only `inet_aton` reads as an address.
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
            Self::Trunk => "an address of a trunk",
            Self::Elsewhere => "the address of another host",
            Self::Name => "neither an address nor a host name",
        }
    }
}

/// The kinds of privacy that a request asks for and that this server does not offer (RFC 3323 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MissingPrivacy {
    pub(crate) header: bool,
    pub(crate) session: bool,
    pub(crate) user: bool,
    pub(crate) others: bool,
}

impl MissingPrivacy {
    /// The list in the reason phrase (RFC 3323 5). Unknown values are not copied from the request.
    pub(crate) fn list(self) -> String {
        let all = [(self.header, "header"), (self.session, "session"), (self.user, "user"), (self.others, "others")];
        all.into_iter().filter(|(missing, _)| *missing).map(|(_, name)| name).collect::<Vec<_>>().join(", ")
    }
}
