//! What nodes tell each other of the calls that pass them: so a watcher at any node sees all calls of a user (RFC 4235), a call
//! that rings can be picked up at any node (RFC 3891), and a call ends wherever its BYE passes.
//!
//! ```text
//! Watch   which users are watched at the sender        -> the other node answers with Calls
//! Calls   calls of such users that pass the sender, or how they have ended: when one changes, and after Watch
//! Ended   a request in a dialog of a call that the sender does not know, and its final response
//! Find    which calls that ring have these identifiers?    -> Found
//! ```
//!
//! A call belongs to the node that its INVITE came to, and only this node tells the others of it: a node that only delivers
//! requests to its phones knows no call. Nothing is repeated or answered. Instead each node says every few seconds what it
//! watches and a sum of what it knows, and gets everything again if the sum is another one at the other node. What a node
//! knows of another one ends with the run or the lease of that node, and if it hears nothing of it.
//!
//! `core/node_calls.rs` sends and receives, `core/node_pickup.rs` asks. Must not decide what a watcher may see, who may pick
//! up a call, or whether a request ends a dialog.

mod exchange;
mod find;
mod note;
mod octets;

pub(crate) use exchange::{Exchange, LIFETIME};
pub(crate) use find::{Find, Finds};
pub(crate) use note::{FindQuestion, Note, calls_in_parts, ended_note, find_note, found_note, sum_of, watch_note};
