//! What the core cannot know by itself: questions, their answers, and the work that waits for them.
//!
//! A [`Parked`] value owns all that is needed to go on; dropping it leaks nothing. At most one question is open per
//! request. A failure is an answer too, so that every request ends.

use std::net::SocketAddr;

use bytes::Bytes;
use location::{Aor, Record};
use smallvec::SmallVec;

use crate::core::contact::ContactSearch;
use crate::core::in_dialog::DialogCheck;
use crate::fork::Redirection;
use crate::hop::Name;
use crate::registrar::PendingRegister;
use crate::request::Request;
use crate::route::{Callee, Expansion, Plan};

/// A question to the driver.
#[derive(Debug)]
pub enum Question {
    /// Who is registered as this AoR? Answered by [`Answer::Loaded`].
    Load(Aor),
    /// Make this the record of its AoR if `expected` still is. Answered by [`Answer::Committed`], [`Answer::Conflict`],
    /// [`Answer::Full`] or [`Answer::Failed`].
    Commit {
        /// The one it was computed from, if there was one.
        expected: Option<Record>,
        /// The record to store.
        record: Record,
    },
    /// The addresses of these host names, one list each. Answered by [`Answer::Resolved`].
    Resolve(SmallVec<[Name; 1]>),
}

/// What the driver found out.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The record, if there is one.
    Loaded(Option<Record>),
    /// The record is stored, safely.
    Committed,
    /// Somebody else stored another version meanwhile.
    Conflict,
    /// Addresses in order of preference, for each name asked; an empty list if it has none.
    Resolved(SmallVec<[SmallVec<[SocketAddr; 2]>; 1]>),
    /// There is no room for the change now: too many wait for the disk, or it is full.
    Full,
    /// The question could not be answered (store down, deadline passed).
    Failed,
    /// A transmit could not be sent.
    Undelivered,
}

/// Work that waits for an answer. Opaque to the driver.
#[derive(Debug)]
pub struct Parked(pub(crate) Waiting);

impl Parked {
    /// The work to go on with when a transmit with this text could not be sent. Its top Via says whose it was; to be
    /// given to the core that sent it.
    pub const fn undelivered(text: Bytes) -> Self {
        Self(Waiting::Transmit(text))
    }
}

/// A request while the store is asked.
pub(crate) type Stall = Box<Option<Request>>;

/// An empty one, to be used again: what needs no transaction is forwarded without an allocation. One is enough where
/// the store answers at once.
#[derive(Debug, Default)]
pub(crate) struct Stalls(Option<Stall>);

impl Stalls {
    pub(crate) fn put(&mut self, request: Request) -> Stall {
        let mut stall = self.0.take().unwrap_or_default();
        *stall = Some(request);
        stall
    }

    pub(crate) fn lead_out(&mut self, mut stall: Stall) -> Option<Request> {
        let request = stall.take();
        self.0 = Some(stall);
        request
    }
}

#[derive(Debug)]
pub(crate) enum Waiting {
    /// A REGISTER, for the record of its AoR.
    RegisterLoad(Box<PendingRegister>),
    /// A REGISTER, for its commit.
    RegisterCommit(Box<PendingRegister>),
    /// A request to a user of ours, for his bindings.
    Route(Stall, Callee),
    /// A request, for the bindings of a user whom a Contact of its plan names.
    Users(Stall, Box<Expansion>),
    /// A request in a dialog, for the registration of one of its sides.
    Dialog(Stall, Box<DialogCheck>),
    /// A request to the Contact of a phone, for the bindings of who may have it.
    Contact(Stall, Box<ContactSearch>),
    /// The CANCEL of an INVITE that is not known, for the registration of its caller.
    Cancel(Stall),
    /// A planned request, for the addresses of its targets.
    Resolve(Box<Request>, Box<Plan>),
    /// Calls to this user, for the phone that he has since.
    Join(Aor),
    /// A redirection, for where it leads.
    Follow(Box<Redirection>),
    /// A subscription, for the record that it is about.
    Watch(u64),
    /// A subscription, for the addresses of where its NOTIFYs go.
    Reach(u64, Name),
    /// Whoever sent this, for bad news.
    Transmit(Bytes),
}
