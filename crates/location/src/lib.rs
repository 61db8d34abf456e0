//! The location service of RFC 3261 10: the bindings of each address of record.
//!
//! The crate has two independent parts. [`Record::apply`] implements every registration rule and is pure. A [`Store`]
//! keeps records by their [`Aor`] and contains no rules: it loads, commits by compare and swap, sweeps and lists.
//! A [`Record`] is immutable and shared; a commit passes the new record and the [`Version`] of the one it was computed
//! from.
//!
//! ```
//! use location::{Aor, Applied, Operation, Change, Commit, ContactChange, Flow, FlowId, Limits, MemoryStore, Record, Store, Ticket, Wall};
//! use smallvec::smallvec;
//!
//! let store = MemoryStore::new();
//! let aor = Aor::new(b"alice", b"office.example");
//! let (now, local) = (Wall(1_000), "192.0.2.1:5060".parse()?);
//! let flow = Flow { transport: parser::Transport::Udp, remote: "192.0.2.7:5060".parse()?, local, id: FlowId::None };
//! let contact = ContactChange {
//!     uri: b"sip:alice@192.0.2.7", params: b"", expires: Some(600), q: None, instance: None, reg_id: None, flow_id: None,
//! };
//! let change = Change {
//!     call_id: b"1@192.0.2.7", cseq: 1, transaction: 7, flow, path: b"", user_agent: b"",
//!     operation: Operation::Update(smallvec![contact]),
//! };
//!
//! let old = store.load(&aor).unwrap_or_else(|| Record::empty(&aor));
//! let Applied::Changed { record, .. } = old.apply(&change, now, &Limits::DEFAULT)? else { unreachable!() };
//! let commit = store.commit(old.version(), record, Ticket { worker: 0, id: 1 });
//! assert!(matches!(commit, Commit::Done));
//! let left = store.load(&aor).and_then(|record| record.live(now).next().map(|binding| binding.remaining(now)));
//! assert_eq!(left, Some(600));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod aor;
mod apply;
mod binding;
mod change;
mod draft;
mod flow;
#[cfg(feature = "disk")]
mod format1;
mod layout;
mod record;
mod store;
mod time;
mod version;

pub use aor::Aor;
pub use apply::Applied;
pub use binding::{Binding, End, MAX_TEXT};
pub use change::{Change, ContactChange, Limits, Operation, Refusal, WhenFull};
pub use flow::{ConnectionId, Flow, FlowId, Node, NodeFlow};
pub use record::{Bindings, BindingsIter, Record};
#[cfg(feature = "disk")]
pub use store::{
    AnyStore, Changed, CommitReport, DiskOptions, DiskStore, Done, Hooks, NodeEntry, Nodes, OutsideChange, Usable,
    ValueChanged, backup,
};
pub use store::{Commit, Counts, MemoryStore, Store, StoreError, Ticket};
#[cfg(feature = "redis")]
pub use store::{PutError, RedisOptions, RedisStore};
pub use time::Wall;
pub use version::Version;
