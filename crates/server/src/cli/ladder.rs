//! A ladder of messages as text.
//!
//! Decides the form: a column for the server and for each peer while they fit into the width, else a line with both ends
//! in words. Text of peers is escaped.

use hashbrown::HashMap;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::text::counted;
use crate::text::printable::escape_line;
use crate::trace::{Direction, Entry};

/// The length of a time, the width of its column, and the least width of the others.
const TIME_TEXT: usize = 12;
const TIME: usize = 14;
const MIN_COLUMN: usize = 22;

/// The width of a peer in a line without columns.
const PEER: usize = 25;

/// Calls that are numbered. If there are more, the numbers begin again.
const MAX_CALLS: usize = 10_000;

/// The state of a ladder: its columns.
pub(super) struct Ladder {
    /// `None`: without columns.
    width: Option<usize>,
    /// The names of the peers. The server is the second column.
    peers: Vec<String>,
    /// The numbers of the calls by their ids.
    calls: HashMap<String, usize>,
    time_zone: TimeZone,
}

impl Ladder {
    /// For a terminal of this width; `None`: without columns.
    pub(super) fn new(width: Option<usize>) -> Self {
        Self { width, peers: Vec::new(), calls: HashMap::new(), time_zone: TimeZone::system() }
    }

    /// The line of a message, below the heads of the columns if there is a new one.
    pub(super) fn message(&mut self, entry: &Entry) -> String {
        let peer = format!("{} {}", entry.remote, escape_line(&entry.transport));
        let call = entry.call.as_ref().map(|call| format!("[{}] ", self.number(call))).unwrap_or_default();
        let summary = escape_line(&entry.summary);
        let time = self.time(entry);
        let Some((at, column, is_new)) = self.column(&peer) else {
            let (arrow, peer) = match entry.direction {
                Direction::Received => ("-> here", peer),
                Direction::Sent => ("<- here", peer),
            };
            return format!("{time}  {peer:PEER$} {arrow}  {call}{summary}\n");
        };
        let head = if is_new { self.head(column) } else { String::new() };
        // The server is between the first peer and the others.
        let (from, to) = match entry.direction {
            Direction::Received => (at, 1),
            Direction::Sent => (1, at),
        };
        let line = self.arrow(column, (from, to), &format!("{call}{summary}"));
        format!("{head}{time}{line}\n")
    }

    /// The line for messages that are missing.
    pub(super) fn lost(&self, count: u64) -> String {
        let count = counted::counted(usize::try_from(count).unwrap_or(usize::MAX), "message is", "messages are");
        format!("… {count} missing here: there were too many (limits.trace_rate, limits.trace_memory)\n")
    }

    fn number(&mut self, call: &str) -> usize {
        if self.calls.len() >= MAX_CALLS {
            self.calls.clear();
        }
        let next = self.calls.len() + 1;
        *self.calls.entry_ref(call).or_insert(next)
    }

    /// Local time.
    fn time(&self, entry: &Entry) -> String {
        let micros = i64::try_from(entry.micros()).unwrap_or_default();
        let time = self.time_zone.to_datetime(Timestamp::from_microsecond(micros).unwrap_or_default());
        time.strftime("%H:%M:%S%.3f").to_string()
    }

    /// The column of a peer, the width of all columns, and whether it is new; `None` if the columns do not fit. Then there
    /// are none from now on.
    fn column(&mut self, peer: &str) -> Option<(usize, usize, bool)> {
        let width = self.width?;
        let known = self.peers.iter().position(|known| known == peer);
        let index = known.unwrap_or(self.peers.len());
        if known.is_none() {
            self.peers.push(peer.to_owned());
        }
        let column = width.saturating_sub(TIME) / (self.peers.len() + 1).max(3);
        if column < MIN_COLUMN {
            self.width = None;
            return None;
        }
        Some((if index == 0 { 0 } else { index + 1 }, column, known.is_none()))
    }

    fn head(&self, column: usize) -> String {
        let (first, others) = self.peers.split_at(1.min(self.peers.len()));
        let names = first.iter().map(String::as_str).chain(["frontdesk"]).chain(others.iter().map(String::as_str));
        let names = names.map(|name| format!("{:^column$}", shortened(name, column - 1)));
        format!("{:TIME$}{}", "", names.collect::<String>()).trim_end().to_owned() + "\n"
    }

