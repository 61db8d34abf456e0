//! Blanks what would let a reader of a trace log in, or guess a password: digest responses and other credentials (RFC
//! 3261 20.7, 20.28, 22; RFC 7616 3.4, 3.5), and passwords in URIs (RFC 3261 19.1.1).
//!
//! Decides what stays readable. Works on the octets and not on a parsed message: a message may be unreadable for the
//! parser, have more lines than it stores, or carry headers in its body (RFC 3420), and its credentials must not be shown
//! either. No octet is added or removed, and no line end is changed, so lengths and lines stay those of the message.
//!
//! Within a header with credentials only what is known to be harmless is kept, because a phone may write what this
//! parser does not expect. Challenges are kept: a nonce alone says nothing about a password.

use parser::HeaderName;

/// What replaces an octet.
const BLANK: u8 = b'x';

/// Parameters whose values do not depend on the password (RFC 7616 3.3 to 3.5).
const HARMLESS: [&str; 14] = [
    "username",
    "username*",
    "userhash",
    "realm",
    "domain",
    "nonce",
    "nextnonce",
    "uri",
    "algorithm",
    "cnonce",
    "opaque",
    "qop",
    "nc",
    "stale",
];

/// Parameters whose name is kept and whose value is blanked: what depends on the password.
const SECRET: [&str; 2] = ["response", "rspauth"];

/// Authentication schemes, whose names are kept.
const SCHEMES: [&str; 3] = ["Digest", "Basic", "Bearer"];

/// Blanks the credentials in a message, or in what may be one.
pub(crate) fn blank(message: &mut [u8]) {
    let mut rest = &mut *message;
    while !rest.is_empty() {
        let (len, value_at) = line(rest);
        let (this, next) = rest.split_at_mut_checked(len).unwrap_or_default();
        if let Some(value) = value_at.and_then(|at| this.get_mut(at..)) {
            blank_credentials(value);
        }
        rest = next;
    }
    blank_uri_passwords(message);
}

/// The length of the line at the start of `text`, and where the value begins if it is a header with credentials. Such a
/// line includes its continuation lines. A CR without LF ends other lines but not these: some parsers take it for white
/// space.
fn line(text: &[u8]) -> (usize, Option<usize>) {
    let name = run(text, is_token);
    let space = run(text.get(name..).unwrap_or_default(), |octet| matches!(octet, b' ' | b'\t'));
    let has_credentials = text.get(name + space) == Some(&b':')
        && matches!(
            HeaderName::from_bytes(text.get(..name).unwrap_or_default()),
            HeaderName::Authorization
                | HeaderName::ProxyAuthorization
                | HeaderName::AuthenticationInfo
                | HeaderName::ProxyAuthenticationInfo
        );
    if !has_credentials {
        let end = text.iter().position(|octet| matches!(octet, b'\r' | b'\n'));
        return (end.map_or(text.len(), |end| end + 1), None);
    }
    let is_end = |pair: &[u8]| matches!(pair, [b'\n', next] if !matches!(next, b' ' | b'\t'));
    let end = text.windows(2).position(is_end).map_or(text.len(), |end| end + 1);
    (end, Some(name + space + 1))
}

/// Blanks the value of a header with credentials.
fn blank_credentials(mut rest: &mut [u8]) {
    while let Some(&first) = rest.first() {
        let name = run(rest, is_token);
        let mut len = name.max(1);
        if name > 0 {
            len = blank_parameter(rest, name);
        } else if first == b'"' {
            len = quoted(rest).unwrap_or(rest.len());
            fill(rest.get_mut(..len));
        } else if first != b',' {
            fill(rest.get_mut(..len));
        }
        rest = rest.get_mut(len..).unwrap_or_default();
    }
}

