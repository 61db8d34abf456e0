//! A simulator for the core: real `proxy::Core`s and a real store on a simulated clock and a simulated network.
//!
//! It has two users. The scenario tests of the crate `proxy` build a [`World`] and script each message of each phone.
//! [`simulate`] makes random calls from seeds and checks every message against the RFCs; `README.md` describes it.
//! Nothing here sleeps, opens a socket or reads a clock.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a panic is how it reports a failure"
)]

mod agent;
mod dice;
mod digest;
mod effects;
mod judge;
mod ladder;
mod net;
mod run;
mod settings;
mod sip;
mod state;
mod storm;
mod watch;
mod world;

pub use agent::{Agent, cseq, hop_by_hop};
pub use dice::Dice;
pub use digest::{Login, challenge, quoted};
pub use net::{Fault, Sent, Weather, Wire};
pub use run::{replay, simulate};
pub use settings::{DOMAIN, KEYS, SERVER, at, office, sequential};
pub use sip::{Sip, param, uri_in};
pub use state::Mood;
pub use storm::Report;
pub use watch::{Cause, Deed, Robot, Turn, Watcher};
pub use world::World;
