//! Every refusal and the one place that maps it to what the peer sees: status, reason phrase, headers.
//!
//! RFC 3261 21 for the codes. Nothing here decides; nothing elsewhere writes an error response.

use std::sync::Arc;

use parser::{HeaderName, Message, Method, ParseError, Reply, reason_phrase};
use smallvec::SmallVec;

use crate::auth::{self, ChallengeFor};
use crate::clock::Now;
use crate::context::Context;
use crate::core::Core;
use crate::event::{Drop, Event, Registration};
use crate::ingress;
use crate::mac::write_decimal;
use crate::outbox::Outbox;
use crate::registrar::address_of_record;
use crate::request::Request;
use crate::settings::Algorithm;

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
    #[error("a Route that was not issued here")]
    ForeignRoute,
    #[error("a Contact that leads back here")]
    SelfContact,
    #[error("no such user")]
    NotFound,
    #[error("nothing registered")]
    NotRegistered,
    #[error("no address to send to")]
    Unroutable,
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
    #[error("the store failed")]
    Store,
    #[error("the location service does not answer")]
    LocationDown,
    #[error("at the limit of transactions")]
    Overload,
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
            | Self::Wildcard
            | Self::ContactTooLong => 400,
            Self::Challenge { of, .. } => of.status(),
            Self::Identity
            | Self::Stranger
            | Self::Relay
            | Self::ForeignRoute
            | Self::SelfContact
            | Self::TooManyContacts => 403,
            Self::NotFound => 404,
            Self::Scheme => 416,
            Self::Extension { .. } => 420,
            Self::TooBrief { .. } => 423,
            Self::NotRegistered | Self::Unroutable => 480,
            Self::NoTransaction => 481,
            Self::Loop => 482,
            Self::TooManyHops => 483,
            // RFC 3261 10.3 step 7: a registration that cannot be stored is a 500.
            Self::OutOfOrder | Self::Store => 500,
            Self::LocationDown | Self::Overload => 503,
            Self::Version => 505,
        }
    }

    /// The reason phrase: the standard one, or what exactly is wrong where the sender can mend it.
    pub(crate) fn write_reason(self, out: &mut Vec<u8>) {
        let text = match self {
            Self::Malformed(error) => return write_error(out, error),
            Self::MethodMismatch => "Bad CSeq: not the method of the start line",
            Self::RequestUri => "Bad Request-URI",
            Self::Route => "Bad Route",
            Self::DigestUri => "Bad Authorization: uri is not the Request-URI",
            Self::Wildcard => "Bad Contact: * must stand alone with Expires: 0",
            Self::ContactTooLong => "Bad Contact: too long to be stored",
            Self::OutOfOrder => "CSeq is not higher than that of the stored binding",
            Self::TooManyContacts => "Too Many Contacts",
            Self::SelfContact => "Contact leads back to this server",
            Self::ForeignRoute => "Route was not issued here",
            Self::Relay => "Not relaying to foreign domains",
            _ => reason_phrase(self.status()),
        };
        out.extend_from_slice(text.as_bytes());
    }

    /// The headers that belong to the refusal, but for challenges, which `auth` writes.
    pub(crate) fn write_headers(self, reply: &mut Reply<'_>, request: &Message) {
        match self {
            // RFC 3261 8.2.2.3
            Self::Extension { header, known } => {
                for tag in request.values(header) {
                    if !known.iter().any(|own| own.eq_ignore_ascii_case(tag)) {
                        reply.header(HeaderName::Unsupported, |out| out.extend_from_slice(tag));
                    }
                }
            }
            // RFC 3261 10.3 step 7
            Self::TooBrief { min } => reply.header(HeaderName::MinExpires, |out| write_decimal(out, min)),
            Self::Store | Self::LocationDown | Self::Overload => {
                reply.header(HeaderName::RetryAfter, |out| write_decimal(out, RETRY_AFTER))
            }
            _ => {}
        }
    }
}

fn write_error(out: &mut Vec<u8>, error: ParseError) {
    use std::io::Write;
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{}", error.reason());
}

impl Core {
    /// Answers a request with its refusal. An ACK is never answered (RFC 3261 17).
    pub(crate) fn refuse(&mut self, now: Now, request: &Request, reject: Reject, outbox: &mut Outbox) {
        if request.method() == Method::Ack {
            return outbox.tell(Event::Dropped(Drop::StrayAck));
        }
        if request.method() == Method::Register {
            self.report_registration(request, reject, outbox);
        }
        let challenges = match reject {
            Reject::Challenge { of, .. } => self.challenge_with(now, request, of),
            _ => SmallVec::new(),
        };
        let settings = Arc::clone(&self.settings);
        let Self { nonces, mac, worker, rewrite, .. } = self;
        let mut context = Context { now, mac, worker: *worker, rewrite, outbox };
        let mut reason = Vec::new();
        reject.write_reason(&mut reason);
        context.reply(request, reject.status(), &reason, |reply| match reject {
            Reject::Challenge { of, stale } => {
                let realm = auth::realm(&request.message, of, &settings);
                for algorithm in challenges {
                    auth::Challenge { of, algorithm, realm, nonce: nonces.issue(now), stale }.write(reply);
                }
            }
            _ => reject.write_headers(reply, &request.message),
        });
    }

    /// The algorithms to offer, in the order of preference (RFC 8760 2.3).
    fn challenge_with(&mut self, now: Now, request: &Request, of: ChallengeFor) -> SmallVec<[Algorithm; 3]> {
        let all = &self.settings.digest.algorithms;
        let choice = all.len() > 1 && all.contains(&Algorithm::Md5);
        if choice && self.unheeded.challenged(request, of, &self.mac, now) {
            return SmallVec::from_slice(&[Algorithm::Md5]);
        }
        SmallVec::from_slice(all)
    }

    /// Answers a request to the server itself (RFC 3261 11).
    pub(crate) fn serve(&mut self, now: Now, request: &Request, outbox: &mut Outbox) {
        if request.method() != Method::Options {
            return self.refuse(now, request, Reject::NotFound, outbox);
        }
        if let Err(reject) = ingress::understood(&request.message, HeaderName::Require, &[]) {
            return self.refuse(now, request, reject, outbox);
        }
        let (_, mut context) = self.split(now, outbox);
        context.reply(request, 200, b"OK", |reply| {
            reply.header(HeaderName::Allow, |out| out.extend_from_slice(b"OPTIONS, REGISTER"));
            reply.header(HeaderName::Accept, |out| out.extend_from_slice(b"application/sdp"));
            reply.header(HeaderName::Supported, |out| out.extend_from_slice(b"path"));
        });
    }

    fn report_registration(&self, request: &Request, reject: Reject, outbox: &mut Outbox) {
        let Ok(aor) = address_of_record(&request.message, &self.settings) else { return };
        let outcome = match reject {
            Reject::Challenge { .. } => Registration::Challenged,
            Reject::Store | Reject::Overload => Registration::Failed,
            _ => Registration::Refused,
        };
        outbox.tell(Event::Registration { outcome, aor, bindings: 0, expires: 0, flow: request.flow });
    }
}
