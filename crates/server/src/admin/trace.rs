//! The messages of calls, as docs/openapi.yaml defines them: a live trace, and the kept calls.
//!
//! Decides nothing: `trace` decides what is kept and what is blanked.

use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;

use super::AdminState;
use super::reply::{self, Reply};
use crate::trace::{self, Entry, KeptCall, KeptCalls, Whose};

/// A capture file for Wireshark.
const PCAP: &str = "application/vnd.tcpdump.pcap";

#[derive(Serialize)]
struct TracedCalls {
    /// `trace.calls`
    max: usize,
    calls: Vec<TracedCall>,
}

#[derive(Serialize)]
struct TracedCall {
    id: String,
    from: String,
    to: String,
    began: String,
    messages: usize,
    not_kept: usize,
}

#[derive(Serialize)]
struct MessagesReply {
    not_kept: usize,
    messages: Vec<Entry>,
}

/// Whether a path below `/api/v1/`, in decoded parts, gives messages of calls. Its requests need the header that changes
/// need.
pub(super) const fn is_path(path: &[&[u8]]) -> bool {
    matches!(path, [b"trace", ..] | [b"calls", _, b"messages" | b"pcap"])
}

/// GET /api/v1/trace
pub(super) fn live(state: &AdminState, user: &str) -> Reply {
    let whose = if user.is_empty() { Some(Whose::All) } else { Whose::read(user) };
    match whose {
        Some(whose) => reply::live(state.trace.open(whose)),
        None => reply::problem(StatusCode::BAD_REQUEST, "user: expected a user, a number, an IP address or all"),
    }
}

/// GET /api/v1/trace/calls
pub(super) fn list(state: &AdminState) -> Reply {
    let list = |kept: &KeptCalls| TracedCalls {
        max: kept.max_calls(),
        calls: kept
            .list()
            .map(|(key, call)| TracedCall {
                id: key.text(),
                from: call.from.clone(),
                to: call.to.clone(),
                began: trace::rfc3339(call.began),
                messages: call.messages.len(),
                not_kept: call.not_kept,
            })
            .collect(),
    };
    reply::json(StatusCode::OK, &state.trace.kept(list))
}

/// GET /api/v1/calls/{id}/messages
pub(super) fn messages(state: &AdminState, id: &[u8]) -> Reply {
    let Some(KeptCall { messages, not_kept, .. }) = find(state, id) else { return no_call() };
    let messages = messages.iter().map(|message| Entry::new(message)).collect();
    reply::json(StatusCode::OK, &MessagesReply { not_kept, messages })
}

/// GET /api/v1/calls/{id}/pcap
pub(super) fn capture(state: &AdminState, id: &[u8]) -> Reply {
    let Some(call) = find(state, id) else { return no_call() };
    let packets = call.messages.iter().map(Arc::as_ref);
    let packets = packets.map(|message| trace::pcap_packet(message.at, message.ends(), &message.octets));
    let file: Vec<_> = [trace::pcap_header()].into_iter().chain(packets).collect();
    reply::response(StatusCode::OK, PCAP, file.concat())
}

fn find(state: &AdminState, id: &[u8]) -> Option<KeptCall> {
    let id = std::str::from_utf8(id).ok()?;
    state.trace.kept(|kept| kept.find(id).cloned())
}

fn no_call() -> Reply {
    reply::problem(StatusCode::NOT_FOUND, "the messages of this call are not kept: see trace.calls")
}
