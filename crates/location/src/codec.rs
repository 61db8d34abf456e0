//! A record as the octets that a durable store keeps under its address of record.
//!
//! Decides format 1: `format, crc32, count`, then each binding's numbers in little endian and its text. The version,
//! being a matter of the running program, is not in it, nor is the flow's connection, which no restart survives. A
//! change of layout is a new format number; old ones stay readable. Must refuse whatever it did not write itself.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use parser::Transport;

use crate::binding::{MAX_TEXT, Marks, Part};
use crate::record::Bindings;
use crate::{Binding, Flow, Record, Wall};

/// First octet of every record.
pub(crate) const FORMAT: u8 = 1;

/// Why octets are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// Written by another version of the program.
    Format(u8),
    /// Cut off, altered, or never ours.
    Corrupt,
}

/// Append the record's octets.
pub(crate) fn encode(record: &Record, out: &mut Vec<u8>) {
    out.push(FORMAT);
    let crc_at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(record.bindings.len() as u32).to_le_bytes());
    for binding in &record.bindings {
        encode_binding(binding, out);
    }
    let crc = out.get(crc_at + 4..).map_or(0, crc32);
    if let Some(place) = out.get_mut(crc_at..crc_at + 4) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
}

/// The record of these octets, with version 0.
pub(crate) fn decode(octets: &[u8]) -> Result<Record, DecodeError> {
    match octets.split_first() {
        Some((&FORMAT, rest)) => decode_checked(rest).ok_or(DecodeError::Corrupt),
        Some((&format, _)) => Err(DecodeError::Format(format)),
        None => Err(DecodeError::Corrupt),
    }
}

fn encode_binding(binding: &Binding, out: &mut Vec<u8>) {
    out.push(binding.marks.0);
    out.extend_from_slice(&binding.q.to_le_bytes());
    out.extend_from_slice(&binding.cseq.to_le_bytes());
    out.extend_from_slice(&binding.reg_id.to_le_bytes());
    out.extend_from_slice(&binding.expires_at.0.to_le_bytes());
    out.extend_from_slice(&binding.registered_at.0.to_le_bytes());
    out.extend_from_slice(&binding.transaction.to_le_bytes());
    out.push(transport_code(binding.flow.transport));
    encode_address(binding.flow.remote, out);
    encode_address(binding.flow.local, out);
    for end in binding.ends {
        out.extend_from_slice(&end.to_le_bytes());
    }
    out.extend_from_slice(&binding.text);
}

fn encode_address(address: SocketAddr, out: &mut Vec<u8>) {
    match address {
        SocketAddr::V4(v4) => {
            out.push(4);
            out.extend_from_slice(&v4.ip().octets());
        }
        SocketAddr::V6(v6) => {
            out.push(6);
            out.extend_from_slice(&v6.ip().octets());
            out.extend_from_slice(&v6.scope_id().to_le_bytes());
        }
    }
    out.extend_from_slice(&address.port().to_le_bytes());
}

fn decode_checked(octets: &[u8]) -> Option<Record> {
    let (crc, rest) = octets.split_first_chunk()?;
    if u32::from_le_bytes(*crc) != crc32(rest) {
        return None;
    }
    let mut input = Input(rest);
    let count = u32::from_le_bytes(input.take()?);
    let bindings: Bindings = (0..count).map(|_| decode_binding(&mut input)).collect::<Option<_>>()?;
    input.0.is_empty().then(|| Record { bindings, ..Record::default() })
}

fn decode_binding(input: &mut Input<'_>) -> Option<Binding> {
    let marks = Marks(u8::from_le_bytes(input.take()?));
    let q = u16::from_le_bytes(input.take()?);
    let cseq = u32::from_le_bytes(input.take()?);
    let reg_id = u32::from_le_bytes(input.take()?);
    let expires_at = Wall(u64::from_le_bytes(input.take()?));
    let registered_at = Wall(u64::from_le_bytes(input.take()?));
    let transaction = u64::from_le_bytes(input.take()?);
    let transport = transport_of(u8::from_le_bytes(input.take()?))?;
    let (remote, local) = (decode_address(input)?, decode_address(input)?);
    let mut ends = [0; Part::COUNT];
    for end in &mut ends {
        *end = u16::from_le_bytes(input.take()?);
    }
    let length = usize::from(*ends.last()?);
    if !ends.is_sorted() || length > MAX_TEXT || marks.0 & !Marks::ALL != 0 {
        return None;
    }
    let text = input.slice(length)?.into();
    let flow = Flow { transport, remote, local, connection: 0 };
    Some(Binding { text, ends, marks, q, cseq, reg_id, expires_at, registered_at, transaction, flow })
}

