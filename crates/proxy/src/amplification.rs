//! How long an answer made here may be. The source of a datagram can be forged: an answer that is much longer than its request
//! makes this server an amplifier against whoever owns the address.
//!
//! To a UDP sender that has proved nothing (no valid credentials, not in `trusted`), an answer is at most
//! `limits.amplification` times as long as its request; the default of 3 is that of RFC 9000 8.1, as SIP has no such rule.
//! [`fit`] cuts what was written: it takes whole header lines away, those first that their reader misses least, and sends
//! nothing if that is not enough. It must not touch what RFC 3261 8.2.6.2 repeats of the request, or what a status cannot do
//! without (Min-Expires, Expires, Path, Record-Route).

use std::ops::Range;

use parser::{HeaderName, Transport};
use smallvec::SmallVec;

use crate::request::Request;
use crate::settings::Settings;

/// What became of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fitted {
    /// It is as it was written.
    #[default]
    Whole,
    /// It was shortened.
    Cut,
    /// It was too long all the same: there is none.
    Nothing,
}

/// What is left out, the first row first, and how many lines of that name stay. The last lines of a name go first.
const LEFT_OUT: [(HeaderName, usize); 16] = [
    // Good to know, and the same in every answer: the request may be made again over TCP.
    (HeaderName::Date, 0),
    (HeaderName::Accept, 0),
    (HeaderName::Allow, 0),
    (HeaderName::Supported, 0),
    (HeaderName::AllowEvents, 0),
    (HeaderName::Reason, 0),
    (HeaderName::Warning, 0),
    (HeaderName::RetryAfter, 0),
    // RFC 3261 18.3: a datagram ends where its body does.
    (HeaderName::ContentLength, 0),
    // RFC 3261 8.1.3.5: the request without one of the tags fails again, and says the next ones. Cut, not left out.
    (HeaderName::Unsupported, 1),
    // RFC 8760 2.3: the strongest algorithm is the first.
    (HeaderName::WwwAuthenticate, 1),
    (HeaderName::ProxyAuthenticate, 1),
    // Of a redirection the best one stays; of a registration one that was asked for.
    (HeaderName::Contact, 1),
    (HeaderName::ServiceRoute, 0),
    (HeaderName::Unsupported, 0),
    (HeaderName::AuthenticationInfo, 0),
];

/// How many octets the answer to this request may have.
pub(crate) fn limit(request: &Request, settings: &Settings) -> usize {
    let forgeable = request.flow.transport == Transport::Udp;
    if !forgeable || request.proven.is_somebody() || settings.trusts(request.flow.remote.ip()) {
        return usize::MAX;
    }
    settings.limits.amplification.saturating_mul(request.message.bytes().len())
}

/// Cuts the answer in `out` from `start` on to `limit` octets. From `own` on it has header lines of ours, up to its end; it
/// has no body.
pub(crate) fn fit(out: &mut Vec<u8>, start: usize, own: usize, limit: usize) -> Fitted {
    let excess = out.len().saturating_sub(start).saturating_sub(limit);
    if excess == 0 {
        return Fitted::Whole;
    }
    match left_out(out.get(own..).unwrap_or_default(), excess) {
        None => {
            out.truncate(start);
            Fitted::Nothing
        }
        Some(mut gone) => {
            // From the end, so that what is still to go stays where it is.
            gone.sort_unstable_by_key(|part| std::cmp::Reverse(part.start));
            for part in gone {
                out.drain(own + part.start..own + part.end);
            }
            Fitted::Cut
        }
    }
}

type Parts = SmallVec<[Range<usize>; 8]>;

/// The parts of these header lines to leave out, so that at least `excess` octets go; none if that cannot be.
fn left_out(text: &[u8], mut excess: usize) -> Option<Parts> {
    let lines = lines(text);
    let mut gone = Parts::new();
    for (name, stay) in LEFT_OUT {
        let named = lines.iter().filter(|(other, _)| *other == name).map(|(_, line)| line);
        let parts: Parts = if name == HeaderName::Unsupported && stay > 0 {
            named.take(stay).filter_map(|line| last_elements(text, line, excess)).collect()
        } else {
            named.skip(stay).cloned().collect()
        };
        for part in parts.into_iter().rev() {
            if excess == 0 {
                return Some(gone);
            }
            // A line of which a part is gone already goes as a whole.
            let before = gone.iter().position(|other| other.start >= part.start && other.end <= part.end);
            let counted = before.map_or(0, |at| gone.swap_remove(at).len());
            excess = excess.saturating_sub(part.len() - counted);
            gone.push(part);
        }
    }
    (excess == 0).then_some(gone)
}

