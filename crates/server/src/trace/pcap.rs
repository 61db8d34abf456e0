//! Messages as a capture file (pcap, draft-ietf-opsawg-pcap) for Wireshark and sngrep.
//!
//! Decides the form of the packets: each message is one UDP datagram over IP, whatever its transport was, because a
//! capture of TCP would need the packets that opened the connection, and one of TLS could not be read. The addresses,
//! ports and times are the true ones.

use std::net::{IpAddr, SocketAddr};

use super::traced::octets_v6;

/// LINKTYPE_RAW: a packet begins with its IPv4 or IPv6 header.
const LINK_TYPE: u32 = 101;

/// The longest packet: what the length fields of IP allow.
const MAX_PACKET: usize = 65_535;

const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const HOPS: u8 = 64;

/// The header of a file. The numbers are little-endian; times have microseconds.
pub(crate) fn pcap_header() -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    out.extend(0xa1b2_c3d4_u32.to_le_bytes());
    // Version 2.4, two reserved fields, the longest packet, the link type.
    out.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend((MAX_PACKET as u32).to_le_bytes());
    out.extend(LINK_TYPE.to_le_bytes());
    out
}

/// A message as a packet with its header. A message that is longer than a datagram is cut at its end.
pub(crate) fn pcap_packet(at: u64, (from, to): (SocketAddr, SocketAddr), message: &[u8]) -> Vec<u8> {
    let mut packet = datagram(from, to, message);
    let length = u32::try_from(packet.len()).unwrap_or_default();
    let (seconds, micros) = (at / 1_000_000, at % 1_000_000);
    let mut out = Vec::with_capacity(16 + packet.len());
    for field in [seconds as u32, micros as u32, length, length] {
        out.extend(field.to_le_bytes());
    }
    out.append(&mut packet);
    out
}

/// IP and UDP headers and the message.
fn datagram(from: SocketAddr, to: SocketAddr, message: &[u8]) -> Vec<u8> {
    match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let addresses = [source.octets(), target.octets()].concat();
            let udp = udp(from.port(), to.port(), &addresses, message, MAX_PACKET - IPV4_HEADER);
            // Version 4 and five words of header (RFC 791 3.1), no fragments.
            let mut header = vec![0x45, 0];
            header.extend(length(IPV4_HEADER + udp.len()));
            header.extend([0, 0, 0x40, 0, HOPS, UDP, 0, 0]);
            header.extend(&addresses);
            let sum = checksum(&header);
            header.splice(10..12, sum);
            [header, udp].concat()
        }
        // Another family on one side only: a reverse proxy for WebSocket may reach the server over IPv4.
        (source, target) => {
            let addresses = [octets_v6(source), octets_v6(target)].concat();
            let udp = udp(from.port(), to.port(), &addresses, message, MAX_PACKET - IPV6_HEADER);
            // Version 6 (RFC 8200 3).
            let mut header = vec![0x60, 0, 0, 0];
            header.extend(length(udp.len()));
            header.extend([UDP, HOPS]);
            header.extend(addresses);
            [header, udp].concat()
        }
    }
}

/// RFC 768, with the checksum over the pseudo header.
fn udp(from: u16, to: u16, addresses: &[u8], message: &[u8], max: usize) -> Vec<u8> {
    let message = message.get(..max - UDP_HEADER).unwrap_or(message);
    let length = length(UDP_HEADER + message.len());
    let header = [from.to_be_bytes(), to.to_be_bytes(), length, [0, 0]].concat();
    let pseudo_header = [addresses, &[0, UDP], &length].concat();
    // All parts before the message have an even length.
    let sum = match checksum(&[&pseudo_header, &*header, message].concat()) {
        // 0 would mean that there is none.
        [0, 0] => [0xff, 0xff],
        sum => sum,
    };
    let mut out = header;
    out.splice(6..8, sum);
    out.extend_from_slice(message);
    out
}

fn length(octets: usize) -> [u8; 2] {
    u16::try_from(octets).unwrap_or(u16::MAX).to_be_bytes()
}

/// The checksum of the internet (RFC 1071).
fn checksum(octets: &[u8]) -> [u8; 2] {
    let (words, rest) = octets.as_chunks();
    let last = rest.first().map_or(0, |octet| u32::from(*octet) << 8);
    let mut sum = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum::<u32>() + last;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn packets_have_the_addresses_of_the_message() {
        let ends = (address("192.0.2.7:40000"), address("192.0.2.1:5060"));
        let packet = pcap_packet(1_764_547_200_123_456, ends, b"hey");
        let (head, ip) = packet.split_at(16);
        assert_eq!(head, [1_764_547_200_u32, 123_456, 31, 31].map(u32::to_le_bytes).concat());
        let (header, udp) = ip.split_at(20);
        // The example is checked with tshark by a test of the program.
        assert_eq!(checksum(header), [0, 0], "a header with its checksum has the sum 0");
        assert_eq!((&header[12..16], &header[16..], header[3]), (&[192, 0, 2, 7][..], &[192, 0, 2, 1][..], 31));
        assert_eq!(udp[..6], [40_000_u16, 5060, 11].map(u16::to_be_bytes).concat());
        assert_eq!(checksum(&[&header[12..], &[0, 17, 0, 11], udp].concat()), [0, 0]);
        assert_eq!(&udp[8..], b"hey");
    }

    #[test]
    fn both_families_and_their_mixture() {
        let six = datagram(address("[2001:db8::7]:5060"), address("[2001:db8::1]:5061"), b"hey");
        assert_eq!((six[0], &six[4..8], six.len()), (0x60, &[0, 11, 17, 64][..], 51));
        assert_eq!(checksum(&[&six[8..40], &[0, 17, 0, 11], &six[40..]].concat()), [0, 0]);
        // An IPv4 address of a socket for both families.
        assert_eq!(datagram(address("[::ffff:192.0.2.7]:1"), address("192.0.2.1:2"), b"")[0], 0x45);
        let mixed = datagram(address("[2001:db8::7]:1"), address("127.0.0.1:2"), b"");
        assert_eq!(mixed[24..40], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]);
    }

    #[test]
    fn a_long_message_is_cut() {
        for ends in [("192.0.2.7:1", "192.0.2.1:2"), ("[::1]:1", "[::1]:2")] {
            let packet = datagram(address(ends.0), address(ends.1), &[b'x'; 70_000]);
            assert_eq!(packet.len(), MAX_PACKET);
        }
    }
}
