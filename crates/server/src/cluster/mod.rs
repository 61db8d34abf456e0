//! Several servers of one office, which share registrations, keys and what is set at run time in Redis (docs/cluster.md).
//!
//! `node_table` holds what the servers know of each other, `advert` what they say about themselves, and `values` what they share
//! besides registrations. Must not decide where a request goes: the core does.

mod advert;
mod node_table;
mod values;

pub(crate) use advert::Advert;
pub(crate) use node_table::NodeTable;
pub(crate) use values::{SharedError, SharedValues, ValueChanges};
