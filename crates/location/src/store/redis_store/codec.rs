//! How records and their versions are written in Redis, and whose flows they contain.
//!
//! A value is the version, a space, and the octets of the record in format 2 (`layout.rs`). In Redis a flow that only one
//! server can use names that server and its run; in memory it is one of this server, or that of another. Must not send or
//! receive anything.

use std::net::SocketAddr;

use super::stream_id::StreamId;
use crate::time::TOMBSTONE_MILLIS;
use crate::{Binding, Flow, FlowId, Node, NodeFlow, Record, Wall};

/// Splits a value from Redis.
pub(super) fn split(value: &[u8]) -> Option<(StreamId, &[u8])> {
    let end = value.iter().position(|octet| *octet == b' ')?;
    let (version, octets) = value.split_at_checked(end)?;
    Some((StreamId::parse(version)?, octets.get(1..)?))
}

/// The octets of a record as the other servers read them. `None` if they are those in memory.
pub(super) fn for_others(record: &Record, node: Node, now: Wall) -> Option<Record> {
    let is_ours = |id| matches!(id, FlowId::Nat | FlowId::Connection(_));
    if !record.bindings().into_iter().any(|binding| is_ours(binding.flow().id)) {
        return None;
    }
    let named = record.bindings().into_iter().map(|binding| match binding.flow().id {
        FlowId::Nat => with_flow(binding, FlowId::Elsewhere(NodeFlow { node, connection: None })),
        FlowId::Connection(id) => with_flow(binding, FlowId::Elsewhere(NodeFlow { node, connection: Some(id) })),
        FlowId::None | FlowId::Elsewhere(_) => binding,
    });
    Some(Record::from_bindings(record.aor(), named, now))
}

/// Reads a record that was stored for `aor`, with its version. `None` if the value is damaged.
pub(super) fn read(
    aor: &[u8],
    value: &[u8],
    node: Option<Node>,
    is_local: &dyn Fn(SocketAddr) -> bool,
    now: Wall,
) -> Option<Record> {
    let (version, octets) = split(value)?;
    octets.strip_prefix(aor)?;
    let stored = Record::from_stored(aor.len(), octets, now)?;
    let changes = |binding: &Binding<'_>| own_id(binding, node, is_local) != binding.flow().id;
    let record = if stored.bindings().into_iter().any(|binding| changes(&binding)) {
        let bindings = stored.bindings().into_iter();
        let own = bindings.map(|binding| with_flow(binding, own_id(&binding, node, is_local)));
        Record::from_bindings(aor, own, now)
    } else {
        stored
    };
    record.meta().set_stamp(version.raw());
    Some(record)
}

/// The flow as this server uses it. Connections of its earlier runs are closed; a phone behind a NAT is still reached from
/// the address that it registered at.
fn own_id(binding: &Binding<'_>, own: Option<Node>, is_local: &dyn Fn(SocketAddr) -> bool) -> FlowId {
    let flow = binding.flow();
    let FlowId::Elsewhere(NodeFlow { node, connection }) = flow.id else { return flow.id };
    match own {
        Some(own) if own == node => connection.map_or(FlowId::Nat, FlowId::Connection),
        Some(own) if own.number == node.number => match connection {
            None if is_local(flow.local) => FlowId::Nat,
            _ => FlowId::None,
        },
        _ => flow.id,
    }
}

fn with_flow(binding: Binding<'_>, id: FlowId) -> Binding<'_> {
    Binding { flow: Flow { id, ..binding.flow }, ..binding }
}

/// Milliseconds that Redis keeps the record: until all its bindings are discardable, but for at least this long, so that the
/// other servers see an empty one too.
pub(super) fn lifetime(record: &Record, now: Wall) -> u64 {
    let ends = record.bindings().into_iter().map(|binding| binding.expires_at().plus_millis(TOMBSTONE_MILLIS));
    ends.max().map_or(0, |end| end.millis_since(now)).max(MIN_LIFETIME_MILLIS)
}

/// Whether nothing of the record has to be kept at this time.
pub(super) fn is_discardable(record: &Record, now: Wall) -> bool {
    record.bindings().into_iter().all(|binding| binding.is_discardable(now))
}

const MIN_LIFETIME_MILLIS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Aor;

    fn read_as(aor: &[u8], value: &[u8]) -> Option<Record> {
        read(aor, value, None, &|_| true, Wall(0))
    }

    #[test]
    fn a_value_has_a_version_and_belongs_to_its_key() {
        let record = read_as(b"a@b", b"1733000000000-7 a@b").unwrap();
        assert_eq!((record.aor(), record.bindings().len()), (&b"a@b"[..], 0));
        assert_eq!(StreamId::from_raw(record.meta().stamp()).to_string(), "1733000000000-7");
        for bad in ["", " ", "1733000000000-7", "1733000000000-7 ", "x a@b", "1-1 x@b", "1733000000000-7 a@b?"] {
            assert!(read_as(b"a@b", bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_empty_record_is_kept_for_a_minute() {
        let record = Record::empty(&Aor::new(b"a", b"b"));
        assert_eq!(lifetime(&record, Wall(5)), MIN_LIFETIME_MILLIS);
        assert!(is_discardable(&record, Wall(5)));
    }
}
