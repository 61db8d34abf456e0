//! Hexadecimal digits of hashes, keys, numbers and escapes. What is written has lower-case digits (`LHEX`, RFC 3261
//! 25.1).

/// The two digits of each octet; [`as_flattened`](slice::as_flattened) makes one text of them.
#[inline]
pub fn hex_digits<const N: usize>(octets: [u8; N]) -> [[u8; 2]; N] {
    let mut digits = [[0; 2]; N];
    for ([high, low], octet) in digits.iter_mut().zip(octets) {
        (*high, *low) = (digit(octet >> 4), digit(octet & 0xf));
    }
    digits
}

/// The digit of a value below 16. Computed without a table, so that the compiler can handle sixteen octets at a time.
#[inline]
const fn digit(value: u8) -> u8 {
    value + if value < 10 { b'0' } else { b'a' - 10 }
}

/// The digits of all octets as text.
pub fn hex_text(octets: &[u8]) -> String {
    let digits = |octet: &u8| {
        let [digits] = hex_digits([*octet]);
        digits.map(char::from)
    };
    octets.iter().flat_map(digits).collect()
}

/// The sixteen digits of a number.
#[inline]
pub fn hex_number(value: u64) -> [u8; 16] {
    // Sixteen octets are encoded with fewer instructions than eight.
    let digits = hex_digits(u128::from(value).to_be_bytes());
    digits.as_flattened().last_chunk().copied().unwrap_or_default()
}

/// Appends the last `width` digits of `value`, at most 32.
#[inline]
pub fn write_hex(out: &mut Vec<u8>, value: impl Into<u128>, width: usize) {
    let digits = hex_digits(value.into().to_be_bytes());
    out.extend_from_slice(digits.as_flattened().get(32_usize.saturating_sub(width)..).unwrap_or_default());
}

/// The number that 1 to 16 lower-case digits stand for; `None` for any other text. Upper-case digits are refused, so
/// that a number has only one spelling of each length.
pub fn read_hex(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 16 {
        return None;
    }
    // All digits are read before the decision, so that the loop has no branch.
    let (number, all) = text.iter().fold((0, 0), |(number, all), digit| {
        let value = VALUES.get(usize::from(*digit)).copied().unwrap_or(NO_DIGIT);
        (number << 4 | u64::from(value), all | value)
    });
    (all < 16).then_some(number)
}

/// Exactly `N` octets from text with digits in any case; `None` for any other text.
pub fn hex_octets<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_chunks();
    let mut octets = [0; N];
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (octet, [high, low]) in octets.iter_mut().zip(pairs) {
        *octet = hex_value(*high)? << 4 | hex_value(*low)?;
    }
    Some(octets)
}

/// The value of a digit in any case.
#[inline]
pub(crate) fn hex_value(digit: u8) -> Option<u8> {
    lower_value(digit.to_ascii_lowercase())
}

#[inline]
fn lower_value(digit: u8) -> Option<u8> {
    VALUES.get(usize::from(digit)).copied().filter(|value| *value != NO_DIGIT)
}

const NO_DIGIT: u8 = u8::MAX;

/// The value of each lower-case digit; [`NO_DIGIT`] for other octets.
#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where an index out of bounds is an error")]
static VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[digit(value) as usize] = value;
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_round_trip() {
        let octets: [u8; 256] = std::array::from_fn(|octet| octet as u8);
        let text = hex_text(&octets);
        assert!(text.starts_with("000102") && text.ends_with("fdfeff"));
        assert_eq!(hex_digits(octets).as_flattened(), text.as_bytes());
        assert_eq!(hex_octets(text.as_bytes()), Some(octets));
        assert_eq!(hex_octets(text.to_uppercase().as_bytes()), Some(octets));
        for bad in ["00", "0000000", "00zz00", "é0000"] {
            assert_eq!(hex_octets::<3>(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn numbers_round_trip() {
        let written = |value: u128, width| {
            let mut out = Vec::new();
            write_hex(&mut out, value, width);
            out
        };
        assert_eq!(written(0xab, 4), b"00ab");
        assert_eq!(written(0xabcd, 2), b"cd");
        assert_eq!(written(u128::MAX, 33), [b'f'; 32]);
        assert_eq!(read_hex(&written(0xab, 4)), Some(0xab));
        assert_eq!(read_hex(&written(u64::MAX.into(), 16)), Some(u64::MAX));
        for bad in ["", "00AB", "0g", "00000000000000000"] {
            assert_eq!(read_hex(bad.as_bytes()), None, "{bad}");
        }
    }
}
