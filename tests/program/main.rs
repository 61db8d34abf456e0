//! The program as a whole, from outside: real sockets, a real process, one file per behaviour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test that cannot go on must say so and stop"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod admin;
mod attack;
mod bad_input;
mod call;
mod config;
mod digest;
mod durability;
mod extensions;
mod field;
mod first_run;
mod fork;
mod heisenberg;
mod joining;
mod log;
mod metrics;
mod names;
mod operator;
mod patience;
mod reach;
mod register;
mod relay;
mod routing;
mod signals;
mod systemd;
mod watch;
mod websocket;
