//! Limits of a REGISTER, and headers of its 200 (RFC 3261 10.3, RFC 3327, RFC 3608, RFC 5626).
//!
//! Values only; `registrar` and the location service apply them.

use ipnet::IpNet;
use location::Limits;

use crate::clock::{Now, Wall};

/// Settings of the registrar.
#[derive(Clone, Debug)]
pub struct Registrar {
    /// Limits of the expiration and number of bindings.
    pub limits: Limits,
    /// Service-Route of the 200, the first proxy first: SIP URIs with `lr` (RFC 3608 6.3). Empty: no Service-Route.
    pub service_route: Vec<Box<str>>,
    /// Networks that a phone may name in Contact and Path, and that it may redirect calls to. Empty: any.
    pub contact_networks: Vec<IpNet>,
    /// What happens to a Path in the REGISTER of a phone that does not list `path` in Supported.
    pub unannounced_path: UnannouncedPath,
    /// Flow-Timer of the 200 to a phone that registers a flow over a connection, in seconds (RFC 5626 6). `None`: no
    /// Flow-Timer.
    pub flow_timer: Option<u32>,
    /// Seconds after the Flow-Timer until a flow without traffic is closed (RFC 5626 5.4).
    pub flow_grace: u32,
    /// How far the clock of the machine is ahead of [`Now::wall`], in milliseconds. Used only for the Date header: the
    /// clock of the machine can be set, so no interval is measured by it.
    pub clock_ahead: i64,
}

impl Registrar {
    /// The time for the Date header (RFC 3261 20.17).
    pub(crate) fn date(&self, now: Now) -> Wall {
        Wall(now.wall.0.saturating_add_signed(self.clock_ahead))
    }
}

impl Default for Registrar {
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

/// What happens to a Path of a proxy that the phone does not support (RFC 3327 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnannouncedPath {
    /// It is stored and used.
    Accept,
    /// The REGISTER gets 420.
    Refuse,
}