fn decode_address(input: &mut Input<'_>) -> Option<SocketAddr> {
    let (ip, scope) = match input.take()? {
        [4] => (IpAddr::from(input.take::<4>()?), 0),
        [6] => (IpAddr::from(input.take::<16>()?), u32::from_le_bytes(input.take()?)),
        _ => return None,
    };
    let port = u16::from_le_bytes(input.take()?);
    Some(match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, port),
        IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, scope).into(),
    })
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
}

// The numbers of format 1: never reuse one.
fn transport_code(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 0,
        Transport::Tcp => 1,
        Transport::Tls => 2,
        Transport::Ws => 3,
        Transport::Wss => 4,
    }
}

fn transport_of(code: u8) -> Option<Transport> {
    Some(match code {
        0 => Transport::Udp,
        1 => Transport::Tcp,
        2 => Transport::Tls,
        3 => Transport::Ws,
        4 => Transport::Wss,
        _ => return None,
    })
}

// The usual CRC-32 (reflected, polynomial 0x04C11DB7), an octet at a time.
fn crc32(octets: &[u8]) -> u32 {
    !octets.iter().fold(!0, |crc, &octet| {
        let row = CRC_TABLE.get(usize::from(crc as u8 ^ octet)).copied().unwrap_or(0);
        row ^ (crc >> 8)
    })
}

#[allow(clippy::indexing_slicing, reason = "evaluated at compile time, where iterators cannot be")]
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut crc = at as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Applied, Ask, Change, ContactChange, Limits};

    fn record() -> Record {
        let limits = Limits { min_expires: 1, default_expires: 60, max_expires: 600, max_contacts: 5 };
        let remote = "[2001:db8::7]:5061".parse().unwrap();
        let flow = Flow { transport: Transport::Tls, remote, local: "192.0.2.1:5061".parse().unwrap(), connection: 4 };
        let contact = |uri, expires| ContactChange {
            uri,
            params: b";a=b",
            expires: Some(expires),
            q: Some(700),
            instance: Some(b"<urn:uuid:1>"),
            reg_id: None,
        };
        let change = |cseq, contacts: &[ContactChange<'static>]| Change {
            call_id: b"call",
            cseq,
            transaction: u64::MAX,
            flow,
            path: b"<sip:edge;lr>",
            user_agent: b"",
            ask: Ask::Update(contacts.iter().copied().collect()),
        };
        let apply = |record: Record, change| match record.apply(&change, Wall(5_000), &limits) {
            Ok(Applied::Changed(record)) => record,
            other => panic!("{other:?}"),
        };
        let record = apply(Record::default(), change(1, &[contact(b"sip:a@h", 60), contact(b"sip:b@h", 60)]));
        apply(record, change(2, &[contact(b"sip:a@h", 0)]))
    }

    fn encoded() -> Vec<u8> {
        let mut octets = Vec::new();
        encode(&record(), &mut octets);
        octets
    }

    #[test]
    fn round_trip_but_for_the_connection() {
        let decoded = decode(&encoded()).unwrap();
        let mut expected = record().bindings;
        expected.iter_mut().for_each(|binding| binding.flow.connection = 0);
        assert_eq!(decoded.bindings, expected);
        assert_eq!(decoded.bindings.iter().filter(|binding| binding.is_live(Wall(5_000))).count(), 1);
        assert_eq!(decoded.version, 0);
    }

    #[test]
    fn every_damage_is_noticed() {
        let good = encoded();
        for length in 1..good.len() {
            assert_eq!(decode(&good[..length]).map(|_| ()), Err(DecodeError::Corrupt), "{length}");
        }
        for at in 1..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(decode(&bad).map(|_| ()), Err(DecodeError::Corrupt), "{at}");
        }
        assert_eq!(decode(&[&good[..], &[0]].concat()).map(|_| ()), Err(DecodeError::Corrupt));
        assert_eq!(decode(b"").map(|_| ()), Err(DecodeError::Corrupt));
        assert_eq!(decode(b"\x02later").map(|_| ()), Err(DecodeError::Format(2)));
    }

    #[test]
    fn checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
