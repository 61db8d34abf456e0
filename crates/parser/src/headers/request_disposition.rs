//! Request-Disposition (RFC 3841 9.1): how the caller wants proxies to handle its request.

use crate::{
    Element, ErrorKind, Header, HeaderName,
    octets::{self, TOKEN},
};

/// One Request-Disposition value, a `directive` (RFC 3841 10). Directives are compared in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestDisposition<'a> {
    /// `proxy`: forward, do not redirect.
    Proxy,
    /// `redirect`: redirect, do not forward.
    Redirect,
    /// `cancel`: cancel the other branches at the first 2xx.
    Cancel,
    /// `no-cancel`: leave the other branches alone.
    NoCancel,
    /// `fork`: forking is allowed.
    Fork,
    /// `no-fork`: forward to one target only.
    NoFork,
    /// `recurse`: recurse on 3xx responses.
    Recurse,
    /// `no-recurse`: forward 3xx responses.
    NoRecurse,
    /// `parallel`: try all targets at the same time.
    Parallel,
    /// `sequential`: try the targets one after the other.
    Sequential,
    /// `queue`: queue the call if the callee is busy.
    Queue,
    /// `no-queue`: do not queue the call.
    NoQueue,
    /// Any other token, as received. Not an error although the RFC's set is closed: directives are only preferences.
    Other(&'a [u8]),
}

impl<'a> Header<'a> for RequestDisposition<'a> {
    const NAME: HeaderName = HeaderName::RequestDisposition;
    const SHAPE: &'static [Element] = &[Element::Token, Element::Params];

    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        if value.is_empty() {
            return Err(ErrorKind::Empty);
        }
        if !octets::all(value, TOKEN) {
            return Err(ErrorKind::Token);
        }
        let known = DIRECTIVES.iter().find(|(text, _)| value.eq_ignore_ascii_case(text.as_bytes()));
        Ok(known.map_or(Self::Other(value), |(_, directive)| *directive))
    }
}

static DIRECTIVES: [(&str, RequestDisposition<'static>); 12] = [
    ("proxy", RequestDisposition::Proxy),
    ("redirect", RequestDisposition::Redirect),
    ("cancel", RequestDisposition::Cancel),
    ("no-cancel", RequestDisposition::NoCancel),
    ("fork", RequestDisposition::Fork),
    ("no-fork", RequestDisposition::NoFork),
    ("recurse", RequestDisposition::Recurse),
    ("no-recurse", RequestDisposition::NoRecurse),
    ("parallel", RequestDisposition::Parallel),
    ("sequential", RequestDisposition::Sequential),
    ("queue", RequestDisposition::Queue),
    ("no-queue", RequestDisposition::NoQueue),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_known_in_any_case() {
        assert_eq!(RequestDisposition::parse(b"No-Fork"), Ok(RequestDisposition::NoFork));
        assert_eq!(RequestDisposition::parse(b"sequential"), Ok(RequestDisposition::Sequential));
        assert_eq!(RequestDisposition::parse(b"fly"), Ok(RequestDisposition::Other(b"fly")));
        assert_eq!(RequestDisposition::parse(b"no fork"), Err(ErrorKind::Token));
        assert_eq!(RequestDisposition::parse(b""), Err(ErrorKind::Empty));
    }
}