/// Blanks the parameter or the word at the start of `text`, whose name has the length `name`. Returns its length.
fn blank_parameter(text: &mut [u8], name: usize) -> usize {
    let is_one_of = |words: &[&str]| {
        text.get(..name).is_some_and(|name| words.iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes())))
    };
    let (is_scheme, is_harmless, is_secret) = (is_one_of(&SCHEMES), is_one_of(&HARMLESS), is_one_of(&SECRET));
    let after = |at: usize| at + run(text.get(at..).unwrap_or_default(), |octet| octet.is_ascii_whitespace());
    let equals = after(name);
    if text.get(equals) != Some(&b'=') {
        if !is_scheme {
            fill(text.get_mut(..name));
        }
        return name;
    }
    let start = after(equals + 1);
    let value = text.get(start..).unwrap_or_default();
    let is_quoted = value.first() == Some(&b'"');
    let closed = if is_quoted { quoted(value) } else { Some(run(value, is_token)) };
    let len = closed.unwrap_or(value.len());
    let value = value.get(..len).unwrap_or_default();
    // What has an escape, or contains the name of a secret, may be something else for another parser.
    let is_plain = closed.is_some() && !value.contains(&b'\\') && !SECRET.iter().any(|name| contains(value, name));
    if !(is_scheme || is_harmless || is_secret) {
        // Base64 looks like a parameter too.
        fill(text.get_mut(..name));
    }
    if !(is_harmless && is_plain) {
        let quotes = usize::from(is_quoted && closed.is_some());
        fill(text.get_mut(start + quotes..start + len - quotes));
    }
    start + len
}

/// Blanks `:password` before the `@` of every SIP URI.
fn blank_uri_passwords(message: &mut [u8]) {
    let mut at = 0;
    while let Some(rest) = message.get(at..) {
        let Some(colon) = rest.iter().position(|octet| *octet == b':') else { return };
        at += colon + 1;
        let scheme = rest.get(..colon).unwrap_or_default();
        let ends_with = |word: &[u8]| {
            scheme
                .len()
                .checked_sub(word.len())
                .and_then(|start| scheme.get(start..))
                .is_some_and(|end| end.eq_ignore_ascii_case(word))
        };
        if !ends_with(b"sip") && !ends_with(b"sips") {
            continue;
        }
        let user_info = message.get(at..).unwrap_or_default();
        // RFC 3261 25.1: a user and a password may contain a comma. Phones also send octets that are not ASCII.
        let is_inside = |octet: u8| octet > b' ' && octet != 0x7f && !matches!(octet, b'@' | b'<' | b'>' | b'"');
        let len = run(user_info, is_inside);
        let user = run(user_info, |octet| is_inside(octet) && octet != b':');
        if user_info.get(len) == Some(&b'@') && user < len {
            fill(message.get_mut(at + user + 1..at + len));
        }
        // Any other URI within this text ends at the same place. So each octet is looked at once, whoever wrote it.
        at += len;
    }
}

/// Blanks these octets except white space and line ends.
fn fill(octets: Option<&mut [u8]>) {
    octets.into_iter().flatten().filter(|octet| !octet.is_ascii_whitespace()).for_each(|octet| *octet = BLANK);
}

/// The length of the quoted string at the start of `text`, with its quotes; `None` if it does not end.
fn quoted(text: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    let end = text.iter().skip(1).position(|octet| {
        let ends = *octet == b'"' && !is_escaped;
        is_escaped = *octet == b'\\' && !is_escaped;
        ends
    })?;
    Some(end + 2)
}

fn contains(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

/// The number of octets at the start of `text` that are of this kind.
fn run(text: &[u8], is_kind: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|octet| !is_kind(*octet)).unwrap_or(text.len())
}

