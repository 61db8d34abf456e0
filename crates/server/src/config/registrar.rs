//! `registrar`: limits of a REGISTER, and headers of its 200.
//!
//! Decides the syntax of a route URI, of a percentage and of the flow timer.

use location::{Limits, WhenFull};
use parser::{SipUri, Uri};
use proxy::UnannouncedPath;

use super::keys::section;
use super::scalar::{Count, Network, Scalar, Seconds, Size, scalars};

section! {
    /// `registrar`: limits of a REGISTER (RFC 3261 10.3), and headers of its 200.
    pub(crate) struct Registrar {
        /// shortest registration time; a phone that asks for less gets 423
        min_expires: Seconds = Seconds(Limits::DEFAULT.min_expires),
        /// registration time of a phone that does not ask for one
        default_expires: Seconds = Seconds(Limits::DEFAULT.default_expires),
        /// longest registration time; a longer one is shortened to this
        max_expires: Seconds = Seconds(Limits::DEFAULT.max_expires),
        /// each registration time is shortened by a random part of up to this much (at most `50%`), so that phones that
        /// registered at the same time do not all come back at the same time
        jitter: Percent = Percent(Limits::DEFAULT.jitter),
        /// phones of one user. Before another phone is refused, the server removes registrations whose connection is
        /// closed, and older registrations of the same phone (`+sip.instance`)
        max_contacts: Count = Count(Limits::DEFAULT.max_contacts),
        /// `refuse`, or `replace_oldest`: one phone more replaces the one that was refreshed longest ago
        when_full: WhenFullName = WhenFullName(Limits::DEFAULT.when_full),
        /// Contacts in one REGISTER
        max_request_contacts: Count = Count(Limits::DEFAULT.max_request_contacts),
        /// the networks that a phone may name in Contact and Path, and that it may redirect calls to; other addresses
        /// get 403. A host name is checked when it is called. Without networks, all addresses are allowed except those
        /// listed in [security.md](security.md) and those of trunks. A phone behind a NAT names the address that it has in
        /// its own network
        contact_networks: Vec<Network> = Vec::new(),
        /// the most that is stored for one Contact, with its Call-ID, Path, User-Agent and instance; a longer one gets
        /// 400. Not more than `8KiB`
        contact_size: Size = Size(Limits::DEFAULT.max_text),
        /// proxies that phones must send all their requests through (RFC 3608)
        service_route: Vec<RouteUri> = Vec::new(),
        /// `accept`, or `refuse` (420): a Path header of a proxy, if the phone does not announce support for it (RFC
        /// 3327)
        unannounced_path: PathPolicy = PathPolicy(proxy::Registrar::default().unannounced_path),
        /// how long a phone that keeps its TCP connection open may be silent (RFC 5626); `off`: the phone is not told a
        /// time
        flow_timer: FlowTimer = FlowTimer(proxy::Registrar::default().flow_timer.map(Seconds)),
        /// when a phone was silent for this much longer, the server closes its connection and uses the next flow of the
        /// phone
        flow_grace: Seconds = Seconds(proxy::Registrar::default().flow_grace),
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
    fn route_uris_need_lr() {
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
    fn percentages_are_at_most_50() {
        assert_eq!((Percent::read("0%"), Percent::read("50 %")), (Some(Percent(0)), Some(Percent(50))));
        for bad in ["", "10", "%", "51%", "-1%", "0.5%"] {
            assert_eq!(Percent::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn flow_timers_are_read() {
        assert_eq!(FlowTimer::read("off"), Some(FlowTimer(None)));
        assert_eq!(FlowTimer::read("2m"), Some(FlowTimer(Some(Seconds(120)))));
        for bad in ["", "120", "0s", "1500ms"] {
            assert_eq!(FlowTimer::read(bad), None, "{bad}");
        }
    }
}
