//! What the tests of the whole program share: a server for each test, phones that talk to it, its metrics and its log.
//!
//! A test reads like a script: send this, expect that. This module does not know what the server should decide; it
//! starts the server, sends, waits with a time limit and splits what arrives. Loopback only, with a new loopback
//! address and a new folder for each server, so tests run side by side. A failed expectation panics with the whole
//! message.

#![allow(
    dead_code,
    unused_imports,
    reason = "several test programs share these rooms, and neither lives in all of them"
)]

pub(crate) mod baresip;
pub(crate) mod browser;
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
pub(crate) mod redis;
pub(crate) mod server;
pub(crate) mod tls;
pub(crate) mod websocket;

use std::time::{Duration, Instant};

pub(crate) use dialog::Dialog;
pub(crate) use digest::Algorithm;
pub(crate) use dns::DnsServer;
pub(crate) use message::Message;
pub(crate) use phone::Phone;
pub(crate) use server::Server;
pub(crate) use tls::Authority;

/// How long an expected event may take. Long, since the machine may be busy; a passing test never waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// For how long no message must arrive until this counts as silence.
pub(crate) const SILENCE: Duration = Duration::from_millis(400);

/// Calls `what` repeatedly until it returns a value, for at most `patience`.
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
