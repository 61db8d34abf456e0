//! Records of format 1, which earlier versions wrote: `format, crc32, count`, then each binding's numbers in little endian
//! and its text.
//!
//! Only decodes them, for conversion to the current format (`layout.rs`). Must refuse damaged records.

use std::net::SocketAddr;

use crate::binding::MAX_TEXT;
use crate::layout::{Reader, transport_of};
use crate::{Binding, Flow, FlowId, Record, Wall};

/// First octet of every record.
pub(crate) const FORMAT: u8 = 1;

/// Decodes a record. `None` if it is damaged or of another format.
pub(crate) fn read(aor: &[u8], octets: &[u8], now: Wall) -> Option<Record> {
    let (&[FORMAT, a, b, c, d], rest) = octets.split_first_chunk()? else { return None };
    if u32::from_le_bytes([a, b, c, d]) != crc32fast::hash(rest) {
        return None;
    }
    let mut input = Reader(rest);
    let count = u32::from_le_bytes(input.array()?);
    let bindings = (0..count).map(|_| read_binding(&mut input)).collect::<Option<Vec<_>>>()?;
    let kept = bindings.into_iter().filter(|binding| !binding.is_discardable(now));
    input.0.is_empty().then(|| Record::from_bindings(aor, kept, now))
}

fn read_binding<'a>(input: &mut Reader<'a>) -> Option<Binding<'a>> {
    let [flags] = input.array()?;
    let has = |flag| flags & flag != 0;
    let q = u16::from_le_bytes(input.array()?);
    let cseq = u32::from_le_bytes(input.array()?);
    let reg_id = u32::from_le_bytes(input.array()?);
    let expires_at = Wall(u64::from_le_bytes(input.array()?));
    let registered_at = Wall(u64::from_le_bytes(input.array()?));
    let transaction = u64::from_le_bytes(input.array()?);
    let [transport] = input.array()?;
    let (remote, local) = (read_address(input)?, read_address(input)?);
    let mut ends = [0; 6];
    for end in &mut ends {
        *end = usize::from(u16::from_le_bytes(input.array()?));
    }
    if !ends.is_sorted()
        || ends.last().is_none_or(|&length| length > MAX_TEXT)
        || flags & !(INSTANCE | REG_ID | Q | REMOVED) != 0
    {
        return None;
    }
    let mut start = 0;
    let [contact, params, call_id, path, user_agent, instance] =
        ends.map(|end| input.slice(end - std::mem::replace(&mut start, end)));
    Some(Binding {
        contact: contact?,
        params: params?,
        call_id: call_id?,
        path: path?,
        user_agent: user_agent?,
        instance: instance.filter(|_| has(INSTANCE)),
        reg_id: has(REG_ID).then_some(reg_id),
        q: has(Q).then_some(q),
        cseq,
        removed: has(REMOVED),
        deactivated: false,
        expires_at,
        registered_at,
        since: registered_at,
        transaction,
        flow: Flow { transport: transport_of(transport)?, remote, local, id: FlowId::None },
    })
}

fn read_address(input: &mut Reader<'_>) -> Option<SocketAddr> {
    match input.array()? {
        [4] => input.address(false),
        [6] => input.address(true),
        _ => None,
    }
}

const INSTANCE: u8 = 1;
const REG_ID: u8 = 2;
const Q: u8 = 4;
const REMOVED: u8 = 8;
