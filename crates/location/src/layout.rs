//! The encoding of a record, the same in memory and on disk.
//!
//! Defines format 2: the address of record, then its bindings; of each the numbers in little endian, then the text. Small
//! numbers are short, and optional values (a reg-id, a flow identifier, the server of a flow) have no octets if absent. A change of the layout needs a
//! new format number; old formats stay readable (`format1.rs`). Must not know rules or stores.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU16;

use parser::Transport;

use crate::binding::MAX_TEXT;
use crate::{Binding, ConnectionId, Flow, FlowId, Node, NodeFlow, Wall};

/// Appends one binding.
pub(crate) fn write(binding: &Binding<'_>, out: &mut Vec<u8>) {
    let Flow { transport, remote, local, id } = binding.flow;
    let (id, node) = id_code(id);
    let flags = [
        (INSTANCE, binding.instance.is_some()),
        (REG_ID, binding.reg_id.is_some()),
        (Q, binding.q.is_some()),
        (REMOVED, binding.removed),
        (FLOW_ID, id != 0),
        (REMOTE_V6, remote.is_ipv6()),
        (LOCAL_V6, local.is_ipv6()),
        (DEACTIVATED, binding.deactivated),
    ];
    // Eight flags are summed with vector instructions, so the ninth is added separately.
    let mut flags: u16 = flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).sum();
    if node.is_some() {
        flags |= NODE;
    }
    out.extend_from_slice(&(flags | u16::from(transport_code(transport)) << TRANSPORT_SHIFT).to_le_bytes());
    write_varint(binding.cseq, out);
    for time in [binding.expires_at, binding.registered_at, binding.since] {
        let [octets @ .., _, _] = time.0.min(MAX_TIME).to_le_bytes();
        out.extend_from_slice(&octets);
    }
    out.extend_from_slice(&binding.transaction.to_le_bytes());
    for address in [remote, local] {
        match address {
            SocketAddr::V4(v4) => out.extend_from_slice(&v4.ip().octets()),
            SocketAddr::V6(v6) => {
                out.extend_from_slice(&v6.ip().octets());
                out.extend_from_slice(&v6.scope_id().to_le_bytes());
            }
        }
        out.extend_from_slice(&address.port().to_le_bytes());
    }
    if let Some(reg_id) = binding.reg_id {
        write_varint(reg_id, out);
    }
    if let Some(q) = binding.q {
        write_varint(q.into(), out);
    }
    if id != 0 {
        out.extend_from_slice(&id.to_le_bytes());
    }
    if let Some(Node { number, run }) = node {
        out.extend_from_slice(&number.get().to_le_bytes());
        out.extend_from_slice(&run.to_le_bytes());
    }
    write_text(binding, out);
}