/// The name of each header line, and where it is with its CRLF. A value that repeats something of the request may be folded
/// (RFC 3261 7.3.1).
fn lines(text: &[u8]) -> SmallVec<[(HeaderName, Range<usize>); 16]> {
    let mut lines = SmallVec::new();
    let mut start = 0;
    for (at, _) in text.windows(2).enumerate().filter(|(_, pair)| *pair == b"\r\n") {
        let end = at + 2;
        if matches!(text.get(end), Some(b' ' | b'\t')) {
            continue;
        }
        let line = text.get(start..end).unwrap_or_default();
        let name = line.iter().position(|octet| *octet == b':').and_then(|colon| line.get(..colon));
        if let Some(name) = name {
            lines.push((HeaderName::from_bytes(name), start..end));
        }
        start = end;
    }
    lines
}

/// The last elements of the list in a line, so many that `excess` octets go if that leaves one.
fn last_elements(text: &[u8], line: &Range<usize>, excess: usize) -> Option<Range<usize>> {
    let end = line.end - 2;
    let commas = || (line.start..end).filter(|at| text.get(*at) == Some(&b','));
    let cut = commas().rfind(|comma| end - comma >= excess).or_else(|| commas().next())?;
    Some(cut..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPEATED: &str = "SIP/2.0 420 Bad Extension\r\nVia: SIP/2.0/UDP a\r\nDate: is\r\n\tnot ours\r\n";
    const END: &str = "Content-Length: 0\r\n\r\n";

    /// What is left of our lines where so many octets are too much; none if nothing is sent.
    fn cut(own: &str, excess: usize) -> Option<String> {
        let before = "another message\r\n\r\n";
        let mut out = format!("{before}{REPEATED}{own}{END}").into_bytes();
        let limit = out.len() - before.len() - excess;
        let fitted = fit(&mut out, before.len(), before.len() + REPEATED.len(), limit);
        let out = String::from_utf8(out).unwrap();
        let answer = out.strip_prefix(before).expect("what was there before stays");
        assert_eq!(fitted == Fitted::Nothing, answer.is_empty());
        assert_eq!(fitted == Fitted::Whole, excess == 0);
        assert!(answer.len() <= limit, "{answer}");
        (!answer.is_empty()).then(|| answer.strip_prefix(REPEATED).expect("what is repeated stays").to_owned())
    }

    #[test]
    fn what_is_missed_least_goes_first() {
        let own = "Allow: OPTIONS\r\nAccept: a/b\r\nSupported: path\r\n";
        let all = format!("{own}{END}");
        assert_eq!(cut(own, 0), Some(all.clone()));
        assert_eq!(cut(own, 1), Some(all.replace("Accept: a/b\r\n", "")));
        assert_eq!(cut(own, 14), Some(format!("Supported: path\r\n{END}")));
        assert_eq!(cut(own, 48), Some("\r\n".to_owned()));
        assert_eq!(cut(own, 65), Some("\r\n".to_owned()));
        assert_eq!(cut(own, 66), None);
        assert_eq!(cut("Min-Expires: 60\r\n", 20), None, "what a status cannot do without stays");
    }

    #[test]
    fn of_several_lines_the_first_stays() {
        for name in ["WWW-Authenticate", "Proxy-Authenticate", "Contact"] {
            let line = |value: &str| format!("{name}: {value}\r\n");
            let own = format!("{}{}{}", line("one"), line("two"), line("three"));
            assert_eq!(cut(&own, 20), Some(format!("{}{}\r\n", line("one"), line("two"))));
            assert_eq!(cut(&own, 20 + line("three").len()), Some(format!("{}\r\n", line("one"))));
            assert_eq!(cut(&own, 60 + line("three").len()), None);
        }
    }

    #[test]
    fn a_list_of_tags_is_cut_between_them() {
        let own = "Unsupported: aa, bb, cc, dd\r\n";
        let left = |tags: &str| Some(format!("Unsupported: {tags}\r\n\r\n"));
        assert_eq!(cut(own, 19), left("aa, bb, cc, dd"));
        assert_eq!(cut(own, 20), left("aa, bb, cc"));
        assert_eq!(cut(own, 24), left("aa, bb"));
        assert_eq!(cut(own, 31), left("aa"));
        assert_eq!(cut(own, 32), Some("\r\n".to_owned()));
        assert_eq!(cut("Unsupported: a\r\n \tb, c\r\n", 20), left("a\r\n \tb"), "a folded line is one");
    }
}
