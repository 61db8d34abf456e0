//! The first line (RFC 3261 7.1, 7.2): request line or status line, and its defects. Must not parse the Request-URI.

use memchr::{memchr, memrchr};

use crate::{
    ErrorKind, Method, Span,
    octets::{self, TOKEN},
    span::locate,
};

#[derive(Clone, Copy, Debug)]
pub(crate) enum StartLine {
    /// `known` is the method, if this crate has a variant for it.
    Request {
        method: Span,
        known: Option<Method<'static>>,
        uri: Span,
    },
    Response {
        status: u16,
        reason: Span,
    },
}

/// Parses the first `end` octets as a start line. Also returns a defect that leaves it readable, with its position;
/// `None` if it is not a SIP start line. `has_control` tells whether the line contains a control character, including
/// tab.
pub(crate) fn parse(bytes: &[u8], end: usize, has_control: bool) -> Option<(StartLine, Option<(ErrorKind, usize)>)> {
    let line = bytes.get(..end)?;
    if line.get(..4).is_some_and(is_sip) { status_line(line, has_control) } else { request_line(line, has_control) }
}

/// `Method SP Request-URI SP SIP-Version`.
fn request_line(line: &[u8], has_control: bool) -> Option<(StartLine, Option<(ErrorKind, usize)>)> {
    let trimmed = octets::trim(line);
    let mut defect = (trimmed.len() != line.len()).then_some((ErrorKind::StartLineSpace, trimmed.len()));
    let (method, rest) = split(trimmed, octets::run(trimmed, TOKEN))?;
    let (uri, version) = split(rest, memrchr(b' ', rest)?)?;
    let is_version_2 = is_version_2(version);
    let inner = octets::trim(uri);
    if method.is_empty() || inner.is_empty() || !is_version_2 && !version.get(..4).is_some_and(is_sip) {
        return None;
    }
    let known = Method::known(method);
    let (method, uri_at, inner_at) = (locate(line, method)?, locate(line, uri)?.start as usize, locate(line, inner)?);
    if !is_version_2 {
        defect = Some((ErrorKind::Version, locate(line, version)?.start as usize));
    } else if let Some(space) = memchr(b' ', uri) {
        defect = defect.or(Some((ErrorKind::StartLineSpace, uri_at + space)));
    } else if has_control && let Some(control) = uri.iter().position(u8::is_ascii_control) {
        defect = defect.or(Some((ErrorKind::Control, uri_at + control)));
    }
    Some((StartLine::Request { method, known, uri: inner_at }, defect))
}

/// `SIP-Version SP 3DIGIT SP Reason-Phrase`. A missing reason phrase, with or without its space, is accepted.
fn status_line(line: &[u8], has_control: bool) -> Option<(StartLine, Option<(ErrorKind, usize)>)> {
    let (version, rest) = split(line, memchr(b' ', line)?)?;
    let (code, reason) = rest.split_at_checked(3)?;
    let status = u16::try_from(octets::number(code)?).ok().filter(|status| (100..=699).contains(status))?;
    let reason = if reason.is_empty() { reason } else { reason.strip_prefix(b" ")? };
    let reason_at = line.len() - reason.len();
    let is_stray_control = |&byte: &u8| byte.is_ascii_control() && byte != b'\t';
    let control = if has_control { reason.iter().position(is_stray_control) } else { None };
    let defect = if is_version_2(version) {
        control.map(|found| (ErrorKind::Control, reason_at + found))
    } else {
        Some((ErrorKind::Version, 0))
    };
    Some((StartLine::Response { status, reason: Span::new(reason_at..line.len()) }, defect))
}

/// The parts before and after the space at `at`.
fn split(bytes: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    let (before, after) = bytes.split_at_checked(at)?;
    Some((before, after.strip_prefix(b" ")?))
}

/// The version is compared in any case (RFC 3261 7.1).
fn is_sip(prefix: &[u8]) -> bool {
    octets::eq_ignore_case(prefix, b"SIP/")
}

fn is_version_2(version: &[u8]) -> bool {
    octets::eq_ignore_case(version, b"SIP/2.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defect(line: &[u8]) -> Option<Option<ErrorKind>> {
        parse(line, line.len(), line.iter().any(u8::is_ascii_control)).map(|(_, defect)| defect.map(|(kind, _)| kind))
    }

    #[test]
    fn request_lines_are_parsed_or_refused() {
        assert_eq!(defect(b"INVITE sip:a@b SIP/2.0"), Some(None));
        assert_eq!(defect(b"INVITE sip:a@b sip/2.0"), Some(None));
        assert_eq!(defect(b"INVITE  sip:a@b SIP/2.0"), Some(Some(ErrorKind::StartLineSpace)));
        assert_eq!(defect(b"INVITE sip:a@b; lr SIP/2.0"), Some(Some(ErrorKind::StartLineSpace)));
        assert_eq!(defect(b"INVITE sip:a@b SIP/2.0  "), Some(Some(ErrorKind::StartLineSpace)));
        assert_eq!(defect(b"INVITE sip:a@b SIP/7.0"), Some(Some(ErrorKind::Version)));
        assert_eq!(defect(b"INVITE sip:a\0@b SIP/2.0"), Some(Some(ErrorKind::Control)));
        for garbage in
            [&b""[..], b" ", b"INVITE", b"INVITE SIP/2.0", b"GET / HTTP/1.1", b"IN(VITE sip:a SIP/2.0", b"\x16\x03\x01"]
        {
            assert_eq!(defect(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn status_lines_are_parsed_or_refused() {
        assert_eq!(defect(b"SIP/2.0 200 OK"), Some(None));
        assert_eq!(defect(b"SIP/2.0 200 "), Some(None));
        assert_eq!(defect(b"SIP/2.0 200"), Some(None));
        assert_eq!(defect("SIP/2.0 200 = 2**3 * 5**2 \u{442}\u{430}\u{43a}".as_bytes()), Some(None));
        assert_eq!(defect(b"SIP/2.1 200 OK"), Some(Some(ErrorKind::Version)));
        for garbage in
            [&b"SIP/2.0 4294967301 better not"[..], b"SIP/2.0 20 x", b"SIP/2.0 099 x", b"SIP/2.0 700 x", b"SIP/2.0"]
        {
            assert_eq!(defect(garbage), None, "{garbage:?}");
        }
    }
}
