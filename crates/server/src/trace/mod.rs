//! Copies of the messages that the server receives and sends, for people who look for a fault.
//!
//! ```text
//! workers -> tap -> hub (main thread): blank credentials -> live traces   (`frontdesk trace`)
//!                                                        -> kept calls    (`trace.calls`, the status page)
//!                                                        -> capture server (`capture.hep`)
//! ```
//!
//! While nobody looks, nothing is copied. This file only lists the modules.

mod blank;
mod entry;
mod filter;
mod hep;
mod hub;
mod kept;
mod live;
mod pcap;
mod tap;
mod traced;

pub(crate) use entry::{Entry, TraceLine, rfc3339};
pub(crate) use filter::Whose;
pub(crate) use hub::Trace;
pub(crate) use kept::{KeptCall, KeptCalls};
pub(crate) use live::{LiveTrace, Progress};
pub(crate) use pcap::{pcap_header, pcap_packet};
pub(crate) use tap::Tap;
pub(crate) use traced::Direction;
