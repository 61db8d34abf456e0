//! `registrar`: limits of a REGISTER, and headers of its 200.
//!
//! Decides names and defaults, as `sections` does for other sections, and the syntax of a route URI.

use location::{MAX_TEXT, WhenFull};
use parser::{SipUri, Uri};
use proxy::UnannouncedPath;
use serde::Deserialize;

use super::scalar::{Count, Network, Scalar, Seconds, Size, scalars};

/// `registrar`: what a REGISTER may ask for (RFC 3261 10.3).
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Registrar {
    /// Shorter expirations get 423; default 60s.
    pub(crate) min_expires: Seconds,
    /// For REGISTERs without an expiration; default 1h.
    pub(crate) default_expires: Seconds,
    /// Longer expirations are shortened; default 2h.
    pub(crate) max_expires: Seconds,
    /// How much of the granted time may be taken off at random, so that phones that registered together do not refresh
    /// together, 0% to 50%; default 0%.
    pub(crate) jitter: Percent,
    /// Bindings per user; default 10.
    pub(crate) max_contacts: Count,
    /// refuse (default) one binding more, or replace_oldest.
    pub(crate) when_full: WhenFullName,
    /// Contacts in one REGISTER; default 64.
    pub(crate) max_request_contacts: Count,
    /// Limit of the stored data of one Contact, with its Call-ID, Path, User-Agent and instance; default 8KiB, which
    /// is the maximum.
    pub(crate) contact_size: Size,
    /// Service-Route of every 200 (RFC 3608), the first proxy first; default none.
    pub(crate) service_route: Vec<RouteUri>,
    /// Networks that Contact and Path may name, and that calls may be redirected to; default none, which means any.
    pub(crate) contact_networks: Vec<Network>,
    /// accept (default) or refuse: a Path that the phone does not list in Supported (RFC 3327 5.3).
    pub(crate) unannounced_path: PathPolicy,
    /// Flow-Timer for phones that register a flow over TCP (RFC 5626 6), or off; default 2m.
    pub(crate) flow_timer: FlowTimer,
    /// How long after its Flow-Timer a silent flow is closed (RFC 5626 5.4); default 30s.
    pub(crate) flow_grace: Seconds,
}

impl Default for Registrar {
    fn default() -> Self {
        Self {
            min_expires: Seconds(60),
            default_expires: Seconds(3600),
            max_expires: Seconds(7200),
            jitter: Percent(0),
            max_contacts: Count(10),
            when_full: WhenFullName(WhenFull::Refuse),
            max_request_contacts: Count(64),
            contact_size: Size(MAX_TEXT),
            service_route: Vec::new(),
            contact_networks: Vec::new(),
            unannounced_path: PathPolicy(UnannouncedPath::Accept),
            flow_timer: FlowTimer(Some(Seconds(120))),
            flow_grace: Seconds(30),
        }
    }
}

/// A percentage of at most 50, written `10%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Percent(pub(crate) u8);

/// `when_full` by its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WhenFullName(pub(crate) WhenFull);

/// A SIP URI for a Route header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteUri(pub(crate) Box<str>);

/// `unannounced_path` by its name in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathPolicy(pub(crate) UnannouncedPath);

/// A Flow-Timer in seconds, or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowTimer(pub(crate) Option<Seconds>);

scalars!(Percent, WhenFullName, RouteUri, PathPolicy, FlowTimer);

impl Scalar for Percent {
    const EXPECTED: &'static str = "0% to 50%";

    fn read(text: &str) -> Option<Self> {
        text.strip_suffix('%')?.trim_end().parse().ok().filter(|percent| *percent <= 50).map(Self)
    }
}

impl Scalar for WhenFullName {
    const EXPECTED: &'static str = "refuse or replace_oldest";

    fn read(text: &str) -> Option<Self> {
        match text {
            "refuse" => Some(Self(WhenFull::Refuse)),
            "replace_oldest" => Some(Self(WhenFull::ReplaceOldest)),
            _ => None,
        }
    }
}

impl Scalar for RouteUri {
    const EXPECTED: &'static str = "a SIP URI with ;lr, like sip:proxy.office.example;lr";

    fn read(text: &str) -> Option<Self> {
        let uri = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
        // RFC 3608 6.3: Service-Routes are loose routes.
        let is_route = matches!(Uri::parse(uri.as_bytes()), Ok(Uri::Sip(route)) if route.is_loose() && is_bare(&route));
        is_route.then(|| Self(uri.into()))
    }
}

impl Scalar for PathPolicy {
    const EXPECTED: &'static str = "accept or refuse";

    fn read(text: &str) -> Option<Self> {
        match text {
            "accept" => Some(Self(UnannouncedPath::Accept)),
            "refuse" => Some(Self(UnannouncedPath::Refuse)),
            _ => None,
        }
    }
}

impl Scalar for FlowTimer {
    const EXPECTED: &'static str = "a duration of whole seconds with its unit, like 2m, or off";

    fn read(text: &str) -> Option<Self> {
        match text {
            "off" | "false" => Some(Self(None)),
            _ => Seconds::read(text).map(|seconds| Self(Some(seconds))),
        }
    }
}

/// RFC 3261 19.1.1 table 1: not allowed in a Route.
fn is_bare(uri: &SipUri<'_>) -> bool {
    uri.headers().is_empty() && uri.param("method").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes() {
        for good in ["sip:proxy.office.example;lr", "<sip:192.0.2.1:5062;transport=tcp;lr>", "sips:a@b.example;lr"] {
            assert!(RouteUri::read(good).is_some(), "{good}");
        }
        for bad in
            ["", "proxy.office.example", "sip:proxy.office.example", "tel:1;lr", "sip:a;lr?x=y", "sip:a;lr, sip:b;lr"]
        {
            assert_eq!(RouteUri::read(bad), None, "{bad}");
        }
        assert_eq!(RouteUri::read("<sip:a;lr>"), RouteUri::read("sip:a;lr"));
    }

    #[test]
    fn percentages() {
        assert_eq!((Percent::read("0%"), Percent::read("50 %")), (Some(Percent(0)), Some(Percent(50))));
        for bad in ["", "10", "%", "51%", "-1%", "0.5%"] {
            assert_eq!(Percent::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn flow_timers() {
        assert_eq!(FlowTimer::read("off"), Some(FlowTimer(None)));
        assert_eq!(FlowTimer::read("2m"), Some(FlowTimer(Some(Seconds(120)))));
        for bad in ["", "120", "0s", "1500ms"] {
            assert_eq!(FlowTimer::read(bad), None, "{bad}");
        }
    }
}
