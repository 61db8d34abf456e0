//! Validation of requests: syntax, Max-Forwards and Proxy-Require (RFC 3261 16.3 steps 1, 3 and 5).
//!
//! Must not send responses. The other steps are elsewhere: the scheme (2) in `route`, loops (4) in `forward`,
//! authentication (6) in `auth`.

use parser::headers::{CSeq, CallId, From, MaxForwards, To, UriAndTag, Via};
use parser::{ErrorKind, HeaderName, Message, Method};

use crate::reject::Reject;

/// The option tags that a Proxy-Require may list. This server implements no proxy extension.
const PROXY_EXTENSIONS: &[&[u8]] = &[];

/// The parsed headers that every request needs.
pub(crate) struct Head<'m> {
    pub(crate) via: Via<'m>,
    pub(crate) from: UriAndTag<'m, From<'m>>,
    pub(crate) to: UriAndTag<'m, To<'m>>,
    pub(crate) call_id: &'m [u8],
    pub(crate) sequence: u32,
    pub(crate) hops: Option<u8>,
}

/// Parses the headers that every request must have (RFC 3261 16.3 step 1, 8.1.1).
pub(crate) fn syntax(message: &Message) -> Result<Head<'_>, Reject> {
    if let Some(defect) = message.defect() {
        return Err(if defect.kind == ErrorKind::Version { Reject::Version } else { Reject::Malformed(defect) });
    }
    let via = message.required().map_err(Reject::Malformed)?;
    let from = message.required::<UriAndTag<'_, From<'_>>>().map_err(Reject::Malformed)?;
    let to = message.required::<UriAndTag<'_, To<'_>>>().map_err(Reject::Malformed)?;
    let CallId(call_id) = message.required().map_err(Reject::Malformed)?;
    let CSeq { number, method } = message.required().map_err(Reject::Malformed)?;
    if method.as_bytes() != message.method().as_bytes() {
        return Err(Reject::MethodMismatch);
    }
    let hops = message.header().map_err(Reject::Malformed)?.map(|MaxForwards(hops)| hops);
    Ok(Head { via, from, to, call_id, sequence: number, hops })
}

/// RFC 3261 16.3 step 3: a request with Max-Forwards 0 must not be forwarded.
pub(crate) fn check_max_forwards(left: Option<u8>) -> Result<(), Reject> {
    if left == Some(0) { Err(Reject::TooManyHops) } else { Ok(()) }
}

/// RFC 3261 16.3 step 5: a required extension that this proxy does not know is refused.
pub(crate) fn check_proxy_require(message: &Message) -> Result<(), Reject> {
    if matches!(message.method(), Method::Ack | Method::Cancel) {
        return Ok(());
    }
    understood(message, HeaderName::ProxyRequire, PROXY_EXTENSIONS)
}

/// Refuses a request (420) if `header` lists an option tag that is not in `known`.
pub(crate) fn understood(message: &Message, header: HeaderName, known: &'static [&'static [u8]]) -> Result<(), Reject> {
    let knows = |tag: &[u8]| known.iter().any(|own| own.eq_ignore_ascii_case(tag));
    if message.values(header).all(knows) { Ok(()) } else { Err(Reject::Extension { header, known }) }
}
