//! Octets as hexadecimal text, for keys and hashes in files. Decides nothing.

use std::fmt::Write as _;

/// Exactly `N` octets; `None` for anything else.
pub(crate) fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    let mut octets = [0; N];
    if digits.len() != N * 2 {
        return None;
    }
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *octet = digit(high)? << 4 | digit(low)?;
    }
    Some(octets)
}

/// Lower-case digits.
pub(crate) fn write(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn hexadecimal_text_is_written_and_read() {
        assert_eq!(super::read("00fF7a"), Some([0, 255, 122]));
        assert_eq!(super::write(&[0, 255, 122]), "00ff7a");
        for bad in ["00", "0000000", "00zz00", "é0000"] {
            assert_eq!(super::read::<3>(bad), None, "{bad}");
        }
    }
}
