//! A record: all bindings of one address of record, in one shared and immutable allocation.
//!
//! Defines how records are stored and compared, and the metadata that the store keeps in one. The octets are those of
//! `layout.rs`. Must not contain rules (see `apply.rs`).

use std::borrow::Borrow;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parser::Span;
use triomphe::ThinArc;

use crate::layout::{self, Reader};
use crate::{Aor, Binding, Flow, FlowId, Version, Wall};

/// An address of record and its bindings. Immutable; a clone shares the octets.
#[derive(Clone)]
pub struct Record(ThinArc<RecordMeta, u8>);

/// Metadata that the store's map keeps in a record. All but the version is accessed under the lock of the record's shard.
pub(crate) struct RecordMeta {
    aor_len: u32,
    /// The number of its bindings that the gauges count as live.
    live: AtomicU32,
    /// The second at which the sweep must visit it.
    due: AtomicU32,
    /// The low half of the number of the row with the latest durable record of this address, 0 = none.
    row: AtomicU32,
    /// The number of its [`Version`], 0 before it is stored.
    version: AtomicU64,
}

impl Record {
    /// A record without bindings.
    pub fn empty(aor: &Aor) -> Self {
        Self::from_octets(aor.as_bytes(), aor.as_bytes().len(), RecordState::default())
    }

    /// The canonical form of the address of record: see [`Aor::as_bytes`].
    pub fn aor(&self) -> &[u8] {
        self.octets().get(..self.aor_len()).unwrap_or_default()
    }

    /// All bindings, live or not, oldest Contact first. Indices refer to this order.
    pub fn bindings(&self) -> Bindings<'_> {
        Bindings(Reader(self.octets().get(self.aor_len()..).unwrap_or_default()))
    }

    /// Where a part of one of its bindings is, for [`Record::part`].
    pub fn position_of(&self, part: &[u8]) -> Span {
        parser::locate(self.octets(), part).unwrap_or_default()
    }

    /// The part of a binding at this position.
    pub fn part(&self, Span { start, end }: Span) -> &[u8] {
        self.octets().get(start as usize..end as usize).unwrap_or_default()
    }

    /// The live bindings, oldest Contact first.
    pub fn live(&self, now: Wall) -> impl Iterator<Item = Binding<'_>> {
        self.bindings().into_iter().filter(move |binding| binding.is_live(now))
    }

    /// The version that the store gave it; `None` before it is stored. A change computed from this record passes it to
    /// [`Store::commit`](crate::Store::commit).
    pub fn version(&self) -> Option<Version> {
        self.meta().version()
    }

    /// The same record with other flow identifiers, as another server sees it. It keeps its version.
    #[must_use]
    pub fn with_flow_ids(&self, id_for: impl Fn(FlowId) -> FlowId) -> Self {
        let bindings = self.bindings().into_iter().map(|binding| {
            let flow = Flow { id: id_for(binding.flow.id), ..binding.flow };
            Binding { flow, ..binding }
        });
        let record = Self::from_bindings(self.aor(), bindings, Wall::default());
        record.meta().set_version(self.version().map_or(0, Version::get));
        record
    }

    /// A record of these bindings; its metadata is computed for `now`.
    pub(crate) fn from_bindings<'b>(aor: &[u8], bindings: impl Iterator<Item: Borrow<Binding<'b>>>, now: Wall) -> Self {
        let mut octets = Vec::with_capacity(TYPICAL_LEN);
        octets.extend_from_slice(aor);
        let mut state = RecordState::default();
        for binding in bindings {
            state.add(binding.borrow(), now);
            layout::write(binding.borrow(), &mut octets);
        }
        Self::from_octets(&octets, aor.len(), state)
    }

    /// The address of record as a key.
    pub fn address(&self) -> Aor {
        Aor::from_canonical(self.aor())
    }

    /// A record read from disk, without bindings that are discardable at `now`. `None` if the octets are not a record.
    #[cfg(feature = "disk")]
    pub(crate) fn from_stored(aor_len: usize, octets: &[u8], now: Wall) -> Option<Self> {
        let (aor, rest) = octets.split_at_checked(aor_len)?;
        let (mut input, mut state, mut unchanged) = (Reader(rest), RecordState::default(), true);
        while !input.0.is_empty() {
            let binding = layout::read(&mut input)?;
            state.add(&binding, now);
            unchanged &= !binding.has_connection() && !binding.is_discardable(now);
        }
        if unchanged {
            return Some(Self::from_octets(octets, aor_len, state));
        }
        let bindings = Bindings(Reader(rest)).into_iter().map(Binding::after_restart);
        Some(Self::from_bindings(aor, bindings.filter(|binding| !binding.is_discardable(now)), now))
    }

    /// The bindings of `other`, which was computed without knowing this record, and those of this one that it lacks, if they
    /// were changed in the last 32 s: older ones were known, so they were removed on purpose. Of two bindings of one phone
    /// the one that was changed last counts. `None` if that is `other`.
    #[cfg(feature = "redis")]
    pub(crate) fn joined_with(&self, other: &Self, now: Wall) -> Option<Self> {
        let same = |one: &Binding<'_>, two: &Binding<'_>| {
            one.contact == two.contact
                || (one.instance.is_some() && one.instance == two.instance && one.reg_id == two.reg_id)
        };
        let ours = || self.bindings().into_iter().filter(|binding| binding.may_be_retransmitted(now));
        let is_replaced =
            |binding: &Binding<'_>| ours().any(|our| same(&our, binding) && our.changed_at() > binding.changed_at());
        let kept: Vec<_> = other.bindings().into_iter().filter(|binding| !is_replaced(binding)).collect();
        let added: Vec<_> = ours().filter(|our| !kept.iter().any(|binding| same(our, binding))).collect();
        let bindings = kept.iter().chain(&added);
        (!added.is_empty()).then(|| Self::from_bindings(other.aor(), bindings, now))
    }

    /// The number of live bindings and the time of the next change, at `now`.
    pub(crate) fn state(&self, now: Wall) -> RecordState {
        let mut state = RecordState::default();
        self.bindings().into_iter().for_each(|binding| state.add(&binding, now));
        state
    }

    /// Address of record and bindings, in the layout of `layout.rs`.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.0.slice
    }

    /// Whether both are clones of one record.
    #[cfg(feature = "redis")]
    pub(crate) fn is_clone_of(&self, other: &Self) -> bool {
        std::ptr::eq(self.octets(), other.octets())
    }

    pub(crate) fn aor_len(&self) -> usize {
        self.meta().aor_len as usize
    }

    pub(crate) fn meta(&self) -> &RecordMeta {
        &self.0.header.header
    }

    fn from_octets(octets: &[u8], aor_len: usize, state: RecordState) -> Self {
        let [live, due, row] = [state.live, state.due.unwrap_or(0), 0].map(AtomicU32::new);
        let meta = RecordMeta { aor_len: aor_len as u32, live, due, row, version: AtomicU64::new(0) };
        Self(ThinArc::from_header_and_slice(meta, octets))
    }
}

