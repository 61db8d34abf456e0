//! The URI and the tag of a From or a To (RFC 3261 20.20, 20.39), by which requests are routed and matched. Accepts the
//! same values as the types of these headers.

use std::marker::PhantomData;

use crate::{
    Element, ErrorKind, Header, HeaderName, NameAddr, grammar,
    list::quoted_len,
    octets::{self, USER},
};

/// The URI and the tag of the header `H`, which is [`crate::From`] or [`crate::To`]: for callers that need no other part.
#[derive(Debug)]
pub struct UriAndTag<'a, H> {
    /// The URI as received.
    pub uri: &'a [u8],
    /// The `tag` parameter as received.
    pub tag: Option<&'a [u8]>,
    header: PhantomData<fn() -> H>,
}

impl<'a, H: Header<'a>> Header<'a> for UriAndTag<'a, H> {
    const NAME: HeaderName = H::NAME;
    const SHAPE: &'static [Element] = H::SHAPE;

    #[inline]
    fn parse(value: &'a [u8]) -> Result<Self, ErrorKind> {
        let (uri, tag) = match usual_form(value) {
            Some(parts) => parts,
            None => NameAddr::with_one_tag(value).map(|(address, tag)| (address.uri.as_bytes(), tag))?,
        };
        Ok(Self { uri, tag, header: PhantomData })
    }
}

/// Reads `"name" <sip:user@host:port>;tag=value`, of which the name, the port and the tag may be absent. `None` for any
/// other value.
fn usual_form(value: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let name = if value.first() == Some(&b'"') { quoted_len(value)? } else { 0 };
    let input = octets::trim_start(value.get(name..)?).strip_prefix(b"<")?;
    let rest = input.strip_prefix(b"sip:")?;
    let (_, rest) = rest.split_at_checked(octets::run(rest, USER)).filter(|(user, _)| !user.is_empty())?;
    let (rest, _) = grammar::host_port(rest.strip_prefix(b"@")?).ok()?;
    let (uri, params) = (grammar::prefix_before(input, rest), rest.strip_prefix(b">")?);
    match params.strip_prefix(b";tag=") {
        None => params.is_empty().then_some((uri, None)),
        Some(tag) => (!tag.is_empty() && octets::value_run(tag) == tag.len()).then_some((uri, Some(tag))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::From;

    #[test]
    fn the_usual_form_is_read_as_any_other() {
        let usual = [
            "<sip:a@b>",
            "\"A \\\" <b>\" <sip:a@b.example>;tag=1",
            "\"\"<sip:+49-1;x@192.0.2.1:5060>;tag=a:b/c",
            " <sip:a@[::1]>",
        ];
        for value in usual {
            assert!(usual_form(value.as_bytes()).is_some(), "{value}");
        }
        let others = [
            "sip:a@b;tag=1",
            "A <sip:a@b>",
            "<sips:a@b>",
            "<sip:b>",
            "<sip:@b>",
            "<sip:a%20@b>",
            "<sip:a:p@b>",
            "<sip:a@b:70000>",
            "<sip:a@b;lr>",
            "<sip:a@b..c>",
            "<sip:a@b> ;tag=1",
            "<sip:a@b>;tag=1;x",
            "<sip:a@b>;tag=",
            "<sip:a@b>;tag=\"1\"",
            "<sip:a@b>;TAG=1;tag=2",
            "\"a <sip:a@b>",
            "\"a\" \"b\" <sip:a@b>",
        ];
        for value in others {
            assert!(usual_form(value.as_bytes()).is_none(), "{value}");
        }
        for value in usual.into_iter().chain(others).map(str::as_bytes) {
            let parts = UriAndTag::<From<'_>>::parse(value).map(|parts| (parts.uri, parts.tag));
            let whole = From::parse(value).map(|from| (from.address.uri.as_bytes(), from.tag()));
            assert_eq!(parts, whole);
        }
    }
}
