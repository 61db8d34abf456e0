//! A record: all bindings of one address of record, in one allocation that is shared and never changed.
//!
//! Decides how records are held and compared, and what the store may note on one. The octets are those of `layout.rs`.
//! Must not know rules (see `record.rs`).

use std::borrow::Borrow;
use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use triomphe::ThinArc;

use crate::layout::{self, Reader};
use crate::{Aor, Binding, Wall};

/// The bindings of one address of record, and its name. Immutable; a clone is another handle to the same octets.
#[derive(Clone)]
pub struct Record(ThinArc<RecordMeta, u8>);

/// What the map of the store notes on a record while it is there, under the lock of its shard.
pub(crate) struct RecordMeta {
    aor_len: u32,
    /// How many of its bindings the gauges count.
    live: AtomicU32,
    /// The second at which it has to be looked at.
    due: AtomicU32,
    /// Which row of the file has the last safe record of this address (its number's low half), 0 = none.
    row: AtomicU32,
}

impl Record {
    /// Nobody is registered.
    pub fn empty(aor: &Aor) -> Self {
        Self::from_octets(aor.as_bytes(), aor.as_bytes().len(), RecordState::default())
    }

    /// The canonical form of the address of record: see [`Aor::as_bytes`].
    pub fn aor(&self) -> &[u8] {
        self.octets().get(..self.aor_len()).unwrap_or_default()
    }

    /// All bindings, live or not, oldest Contact first: what an index into them means.
    pub fn bindings(&self) -> Bindings<'_> {
        Bindings(Reader(self.octets().get(self.aor_len()..).unwrap_or_default()))
    }

    /// The bindings that may be used at this moment, oldest Contact first.
    pub fn live(&self, now: Wall) -> impl Iterator<Item = Binding<'_>> {
        self.bindings().into_iter().filter(move |binding| binding.is_live(now))
    }

    /// Are both the very same record? Equal ones that were made apart are not.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        ptr::eq(&raw const *self.0, &raw const *other.0)
    }

    /// A record of these bindings, as things stand at this moment.
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

    /// Whose it is.
    pub fn address(&self) -> Aor {
        Aor::from_canonical(self.aor())
    }

    /// A record that an earlier run has written: of it, what is still of use at this moment. `None`: no such record.
    #[cfg(feature = "disk")]
    pub(crate) fn from_stored(aor_len: usize, octets: &[u8], now: Wall) -> Option<Self> {
        let (aor, rest) = octets.split_at_checked(aor_len)?;
        let (mut input, mut state, mut unchanged) = (Reader(rest), RecordState::default(), true);
        while !input.0.is_empty() {
            let binding = layout::read(&mut input)?;
            state.add(&binding, now);
            unchanged &= binding == binding.after_restart() && !binding.is_discardable(now);
        }
        if unchanged {
            return Some(Self::from_octets(octets, aor_len, state));
        }
        let bindings = Bindings(Reader(rest)).into_iter().map(Binding::after_restart);
        Some(Self::from_bindings(aor, bindings.filter(|binding| !binding.is_discardable(now)), now))
    }

    /// How its bindings stand at this moment.
    pub(crate) fn state(&self, now: Wall) -> RecordState {
        let mut state = RecordState::default();
        self.bindings().into_iter().for_each(|binding| state.add(&binding, now));
        state
    }

    /// Address of record and bindings, as they lie in memory.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.0.slice
    }

    pub(crate) fn aor_len(&self) -> usize {
        self.meta().aor_len as usize
    }

    pub(crate) fn meta(&self) -> &RecordMeta {
        &self.0.header.header
    }

    fn from_octets(octets: &[u8], aor_len: usize, state: RecordState) -> Self {
        let [live, due, row] = [state.live, state.due.unwrap_or(0), 0].map(AtomicU32::new);
        Self(ThinArc::from_header_and_slice(RecordMeta { aor_len: aor_len as u32, live, due, row }, octets))
    }
}

/// How the bindings of a record stand at one moment.
#[derive(Clone, Copy, Default)]
pub(crate) struct RecordState {
    /// How many are live.
    pub(crate) live: u32,
    /// The second at which something changes, `None`: nothing is left that anybody needs.
    pub(crate) due: Option<u32>,
}

impl RecordState {
    fn add(&mut self, binding: &Binding<'_>, now: Wall) {
        self.live += u32::from(binding.is_live(now));
        if !binding.is_discardable(now) {
            // Rounded up: when it comes, what it is for has happened.
            let second = u32::try_from(binding.next_change_at(now).0.div_ceil(1000)).unwrap_or(u32::MAX);
            self.due = Some(self.due.map_or(second, |soonest| soonest.min(second)));
        }
    }
}

/// What has no address of record: where the rules are of interest, and nothing is to be stored.
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

/// The bindings of a record, read as they are asked for.
#[derive(Clone, Copy)]
pub struct Bindings<'a>(Reader<'a>);

impl<'a> Bindings<'a> {
    /// The one at this place, counted from 0.
    pub fn get(self, index: usize) -> Option<Binding<'a>> {
        self.into_iter().nth(index)
    }

    /// How many there are, live or not.
    pub fn len(self) -> usize {
        self.into_iter().count()
    }

    /// None at all?
    pub fn is_empty(self) -> bool {
        self.0.0.is_empty()
    }

    /// One after the other.
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
        // What does not read ends it; records are made by `from_bindings` or checked by `from_stored`, so all do.
        layout::read(&mut self.0)
    }
}

// Relaxed: they are read and written under the lock of the shard that the record is in.
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
}

/// Octets that hardly any record has more of: one that is put together grows seldom.
const TYPICAL_LEN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flow;

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
            flow: Flow { transport: parser::Transport::Udp, remote, local, connection: 0 },
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
            flow: Flow { transport: parser::Transport::Tls, remote, local, connection: 9 },
            ..minimal()
        }
    }

    fn all() -> [Binding<'static>; 5] {
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
        assert_eq!((record.bindings().get(1), record.bindings().get(5)), (Some(full()), None));
        assert_eq!(record.bindings().len(), 5);
        assert!(Record::empty(&Aor::new(b"a", b"b")).bindings().is_empty());
    }

    #[test]
    fn a_typical_binding_is_small() {
        // With an instance that stands in the parameters, which is kept once.
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
        let symmetric = Binding { flow: Flow { connection: u64::MAX, ..minimal().flow }, ..minimal() };
        let written = record(&[full(), symmetric]);
        let read = Record::from_stored(written.aor_len(), written.octets(), NOW).unwrap();
        let expected = Binding { flow: Flow { connection: 0, ..full().flow }, ..full() };
        assert_eq!(read.bindings().into_iter().collect::<Vec<_>>(), [expected, symmetric]);
        let later = Record::from_stored(written.aor_len(), written.octets(), Wall(97_000)).unwrap();
        assert!(later.bindings().is_empty());
    }

    #[cfg(feature = "disk")]
    #[test]
    fn damaged_octets_cause_no_panic() {
        let written = record(&all());
        let whole = |octets: &[u8]| Record::from_stored(written.aor_len(), octets, NOW).is_some();
        let octets = written.octets();
        let ends: Vec<usize> = (1..=5).map(|count| record(&all()[..count]).octets().len()).collect();
        for length in written.aor_len() + 1..octets.len() {
            assert_eq!(whole(&octets[..length]), ends.contains(&length), "{length}");
        }
        // A checksum stands before this; here it must not panic, and what is taken must be readable.
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
