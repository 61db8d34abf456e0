//! Character classes of RFC 3261 25.1 as one lookup table, and functions on runs of them.

use wide::u8x16;

/// `token`: the characters of method, header and parameter names.
pub(crate) const TOKEN: u16 = 1;
/// `user` without `escaped`: unreserved and user-unreserved (RFC 3261 25.1). `#` is in neither and should be sent as
/// `%23`, but phones send dialled `#21#` unescaped, and `#` has no other meaning in a SIP URI. It is forwarded
/// unchanged; user parts that this server writes have it escaped.
pub(crate) const USER: u16 = 1 << 1;
/// `password` without `escaped`.
pub(crate) const PASSWORD: u16 = 1 << 2;
/// `paramchar` of a URI parameter without `escaped`.
pub(crate) const URI_PARAM: u16 = 1 << 3;
/// `hname` and `hvalue` of a URI's header part without `escaped`, and the `=` and `&` between them.
pub(crate) const URI_HEADER: u16 = 1 << 4;
/// Octets of a host name. The underscore is not in the grammar, but many networks use it, so it is accepted.
pub(crate) const HOST: u16 = 1 << 5;
/// A Call-ID: any visible ASCII. That is `word [ "@" word ]` (RFC 3261 25.1) and also `=`, `#`, `,`, `;`, `&`, `$`,
/// `|`, `^` and a second `@`, which phones send. A Call-ID is only compared octet by octet (20.8), so these are
/// harmless, while refusing them would refuse calls. White space and octets above ASCII are refused.
pub(crate) const CALL_ID: u16 = 1 << 6;
/// An unquoted parameter value: any visible ASCII that does not end the parameter. Wider than `gen-value`, because
/// phones use `:`, `/` and `@` in tags.
pub(crate) const VALUE: u16 = 1 << 7;
/// The characters of a URI of an unknown scheme.
pub(crate) const URI: u16 = 1 << 8;
/// Space, tab, and the CR and LF of a folded line.
pub(crate) const LWS: u16 = 1 << 9;
/// Octets of a display name outside quotes: `token`, LWS, and octets above ASCII, which phones send unquoted.
pub(crate) const DISPLAY: u16 = 1 << 10;
/// Control characters that are not allowed in a header line outside a quoted pair.
pub(crate) const CONTROL: u16 = 1 << 11;
/// [`HOST`] without the dot.
pub(crate) const LABEL: u16 = 1 << 12;
/// `DIGIT`.
pub(crate) const DIGIT: u16 = 1 << 13;

/// Whether `byte` is in one of the classes of `mask`.
#[inline]
pub(crate) fn is(byte: u8, mask: u16) -> bool {
    classes_of(byte) & mask != 0
}

#[inline]
fn classes_of(byte: u8) -> u16 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or_default()
}

/// Whether `bytes` is not empty and all its octets are in `mask`.
pub(crate) fn all(bytes: &[u8], mask: u16) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is(byte, mask))
}

/// Whether `bytes` is not empty and all visible ASCII. Checks sixteen octets at a time, because Call-IDs are long.
#[inline]
pub(crate) fn all_visible(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks();
    let invisible = chunks.iter().fold(u8x16::ZERO, |invisible, chunk| invisible | !visible(u8x16::new(*chunk)));
    !bytes.is_empty() && invisible.to_bitmask() == 0 && rest.iter().all(u8::is_ascii_graphic)
}

/// Length of the run of octets of the classes `mask` at the start of `bytes`.
#[inline]
pub(crate) fn run(bytes: &[u8], mask: u16) -> usize {
    let mut len = 0;
    while let Some(&byte) = bytes.get(len)
        && is(byte, mask)
    {
        len += 1;
    }
    len
}

/// Length of the run of [`VALUE`] at the start. Checks sixteen octets at a time, because branches and tags are long.
#[inline]
pub(crate) fn value_run(bytes: &[u8]) -> usize {
    let mut len = 0;
    while let Some(octets) = bytes.get(len..).and_then(<[u8]>::first_chunk) {
        let octets = u8x16::new(*octets);
        let ends = b"\";,<>".iter().fold(!visible(octets), |ends, end| ends | octets.simd_eq(u8x16::splat(*end)));
        match ends.to_bitmask() {
            0 => len += 16,
            ends => return len + ends.trailing_zeros() as usize,
        }
    }
    len + run(bytes.get(len..).unwrap_or_default(), VALUE)
}

