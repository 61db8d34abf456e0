//! The shared rules of RFC 3261 25.1 as nom parsers: tokens, quoted strings, host and port, parameters. The parsers of
//! headers and URIs are built from these. Each rule returns its own kind of fault. Must not allocate.

use nom::{IResult, Parser, bytes::complete::tag, combinator::verify, sequence::delimited};

use crate::{
    ErrorKind, Host, Params,
    list::quoted_len,
    octets::{self, TOKEN, URI_PARAM},
};

pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T, Fault>;

/// An [`ErrorKind`] as the error type of nom parsers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault(pub(crate) ErrorKind);

impl<I> nom::error::ParseError<I> for Fault {
    fn from_error_kind(_: I, _: nom::error::ErrorKind) -> Self {
        Self(ErrorKind::Token)
    }

    fn append(_: I, _: nom::error::ErrorKind, other: Self) -> Self {
        other
    }
}

/// A recoverable error: nom may try an alternative.
pub(crate) fn fail<T>(kind: ErrorKind) -> Parsed<'static, T> {
    Err(nom::Err::Error(Fault(kind)))
}

/// Applies `rule` to all of `input`; trailing white space is accepted.
#[inline]
pub(crate) fn parse_all<'a, T>(rule: impl FnOnce(&'a [u8]) -> Parsed<'a, T>, input: &'a [u8]) -> Result<T, ErrorKind> {
    match rule(input) {
        Ok((rest, value)) if octets::trim_start(rest).is_empty() => Ok(value),
        Ok(_) => Err(ErrorKind::Trailing),
        Err(error) => Err(kind(error)),
    }
}

/// The kind of fault that a rule returned.
pub(crate) fn kind(error: nom::Err<Fault>) -> ErrorKind {
    match error {
        nom::Err::Error(Fault(kind)) | nom::Err::Failure(Fault(kind)) => kind,
        nom::Err::Incomplete(_) => ErrorKind::Token,
    }
}

#[inline]
pub(crate) fn lws(input: &[u8]) -> Parsed<'_, &[u8]> {
    let rest = octets::trim_start(input);
    Ok((rest, prefix_before(input, rest)))
}

/// At least one octet of white space.
#[inline]
pub(crate) fn space(input: &[u8]) -> Parsed<'_, &[u8]> {
    verify(lws, |space: &[u8]| !space.is_empty()).parse(input)
}

#[inline]
pub(crate) fn token(input: &[u8]) -> Parsed<'_, &[u8]> {
    match input.split_at_checked(octets::run(input, TOKEN)) {
        Some((token @ [_, ..], rest)) => Ok((rest, token)),
        _ => fail(ErrorKind::Token),
    }
}

/// A separator with white space around it: `SLASH`, `COLON`, `EQUAL`, `SEMI`, `COMMA`.
#[inline]
pub(crate) fn separator<'a>(text: &'static str) -> impl Parser<&'a [u8], Output = &'a [u8], Error = Fault> {
    delimited(lws, tag(text), lws)
}

/// `quoted-string` with its quotes.
pub(crate) fn quoted_string(input: &[u8]) -> Parsed<'_, &[u8]> {
    if input.first() != Some(&b'"') {
        return fail(ErrorKind::Token);
    }
    match quoted_len(input).and_then(|len| input.split_at_checked(len)) {
        Some((quoted, rest)) => Ok((rest, quoted)),
        None => Err(nom::Err::Failure(Fault(ErrorKind::Quote))),
    }
}

/// A parameter value: a quoted string, or visible ASCII up to the next separator.
pub(crate) fn value(input: &[u8]) -> Parsed<'_, &[u8]> {
    if input.first() == Some(&b'"') {
        return quoted_string(input);
    }
    match octets::value_run(input) {
        0 => fail(ErrorKind::Param),
        len => Ok(input.split_at_checked(len).map_or((&b""[..], input), |(value, rest)| (rest, value))),
    }
}

/// `host`: a name, an IPv4 address, or an IPv6 address in brackets.
#[inline(always)]
pub(crate) fn host(input: &[u8]) -> Parsed<'_, Host<'_>> {
    match Host::prefix(input) {
        Some((host, rest)) => Ok((rest, host)),
        None => Err(nom::Err::Failure(Fault(ErrorKind::Host))),
    }
}

/// `1*DIGIT`, saturating.
#[inline]
pub(crate) fn number(input: &[u8]) -> Parsed<'_, u64> {
    let (mut rest, mut number) = (input, 0_u64);
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        number = number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
        rest = after;
    }
    if rest.len() < input.len() { Ok((rest, number)) } else { fail(ErrorKind::Number) }
}

