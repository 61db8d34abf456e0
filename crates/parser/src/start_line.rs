//! The first line (RFC 3261 7.1, 7.2): request line or status line. Decides whether there is one at all, and what is
//! wrong with it otherwise. Must not parse the Request-URI.

use memchr::{memchr, memrchr};

use crate::{
    ErrorKind, Span,
    octets::{self, TOKEN},
    span::locate,
};

#[derive(Clone, Copy, Debug)]
pub(crate) enum StartLine {
    Request { method: Span, uri: Span },
    Response { status: u16, reason: Span },
}

/// The start line that the first `end` octets from `at` on hold, with what is wrong in it but leaves it readable;
/// `None` if it is no start line of SIP.
pub(crate) fn parse(bytes: &[u8], at: usize, end: usize) -> Option<(StartLine, Option<(ErrorKind, usize)>)> {
    let line = bytes.get(at..end)?;
    if line.get(..4).is_some_and(is_sip) { status_line(bytes, line) } else { request_line(bytes, line, at) }
}

/// `Method SP Request-URI SP SIP-Version`.
fn request_line(bytes: &[u8], line: &[u8], at: usize) -> Option<(StartLine, Option<(ErrorKind, usize)>)> {
    let trimmed = octets::trim(line);
    let mut flaw = (trimmed.len() != line.len()).then_some((ErrorKind::StartLineSpace, at + trimmed.len()));
    let (method, rest) = split(trimmed, memchr(b' ', trimmed)?)?;
    let (uri, version) = split(rest, memrchr(b' ', rest)?)?;
    if !octets::all(method, TOKEN) || !version.get(..4).is_some_and(is_sip) {
        return None;
    }
    let inner = octets::trim(uri);
    if inner.is_empty() {
        return None;
    }
    if !is_version_2(version) {
        flaw = Some((ErrorKind::Version, at + line.len() - version.len()));
    } else if inner.len() != uri.len() || memchr(b' ', inner).is_some() {
        let space = memchr(b' ', uri).unwrap_or_default();
        flaw = flaw.or(Some((ErrorKind::StartLineSpace, at + method.len() + 1 + space)));
    } else if octets::find_control(inner).is_some() {
        flaw = flaw.or(Some((ErrorKind::Control, at + method.len() + 1)));
    }
    Some((StartLine::Request { method: locate(bytes, method)?, uri: locate(bytes, inner)? }, flaw))
}

/// `SIP-Version SP 3DIGIT SP Reason-Phrase`. A missing reason phrase and its space are let pass.
fn status_line(bytes: &[u8], line: &[u8]) -> Option<(StartLine, Option<(ErrorKind, usize)>)> {
    let (version, rest) = split(line, memchr(b' ', line)?)?;
    let (code, reason) = match memchr(b' ', rest) {
        Some(space) => split(rest, space)?,
        None => (rest, rest.get(rest.len()..)?),
    };
    let status = octets::number(code).filter(|_| code.len() == 3).and_then(|code| u16::try_from(code).ok())?;
    if !(100..=699).contains(&status) {
        return None;
    }
    let line_at = locate(bytes, line)?.start as usize;
    let control = reason.iter().position(|&byte| byte != b'\t' && (byte < b' ' || byte == 0x7f));
    let flaw = if is_version_2(version) {
        control.map(|found| (ErrorKind::Control, line_at + line.len() - reason.len() + found))
    } else {
        Some((ErrorKind::Version, line_at))
    };
    Some((StartLine::Response { status, reason: locate(bytes, reason)? }, flaw))
}

/// The parts before and after the one octet at `at`.
fn split(bytes: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// The version is compared in any case (RFC 3261 7.1).
fn is_sip(prefix: &[u8]) -> bool {
    prefix.eq_ignore_ascii_case(b"SIP/")
}

fn is_version_2(version: &[u8]) -> bool {
    version.eq_ignore_ascii_case(b"SIP/2.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(line: &[u8]) -> Option<Option<ErrorKind>> {
        parse(line, 0, line.len()).map(|(_, flaw)| flaw.map(|(kind, _)| kind))
    }

    #[test]
    fn request_lines() {
        assert_eq!(flaw(b"INVITE sip:a@b SIP/2.0"), Some(None));
        assert_eq!(flaw(b"INVITE sip:a@b sip/2.0"), Some(None));
        assert_eq!(flaw(b"INVITE  sip:a@b SIP/2.0"), Some(Some(ErrorKind::StartLineSpace)));
        assert_eq!(flaw(b"INVITE sip:a@b; lr SIP/2.0"), Some(Some(ErrorKind::StartLineSpace)));
        assert_eq!(flaw(b"INVITE sip:a@b SIP/2.0  "), Some(Some(ErrorKind::StartLineSpace)));
        assert_eq!(flaw(b"INVITE sip:a@b SIP/7.0"), Some(Some(ErrorKind::Version)));
        assert_eq!(flaw(b"INVITE sip:a\0@b SIP/2.0"), Some(Some(ErrorKind::Control)));
        for garbage in
            [&b""[..], b" ", b"INVITE", b"INVITE SIP/2.0", b"GET / HTTP/1.1", b"IN(VITE sip:a SIP/2.0", b"\x16\x03\x01"]
        {
            assert_eq!(flaw(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn status_lines() {
        assert_eq!(flaw(b"SIP/2.0 200 OK"), Some(None));
        assert_eq!(flaw(b"SIP/2.0 200 "), Some(None));
        assert_eq!(flaw(b"SIP/2.0 200"), Some(None));
        assert_eq!(flaw("SIP/2.0 200 = 2**3 * 5**2 \u{442}\u{430}\u{43a}".as_bytes()), Some(None));
        assert_eq!(flaw(b"SIP/2.1 200 OK"), Some(Some(ErrorKind::Version)));
        for garbage in
            [&b"SIP/2.0 4294967301 better not"[..], b"SIP/2.0 20 x", b"SIP/2.0 099 x", b"SIP/2.0 700 x", b"SIP/2.0"]
        {
            assert_eq!(flaw(garbage), None, "{garbage:?}");
        }
    }
}
