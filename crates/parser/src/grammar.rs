//! The shared rules of RFC 3261 25.1 as nom parsers: tokens, quoted strings, host and port, parameters. Headers and URIs
//! are put together from these. A rule names its own fault; must not allocate.

use nom::{
    IResult, Parser,
    bytes::complete::{tag, take_while, take_while1},
    combinator::{cut, opt, recognize},
    multi::many0_count,
    sequence::{delimited, preceded},
};

use crate::{
    ErrorKind, Host, Params,
    list::quoted_len,
    octets::{self, HOST, LWS, TOKEN, URI_HEADER, URI_PARAM, VALUE},
};

pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T, Fault>;

/// An [`ErrorKind`] on its way through nom.
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

/// A fault an alternative may still recover from.
pub(crate) fn fail<T>(kind: ErrorKind) -> Parsed<'static, T> {
    Err(nom::Err::Error(Fault(kind)))
}

/// Runs `rule` over all of `input`; white space may follow.
pub(crate) fn whole<'a, T>(
    mut rule: impl Parser<&'a [u8], Output = T, Error = Fault>,
    input: &'a [u8],
) -> Result<T, ErrorKind> {
    match rule.parse(input) {
        Ok((rest, value)) if octets::trim_start(rest).is_empty() => Ok(value),
        Ok(_) => Err(ErrorKind::Trailing),
        Err(nom::Err::Error(Fault(kind)) | nom::Err::Failure(Fault(kind))) => Err(kind),
        Err(nom::Err::Incomplete(_)) => Err(ErrorKind::Token),
    }
}

pub(crate) fn lws(input: &[u8]) -> Parsed<'_, &[u8]> {
    take_while(|byte| octets::is(byte, LWS)).parse(input)
}

/// At least one octet of white space.
pub(crate) fn space(input: &[u8]) -> Parsed<'_, &[u8]> {
    take_while1(|byte| octets::is(byte, LWS)).parse(input)
}

pub(crate) fn token(input: &[u8]) -> Parsed<'_, &[u8]> {
    take_while1(|byte| octets::is(byte, TOKEN)).parse(input)
}

/// A separator with white space around it: `SLASH`, `COLON`, `EQUAL`, `SEMI`, `COMMA`.
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

/// A parameter value: a quoted string, or everything visible up to the next separator.
pub(crate) fn value(input: &[u8]) -> Parsed<'_, &[u8]> {
    if input.first() == Some(&b'"') {
        return quoted_string(input);
    }
    match octets::run(input, VALUE) {
        0 => fail(ErrorKind::Param),
        len => Ok(input.split_at_checked(len).map_or((&b""[..], input), |(value, rest)| (rest, value))),
    }
}

/// `host`: a name, an IPv4 address, or an IPv6 address in brackets.
pub(crate) fn host(input: &[u8]) -> Parsed<'_, Host<'_>> {
    let len = match input.first() {
        Some(b'[') => memchr::memchr(b']', input).map_or(0, |close| close + 1),
        _ => octets::run(input, HOST),
    };
    let (host, rest) = input.split_at_checked(len).unwrap_or((b"", input));
    match Host::parse(host) {
        Ok(host) => Ok((rest, host)),
        Err(kind) => Err(nom::Err::Failure(Fault(kind))),
    }
}

/// `port`: `1*DIGIT` of at most 65535.
pub(crate) fn port(input: &[u8]) -> Parsed<'_, u16> {
    let len = input.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = input.split_at_checked(len).unwrap_or((b"", input));
    match octets::number(digits).map(u16::try_from) {
        Some(Ok(port)) => Ok((rest, port)),
        _ => fail(ErrorKind::Port),
    }
}

/// `hostport` of a URI: no white space anywhere.
pub(crate) fn host_port(input: &[u8]) -> Parsed<'_, (Host<'_>, Option<u16>)> {
    (host, opt(preceded(tag(":"), cut(port)))).parse(input)
}

/// `sent-by` of a Via: white space may stand around the colon.
pub(crate) fn sent_by(input: &[u8]) -> Parsed<'_, (Host<'_>, Option<u16>)> {
    (host, opt(preceded(separator(":"), cut(port)))).parse(input)
}

/// `*( SEMI generic-param )`, the parameters after a header value.
pub(crate) fn params(input: &[u8]) -> Parsed<'_, Params<'_>> {
    // Nearly every second value has none.
    if octets::trim_start(input).first() != Some(&b';') {
        return Ok((input, Params::default()));
    }
    let name = |input| token(input).map_err(|_| nom::Err::Error(Fault(ErrorKind::Param)));
    let one = preceded(separator(";"), cut((name, opt(preceded(separator("="), cut(value))))));
    let (rest, raw) = recognize(many0_count(one)).parse(input)?;
    Ok((rest, Params::new(raw)))
}

/// `uri-parameters`: no white space, no quotes; `=` parts name and value.
pub(crate) fn uri_params(input: &[u8]) -> Parsed<'_, Params<'_>> {
    let part = |input| match octets::run(input, URI_PARAM) {
        0 => fail(ErrorKind::Param),
        len => Ok(input.split_at_checked(len).map_or((input, input), |(part, rest)| (rest, part))),
    };
    let one = preceded(tag(";"), cut((part, opt(preceded(tag("="), cut(part))))));
    let (rest, raw) = recognize(many0_count(one)).parse(input)?;
    Ok((rest, Params::new(raw)))
}

/// `headers` of a URI, without the `?`.
pub(crate) fn uri_headers(input: &[u8]) -> Parsed<'_, &[u8]> {
    take_while1(|byte| octets::is(byte, URI_HEADER)).parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_are_checked() {
        for good in ["", ";a", " ; a = b\r\n ;c=\"d;e\"", ";received=2001:db8::9:1", ";x=[::1]"] {
            assert!(whole(params, good.as_bytes()).is_ok(), "{good}");
        }
        for (bad, kind) in [
            (";", ErrorKind::Param),
            (";;a", ErrorKind::Param),
            (";a=", ErrorKind::Param),
            (";=b", ErrorKind::Param),
            (";a=\"b", ErrorKind::Quote),
            (";a b", ErrorKind::Trailing),
        ] {
            assert_eq!(whole(params, bad.as_bytes()), Err(kind), "{bad}");
        }
    }

    #[test]
    fn ports_have_sixteen_bits() {
        assert_eq!(whole(port, b"65535"), Ok(65535));
        assert_eq!(whole(port, b"005060"), Ok(5060));
        assert_eq!(whole(port, b"65536"), Err(ErrorKind::Port));
        assert_eq!(whole(port, b""), Err(ErrorKind::Port));
    }
}
