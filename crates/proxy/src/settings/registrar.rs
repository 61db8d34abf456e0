//! What a REGISTER may ask for, and what its 200 says (RFC 3261 10.3, 3327, 3608, 5626).

use ipnet::IpNet;
use location::Limits;

use crate::clock::{Now, Wall};

/// Settings of the registrar.
#[derive(Clone, Debug)]
pub struct Registrar {
    /// Expiry and number of bindings.
    pub limits: Limits,
    /// Through which proxies phones are told to send their requests, the first one first: SIP URIs with `lr`
    /// (RFC 3608 6.3). Empty: nothing is said.
    pub service_route: Vec<Box<str>>,
    /// Where phones may say that they are, in Contact and Path, and send calls on to; empty: anywhere.
    pub contact_networks: Vec<IpNet>,
    /// A Path in the REGISTER of a phone that does not list `path` in Supported.
    pub unannounced_path: UnannouncedPath,
    /// Seconds for Flow-Timer in the 200 to a phone that registers a flow over a stream (RFC 5626 6); none: not said.
    pub flow_timer: Option<u32>,
    /// Seconds for which such a flow may be silent beyond that (RFC 5626 5.4).
    pub flow_grace: u32,
    /// How far the machine's clock, which people and phones go by, is ahead of [`Now::wall`], in milliseconds. Nothing is
    /// measured by it; it is for Date.
    pub clock_ahead: i64,
}

impl Registrar {
    /// RFC 3261 20.17
    pub(crate) fn date(&self, now: Now) -> Wall {
        Wall(now.wall.0.saturating_add_signed(self.clock_ahead))
    }
}

impl Default for Registrar {
    /// What suits an office.
    fn default() -> Self {
        Self {
            limits: Limits::DEFAULT,
            service_route: Vec::new(),
            contact_networks: Vec::new(),
            unannounced_path: UnannouncedPath::Accept,
            flow_timer: Some(120),
            flow_grace: 30,
            clock_ahead: 0,
        }
    }
}

/// What to do with a Path that a proxy put in without the phone's knowing (RFC 3327 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnannouncedPath {
    /// Stored and used like any other.
    Accept,
    /// 420.
    Refuse,
}
