//! Settings of the registrar (RFC 3261 10.3, RFC 3327, RFC 3608, RFC 5626).
//!
//! Only values.

use ipnet::IpNet;
use location::Limits;

use crate::clock::{Now, Wall};

/// Settings of the registrar.
#[derive(Clone, Debug)]
pub struct Registrar {
    /// Limits of expiry and of the number of bindings.
    pub limits: Limits,
    /// Service-Route in the 200: SIP URIs with `lr` of the proxies that phones have to send their requests through (RFC
    /// 3608 6.3). Empty: no Service-Route.
    pub service_route: Vec<Box<str>>,
    /// The networks that phones may name in Contact, Path and redirections; empty: any.
    pub contact_networks: Vec<IpNet>,
    /// What to do with a Path if the phone does not list `path` in Supported.
    pub unannounced_path: UnannouncedPath,
    /// Flow-Timer in seconds, in the 200 to a phone that registers a flow over a stream (RFC 5626 6); `None`: no
    /// Flow-Timer.
    pub flow_timer: Option<u32>,
    /// Seconds after Flow-Timer until the connection is closed if nothing is received (RFC 5626 5.4).
    pub flow_grace: u32,
    /// How far the clock of the machine is ahead of [`Now::wall`], in milliseconds. Only the Date header uses it.
    pub clock_ahead: i64,
}

impl Registrar {
    /// The time for the Date header (RFC 3261 20.17).
    pub(crate) fn date(&self, now: Now) -> Wall {
        Wall(now.wall.0.saturating_add_signed(self.clock_ahead))
    }
}

impl Default for Registrar {
    /// Suitable for an office.
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

/// What to do with a Path that a proxy added for a phone that does not announce support for it (RFC 3327 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnannouncedPath {
    /// It is stored and used.
    Accept,
    /// The REGISTER is refused (420).
    Refuse,
}