/// RFC 3261 25.1 `token`.
const fn is_token(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
        || matches!(octet, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blanked(text: &str) -> String {
        let mut octets = text.as_bytes().to_vec();
        blank(&mut octets);
        String::from_utf8(octets).expect("ASCII")
    }

    #[test]
    fn digest_responses_are_blanked() {
        for (line, expected) in [
            (
                "Authorization: Digest username=\"a\", response=\"0123abcd\", nc=1",
                "Authorization: Digest username=\"a\", response=\"xxxxxxxx\", nc=1",
            ),
            (
                "PROXY-authorization:digest Response = \"ab\" ,uri=\"sip:a@b\"",
                "PROXY-authorization:digest Response = \"xx\" ,uri=\"sip:a@b\"",
            ),
            (
                "Authorization \t: Digest response=abcd,nonce=\"n=1==\"",
                "Authorization \t: Digest response=xxxx,nonce=\"n=1==\"",
            ),
            // A comma list, and a second set of credentials in it.
            (
                "Authorization: Digest response=\"a1\", Digest response=\"b2\"",
                "Authorization: Digest response=\"xx\", Digest response=\"xx\"",
            ),
            (
                "Authentication-Info: nextnonce=\"n\", rspauth=\"ab\", cnonce=\"c\"",
                "Authentication-Info: nextnonce=\"n\", rspauth=\"xx\", cnonce=\"c\"",
            ),
            // Folded.
            (
                "Authorization: Digest\r\n response\r\n\t=\r\n \"a\r\n b\"",
                "Authorization: Digest\r\n response\r\n\t=\r\n \"x\r\n x\"",
            ),
            ("Authorization: Digest a=1\rresponse=ab", "Authorization: Digest x=x\rresponse=xx"),
            // Another scheme.
            ("Authorization: Basic dXNlcjpwYXNz=", "Authorization: Basic xxxxxxxxxxxx="),
            ("Authorization: Bearer abc.d/e+f=", "Authorization: Bearer xxxxxxxxx="),
            // Mistakes: no comma, no end, an escape.
            ("Authorization: Digest nonce=\"n\"response=\"ab\"", "Authorization: Digest nonce=\"n\"response=\"xx\""),
            ("Authorization: Digest nonce=\"n, response=ab", "Authorization: Digest nonce=xxx xxxxxxxxxxx"),
            ("Authorization: Digest nonce=\"n, response=\"ab\"", "Authorization: Digest nonce=\"xx xxxxxxxxx\"xxx"),
            (
                "Authorization: Digest nonce=\"n\\\", response=ab, x=\"1\"",
                "Authorization: Digest nonce=\"xxxx xxxxxxxxxxxx xx\"xx",
            ),
            ("Authorization: 0123abcd", "Authorization: xxxxxxxx"),
            // Within a body, and what is kept.
            ("\r\n\r\nAuthorization: Digest response=\"ab\"", "\r\n\r\nAuthorization: Digest response=\"xx\""),
            ("WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"", "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\""),
            ("Subject: response=\"ab\"", "Subject: response=\"ab\""),
        ] {
            let rest = "\r\nVia: SIP/2.0/UDP a;response=1\r\n";
            assert_eq!(blanked(&format!("{line}{rest}")), format!("{expected}{rest}"));
        }
        // The name has no compact form that would have to be known here.
        let names = [HeaderName::Authorization, HeaderName::ProxyAuthorization, HeaderName::AuthenticationInfo];
        assert!(names.iter().all(|name| name.compact().is_none()));
    }

    #[test]
    fn passwords_of_uris_are_blanked() {
        for (text, expected) in [
            ("To: <sip:a:secret@b.example:5060>;tag=1", "To: <sip:a:xxxxxx@b.example:5060>;tag=1"),
            ("INVITE SIPS:a:s@b SIP/2.0", "INVITE SIPS:a:x@b SIP/2.0"),
            ("Contact: <sip:a@b:5060>,<sip:c:d@e>", "Contact: <sip:a@b:5060>,<sip:c:x@e>"),
            ("Route: <sip:b:5060;lr>", "Route: <sip:b:5060;lr>"),
            ("To: sip:sip:a:s@b", "To: sip:sip:xxx@b"),
            ("a=rtpmap:0 PCMU/8000 me@b", "a=rtpmap:0 PCMU/8000 me@b"),
            ("To: <sip:alice:pa,ss@h>", "To: <sip:alice:xxxxx@h>"),
            ("To: <sip:a,b:topsecret@h>", "To: <sip:a,b:xxxxxxxxx@h>"),
            ("To: <sip:u:päss@h>", "To: <sip:u:xxxxx@h>"),
            ("To: <sip:ü:pass@h>, <sip:b@h>", "To: <sip:ü:xxxx@h>, <sip:b@h>"),
            // Without spaces and brackets more than the password may be blanked, as in a URI with a comma.
            ("Contact: sip:a@b:5060,sip:c:d@e", "Contact: sip:a@b:5060,sip:c:x@e"),
            ("Contact: sip:b:5060,sip:c:d@e", "Contact: sip:b:xxxxxxxxxxxx@e"),
        ] {
            assert_eq!(blanked(text), expected);
        }
    }

    proptest! {
        /// Whatever precedes and follows it: no panic, the same length and line ends, and no response is left.
        #[test]
        fn no_response_is_left(
            start in "(Digest )?([ -~]|\r\n |\t|nonce=\"|uri=\"|, |\\\\){0,30}",
            equals in "[ \t]{0,2}(\r\n )?=[ \t]{0,2}(\r\n )?",
            quote in any::<bool>(),
            end in "([ -~]|\r\n |\r|\"|,){0,30}",
            name in prop::sample::select(vec!["Authorization", "authorization \t", "PROXY-AUTHORIZATION", "Authentication-Info", "Proxy-Authentication-Info "]),
            parameter in prop::sample::select(vec!["response", "RESPONSE", "Response", "rspauth", "RspAuth"]),
            lines in prop::collection::vec("[ -~]{0,20}(\r\n|\n|\r)", 0..4),
        ) {
            let secret = "5ecre7c0de5ecre7c0de";
            let quote = if quote { "\"" } else { "" };
            let message = format!("{}\r\n{name}:{start},{parameter}{equals}{quote}{secret}{quote}{end}\r\n\r\n", lines.concat());
            let mut octets = message.clone().into_bytes();
            blank(&mut octets);
            prop_assert_eq!(octets.len(), message.len());
            let ends = |octets: &[u8]| octets.iter().map(|octet| matches!(octet, b'\r' | b'\n')).collect::<Vec<_>>();
            prop_assert_eq!(ends(&octets), ends(message.as_bytes()));
            prop_assert!(!contains(&octets, secret), "{}", String::from_utf8_lossy(&octets));
        }

        /// RFC 3261 25.1 `userinfo`, and what a tolerant parser takes for it.
        #[test]
        fn no_password_of_a_uri_is_left(
            start in "([ -~]|sips?:|\r\n){0,30}",
            scheme in prop::sample::select(vec!["sip", "SIP", "sips", "Sips"]),
            user in "[A-Za-z0-9&=+$,;?/_.!~*'()%äß-]{1,10}",
            password in "[A-Za-z0-9&=+$,_.!~*'()%äß:;?/-]{0,10}",
        ) {
            let secret = "5ecre7c0de5ecre7c0de";
            for password in [format!("{password}{secret}"), format!("{secret}{password}")] {
                let message = format!("{start}{scheme}:{user}:{password}@h;x=1\r\n\r\n");
                let mut octets = message.clone().into_bytes();
                blank(&mut octets);
                prop_assert_eq!(octets.len(), message.len());
                prop_assert!(!contains(&octets, secret), "{}", String::from_utf8_lossy(&octets));
            }
        }

        #[test]
        fn any_octets_keep_their_length(octets in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut copy = octets.clone();
            blank(&mut copy);
            prop_assert_eq!(copy.len(), octets.len());
        }
    }
}