/// `port`: `1*DIGIT` of at most 65535.
pub(crate) fn port(input: &[u8]) -> Parsed<'_, u16> {
    match number(input).map(|(rest, number)| (rest, u16::try_from(number))) {
        Ok((rest, Ok(port))) => Ok((rest, port)),
        _ => fail(ErrorKind::Port),
    }
}

/// `hostport` of a URI: no white space anywhere.
#[inline(always)]
pub(crate) fn host_port(input: &[u8]) -> Parsed<'_, (Host<'_>, Option<u16>)> {
    let (rest, host) = host(input)?;
    match rest.split_first() {
        Some((b':', rest)) => port(rest).map(|(rest, port)| (rest, (host, Some(port)))),
        _ => Ok((rest, (host, None))),
    }
}

/// `sent-by` of a Via: white space may stand around the colon.
#[inline(always)]
pub(crate) fn sent_by(input: &[u8]) -> Parsed<'_, (Host<'_>, Option<u16>)> {
    let (rest, host) = host(input)?;
    match octets::trim_start(rest).split_first() {
        Some((b':', after)) => port(octets::trim_start(after)).map(|(rest, port)| (rest, (host, Some(port)))),
        _ => Ok((rest, (host, None))),
    }
}

/// `*( SEMI generic-param )`, the parameters after a header value.
#[inline]
pub(crate) fn params(input: &[u8]) -> Parsed<'_, Params<'_>> {
    params_with(input, |_, _| {})
}

/// As [`params`], and calls `visit` with each name and value, which saves another iteration over them.
#[inline]
pub(crate) fn params_with<'a>(
    input: &'a [u8],
    mut visit: impl FnMut(&'a [u8], Option<&'a [u8]>),
) -> Parsed<'a, Params<'a>> {
    let mut rest = input;
    while let Some((b';', after)) = octets::trim_start(rest).split_first() {
        let after = octets::trim_start(after);
        rest = skip_nonempty(after, octets::run(after, TOKEN))?;
        let name = prefix_before(after, rest);
        if let Some((b'=', after)) = octets::trim_start(rest).split_first() {
            let after = octets::trim_start(after);
            match value(after) {
                Ok((behind, found)) => {
                    rest = behind;
                    visit(name, Some(found));
                }
                // RFC 3581 3: `rport` without a value. Some clients send `rport=`.
                Err(_)
                    if octets::eq_ignore_case(name, b"rport") && matches!(after.first(), None | Some(b';' | b',')) =>
                {
                    rest = after;
                    visit(name, None);
                }
                Err(error) => return Err(error),
            }
        } else {
            visit(name, None);
        }
    }
    Ok((rest, Params::new(prefix_before(input, rest))))
}

/// `uri-parameters`: no white space and no quotes; `=` separates name and value.
#[inline(always)]
pub(crate) fn uri_params(input: &[u8]) -> Parsed<'_, Params<'_>> {
    let mut rest = input;
    while let Some((b';', after)) = rest.split_first() {
        rest = skip_nonempty(after, octets::escaped_run(after, URI_PARAM))?;
        if let Some((b'=', after)) = rest.split_first() {
            rest = skip_nonempty(after, octets::escaped_run(after, URI_PARAM))?;
        }
    }
    Ok((rest, Params::new(prefix_before(input, rest))))
}

/// The input after its first `len` octets, which are a name or a value and must not be empty.
#[inline]
fn skip_nonempty(input: &[u8], len: usize) -> Result<&[u8], nom::Err<Fault>> {
    match len {
        0 => Err(nom::Err::Failure(Fault(ErrorKind::Param))),
        len => Ok(input.get(len..).unwrap_or_default()),
    }
}

/// The part of `input` before `rest`, which is its end.
#[inline]
pub(crate) fn prefix_before<'a>(input: &'a [u8], rest: &[u8]) -> &'a [u8] {
    input.get(..input.len() - rest.len()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_are_checked() {
        for good in ["", ";a", " ; a = b\r\n ;c=\"d;e\"", ";received=2001:db8::9:1", ";x=[::1]"] {
            assert!(parse_all(params, good.as_bytes()).is_ok(), "{good}");
        }
        for (bad, kind) in [
            (";", ErrorKind::Param),
            (";;a", ErrorKind::Param),
            (";a=", ErrorKind::Param),
            (";=b", ErrorKind::Param),
            (";a=\"b", ErrorKind::Quote),
            (";a b", ErrorKind::Trailing),
        ] {
            assert_eq!(parse_all(params, bad.as_bytes()), Err(kind), "{bad}");
        }
    }

    #[test]
    fn ports_have_sixteen_bits() {
        assert_eq!(parse_all(port, b"65535"), Ok(65535));
        assert_eq!(parse_all(port, b"005060"), Ok(5060));
        assert_eq!(parse_all(port, b"65536"), Err(ErrorKind::Port));
        assert_eq!(parse_all(port, b""), Err(ErrorKind::Port));
    }
}