/// The state of a record's bindings at one time.
#[derive(Clone, Copy, Default)]
pub(crate) struct RecordState {
    /// The number of live bindings.
    pub(crate) live: u32,
    /// The second of the next change; `None` if all bindings are discardable.
    pub(crate) due: Option<u32>,
}

impl RecordState {
    fn add(&mut self, binding: &Binding<'_>, now: Wall) {
        self.live += u32::from(binding.is_live(now));
        if !binding.is_discardable(now) {
            // Rounded up: at that second the change has happened.
            let second = u32::try_from(binding.next_change_at(now).0.div_ceil(1000)).unwrap_or(u32::MAX);
            self.due = Some(self.due.map_or(second, |soonest| soonest.min(second)));
        }
    }
}

/// A record without an address of record, for callers that apply rules and store nothing.
impl Default for Record {
    fn default() -> Self {
        Self::from_octets(b"", 0, RecordState::default())
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record of {} ", String::from_utf8_lossy(self.aor()))?;
        f.debug_list().entries(self.bindings()).finish()
    }
}

/// The bindings of a record. Each is decoded when it is requested.
#[derive(Clone, Copy)]
pub struct Bindings<'a>(Reader<'a>);

impl<'a> Bindings<'a> {
    /// The binding at `index`, counted from 0.
    pub fn get(self, index: usize) -> Option<Binding<'a>> {
        self.into_iter().nth(index)
    }

    /// The number of bindings, live or not.
    pub fn len(self) -> usize {
        self.into_iter().count()
    }

    /// Whether there are no bindings.
    pub fn is_empty(self) -> bool {
        self.0.0.is_empty()
    }

    /// Iterates over the bindings in order.
    pub fn iter(self) -> BindingsIter<'a> {
        self.into_iter()
    }
}

impl<'a> IntoIterator for Bindings<'a> {
    type Item = Binding<'a>;
    type IntoIter = BindingsIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        BindingsIter(self.0)
    }
}

/// See [`Bindings::iter`].
#[derive(Clone)]
pub struct BindingsIter<'a>(Reader<'a>);

impl<'a> Iterator for BindingsIter<'a> {
    type Item = Binding<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        // Octets that cannot be decoded would end the iteration. There are none: `from_bindings` encoded them or
        // `from_stored` has checked them.
        layout::read(&mut self.0)
    }
}

