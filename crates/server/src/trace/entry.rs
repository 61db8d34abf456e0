//! A message of a trace in the admin API, as docs/openapi.yaml defines it; also what `frontdesk trace` reads.
//!
//! Decides nothing.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parser::{hex_octets, hex_text};
use serde::{Deserialize, Serialize};

use super::traced::{Direction, TracedMessage};

/// A message.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Entry {
    /// RFC 3339, with microseconds.
    pub(crate) at: String,
    pub(crate) direction: Direction,
    pub(crate) transport: String,
    /// The address of the server.
    pub(crate) local: SocketAddr,
    /// The address of the peer.
    pub(crate) remote: SocketAddr,
    /// The id of the call.
    pub(crate) call: Option<String>,
    pub(crate) summary: String,
    /// The message.
    pub(crate) message: String,
    /// Its octets in hexadecimal, if it is not UTF-8.
    pub(crate) octets: Option<String>,
}

/// One line of a live trace.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum TraceLine {
    /// A message.
    Message(Box<Entry>),
    /// Messages are missing here.
    Lost {
        /// How many.
        lost: u64,
    },
}

impl Entry {
    /// Of this message.
    pub(crate) fn new(traced: &TracedMessage) -> Self {
        let is_text = std::str::from_utf8(&traced.octets).is_ok();
        Self {
            at: rfc3339(traced.at),
            direction: traced.direction,
            transport: traced.transport.param().to_owned(),
            local: traced.local,
            remote: traced.remote,
            call: traced.call.map(|call| call.text()),
            summary: traced.summary(),
            message: String::from_utf8_lossy(&traced.octets).into_owned(),
            octets: (!is_text).then(|| hex_text(&traced.octets)),
        }
    }

    /// The octets of the message.
    pub(crate) fn octets(&self) -> Bytes {
        match &self.octets {
            Some(octets) => octets.as_bytes().chunks(2).filter_map(hex_octets::<1>).flatten().collect(),
            None => self.message.clone().into(),
        }
    }

    /// When, in microseconds since 1970.
    pub(crate) fn micros(&self) -> u64 {
        let at = humantime::parse_rfc3339(&self.at).ok();
        let since = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or_default()
    }

    /// Where it came from, and where it went.
    pub(crate) const fn ends(&self) -> (SocketAddr, SocketAddr) {
        match self.direction {
            Direction::Received => (self.remote, self.local),
            Direction::Sent => (self.local, self.remote),
        }
    }
}

/// A time of the machine's clock.
pub(crate) fn rfc3339(micros: u64) -> String {
    // RFC 3339 ends with the year 9999.
    let since = Duration::from_micros(micros.min(253_402_300_799_000_000));
    humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::traced::tests::raw;
    use super::*;

    #[test]
    fn an_entry_gives_back_the_octets_and_the_time() {
        let (traced, _) = TracedMessage::new(raw(Direction::Received, "MESSAGE ü"));
        let entry = Entry::new(&traced);
        assert_eq!(entry.at, "2025-12-01T00:00:00.123456Z");
        assert_eq!((entry.micros(), entry.octets(), &entry.octets), (traced.at, traced.octets, &None));
        let mut latin = raw(Direction::Received, "");
        latin.octets = b"MESSAGE \xfc".to_vec();
        let line = serde_json::to_string(&TraceLine::Message(Box::new(Entry::new(&TracedMessage::new(latin).0))));
        let line = serde_json::from_str(&line.expect("JSON")).expect("a line");
        assert!(matches!(line, TraceLine::Message(entry) if entry.octets() == b"MESSAGE \xfc"[..]));
        assert!(matches!(serde_json::from_str("{\"lost\":3}"), Ok(TraceLine::Lost { lost: 3 })));
    }
}
