//! The calls that pass this server, from INVITE to BYE, with their dialogs; one table for all workers, because the BYE of a
//! call may come to another worker than its INVITE.
//!
//! The table decides nothing about a message: routing, dialogs and transactions work without it. It serves the records of
//! calls, the status page and subscriptions to dialogs (RFC 4235).
//!
//! - A call begins when its INVITE is routed. Responses to that INVITE find it by the [`CallRef`] that the pin or the
//!   response context keeps.
//! - A request within a dialog finds it by Call-ID, tag of the caller, and the address of the caller. All three are in the
//!   signed token of the dialog, and the table is asked only after the checks that let the request pass from one side of
//!   the dialog to the other. So nobody else can end a call here: neither with the identifiers of a call that they have
//!   read, nor with a call of their own that has the same identifiers.
//! - A BYE ends a dialog when it is answered, with the time at which the BYE came. Only the sender of a BYE must consider
//!   the dialog terminated (RFC 3261 15.1.1); if the other side refuses the BYE, the call may go on, and a phone must not be
//!   able to hide that by a BYE that it knows will be refused. A 481 or 408 to any request ends the dialog (12.2.1.2,
//!   RFC 5057 5.1), and so does a BYE without any response.
//! - If a call began at another node, that node is told of such requests and their responses (`node_calls`).
//! - A call without any request for `subscriptions.call_lifetime` is removed.
//!
//! Must not read a clock; must not decide how long records are kept.

mod call;
mod elsewhere;
mod facts;
mod index;
mod interest;
mod passing;
mod record;
mod room;
mod shard;
mod table;
mod text;
mod view;

pub(crate) use call::{CallRequest, CallResponse, RequestAnswer, is_tag};
pub use elsewhere::{FoundAtNode, NodeWatch};
pub(crate) use elsewhere::{FoundCalls, NodeCall, Part, Report};
pub use facts::{CalledPhone, DiversionReason, Offence, TriedPhones};
pub(crate) use interest::{Interest, SharedInterest};
pub(crate) use passing::PassingRequest;
pub use record::{CallEnd, CallRecord, CallRefusal, CallSide, Reached};
pub(crate) use room::ShareOf;
pub(crate) use shard::CallRef;
pub use table::CallTable;
pub(crate) use table::{CallKey, CallsChange, Effect, Moment, NotAllKnown, before};
pub(crate) use text::MAX_PIECE;
#[cfg(test)]
pub(crate) use view::tests::call;
pub use view::{CallDialog, CallInProgress, DialogEnd, DialogState};