/// The position of the first of these octets. Checks sixteen octets at a time. For values, which are too short to gain
/// from `memchr`.
#[inline]
pub(crate) fn position_of<const N: usize>(any: [u8; N], bytes: &[u8]) -> Option<usize> {
    let find = |chunk: &[u8; 16]| {
        let octets = u8x16::new(*chunk);
        let found = any.iter().fold(u8x16::ZERO, |found, octet| found | octets.simd_eq(u8x16::splat(*octet)));
        Some(found.to_bitmask()).filter(|found| *found != 0).map(|found| found.trailing_zeros() as usize)
    };
    let (chunks, rest) = bytes.as_chunks();
    let found = chunks.iter().zip(0..).find_map(|(chunk, at)| Some(16 * at + find(chunk)?));
    found.or_else(|| match bytes.last_chunk() {
        // The octets before the rest are none of these.
        Some(last) => Some(bytes.len() - last.len() + find(last)?),
        None => rest.iter().position(|octet| any.contains(octet)),
    })
}

/// A mask of the octets that are visible ASCII.
#[inline]
fn visible(octets: u8x16) -> u8x16 {
    octets.simd_eq(octets.max(u8x16::splat(0x21)).min(u8x16::splat(0x7e)))
}

/// As [`run`], including `escaped` (RFC 3261 25.1): a `%` without two hex digits ends the run.
#[inline]
pub(crate) fn escaped_run(bytes: &[u8], mask: u16) -> usize {
    let mut len = run(bytes, mask);
    while bytes.get(len) == Some(&b'%')
        && escapes_are_whole(bytes.get(len..bytes.len().min(len + 3)).unwrap_or_default())
    {
        len += 3 + run(bytes.get(len + 3..).unwrap_or_default(), mask);
    }
    len
}

/// Whether `word` equals `name` ignoring case. Tries exact equality first: most senders spell names as the RFCs do.
#[inline(always)]
pub fn eq_ignore_case(word: &[u8], name: &[u8]) -> bool {
    word == name || word.eq_ignore_ascii_case(name)
}

/// `bytes` without LWS at either end.
#[inline]
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    trim_start(trim_end(bytes))
}

/// `bytes` without LWS at its end.
#[inline]
pub(crate) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., byte @ ..=b' '] = bytes
        && is(*byte, LWS)
    {
        bytes = rest;
    }
    bytes
}

/// `bytes` without LWS at its start. There is rarely any.
#[inline]
pub(crate) fn trim_start(bytes: &[u8]) -> &[u8] {
    match bytes {
        [] => bytes,
        [first, ..] if *first > b' ' => bytes,
        [b' ', rest @ ..] if rest.first().is_some_and(|next| *next > b' ') => rest,
        _ => trim_start_run(bytes),
    }
}

#[inline(never)]
fn trim_start_run(bytes: &[u8]) -> &[u8] {
    bytes.get(run(bytes, LWS)..).unwrap_or_default()
}

/// Whether each `%` is followed by two hex digits (`escaped`).
pub(crate) fn escapes_are_whole(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'%', bytes).all(|at| {
        let digits = bytes.get(at + 1..at + 3).unwrap_or_default();
        digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit)
    })
}

/// The value of `1*DIGIT`, `None` if there is another octet or none at all. Saturates at `u64::MAX`.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0_u64, |sum, &byte| {
        byte.is_ascii_digit().then(|| sum.saturating_mul(10).saturating_add(u64::from(byte - b'0')))
    })
}

/// Appends a number in decimal, without allocating a `String`.
pub fn write_decimal(out: &mut Vec<u8>, value: impl Into<u64>) {
    let mut rest = value.into();
    if rest < 10 {
        return out.push(b'0' + rest as u8);
    }
    let (mut digits, mut len) = ([0; 20], 0);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        len += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - len..).unwrap_or_default());
}

static CLASSES: [u16; 256] = classes();

