//! The outgoing lines, by prefix: each call looks for its line, and an office may have hundreds of them.

use std::ops::RangeInclusive;
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::Trunk;

/// Which trunks the numbers with this prefix take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// What the dialled number begins with.
    pub prefix: Box<str>,
    /// So many characters at its start are left out.
    pub strip: usize,
    /// What is put before the rest.
    pub add: Box<str>,
    /// How many digits may be dialled; any number of them if `None`. An emergency number without this has to be dialled
    /// exactly.
    pub digits: Option<RangeInclusive<usize>>,
    /// The class in `may_dial` of accounts that such calls belong to.
    pub class: Option<Box<str>>,
    /// The trunks, the preferred one first. Never empty.
    pub trunks: Vec<Arc<Trunk>>,
    /// Whether it is an emergency number, which every registered phone may call.
    pub is_emergency: bool,
}

impl Outgoing {
    /// Whether this line takes a number with its prefix and so many digits.
    fn takes(&self, number: &str, digits: usize) -> bool {
        match &self.digits {
            Some(range) => range.contains(&digits),
            None => !self.is_emergency || number.len() == self.prefix.len(),
        }
    }

    /// Whether a number with its prefix has too many digits for it. Longer numbers than an emergency number are others.
    fn is_exceeded_by(&self, digits: usize) -> bool {
        !self.is_emergency && self.digits.as_ref().is_some_and(|range| digits > *range.end())
    }

    /// The number that the trunk gets for a dialled one.
    pub(crate) fn number(&self, dialled: &str) -> String {
        format!("{}{}", self.add, dialled.get(self.strip..).unwrap_or_default())
    }
}

/// The outgoing lines, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct OutgoingLines {
    lines: Vec<Outgoing>,
    /// The indices of the lines with this prefix, in their order.
    by_prefix: HashMap<Box<str>, SmallVec<[usize; 2]>>,
    /// The lengths of the prefixes, the longest first.
    lengths: SmallVec<[usize; 8]>,
}

impl FromIterator<Outgoing> for OutgoingLines {
    fn from_iter<I: IntoIterator<Item = Outgoing>>(lines: I) -> Self {
        let mut this = Self { lines: lines.into_iter().collect(), ..Self::default() };
        for (at, line) in this.lines.iter().enumerate() {
            this.by_prefix.entry(line.prefix.clone()).or_default().push(at);
            if let Err(place) = this.lengths.binary_search_by(|length| line.prefix.len().cmp(length)) {
                this.lengths.insert(place, line.prefix.len());
            }
        }
        this
    }
}

impl OutgoingLines {
    /// The lines, in the order of the configuration.
    pub fn iter(&self) -> std::slice::Iter<'_, Outgoing> {
        self.lines.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The line for a number without visual separators: the one with the longest prefix, and of these the first. Lines for
    /// other numbers of digits are passed over. But a number that is too long for a line is of none with a shorter prefix:
    /// networks ignore digits too many, so that a user could choose a class by adding some.
    pub(super) fn find(&self, number: &str) -> Option<&Outgoing> {
        let digits = number.bytes().filter(u8::is_ascii_digit).count();
        let prefixes = self.lengths.iter().filter_map(|length| number.get(..*length));
        for indices in prefixes.filter_map(|prefix| self.by_prefix.get(prefix)) {
            let mut lines = indices.iter().filter_map(|at| self.lines.get(*at));
            if let Some(line) = lines.clone().find(|line| line.takes(number, digits)) {
                return Some(line);
            }
            if lines.any(|line| line.is_exceeded_by(digits)) {
                return None;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(prefix: &str, digits: Option<RangeInclusive<usize>>, name: &str) -> Outgoing {
        Outgoing {
            prefix: prefix.into(),
            strip: 0,
            add: "".into(),
            digits,
            class: Some(name.into()),
            trunks: Vec::new(),
            is_emergency: name == "emergency",
        }
    }

    #[test]
    fn the_longest_prefix_wins_then_the_first_line() {
        let lines = [
            ("0", Some(4..=15), "national"),
            ("00", None, "international"),
            ("00", None, "never"),
            ("0049", Some(6..=15), "home"),
            ("0049", None, "any"),
            ("112", None, "emergency"),
            ("+", None, "e164"),
        ];
        let lines: OutgoingLines = lines.map(|(prefix, digits, name)| line(prefix, digits, name)).into_iter().collect();
        for (number, expected) in [
            ("0891234", Some("national")),
            ("089", None),
            ("0891234567890123", None),
            ("00441234", Some("international")),
            ("00498912", Some("home")),
            ("00491", Some("any")),
            ("112", Some("emergency")),
            ("1123", None),
            ("+49", Some("e164")),
            ("89", None),
            ("", None),
            ("\u{e4}\u{f6}", None),
        ] {
            assert_eq!(lines.find(number).and_then(|line| line.class.as_deref()), expected, "{number}");
        }
    }

    #[test]
    fn digits_too_many_lead_to_no_other_class() {
        let lines = [
            line("0", Some(4..=20), "national"),
            line("00", Some(8..=15), "international"),
            line("0049", Some(6..=12), "home"),
            line("0049", Some(18..=18), "service"),
            line("11", None, "local"),
            line("110", None, "emergency"),
        ];
        let lines: OutgoingLines = lines.into_iter().collect();
        for (number, expected) in [
            ("0044123456789012", None),
            ("004412", Some("national")),
            ("0049123456789", None),
            ("004912345678901234", Some("service")),
            ("1101", Some("local")),
        ] {
            assert_eq!(lines.find(number).and_then(|line| line.class.as_deref()), expected, "{number}");
        }
    }

    #[test]
    fn the_number_for_the_trunk() {
        for (prefix, strip, add, dialled, expected) in [
            ("0", 1, "+49", "0891234", "+49891234"),
            ("00", 2, "+", "00441234", "+441234"),
            ("9", 1, "", "9", ""),
            ("112", 0, "", "112", "112"),
        ] {
            let line = Outgoing { strip, add: add.into(), ..line(prefix, None, "") };
            assert_eq!(line.number(dialled), expected);
        }
    }
}
