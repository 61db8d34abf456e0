//! Sends messages to a capture server: HEP version 3 (HEP/EEP network protocol specification, revision 36) over UDP, for
//! Homer and sngrep.
//!
//! Decides the chunks. Never waits: what the socket does not take is lost and counted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use parser::{Message, Transport};

use super::traced::{TracedMessage, call_id, octets_v6};

/// The longest datagram over IPv4.
const MAX_DATAGRAM: usize = 65_507;

/// The length of the head of a datagram, and of a chunk.
const HEAD: usize = 6;
const CHUNK_HEAD: usize = 6;

/// The numbers of AF_INET and AF_INET6, and the protocol type of SIP.
const INET: u8 = 2;
const INET6: u8 = 10;
const SIP: u8 = 1;

/// Protocols of IP.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Chunks of vendor 0.
#[derive(Clone, Copy, Debug)]
#[repr(u16)]
enum Chunk {
    Family = 1,
    Protocol = 2,
    SourceV4 = 3,
    TargetV4 = 4,
    SourceV6 = 5,
    TargetV6 = 6,
    SourcePort = 7,
    TargetPort = 8,
    Seconds = 9,
    Micros = 10,
    ProtocolType = 11,
    AgentId = 12,
    Payload = 15,
    CorrelationId = 17,
}

/// The way to one capture server.
#[derive(Debug)]
pub(super) struct HepSender {
    to: SocketAddr,
    id: u32,
    socket: UdpSocket,
}

impl HepSender {
    /// To the server at `to`, for which this server is `id`.
    pub(super) fn open(to: SocketAddr, id: u32) -> io::Result<Self> {
        let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        // So ICMP messages are errors of the next call, and a capture server that is gone is noticed.
        socket.connect(to)?;
        Ok(Self { to, id, socket })
    }

    /// Whether it has these settings.
    pub(super) fn is_for(&self, to: SocketAddr, id: u32) -> bool {
        (self.to, self.id) == (to, id)
    }

    /// Sends a message. Returns how many are lost: this one, or an earlier one that ICMP says did not arrive.
    pub(super) fn send(&self, traced: &TracedMessage, message: Option<&Message>) -> u64 {
        let correlation = message.and_then(call_id).unwrap_or_default();
        let datagram = datagram(traced, correlation, self.id);
        match self.socket.send(&datagram) {
            Ok(_) => 0,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                1 + u64::from(self.socket.send(&datagram).is_err())
            }
            Err(_) => 1,
        }
    }
}

/// A message with its chunks. A message that is too long for a datagram is cut at its end.
fn datagram(traced: &TracedMessage, correlation: &[u8], id: u32) -> Vec<u8> {
    let (source, target) = traced.ends();
    let protocol = if traced.transport == Transport::Udp { UDP } else { TCP };
    let mut out = b"HEP3\0\0".to_vec();
    match (source.ip().to_canonical(), target.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            chunk(&mut out, Chunk::Family, &[INET]);
            chunk(&mut out, Chunk::Protocol, &[protocol]);
            chunk(&mut out, Chunk::SourceV4, &source.octets());
            chunk(&mut out, Chunk::TargetV4, &target.octets());
        }
        (source, target) => {
            chunk(&mut out, Chunk::Family, &[INET6]);
            chunk(&mut out, Chunk::Protocol, &[protocol]);
            chunk(&mut out, Chunk::SourceV6, &octets_v6(source));
            chunk(&mut out, Chunk::TargetV6, &octets_v6(target));
        }
    }
    chunk(&mut out, Chunk::SourcePort, &source.port().to_be_bytes());
    chunk(&mut out, Chunk::TargetPort, &target.port().to_be_bytes());
    // They end in 2106.
    chunk(&mut out, Chunk::Seconds, &((traced.at / 1_000_000) as u32).to_be_bytes());
    chunk(&mut out, Chunk::Micros, &((traced.at % 1_000_000) as u32).to_be_bytes());
    chunk(&mut out, Chunk::ProtocolType, &[SIP]);
    chunk(&mut out, Chunk::AgentId, &id.to_be_bytes());
    chunk(&mut out, Chunk::CorrelationId, correlation);
    let room = MAX_DATAGRAM.saturating_sub(out.len() + CHUNK_HEAD);
    chunk(&mut out, Chunk::Payload, traced.octets.get(..room).unwrap_or(&traced.octets));
    let length = u16::try_from(out.len()).unwrap_or(u16::MAX).to_be_bytes();
    out.splice(HEAD - 2..HEAD, length);
    out
}

