//! What nodes send each other: a request for a phone whose flow another node holds goes to that node.
//!
//! `token.rs` has the Route value that names the flow, and `send.rs` adds it to a message. What a node tells another node
//! itself (`node_calls`) has such a value too. Must not decide who may send
//! there: the node that got the request from its sender does, and the other one only delivers (`core/from_node.rs`).

mod send;
mod token;

pub(crate) use send::Link;
pub(crate) use token::{Addressee, NodeToken, Refused, token_in};
