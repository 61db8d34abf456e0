//! The whole program, with real sockets and a real process. There is one file for each behaviour.

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
mod bridged_calls;
mod call;
mod calls;

mod certificates;
mod cluster;
mod cluster_lamps;
mod cluster_links;
mod commands;
mod config;
mod digest;
mod durability;
mod first_run;
mod fork;
mod icmp;
mod interoperability;
mod ipv6;
mod lamps;
mod large_requests;
mod late_targets;
mod log;
mod me;
mod metrics;
mod names;
mod nat_and_connections;
mod office;
mod public_addresses;
mod register;
mod registrar_extensions;
mod registration_events;
mod relay;
mod routing;
mod signals;
mod sips;
mod systemd;
mod timeouts_and_limits;
mod tls;
mod tls_peers;
mod trace;
mod websocket;