const fn classes() -> [u16; 256] {
    let mut table = [0_u16; 256];
    table = add_set(table, b"-.!%*_+`'~", TOKEN | DISPLAY);
    table = add_set(table, b"-_.!~*'()&=+$,;?/#", USER);
    table = add_set(table, b"-_.!~*'()&=+$,", PASSWORD);
    table = add_set(table, b"-_.!~*'()[]/:&+$", URI_PARAM);
    table = add_set(table, b"-_.!~*'()[]/?:+$=&", URI_HEADER);
    table = add_set(table, b"-._", HOST);
    table = add_set(table, b"-_", LABEL);
    table = add_set(table, b" \t\r\n", LWS | DISPLAY);
    table = add_range(table, b'0', b'9', ALPHANUMERIC | DIGIT);
    table = add_range(table, b'a', b'z', ALPHANUMERIC);
    table = add_range(table, b'A', b'Z', ALPHANUMERIC);
    table = add_range(table, 0x80, 0xff, DISPLAY);
    table = add_range(table, 0x21, 0x7e, VALUE | URI | CALL_ID);
    table = remove_set(table, b"\";,<>", VALUE);
    table = remove_set(table, b"\"<>\\^`{|}", URI);
    table = add_range(table, 0x00, 0x08, CONTROL);
    table = add_range(table, 0x0b, 0x0c, CONTROL);
    table = add_range(table, 0x0e, 0x1f, CONTROL);
    add_range(table, 0x7f, 0x7f, CONTROL)
}

const ALPHANUMERIC: u16 = TOKEN | USER | PASSWORD | URI_PARAM | URI_HEADER | HOST | LABEL | DISPLAY;

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where an index out of bounds is an error")]
const fn add_set(mut table: [u16; 256], set: &[u8], mask: u16) -> [u16; 256] {
    let mut at = 0;
    while at < set.len() {
        table[set[at] as usize] |= mask;
        at += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where an index out of bounds is an error")]
const fn remove_set(mut table: [u16; 256], set: &[u8], mask: u16) -> [u16; 256] {
    let mut at = 0;
    while at < set.len() {
        table[set[at] as usize] &= !mask;
        at += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where an index out of bounds is an error")]
const fn add_range(mut table: [u16; 256], first: u8, last: u8, mask: u16) -> [u16; 256] {
    let mut byte = first as usize;
    while byte <= last as usize {
        table[byte] |= mask;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_section_25() {
        for byte in 0..=255_u8 {
            let token = byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
            assert_eq!(is(byte, TOKEN), token, "{byte:#x}");
            assert_eq!(is(byte, LWS), b" \t\r\n".contains(&byte));
            assert_eq!(is(byte, CONTROL), byte.is_ascii_control() && !is(byte, LWS));
        }
        assert!(!is(b'@', USER) && !is(b':', USER) && is(b'?', USER) && is(b'#', USER));
        assert!(!is(b';', URI_PARAM) && is(b'[', URI_PARAM));
    }

    #[test]
    fn vector_runs_equal_scalar_runs() {
        for byte in 0..=255_u8 {
            for at in 0..40 {
                let mut text = [b'x'; 40];
                text[at] = byte;
                assert_eq!(value_run(&text), run(&text, VALUE), "{byte:#x} at {at}");
                assert_eq!(all_visible(&text), is(byte, CALL_ID), "{byte:#x} at {at}");
                let position = |text: &[u8]| text.iter().position(|octet| b"!#".contains(octet));
                assert_eq!(position_of(*b"!#", &text[..at + 1]), position(&text[..at + 1]), "{byte:#x} at {at}");
                assert_eq!(position_of(*b"!#", &text[at..]), position(&text[at..]), "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn numbers_are_read_and_written() {
        assert_eq!(number(b"007"), Some(7));
        assert_eq!(number(b"99999999999999999999999"), Some(u64::MAX));
        assert_eq!(number(b""), None);
        assert_eq!(number(b"-1"), None);
        let mut out = Vec::new();
        write_decimal(&mut out, 0u32);
        write_decimal(&mut out, u32::MAX);
        write_decimal(&mut out, u64::MAX);
        assert_eq!(out, b"0429496729518446744073709551615");
    }

    #[test]
    fn folds_are_trimmed() {
        assert_eq!(trim(b" \r\n\ta b\t "), b"a b");
        assert_eq!(trim(b" \t"), b"");
    }

    #[test]
    fn incomplete_escapes_are_refused() {
        assert!(escapes_are_whole(b"a%20%Ff"));
        assert!(!escapes_are_whole(b"a%2"));
        assert!(!escapes_are_whole(b"%zz"));
    }
}