    fn arrow(&self, column: usize, (from, to): (usize, usize), label: &str) -> String {
        let (left, right) = (from.min(to), from.max(to));
        let space = (right - left) * column - 1;
        let label = shortened(label, space - 4);
        let line = format!("{:-^1$}", format!(" {label} "), space - 1);
        let arrow = if from < to { format!("{line}>") } else { format!("<{line}") };
        let mut out = " ".repeat(TIME - TIME_TEXT + column / 2);
        // The arrow hides the lines of the columns that it crosses.
        for at in (0..=self.peers.len()).filter(|at| *at <= left || *at >= right) {
            out.push('|');
            out.push_str(&if at == left { arrow.clone() } else { " ".repeat(column - 1) });
        }
        out.trim_end().to_owned()
    }
}

/// At most so many characters. The domain is left out first.
fn shortened(label: &str, max: usize) -> String {
    if label.chars().count() <= max {
        return label.to_owned();
    }
    let label = label.split_once('@').map_or(label, |(user, _)| user);
    match label.chars().count() <= max {
        true => label.to_owned(),
        false => label.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(direction: Direction, remote: &str, call: &str, summary: &str) -> Entry {
        Entry {
            at: "2026-12-01T10:12:01.123456Z".to_owned(),
            direction,
            transport: "udp".to_owned(),
            local: "192.0.2.1:5060".parse().expect("an address"),
            remote: remote.parse().expect("an address"),
            call: Some(call.to_owned()),
            summary: summary.to_owned(),
            message: String::new(),
            octets: None,
        }
    }

    fn ladder(width: Option<usize>) -> Ladder {
        Ladder { time_zone: TimeZone::UTC, ..Ladder::new(width) }
    }

    fn call(ladder: &mut Ladder) -> String {
        let (alice, bob) = ("192.0.2.7:5060", "192.0.2.8:40000");
        [
            entry(Direction::Received, alice, "a", "INVITE 101@office.example"),
            entry(Direction::Sent, alice, "a", "100 Trying (INVITE)"),
            entry(Direction::Sent, bob, "a", "INVITE 101@192.0.2.8"),
            entry(Direction::Sent, bob, "b", "OPTIONS 101@a\u{1b}[2J"),
            entry(Direction::Received, "192.0.2.9:5060", "a", "BYE"),
        ]
        .iter()
        .map(|entry| ladder.message(entry))
        .collect()
    }

    #[test]
    fn each_peer_has_a_column() {
        let expected = "
                   192.0.2.7:5060 udp                frontdesk
10:12:01.123                |----- [1] INVITE 101 ------>|
10:12:01.123                |<- [1] 100 Trying (INVITE) -|
                   192.0.2.7:5060 udp                frontdesk               192.0.2.8:40000 udp
10:12:01.123                |                            | [1] INVITE 101@192.0.2.8 ->|
10:12:01.123                |                            |----- [2] OPTIONS 101 ----->|
10:12:01.123  192.0.2.9:5060 udp        -> here  [1] BYE
";
        // One more column would be too narrow.
        assert_eq!(format!("\n{}", call(&mut ladder(Some(101)))), expected);
    }

    #[test]
    fn a_crossing_arrow_and_no_columns() {
        let shown = call(&mut ladder(Some(140)));
        let last = shown.lines().last().expect("a line");
        assert!(last.ends_with("|") && last.contains("|<---") && last.contains(" [1] BYE "), "{shown}");
        let expected = "\
10:12:01.123  192.0.2.7:5060 udp        -> here  [1] INVITE 101@office.example
10:12:01.123  192.0.2.7:5060 udp        <- here  [1] 100 Trying (INVITE)
10:12:01.123  192.0.2.8:40000 udp       <- here  [1] INVITE 101@192.0.2.8
10:12:01.123  192.0.2.8:40000 udp       <- here  [2] OPTIONS 101@a\\u001b[2J
10:12:01.123  192.0.2.9:5060 udp        -> here  [1] BYE
";
        for width in [None, Some(60)] {
            assert_eq!(call(&mut ladder(width)), expected);
        }
        assert!(ladder(None).lost(1).contains("1 message is missing here"));
    }
}