// Relaxed is enough: the lock of the shard that the record is in orders all accesses. The version is written once, before
// other threads can load the record; in a shared store once more, when the database has stored it. Who has copied the version
// before that gets a conflict, and loads the record again.
impl RecordMeta {
    pub(crate) fn live(&self) -> u32 {
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) fn set_live(&self, live: u32) {
        self.live.store(live, Ordering::Relaxed);
    }

    pub(crate) fn due(&self) -> u32 {
        self.due.load(Ordering::Relaxed)
    }

    pub(crate) fn set_due(&self, second: u32) {
        self.due.store(second, Ordering::Relaxed);
    }

    pub(crate) fn row(&self) -> u32 {
        self.row.load(Ordering::Relaxed)
    }

    pub(crate) fn set_row(&self, row: u32) {
        self.row.store(row, Ordering::Relaxed);
    }

    pub(crate) fn version(&self) -> Option<Version> {
        Version::new(self.version.load(Ordering::Relaxed))
    }

    /// The version that a shared database gave the record, 0 before that. Until then it has a version of the map's own,
    /// which counts from 1 and is lower than any of the database.
    #[cfg(feature = "redis")]
    pub(crate) fn stamp(&self) -> u64 {
        let version = self.version.load(Ordering::Relaxed);
        if version < SHARED_VERSIONS { 0 } else { version }
    }

    #[cfg(feature = "redis")]
    pub(crate) fn set_stamp(&self, stamp: u64) {
        self.set_version(stamp);
    }

    pub(crate) fn set_version(&self, version: u64) {
        self.version.store(version, Ordering::Relaxed);
    }
}

/// The lowest version of a shared database: see `redis_store/stream_id.rs`. It contains the time.
#[cfg(feature = "redis")]
const SHARED_VERSIONS: u64 = 1 << 40;

