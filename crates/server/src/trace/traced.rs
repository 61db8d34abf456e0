//! A message of a trace: when, in which direction, between which addresses, and its octets without credentials.
//!
//! Decides what is said about a message in one line, and the id of its call. Nothing here is escaped: who prints it must.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use parser::headers::CallId;
use parser::{Message, Method, Transport, hex_text};
use sha2::{Digest as _, Sha256};

use super::blank::blank;
use super::tap::{OVERHEAD, RawMessage};

/// Whether the server received or sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// From the peer.
    Received,
    /// To the peer.
    Sent,
}

/// Identifies a call: the first octets of a hash of its Call-ID. It is the same at each server and after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallKey([u8; 16]);

impl CallKey {
    /// The key of the call with this Call-ID. Nobody can find two Call-IDs with the same key.
    pub(crate) fn of(call_id: &[u8]) -> Self {
        let hash = Sha256::digest(call_id);
        Self(hash.first_chunk().copied().unwrap_or_default())
    }

    /// The id of the call in the admin API.
    pub(crate) fn text(&self) -> String {
        hex_text(&self.0)
    }
}

/// A message of a trace.
#[derive(Debug)]
pub(crate) struct TracedMessage {
    /// When, in microseconds since 1970 by the clock of the machine.
    pub(crate) at: u64,
    /// Whether the server received or sent it.
    pub(crate) direction: Direction,
    /// The transport.
    pub(crate) transport: Transport,
    /// The address of this server. Over a connection that the server opened, the port is the one of its listener.
    pub(crate) local: SocketAddr,
    /// The address of the peer.
    pub(crate) remote: SocketAddr,
    /// Its call; `None` if it cannot be read.
    pub(crate) call: Option<CallKey>,
    /// The message. Credentials are blanked.
    pub(crate) octets: Bytes,
}

impl TracedMessage {
    /// Blanks the credentials and finds the call. The parsed message is returned as well, if it can be parsed.
    pub(super) fn new(raw: RawMessage) -> (Self, Option<Message>) {
        let RawMessage { at, direction, transport, local, remote, mut octets } = raw;
        blank(&mut octets);
        let octets = Bytes::from(octets);
        let message = Message::parse(octets.clone()).ok();
        let call = message.as_ref().and_then(call_id).map(CallKey::of);
        (Self { at, direction, transport, local, remote, call, octets }, message)
    }

    /// Where it came from, and where it went.
    pub(crate) const fn ends(&self) -> (SocketAddr, SocketAddr) {
        match self.direction {
            Direction::Received => (self.remote, self.local),
            Direction::Sent => (self.local, self.remote),
        }
    }

    /// The memory that it takes.
    pub(super) fn memory(&self) -> usize {
        self.octets.len() + OVERHEAD
    }

    /// `INVITE 101@office.example`, `180 Ringing (INVITE)`.
    pub(crate) fn summary(&self) -> String {
        match Message::parse(self.octets.clone()) {
            Ok(message) => summary(&message),
            Err(_) => format!("not readable, {} octets", self.octets.len()),
        }
    }
}

/// The Call-ID of a message.
pub(super) fn call_id(message: &Message) -> Option<&[u8]> {
    message.header::<CallId<'_>>().ok().flatten().map(|CallId(call_id)| call_id)
}

/// An address as one of IPv6.
pub(super) const fn octets_v6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn summary(message: &Message) -> String {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let method = |method: Method<'_>| text(method.as_bytes());
    if let Some(status) = message.status() {
        return format!("{status} {} ({})", text(message.reason()), method(message.method()));
    }
    let uri = message.uri().ok();
    let address = uri.as_ref().and_then(|uri| uri.sip()).map(|uri| {
        let mut address = uri.user.map(|user| [user, b"@"].concat()).unwrap_or_default();
        uri.host.write(&mut address);
        text(&address)
    });
    format!("{} {}", method(message.method()), address.unwrap_or_else(|| text(message.request_uri())))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A message between the server and a phone.
    pub(in crate::trace) fn raw(direction: Direction, text: &str) -> RawMessage {
        let (local, remote) = (([192, 0, 2, 1], 5060).into(), ([192, 0, 2, 7], 40_000).into());
        let (at, transport) = (1_764_547_200_123_456, Transport::Udp);
        RawMessage { at, direction, transport, local, remote, octets: text.as_bytes().to_vec() }
    }

    /// A request of a call.
    pub(in crate::trace) fn request(method: &str, call_id: &str) -> String {
        format!(
            "{method} sip:101@office.example:5060;x=y SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1\r\n\
             From: \"B\" <sip:102@office.example>;tag=1\r\nTo: <sip:100@office.example>\r\nCall-ID: {call_id}\r\n\
             CSeq: 1 {method}\r\nContact: <sip:103@192.0.2.7>\r\nContent-Length: 0\r\n\r\n"
        )
    }

    #[test]
    fn a_message_is_summed_up() {
        let summary = |text: &str| TracedMessage::new(raw(Direction::Received, text)).0.summary();
        assert_eq!(summary(&request("INVITE", "1")), "INVITE 101@office.example");
        assert_eq!(summary("SIP/2.0 180 Ringing\r\nCSeq: 1 INVITE\r\n\r\n"), "180 Ringing (INVITE)");
        assert_eq!(summary("OPTIONS tel:+49 SIP/2.0\r\n\r\n"), "OPTIONS tel:+49");
        assert_eq!(summary("hello"), "not readable, 5 octets");
    }

    #[test]
    fn the_id_of_a_call_is_always_the_same() {
        let (message, parsed) = TracedMessage::new(raw(Direction::Received, &request("BYE", "a84b4c76e66710")));
        assert_eq!(message.call, Some(CallKey::of(b"a84b4c76e66710")));
        assert_eq!(CallKey::of(b"a84b4c76e66710").text(), "ca6296c8d774a12cead2f3c6a4e40b13");
        assert!(parsed.is_some());
        assert_eq!(TracedMessage::new(raw(Direction::Sent, "x")).0.call, None);
    }
}