/// Appends a chunk of vendor 0. An empty one is left out, and so is one that is longer than a datagram.
fn chunk(out: &mut Vec<u8>, kind: Chunk, content: &[u8]) {
    let Some(length) = u16::try_from(CHUNK_HEAD + content.len()).ok().filter(|_| !content.is_empty()) else { return };
    for field in [0, kind as u16, length] {
        out.extend(field.to_be_bytes());
    }
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::super::traced::Direction;
    use super::super::traced::tests::{raw, request};
    use super::*;

    /// The chunks of a datagram: kind and content.
    fn chunks(datagram: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let number = |at: usize| u16::from_be_bytes([datagram[at], datagram[at + 1]]);
        assert_eq!((&datagram[..4], usize::from(number(4))), (&b"HEP3"[..], datagram.len()));
        let (mut chunks, mut at) = (Vec::new(), 6);
        while at < datagram.len() {
            assert_eq!(number(at), 0, "the vendor");
            let end = at + usize::from(number(at + 4));
            chunks.push((number(at + 2), datagram[at + 6..end].to_vec()));
            at = end;
        }
        chunks
    }

    #[test]
    fn a_message_has_its_chunks() {
        let text = request("INVITE", "a84b4c76e66710");
        let (traced, message) = TracedMessage::new(raw(Direction::Sent, &text));
        let correlation = message.as_ref().and_then(call_id).expect("a Call-ID");
        assert_eq!(
            chunks(&datagram(&traced, correlation, 2001)),
            [
                (1, vec![2]),
                (2, vec![17]),
                (3, vec![192, 0, 2, 1]),
                (4, vec![192, 0, 2, 7]),
                (7, 5060_u16.to_be_bytes().to_vec()),
                (8, 40_000_u16.to_be_bytes().to_vec()),
                (9, 1_764_547_200_u32.to_be_bytes().to_vec()),
                (10, 123_456_u32.to_be_bytes().to_vec()),
                (11, vec![1]),
                (12, 2001_u32.to_be_bytes().to_vec()),
                (17, b"a84b4c76e66710".to_vec()),
                (15, text.into_bytes()),
            ]
        );
    }

    #[test]
    fn ipv6_streams_and_long_messages() {
        let (mut traced, _) = TracedMessage::new(raw(Direction::Received, &"x".repeat(70_000)));
        traced.transport = Transport::Wss;
        traced.remote = "[2001:db8::7]:1".parse().expect("an address");
        let datagram = datagram(&traced, b"", 1);
        let chunks = chunks(&datagram);
        assert_eq!(datagram.len(), MAX_DATAGRAM);
        assert_eq!((&chunks[0], &chunks[1]), (&(1, vec![10]), &(2, vec![6])));
        assert_eq!((chunks[2].0, chunks[3].0, chunks[2].1[..2] == [0x20, 0x01]), (5, 6, true));
        assert_eq!(chunks[3].1[10..], [0xff, 0xff, 192, 0, 2, 1], "the address of the other family, mapped");
        assert!(chunks.iter().all(|(kind, _)| *kind != 17));
    }

    #[test]
    fn a_capture_server_that_is_gone_is_noticed() {
        let there = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let to = there.local_addr().expect("an address");
        let sender = HepSender::open(to, 1).expect("a socket");
        let (traced, message) = TracedMessage::new(raw(Direction::Sent, &request("BYE", "1")));
        assert_eq!(sender.send(&traced, message.as_ref()), 0);
        drop(there);
        let lost: u64 = (0..100).map(|_| sender.send(&traced, message.as_ref())).sum();
        assert!(lost > 0);
    }
}
