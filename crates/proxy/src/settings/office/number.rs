//! The written forms of a telephone number (RFC 3966 3, 5.1.1).

/// The number without visual separators. `None` if it has none, or is not a number: a `+` at most at the start, digits,
/// and `-`, `.`, `(`, `)` or a space between them.
pub fn plain_number(text: &[u8]) -> Option<Vec<u8>> {
    let (plus, rest) = match text.strip_prefix(b"+") {
        Some(rest) => (&b"+"[..], rest),
        None => (&b""[..], text),
    };
    let is_separator = |octet: &u8| matches!(octet, b'-' | b'.' | b'(' | b')' | b' ');
    let is_number = rest.iter().all(|octet| octet.is_ascii_digit() || is_separator(octet));
    if !is_number || !rest.iter().any(is_separator) || !rest.iter().any(u8::is_ascii_digit) {
        return None;
    }
    Some(plus.iter().chain(rest.iter().filter(|octet| octet.is_ascii_digit())).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_removed_from_numbers_only() {
        let plain = |text: &str| plain_number(text.as_bytes()).map(|number| String::from_utf8(number).unwrap());
        for (written, expected) in [
            ("+49-89-123451", Some("+4989123451")),
            ("(089) 1234.51", Some("089123451")),
            ("6-0-0", Some("600")),
            ("+4989123451", None),
            ("600", None),
            ("a-1", None),
            ("+", None),
            ("-", None),
            ("", None),
            ("1+2-3", None),
        ] {
            assert_eq!(plain(written).as_deref(), expected, "{written}");
        }
    }
}
