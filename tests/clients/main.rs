//! Real clients by other authors: SIPp scenarios, baresip phones, Linphone, Twinkle, pjsua, JsSIP, and the tool
//! sipsak; and Kamailio as the provider of a trunk. All run on loopback, without a sound card, a display, a terminal or D-Bus.
//!
//! Needs the Debian packages `sip-tester`, `baresip-core`, `sipsak`, `linphone-cli`, `twinkle-console` and `kamailio`, and from PyPI
//! `pjsua2-python` in a virtual environment in the build folder, and from npm `jssip` there; `tests/run` installs them.
//!
//! What does not run here:
//! - pjsua on machines other than x86-64, and with Python before 3.9 or after 3.12: there is no wheel for them. The PyPI
//!   package `pjsua2` has none for any of these, and its source does not build.
//! - SIPp over TLS: Debian builds it without TLS.
//! - Calls of sipsak: its invite mode refuses to run beside its registering one, and it has no other.
//! - What a person hears: only baresip sends and counts RTP. The others have null devices. JsSIP has no media in Node; in a
//!   browser it has (tests/page).
//! - A refresh that is asked for: Linphone's command line has none. Each client refreshes by itself, and is waited for.

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
mod calls;
mod jssip;
mod kamailio;
mod lamps;
mod linphone;
mod pjsua;
mod sipp;
mod sipp_provider;
mod sipsak;
mod softphone;
mod twinkle;
