//! A simulator for the core: real `proxy::Core`s and a real store on a simulated clock and a simulated network.
//!
//! It has two users. The scenario tests of the crate `proxy` build a [`Simulation`] and script each message of each phone.
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
mod behaviour;
mod cluster;
mod cluster_effects;
mod cores;
mod dialogs;
mod digest;
mod dns;
mod effects;
mod fault;
mod judge;
mod ladder;
mod net;
mod random;
mod run;
mod settings;
mod simulation;
mod sip;
mod state;
mod trial;

pub use agent::{Agent, cseq, hop_by_hop};
pub use behaviour::{Action, Behaviour, Cause, Observer, Reaction};
pub use dialogs::{DialogView, ShownDialog};
pub use digest::{Login, challenge, quoted};
pub use fault::{DnsState, Fault, StoreState};
pub use net::{Impairments, NodeMessage, Sent, Wire};
pub use random::Random;
pub use run::{replay, simulate};
pub use settings::{DOMAIN, KEYS, SERVER, at, default_settings, sequential};
pub use simulation::Simulation;
pub use sip::{Sip, param, uri_in};
pub use trial::Report;
