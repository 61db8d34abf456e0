//! Writes forwarded requests and responses, as edits of the original message (RFC 3261 16.6, 16.7, 16.11).
//!
//! Must not choose targets; that is done by `route` and `response_context`. Everything that no rule requires to change
//! stays as it is.

mod branch;
mod caller;
mod follow_up;
mod for_node;
mod history;
mod identity;
mod loops;
mod request;
mod response;
mod restore;

pub(crate) use branch::{BranchId, FOR_NODE, NotifyId, Origin, ViaBranch};
pub(crate) use follow_up::as_sent;
pub(crate) use for_node::write_for_node;
pub(crate) use history::{Diverted, History, Reached};
pub(crate) use identity::{prefers_identity, without_claims};
pub(crate) use loops::{is_looped, loop_mark};
pub(crate) use request::{Forwarding, write_own_address, write_request, write_via, write_via_value};
pub(crate) use response::{merge_challenges, without_challenges, write_response};
pub(crate) use restore::with_values_of_sender;
