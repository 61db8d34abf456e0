//! What every whole-program test needs: a frontdesk of its own, phones to talk to it, its metrics and its log.
//!
//! A test reads as a script: send this, expect that. Nothing here knows what the server ought to decide; it starts,
//! sends, waits with a deadline and takes apart what comes back. Loopback only, a fresh loopback address and a fresh
//! folder per server, so tests run side by side. A broken expectation panics with the whole message.

#![allow(
    dead_code,
    unused_imports,
    reason = "several test programs share these rooms, and neither lives in all of them"
)]

pub(crate) mod dialog;
pub(crate) mod digest;
pub(crate) mod dns;
pub(crate) mod flood;
pub(crate) mod http;
mod link;
pub(crate) mod message;
pub(crate) mod metrics;
pub(crate) mod namespace;
pub(crate) mod openapi;
pub(crate) mod phone;
pub(crate) mod process;
pub(crate) mod server;
pub(crate) mod websocket;

use std::time::{Duration, Instant};

pub(crate) use dialog::Dialog;
pub(crate) use digest::Algorithm;
pub(crate) use dns::DnsServer;
pub(crate) use message::Message;
pub(crate) use phone::Phone;
pub(crate) use server::Server;

/// How long an expected thing may take. Generous, since the machine may be busy; a passing test never waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long silence is listened to before it counts as silence.
pub(crate) const SILENCE: Duration = Duration::from_millis(400);

/// Asks again and again until `what` has an answer, or gives up after `patience`.
pub(crate) fn wait_for<T>(patience: Duration, mut what: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = what() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