/// Initial capacity for a record under construction. Few records are larger.
const TYPICAL_LEN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU16;

    use crate::{ConnectionId, Node, NodeFlow};

    const NOW: Wall = Wall(5_000);

    fn minimal() -> Binding<'static> {
        let [remote, local] = ["192.0.2.7:5062", "192.0.2.1:5060"].map(|address| address.parse().unwrap());
        Binding {
            contact: b"sip:a@192.0.2.7:5062",
            params: b"",
            call_id: b"1@192.0.2.7",
            path: b"",
            user_agent: b"desk phone",
            instance: None,
            reg_id: None,
            q: None,
            cseq: u32::MAX,
            removed: false,
            deactivated: false,
            expires_at: Wall(65_000),
            registered_at: NOW,
            since: Wall(1),
            transaction: u64::MAX,
            flow: Flow { transport: parser::Transport::Udp, remote, local, id: FlowId::None },
        }
    }

    fn full() -> Binding<'static> {
        let [remote, local] = ["[fe80::7%3]:40001", "[2001:db8::1]:5061"].map(|address| address.parse().unwrap());
        Binding {
            params: b";+sip.instance=\"<urn:uuid:1>\";reg-id=1",
            path: b"<sip:edge;lr>,<sip:inner;lr>",
            instance: Some(b"<urn:uuid:1>"),
            reg_id: Some(1),
            q: Some(1000),
            flow: Flow {
                transport: parser::Transport::Tls,
                remote,
                local,
                id: FlowId::from(ConnectionId::new(9).unwrap()),
            },
            ..minimal()
        }
    }

    fn elsewhere(connection: Option<ConnectionId>) -> Binding<'static> {
        let node = Node { number: NonZeroU16::MAX, run: 7 };
        Binding { flow: Flow { id: FlowId::Elsewhere(NodeFlow { node, connection }), ..full().flow }, ..full() }
    }

    fn all() -> [Binding<'static>; 7] {
        [
            minimal(),
            full(),
            Binding { instance: Some(b"<urn:uuid:2>"), ..full() },
            Binding { instance: Some(b""), params: b"", ..minimal() },
            Binding {
                removed: true,
                deactivated: true,
                contact: b"tel:1",
                user_agent: b"",
                path: &[b'p'; 300],
                ..minimal()
            },
            elsewhere(None),
            elsewhere(ConnectionId::new(9)),
        ]
    }

    fn record(bindings: &[Binding<'_>]) -> Record {
        Record::from_bindings(b"alice@office.example", bindings.iter().copied(), NOW)
    }

    #[test]
    fn bindings_round_trip() {
        let record = record(&all());
        assert_eq!(record.aor(), b"alice@office.example");
        assert_eq!(record.bindings().into_iter().collect::<Vec<_>>(), all());
        assert_eq!((record.bindings().get(1), record.bindings().get(7)), (Some(full()), None));
        assert_eq!(record.bindings().len(), 7);
        assert!(Record::empty(&Aor::new(b"a", b"b")).bindings().is_empty());
    }

    #[test]
    fn a_typical_binding_is_small() {
        // The instance is part of the parameters and stored once.
        let params = b";+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"";
        let phone = Binding { params, instance: params.get(16..62), ..minimal() };
        let text = phone.contact.len() + params.len() + phone.call_id.len() + phone.user_agent.len();
        assert_eq!(phone.instance.map(<[u8]>::len), Some(46));
        assert_eq!(record(&[phone]).octets().len(), b"alice@office.example".len() + 52 + text);
    }

    #[test]
    fn the_state_gives_the_time_of_the_next_change() {
        let late = Binding { expires_at: Wall(70_001), ..minimal() };
        let state = |now| record(&[minimal(), late]).state(Wall(now));
        let table = [
            (64_999, 2, Some(65)),
            (65_000, 1, Some(71)),
            (70_001, 0, Some(97)),
            (97_000, 0, Some(103)),
            (102_001, 0, None),
        ];
        for (now, live, due) in table {
            assert_eq!((state(now).live, state(now).due), (live, due), "{now}");
        }
    }

    #[cfg(feature = "disk")]
    #[test]
    fn a_restart_clears_connections_and_nothing_else() {
        let symmetric = Binding { flow: Flow { id: FlowId::Nat, ..minimal().flow }, ..minimal() };
        let written = record(&[full(), symmetric, elsewhere(ConnectionId::new(9))]);
        let read = Record::from_stored(written.aor_len(), written.octets(), NOW).unwrap();
        let expected = Binding { flow: Flow { id: FlowId::None, ..full().flow }, ..full() };
        assert_eq!(
            read.bindings().into_iter().collect::<Vec<_>>(),
            [expected, symmetric, elsewhere(ConnectionId::new(9))]
        );
        let later = Record::from_stored(written.aor_len(), written.octets(), Wall(97_000)).unwrap();
        assert!(later.bindings().is_empty());
    }

    #[cfg(feature = "redis")]
    #[test]
    fn what_was_lost_is_joined_with_what_came_later() {
        let at = |contact, changed: u64| Binding {
            contact,
            registered_at: Wall(changed),
            expires_at: Wall(changed).plus_secs(600),
            ..minimal()
        };
        let now = Wall(100_000);
        let join = |ours: &[Binding<'_>], theirs: &[Binding<'_>]| {
            let joined = record(ours).joined_with(&record(theirs), now)?;
            let contacts = joined.bindings().into_iter().map(|binding| (binding.contact[0], binding.changed_at().0));
            Some(contacts.collect::<Vec<_>>())
        };
        // The lost binding a is added. The binding b is older than any retransmission: its absence is a removal.
        assert_eq!(
            join(&[at(b"a", 90_000), at(b"b", 60_000)], &[at(b"c", 95_000)]),
            Some(vec![(b'c', 95_000), (b'a', 90_000)])
        );
        // Of one phone the later change counts, also if it is a removal.
        assert_eq!(join(&[at(b"a", 90_000)], &[at(b"a", 95_000)]), None);
        assert_eq!(join(&[at(b"a", 95_000)], &[at(b"a", 90_000)]), Some(vec![(b'a', 95_000)]));
        let removed = Binding { removed: true, expires_at: Wall(95_000), ..at(b"a", 80_000) };
        assert_eq!(join(&[at(b"a", 90_000)], &[removed]), None);
    }

    #[cfg(feature = "disk")]
    #[test]
    fn damaged_octets_cause_no_panic() {
        let written = record(&all());
        let whole = |octets: &[u8]| Record::from_stored(written.aor_len(), octets, NOW).is_some();
        let octets = written.octets();
        let ends: Vec<usize> = (1..=7).map(|count| record(&all()[..count]).octets().len()).collect();
        for length in written.aor_len() + 1..octets.len() {
            assert_eq!(whole(&octets[..length]), ends.contains(&length), "{length}");
        }
        // A checksum detects this first. Here decoding must not panic, and what it accepts must decode again.
        for at in 0..octets.len() {
            for bit in 0..8 {
                let mut bad = octets.to_vec();
                bad[at] ^= 1 << bit;
                if let Some(record) = Record::from_stored(written.aor_len(), &bad, NOW) {
                    let again = Record::from_stored(record.aor_len(), record.octets(), NOW);
                    assert_eq!(again.map(|again| again.octets().to_vec()), Some(record.octets().to_vec()));
                }
            }
        }
        assert!(Record::from_stored(octets.len() + 1, octets, NOW).is_none());
    }
}
