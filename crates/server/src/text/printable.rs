//! Escapes text of peers before people see it: log lines, terminals, JSON.
//!
//! Decides which characters are escaped: those that end a line or begin a control sequence of a terminal (C0, DEL and
//! C1 controls, U+2028, U+2029), and those that reorder or hide text (Unicode TR 36 and 55: directional controls,
//! zero-width and other format characters, tags). They are written as `\u202e`, which is also the form of JSON.
//! Letters of every script are kept.

use std::borrow::Cow;
use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

/// Whether a character could make a line look different from its content.
pub(crate) fn is_deceptive(c: char) -> bool {
    c.is_control() || is_format(c)
}

// Unicode categories Cf, Zl and Zp.
const fn is_format(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1345f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Appends a character, escaped if it is deceptive.
pub(crate) fn push_printable(out: &mut String, c: char) {
    if is_deceptive(c) { push_escaped(out, c) } else { out.push(c) }
}

fn push_escaped(out: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}

/// Escapes a line for a terminal.
pub(crate) fn escape_line(text: &str) -> Cow<'_, str> {
    if text.bytes().all(is_plain) { text.into() } else { escape(text, is_deceptive) }
}

/// Whether an octet is a character that is never escaped; most texts have no other.
const fn is_plain(octet: u8) -> bool {
    matches!(octet, b' '..0x7f)
}

/// Escapes deceptive characters in JSON text, so that it can be printed.
pub(crate) fn escape_json(text: Vec<u8>) -> Vec<u8> {
    if text.is_ascii() {
        return text;
    }
    // Non-ASCII characters occur only within strings.
    let deceptive = |c: char| !c.is_ascii() && is_deceptive(c);
    escape(&String::from_utf8_lossy(&text), deceptive).into_owned().into_bytes()
}

fn escape(text: &str, deceptive: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&deceptive) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 32);
    text.chars().for_each(|c| if deceptive(c) { push_escaped(&mut out, c) } else { out.push(c) });
    out.into()
}

/// Escapes every log line, whatever it contains, so that one event is one line.
#[derive(Clone, Debug)]
pub(crate) struct LogWriter<W> {
    inner: W,
    /// Whether lines are coloured with escape sequences of this program.
    ansi: bool,
}

impl<W> LogWriter<W> {
    /// Writes to `inner`.
    pub(crate) const fn new(inner: W, ansi: bool) -> Self {
        Self { inner, ansi }
    }
}

impl<W: Write> Write for LogWriter<W> {
    /// `line` is a whole event, since the subscriber writes each event in one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (text, end) = line.strip_suffix(b"\n").map_or((line, ""), |text| (text, "\n"));
        if text.iter().all(|octet| is_plain(*octet) || (self.ansi && *octet == 0x1b)) {
            self.inner.write_all(line)?;
            return Ok(line.len());
        }
        let deceptive = |c: char| is_deceptive(c) && !(self.ansi && c == '\x1b');
        let text = String::from_utf8_lossy(text);
        self.inner.write_all(format!("{}{end}", escape(&text, deceptive)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<'a, W: Write + Clone> MakeWriter<'a> for LogWriter<W> {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deceptive_characters_are_escaped() {
        let mut all = String::new();
        "a\u{202e}ü漢ع\u{85}\u{2028}\u{2066}\u{200b}\u{feff}\u{e0041}\r\x1b👍\u{e9}"
            .chars()
            .for_each(|c| push_printable(&mut all, c));
        assert_eq!(all, r"a\u202eü漢ع\u0085\u2028\u2066\u200b\ufeff\udb40\udc41\u000d\u001b👍é");
        assert_eq!(escape_line("one\ntwo"), r"one\u000atwo");
        assert!(matches!(escape_line("Müller"), Cow::Borrowed(_)));
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let value = serde_json::json!({ "a\u{202e}": ["\n\u{2028}ü\u{1d173}", "\u{9b}"] });
        let text = escape_json(serde_json::to_vec(&value).expect("JSON"));
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).expect("JSON"), value);
        assert!(String::from_utf8(text).is_ok_and(|text| text.chars().all(|c| c.is_ascii() || c == 'ü')));
    }

    #[test]
    fn an_event_is_one_line() {
        for (ansi, written) in [(false, "a\\u000ab\\u001b[1mc\\u202e\n"), (true, "a\\u000ab\x1b[1mc\\u202e\n")] {
            let mut log = LogWriter::new(Vec::new(), ansi);
            let line = "a\nb\x1b[1mc\u{202e}\n";
            assert_eq!(log.write(line.as_bytes()).expect("room"), line.len());
            assert_eq!(String::from_utf8_lossy(&log.inner), written);
        }
        let mut log = LogWriter::new(Vec::new(), false);
        log.write_all(b"plain\nand broken \xff\n").expect("room");
        assert_eq!(String::from_utf8_lossy(&log.inner), "plain\\u000aand broken \u{fffd}\n");
    }
}
