//! The last lines of the log, for the status page.
//!
//! Decides how many are kept: a fixed number of lines of bounded length, so less than a mebibyte.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;

/// Lines that are kept.
const MAX_LINES: usize = 500;

/// Octets of a line that are kept.
const MAX_LENGTH: usize = 1024;

/// The last lines of the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecentLines(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    /// The newest last.
    kept: VecDeque<String>,
    /// Number of all lines since the start.
    count: u64,
}

impl RecentLines {
    /// The lines that are kept of those after the first `after`, and the number of all lines.
    pub(crate) fn after(&self, after: u64) -> (Vec<String>, u64) {
        let lines = self.0.lock();
        let kept = lines.kept.len() as u64;
        // A page of an earlier run of the server may ask for lines that do not exist yet.
        let new = if after > lines.count { kept } else { (lines.count - after).min(kept) };
        let skipped = usize::try_from(kept - new).unwrap_or(usize::MAX);
        (lines.kept.iter().skip(skipped).cloned().collect(), lines.count)
    }

    fn push(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line.get(..MAX_LENGTH).unwrap_or(line));
        let line = without_colours(line.trim_end());
        let mut lines = self.0.lock();
        if lines.kept.len() == MAX_LINES {
            lines.kept.pop_front();
        }
        lines.kept.push_back(line);
        lines.count += 1;
    }
}

/// Without the escape sequences that colour a line in a terminal: `ESC [ ... m`.
fn without_colours(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

/// Writes lines to `output`, and keeps them. Each line has to be written by one call.
#[derive(Clone, Debug)]
pub(crate) struct KeptOutput<W> {
    output: W,
    recent: RecentLines,
}

impl<W> KeptOutput<W> {
    /// Keeps the lines in `recent`.
    pub(crate) const fn new(output: W, recent: RecentLines) -> Self {
        Self { output, recent }
    }
}

impl<W: Write> Write for KeptOutput<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.recent.push(line);
        self.output.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        let recent = RecentLines::default();
        let mut log = KeptOutput::new(Vec::new(), recent.clone());
        for number in 1..=600 {
            log.write_all(format!("line {number}\n").as_bytes()).expect("room");
        }
        let (lines, count) = recent.after(0);
        assert_eq!((lines.len(), lines.first().map(String::as_str), count), (500, Some("line 101"), 600));
        assert_eq!(recent.after(598), (vec!["line 599".to_owned(), "line 600".to_owned()], 600));
        assert!(recent.after(600).0.is_empty());
        assert_eq!(recent.after(601).0.len(), 500, "the page is of an earlier run");
        assert!(log.output.ends_with(b"line 600\n"));
    }

    #[test]
    fn lines_are_bounded_and_have_no_colours() {
        let recent = RecentLines::default();
        recent.push(b"\x1b[2m12:00\x1b[0m \x1b[32m INFO\x1b[0m listening\n");
        recent.push("ü".repeat(1000).as_bytes());
        let (lines, _) = recent.after(0);
        assert_eq!(lines.first().map(String::as_str), Some("12:00  INFO listening"));
        assert!(lines.last().is_some_and(|line| line.len() <= MAX_LENGTH + 3));
    }
}
