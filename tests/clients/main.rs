//! Real clients: SIPp scenarios and baresip phones, which were written by others and judge for themselves.
//!
//! Needs the Debian packages `sip-tester`, `baresip-core` and `sipsak`; `tests/run` installs them.

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

mod baresip;
mod sipp;
mod sipsak;