// The instance is usually part of the parameters: then only its position is written.
fn write_text(binding: &Binding<'_>, out: &mut Vec<u8>) {
    let parts = [binding.contact, binding.params, binding.call_id, binding.path, binding.user_agent];
    parts.iter().for_each(|part| write_length(part.len(), out));
    let mut separate: &[u8] = b"";
    if let Some(instance) = binding.instance {
        let in_params =
            parser::locate(binding.params, instance).map(|span| binding.contact.len() + span.start as usize);
        write_length(in_params.unwrap_or_else(|| parts.iter().map(|part| part.len()).sum()), out);
        write_length(instance.len(), out);
        separate = if in_params.is_some() { separate } else { instance };
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.extend_from_slice(separate);
}

// Seven bits per octet, the lowest first; the high bit is set in all octets but the last. Most numbers are small.
fn write_varint(mut number: u32, out: &mut Vec<u8>) {
    while number > 0x7F {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

// Lengths are at most MAX_TEXT, so the cast is lossless.
fn write_length(length: usize, out: &mut Vec<u8>) {
    write_varint(length as u32, out);
}

/// Decodes the first binding. `None` if the octets are not an encoded binding.
pub(crate) fn read<'a>(input: &mut Reader<'a>) -> Option<Binding<'a>> {
    let flags = u16::from_le_bytes(input.array()?);
    let has = |flag| flags & flag != 0;
    let transport = transport_of(((flags & !KNOWN_FLAGS) >> TRANSPORT_SHIFT) as u8)?;
    let cseq = input.varint()?;
    // One slice of known length: the compiler checks the bounds once.
    let mut fixed = Reader(input.slice(26)?);
    let (expires_at, registered_at, since) = (fixed.time()?, fixed.time()?, fixed.time()?);
    let transaction = u64::from_le_bytes(fixed.array()?);
    let (remote, local) = (input.address(has(REMOTE_V6))?, input.address(has(LOCAL_V6))?);
    let reg_id = if has(REG_ID) { Some(input.varint()?) } else { None };
    let q = if has(Q) { Some(input.varint()?.try_into().ok()?) } else { None };
    let id = if has(FLOW_ID) { id_of(u64::from_le_bytes(input.array()?)) } else { FlowId::None };
    let id = if has(NODE) { elsewhere(id, input)? } else { id };
    let [contact, params, call_id, path, user_agent] = input.lengths()?;
    let instance_at = if has(INSTANCE) { Some(input.lengths()?) } else { None };
    let mut text = Reader(input.0);
    let all = input.slice(contact + params + call_id + path + user_agent)?;
    let instance = match instance_at {
        None => None,
        Some([start, length]) if start == all.len() => Some(input.slice(length)?),
        Some([start, length]) => Some(all.get(start..start + length)?),
    };
    if all.len() > MAX_TEXT {
        return None;
    }
    Some(Binding {
        contact: text.slice(contact)?,
        params: text.slice(params)?,
        call_id: text.slice(call_id)?,
        path: text.slice(path)?,
        user_agent: text.slice(user_agent)?,
        instance,
        reg_id,
        q,
        cseq,
        removed: has(REMOVED),
        deactivated: has(DEACTIVATED),
        expires_at,
        registered_at,
        since,
        transaction,
        flow: Flow { transport, remote, local, id },
    })
}

/// The octets that are still to be decoded.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn address(&mut self, v6: bool) -> Option<SocketAddr> {
        if !v6 {
            let ip = IpAddr::from(self.array::<4>()?);
            return Some(SocketAddr::new(ip, u16::from_le_bytes(self.array()?)));
        }
        let (ip, scope) = (self.array::<16>()?, u32::from_le_bytes(self.array()?));
        Some(SocketAddrV6::new(ip.into(), u16::from_le_bytes(self.array()?), 0, scope).into())
    }

    fn time(&mut self) -> Option<Wall> {
        let [a, b, c, d, e, f] = self.array()?;
        Some(Wall(u64::from_le_bytes([a, b, c, d, e, f, 0, 0])))
    }

    #[inline]
    fn varint(&mut self) -> Option<u32> {
        if let [octet @ ..0x80, rest @ ..] = self.0 {
            self.0 = rest;
            return Some(u32::from(*octet));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Option<u32> {
        let mut number = 0;
        for shift in (0..u32::BITS).step_by(7) {
            let [octet] = self.array()?;
            number |= u32::from(octet & 0x7F).checked_shl(shift)?;
            if octet & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    #[inline(always)]
    fn lengths<const N: usize>(&mut self) -> Option<[usize; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        // Most texts are short, so that each length is one octet.
        if head.iter().all(|octet| *octet < 0x80) {
            self.0 = rest;
            return Some(head.map(usize::from));
        }
        let mut lengths = [0; N];
        for length in &mut lengths {
            *length = self.varint()?.try_into().ok().filter(|length| *length <= MAX_TEXT)?;
        }
        Some(lengths)
    }
}

// The transport codes of formats 1 and 2. A code must not be reused for another transport.
fn transport_code(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 0,
        Transport::Tcp => 1,
        Transport::Tls => 2,
        Transport::Ws => 3,
        Transport::Wss => 4,
    }
}

pub(crate) fn transport_of(code: u8) -> Option<Transport> {
    Some(match code {
        0 => Transport::Udp,
        1 => Transport::Tcp,
        2 => Transport::Tls,
        3 => Transport::Ws,
        4 => Transport::Wss,
        _ => return None,
    })
}

// How a flow identifier is written, and the server of a flow that ends elsewhere. No connection reaches the last number.
fn id_code(id: FlowId) -> (u64, Option<Node>) {
    match id {
        FlowId::None => (0, None),
        FlowId::Nat => (NAT, None),
        FlowId::Connection(id) => (id.get(), None),
        FlowId::Elsewhere(NodeFlow { node, connection }) => (connection.map_or(NAT, ConnectionId::get), Some(node)),
    }
}

/// Decodes the server of a flow that is not one of this server. Rare, so it is kept out of the hot path.
#[cold]
fn elsewhere(id: FlowId, input: &mut Reader<'_>) -> Option<FlowId> {
    let connection = match id {
        FlowId::Nat => None,
        FlowId::Connection(id) => Some(id),
        FlowId::None | FlowId::Elsewhere(_) => return None,
    };
    let number = NonZeroU16::new(u16::from_le_bytes(input.array()?))?;
    let node = Node { number, run: u32::from_le_bytes(input.array()?) };
    Some(FlowId::Elsewhere(NodeFlow { node, connection }))
}

fn id_of(code: u64) -> FlowId {
    match ConnectionId::new(code) {
        None => FlowId::None,
        Some(_) if code == NAT => FlowId::Nat,
        Some(id) => FlowId::Connection(id),
    }
}

const NAT: u64 = u64::MAX;

const INSTANCE: u16 = 1;
const REG_ID: u16 = 1 << 1;
const Q: u16 = 1 << 2;
const REMOVED: u16 = 1 << 3;
const FLOW_ID: u16 = 1 << 4;
const REMOTE_V6: u16 = 1 << 5;
const LOCAL_V6: u16 = 1 << 6;
const DEACTIVATED: u16 = 1 << 7;
/// Only in the records of stores that several servers share. Program versions without it refuse such a record, because
/// they read the bit as part of the transport code.
const NODE: u16 = 1 << 15;
const KNOWN_FLAGS: u16 = INSTANCE | REG_ID | Q | REMOVED | FLOW_ID | REMOTE_V6 | LOCAL_V6 | DEACTIVATED | NODE;
/// The position of the transport code, which has seven bits.
const TRANSPORT_SHIFT: u32 = 8;

/// Times have 48 bits: enough until the year 10889.
const MAX_TIME: u64 = (1 << 48) - 1;
