//! Stream connections (RFC 3261 18): how they are opened, read, written and found.
//!
//! ```text
//! table -> open_connections -> connection -> reader, writer -> framing (websocket): messages in bytes
//!   |            '-> readiness                             '-> layer (tls):         bytes of the socket
//!   |-> send_queue
//!   '-> opening -> open (upgrade): sockets and handshakes
//! ```
//!
//! An open connection has no task: its worker reads and writes it within its turn.
//!
//!
//! TLS is a variant of `layer`, WebSocket one of `framing`; the handshakes of both are started in `open`. This file only
//! lists the modules.

mod client_rules;
mod connection;
mod directory;
mod framing;
mod handshakes;
mod layer;
mod limits;
mod open;
mod open_connections;
mod opening;
mod reader;
mod readiness;
mod send_queue;
mod table;
mod tls;
mod upgrade;
mod websocket;
mod writer;

pub(crate) use client_rules::ClientRules;
pub(crate) use connection::StreamEvent;
pub(crate) use directory::{ConnectionPermit, Directory};
pub(crate) use layer::ByteStream;
pub(crate) use limits::{HandshakeLimits, StreamLimits};
pub(crate) use open::Acceptor;
pub(crate) use table::Streams;
pub(crate) use upgrade::{PageReply, Pages};
