//! Is this request fit to be processed? RFC 3261 16.3 steps 1, 3 and 5.
//!
//! Decides only; whoever asks answers. The scheme (step 2) is `route`'s, loops (step 4) are `response_context`'s, authentication
//! (step 6) is `auth`'s.

use parser::headers::{CSeq, CallId, From, MaxForwards, To, Via};
use parser::{ErrorKind, HeaderName, Message, Method};

use crate::reject::Reject;

/// Option tags of extensions that this proxy can be required to understand: none.
const PROXY_EXTENSIONS: &[&[u8]] = &[];

/// What any processing needs of a request, typed.
pub(crate) struct Head<'m> {
    pub(crate) via: Via<'m>,
    /// The URI of its From.
    pub(crate) caller: &'m [u8],
    pub(crate) from_tag: Option<&'m [u8]>,
    /// The URI of its To.
    pub(crate) callee: &'m [u8],
    pub(crate) to_tag: Option<&'m [u8]>,
    pub(crate) sequence: u32,
    pub(crate) hops: Option<u8>,
}

/// RFC 3261 16.3 step 1 and 8.1.1.
pub(crate) fn syntax(message: &Message) -> Result<Head<'_>, Reject> {
    if let Some(defect) = message.defect() {
        return Err(if defect.kind == ErrorKind::Version { Reject::Version } else { Reject::Malformed(defect) });
    }
    let via = message.required().map_err(Reject::Malformed)?;
    let from = message.required::<From<'_>>().map_err(Reject::Malformed)?;
    let (caller, from_tag) = (from.address.uri.as_bytes(), from.tag());
    let to = message.required::<To<'_>>().map_err(Reject::Malformed)?;
    let (callee, to_tag) = (to.address.uri.as_bytes(), to.tag());
    message.required::<CallId<'_>>().map_err(Reject::Malformed)?;
    let CSeq { number, method } = message.required().map_err(Reject::Malformed)?;
    if method.as_bytes() != message.method().as_bytes() {
        return Err(Reject::MethodMismatch);
    }
    let hops = message.header().map_err(Reject::Malformed)?.map(|MaxForwards(hops)| hops);
    Ok(Head { via, caller, from_tag, callee, to_tag, sequence: number, hops })
}

/// RFC 3261 16.3 step 3: a request that may not go further.
pub(crate) fn hops(left: Option<u8>) -> Result<(), Reject> {
    if left == Some(0) { Err(Reject::TooManyHops) } else { Ok(()) }
}

/// RFC 3261 16.3 step 5.
pub(crate) fn proxy_require(message: &Message) -> Result<(), Reject> {
    if matches!(message.method(), Method::Ack | Method::Cancel) {
        return Ok(());
    }
    understood(message, HeaderName::ProxyRequire, PROXY_EXTENSIONS)
}

/// 420 if a header lists an option tag that is not among the known ones.
pub(crate) fn understood(message: &Message, header: HeaderName, known: &'static [&'static [u8]]) -> Result<(), Reject> {
    let knows = |tag: &[u8]| known.iter().any(|own| own.eq_ignore_ascii_case(tag));
    if message.values(header).all(knows) { Ok(()) } else { Err(Reject::Extension { header, known }) }
}
