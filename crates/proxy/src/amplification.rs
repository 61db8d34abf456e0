//! The longest response that this server sends to a request whose source address may be forged.
//!
//! An attacker can send a request over UDP with the address of a victim as its source. The response then goes to the
//! victim. If it is much longer than the request, this server multiplies the traffic of the attacker. So a response to
//! a UDP sender that is neither authenticated nor in `trusted` is at most `limits.amplification` times as long as its
//! request. SIP has no such rule; the default of 3 is that of RFC 9000 8.1.
//!
//! [`shorten`] removes whole header lines, the least important first, and discards the response if that is not enough.
//! It must not touch what RFC 3261 8.2.6.2 copies from the request, nor a header that the status requires (Min-Expires,
//! Expires, Path, Record-Route).

use std::ops::Range;

use parser::{HeaderName, Transport};
use smallvec::SmallVec;

use crate::request::Request;
use crate::settings::Settings;

/// The result of [`shorten`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fitted {
    /// The response was short enough.
    #[default]
    Whole,
    /// Some header lines were removed.
    Shortened,
    /// The response is too long even without them, and was discarded.
    Discarded,
}

/// The headers to remove, in this order, and how many lines of each stay. Of several lines the last is removed first.
const REMOVAL_ORDER: [(HeaderName, usize); 16] = [
    // Useful, but the same in every response; the client can send the request again over TCP to see them.
    (HeaderName::Date, 0),
    (HeaderName::Accept, 0),
    (HeaderName::Allow, 0),
    (HeaderName::Supported, 0),
    (HeaderName::AllowEvents, 0),
    (HeaderName::Reason, 0),
    (HeaderName::Warning, 0),
    (HeaderName::RetryAfter, 0),
    // RFC 3261 18.3: without Content-Length the body of a datagram ends with the datagram.
    (HeaderName::ContentLength, 0),
    // RFC 3261 8.1.3.5: the client repeats the request without the tags that it reads here. If it reads only some
    // of them, the next response lists the others. So the list is shortened first, and removed only further below.
    (HeaderName::Unsupported, 1),
    // RFC 8760 2.3: the first challenge has the strongest algorithm.
    (HeaderName::WwwAuthenticate, 1),
    (HeaderName::ProxyAuthenticate, 1),
    // The first Contact of a redirection is the best; the first of a registration is one that the REGISTER names.
    (HeaderName::Contact, 1),
    (HeaderName::ServiceRoute, 0),
    (HeaderName::Unsupported, 0),
    (HeaderName::AuthenticationInfo, 0),
];

/// The most octets that a response to this request may have.
pub(crate) fn max_len(request: &Request, settings: &Settings) -> usize {
    let forgeable = request.flow.transport == Transport::Udp;
    if !forgeable || request.proven.is_authenticated() || settings.trusts(request.flow.remote.ip()) {
        return usize::MAX;
    }
    settings.limits.amplification.saturating_mul(request.message.bytes().len())
}

/// Shortens the response in `out[start..]` to `limit` octets.
///
/// Only header lines in `out[own..]`, which this server added, are removed. The response has no body.
pub(crate) fn shorten(out: &mut Vec<u8>, start: usize, own: usize, limit: usize) -> Fitted {
    let excess = out.len().saturating_sub(start).saturating_sub(limit);
    if excess == 0 {
        return Fitted::Whole;
    }
    match parts_to_remove(out.get(own..).unwrap_or_default(), excess) {
        None => {
            out.truncate(start);
            Fitted::Discarded
        }
        Some(mut removed) => {
            // The last part first: a removal moves everything behind it.
            removed.sort_unstable_by_key(|part| std::cmp::Reverse(part.start));
            for part in removed {
                out.drain(own + part.start..own + part.end);
            }
            Fitted::Shortened
        }
    }
}

type Parts = SmallVec<[Range<usize>; 8]>;

