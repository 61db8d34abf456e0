//! Is this request fit to be processed? RFC 3261 16.3 steps 1 to 3 and 5, in that order.
//!
//! Decides only; whoever asks answers. Authentication (step 6) is `auth`'s, loops (step 4) are `fork`'s.

use parser::headers::{CSeq, CallId, From, MaxForwards, To, Via};
use parser::{ErrorKind, HeaderName, Message, Method, Uri};

use crate::reject::Reject;

/// Option tags of extensions that this proxy can be required to understand: none.
const PROXY_EXTENSIONS: &[&[u8]] = &[];

/// RFC 3261 16.3 step 1 and 8.1.1: what any processing needs.
pub(crate) fn syntax(message: &Message) -> Result<(), Reject> {
    if let Some(defect) = message.defect() {
        return Err(if defect.kind == ErrorKind::Version { Reject::Version } else { Reject::Malformed(defect) });
    }
    message.required::<Via<'_>>().map_err(Reject::Malformed)?;
    message.required::<From<'_>>().map_err(Reject::Malformed)?;
    message.required::<To<'_>>().map_err(Reject::Malformed)?;
    message.required::<CallId<'_>>().map_err(Reject::Malformed)?;
    let sequence = message.required::<CSeq<'_>>().map_err(Reject::Malformed)?;
    if sequence.method.as_bytes() != message.method().as_bytes() {
        return Err(Reject::MethodMismatch);
    }
    message.header::<MaxForwards>().map_err(Reject::Malformed)?;
    message.uri().map_err(Reject::Malformed)?;
    Ok(())
}

/// RFC 3261 16.3 step 2: 416 for a scheme that we cannot route by.
pub(crate) fn scheme(uri: &[u8]) -> Result<(), Reject> {
    match Uri::parse(uri) {
        Ok(Uri::Sip(_)) => Ok(()),
        Ok(Uri::Other { .. }) => Err(Reject::Scheme),
        Err(_) => Err(Reject::RequestUri),
    }
}

/// RFC 3261 16.3 step 3: a request that may not go further.
pub(crate) fn hops(message: &Message) -> Result<(), Reject> {
    match message.header::<MaxForwards>() {
        Ok(Some(MaxForwards(0))) => Err(Reject::TooManyHops),
        _ => Ok(()),
    }
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
