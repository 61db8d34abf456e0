//! Questions of the core to its driver, their answers, and the state to continue with.
//!
//! A [`Continuation`] owns this state, so that a question that is never answered leaks nothing. A request has at most
//! one open question. A failure is an answer too, so that every request ends.

use bytes::Bytes;
use location::{Aor, Record, Version};

use crate::hop::{Endpoints, Name};
use crate::registrar::PendingRegister;
use crate::request::Request;
use crate::resolution::Resolution;
use crate::route::{Callee, ContactSearch, DialogCheck, Search};
use crate::settings::CodeCommand;

/// A question to the driver.
#[derive(Debug)]
pub enum Question {
    /// Load the record of this AoR. Answered by [`Answer::Loaded`], if possible before the next message is processed: a
    /// CANCEL does not find an INVITE that waits for a record.
    Load(Aor),
    /// Store this record if the stored one still has the version `expected`. Answered by [`Answer::Committed`],
    /// [`Answer::Conflict`], [`Answer::Full`] or [`Answer::Failed`].
    Commit {
        /// The version of the record that the new one was computed from; `None` if there was none.
        expected: Option<Version>,
        /// The record to store.
        record: Record,
    },
    /// Change the rules of this user. Answered by [`Answer::RulesChanged`] or [`Answer::Failed`].
    ChangeRules(Aor, CodeCommand),
    /// Carry out these resolutions. Answered by [`Answer::Resolved`].
    Resolve(Vec<Resolution>),
}

/// The answer of the driver.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The record, if there is one.
    Loaded(Option<Record>),
    /// The record is stored durably.
    Committed,
    /// Another version has been stored meanwhile.
    Conflict,
    /// The rules are changed, or they are not: the party does not exist.
    RulesChanged(bool),
    /// The endpoints of each name.
    Resolved(Vec<Endpoints>),
    /// The store cannot take the change now: too many changes wait for the disk, or it is full.
    Full,
    /// The question could not be answered: the store failed, or the time limit has passed.
    Failed,
    /// A transmit could not be sent.
    Undelivered,
}

/// The state to continue with when the answer to a question arrives. Opaque to the driver.
#[derive(Debug)]
pub struct Continuation(pub(crate) Resume);

impl Continuation {
    /// The state for a transmit with this text that could not be sent, for [`Answer::Undelivered`]. Its top Via names
    /// the transaction. It must be given to the core that sent it.
    pub const fn undelivered(text: Bytes) -> Self {
        Self(Resume::Transmit(text))
    }
}

#[derive(Debug)]
pub(crate) enum Resume {
    /// A REGISTER waits for the record of its AoR.
    RegisterLoad(Box<PendingRegister>),
    /// A REGISTER waits for its commit.
    RegisterCommit(Box<PendingRegister>),
    /// A request to a local user waits for the bindings of that user.
    Callee(Box<Request>, Callee),
    /// A request or a redirection waits for what its plan still lacks.
    Search(Box<Search>),
    /// A request in a dialog waits for the bindings of one of its sides.
    Dialog(Box<Request>, Box<DialogCheck>),
    /// A request to the Contact of a phone waits for the bindings of a user that may have registered it.
    Contact(Box<Request>, Box<ContactSearch>),
    /// An emergency call waits for the bindings of its caller.
    Emergency(Box<Request>, Aor),
    /// A call to a feature code waits for the change that it asks for.
    Code(Box<Request>, CodeCommand),
    /// The CANCEL of an unknown INVITE waits for the bindings of its caller.
    Cancel(Box<Request>),
    /// Calls to this user wait for the bindings of a phone that registered meanwhile.
    LateRegistration(Aor),
    /// A subscription waits for the record that it reports.
    Notify(u64),
    /// A subscription waits for the addresses that its NOTIFYs go to.
    NotifyTarget(u64, Name),
    /// A task at a trunk waits for the addresses of its server.
    Trunk(u64, Name),
    /// A message that could not be sent.
    Transmit(Bytes),
}
