//! Stream connections (RFC 3261 18): how they are opened, read, written and found.
//!
//! ```text
//! table -> connection -> reader, writer -> framing (websocket): messages in bytes
//!              |                        -> layer:               bytes of the socket
//!              |                              (tls)
//!              '-> open (upgrade): sockets and handshakes
//! ```
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
mod reader;
mod signals;
mod table;
mod tls;
mod upgrade;
mod websocket;
mod writer;

pub(crate) use client_rules::ClientRules;
pub(crate) use directory::{ConnectionPermit, Directory};
pub(crate) use layer::ByteStream;
pub(crate) use limits::{HandshakeLimits, StreamLimits};
pub(crate) use open::Acceptor;
pub(crate) use table::Streams;
pub(crate) use upgrade::{PageReply, Pages};
