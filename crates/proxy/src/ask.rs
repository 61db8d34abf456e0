//! What the core asks of its driver: questions, answers, and how to go on with an answer.
//!
//! A [`Continuation`] owns all that is needed to go on; dropping it leaks nothing. At most one question is open per
//! request. A failure is an answer too, so that every request ends.

use std::net::SocketAddr;

use bytes::Bytes;
use location::{Aor, Record};
use smallvec::SmallVec;

use crate::hop::Name;
use crate::registrar::PendingRegister;
use crate::request::Request;
use crate::route::{Callee, ContactSearch, DialogCheck, Search};

/// A question to the driver.
#[derive(Debug)]
pub enum Question {
    /// The record of this AoR. Answered by [`Answer::Loaded`].
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

/// How to go on when the answer to a question is there. Opaque to the driver.
#[derive(Debug)]
pub struct Continuation(pub(crate) Resume);

impl Continuation {
    /// How to go on when a transmit with this text could not be sent. Its top Via names the transaction; to be given to
    /// the core that sent it.
    pub const fn undelivered(text: Bytes) -> Self {
        Self(Resume::Transmit(text))
    }
}

/// A request that waits for an answer.
pub(crate) type RequestSlot = Box<Option<Request>>;

/// Keeps one empty slot for the next request, so that stateless forwarding does not allocate. One is enough where the store
/// answers at once.
#[derive(Debug, Default)]
pub(crate) struct RequestSlots(Option<RequestSlot>);

impl RequestSlots {
    pub(crate) fn park(&mut self, request: Request) -> RequestSlot {
        let mut slot = self.0.take().unwrap_or_default();
        *slot = Some(request);
        slot
    }

    pub(crate) fn take(&mut self, mut slot: RequestSlot) -> Option<Request> {
        let request = slot.take();
        self.0 = Some(slot);
        request
    }
}

#[derive(Debug)]
pub(crate) enum Resume {
    /// A REGISTER, for the record of its AoR.
    RegisterLoad(Box<PendingRegister>),
    /// A REGISTER, for its commit.
    RegisterCommit(Box<PendingRegister>),
    /// A request to a user of ours, for the bindings of that user.
    Callee(RequestSlot, Callee),
    /// A request or a redirection, for what its plan still lacks.
    Search(Box<Search>),
    /// A request in a dialog, for the registration of one of its sides.
    Dialog(RequestSlot, Box<DialogCheck>),
    /// A request to the Contact of a phone, for the bindings of a user that may have registered it.
    Contact(RequestSlot, Box<ContactSearch>),
    /// The CANCEL of an INVITE that is not known, for the registration of its caller.
    Cancel(RequestSlot),
    /// Calls to this user, for a phone that registered while they ring.
    LateRegistration(Aor),
    /// A subscription, for the record that it is about.
    Notify(u64),
    /// A subscription, for the addresses that its NOTIFYs go to.
    NotifyTarget(u64, Name),
    /// A request or response that was sent, in case it cannot be delivered.
    Transmit(Bytes),
}