/// The parts of these header lines whose removal saves at least `excess` octets; `None` if there are not enough.
fn parts_to_remove(text: &[u8], mut excess: usize) -> Option<Parts> {
    let lines = header_lines(text);
    let mut removed = Parts::new();
    for (name, stay) in REMOVAL_ORDER {
        let named = lines.iter().filter(|(other, _)| *other == name).map(|(_, line)| line);
        let parts: Parts = if name == HeaderName::Unsupported && stay > 0 {
            named.take(stay).filter_map(|line| last_list_elements(text, line, excess)).collect()
        } else {
            named.skip(stay).cloned().collect()
        };
        for part in parts.into_iter().rev() {
            if excess == 0 {
                return Some(removed);
            }
            // If a part of this line has been chosen before, the whole line replaces it.
            let before = removed.iter().position(|other| other.start >= part.start && other.end <= part.end);
            let counted = before.map_or(0, |at| removed.swap_remove(at).len());
            excess = excess.saturating_sub(part.len() - counted);
            removed.push(part);
        }
    }
    (excess == 0).then_some(removed)
}

/// The name of each header line, and its position including the CRLF. A line may be folded (RFC 3261 7.3.1) if its
/// value is copied from the request.
fn header_lines(text: &[u8]) -> SmallVec<[(HeaderName, Range<usize>); 16]> {
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

/// The shortest tail of the list in this line that has `excess` octets; all but the first element if no tail is that
/// long.
fn last_list_elements(text: &[u8], line: &Range<usize>, excess: usize) -> Option<Range<usize>> {
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

    /// What is left of the lines in `own` if the response is `excess` octets too long; `None` if it is discarded.
    fn shortened(own: &str, excess: usize) -> Option<String> {
        let before = "another message\r\n\r\n";
        let mut out = format!("{before}{REPEATED}{own}{END}").into_bytes();
        let limit = out.len() - before.len() - excess;
        let fitted = shorten(&mut out, before.len(), before.len() + REPEATED.len(), limit);
        let out = String::from_utf8(out).unwrap();
        let answer = out.strip_prefix(before).expect("the text before the response is unchanged");
        assert_eq!(fitted == Fitted::Discarded, answer.is_empty());
        assert_eq!(fitted == Fitted::Whole, excess == 0);
        assert!(answer.len() <= limit, "{answer}");
        (!answer.is_empty()).then(|| answer.strip_prefix(REPEATED).expect("copied headers are unchanged").to_owned())
    }

    #[test]
    fn the_least_important_header_is_removed_first() {
        let own = "Allow: OPTIONS\r\nAccept: a/b\r\nSupported: path\r\n";
        let all = format!("{own}{END}");
        assert_eq!(shortened(own, 0), Some(all.clone()));
        assert_eq!(shortened(own, 1), Some(all.replace("Accept: a/b\r\n", "")));
        assert_eq!(shortened(own, 14), Some(format!("Supported: path\r\n{END}")));
        assert_eq!(shortened(own, 48), Some("\r\n".to_owned()));
        assert_eq!(shortened(own, 65), Some("\r\n".to_owned()));
        assert_eq!(shortened(own, 66), None);
        assert_eq!(shortened("Min-Expires: 60\r\n", 20), None, "a header that the status requires is not removed");
    }

    #[test]
    fn of_several_lines_the_first_is_kept() {
        for name in ["WWW-Authenticate", "Proxy-Authenticate", "Contact"] {
            let line = |value: &str| format!("{name}: {value}\r\n");
            let own = format!("{}{}{}", line("one"), line("two"), line("three"));
            assert_eq!(shortened(&own, 20), Some(format!("{}{}\r\n", line("one"), line("two"))));
            assert_eq!(shortened(&own, 20 + line("three").len()), Some(format!("{}\r\n", line("one"))));
            assert_eq!(shortened(&own, 60 + line("three").len()), None);
        }
    }

    #[test]
    fn a_list_of_option_tags_is_cut_between_two_tags() {
        let own = "Unsupported: aa, bb, cc, dd\r\n";
        let left = |tags: &str| Some(format!("Unsupported: {tags}\r\n\r\n"));
        assert_eq!(shortened(own, 19), left("aa, bb, cc, dd"));
        assert_eq!(shortened(own, 20), left("aa, bb, cc"));
        assert_eq!(shortened(own, 24), left("aa, bb"));
        assert_eq!(shortened(own, 31), left("aa"));
        assert_eq!(shortened(own, 32), Some("\r\n".to_owned()));
        assert_eq!(shortened("Unsupported: a\r\n \tb, c\r\n", 20), left("a\r\n \tb"), "a folded line is one line");
    }
}
