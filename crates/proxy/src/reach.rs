//! Where this server may be made to connect: whether an address that somebody else named is one to send to.
//!
//! Whoever names an address in a Contact, a Path, a redirection or a Request-URI makes this server send there, perhaps over a
//! new TCP connection: past a firewall, to services that trust this machine, to all hosts of a network. So a loopback or
//! link-local address, or one of this machine, may only be named from there; an unspecified, multicast, broadcast or reserved
//! one never; and what a phone names (not what a user calls) may be narrowed to `registrar.contact_networks`. A host name is
//! judged again when it is resolved, so that it cannot change its mind in between (DNS rebinding).
//!
//! What the configuration names may be anywhere and does not come here. RFC 3261 has no such rule.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use location::Binding;
use parser::{Host, SipUri};

use crate::nat;
use crate::reject::Barred;
use crate::settings::{Authentication, Settings};
use crate::target::{Target, Way};

/// Whether this address may be sent to, as named by a message from `from`.
pub(crate) fn may_send(ip: IpAddr, from: IpAddr, settings: &Settings) -> Result<(), Barred> {
    let (ip, from) = (embedded(ip), embedded(from));
    let is_multicast_or_worse = match ip {
        IpAddr::V4(ip) => barred_v4(ip),
        IpAddr::V6(ip) if ip.is_unspecified() => Some(Barred::Unspecified),
        IpAddr::V6(ip) if ip.is_multicast() => Some(Barred::Multicast),
        IpAddr::V6(_) => None,
    };
    if let Some(barred) = is_multicast_or_worse.or_else(|| is_broadcast(ip, settings).then_some(Barred::Broadcast)) {
        return Err(barred);
    }
    // The same address leads nowhere where its sender could not go itself.
    if ip == from {
        return Ok(());
    }
    let is_here = |ip: IpAddr| ip.is_loopback() || settings.is_own_ip(ip);
    if is_here(ip) {
        let barred = if ip.is_loopback() { Barred::Loopback } else { Barred::Own };
        return if is_here(from) { Ok(()) } else { Err(barred) };
    }
    if is_link_local(ip) && !(is_link_local(from) && are_neighbours(ip, from)) {
        return Err(Barred::LinkLocal);
    }
    Ok(())
}

/// Whether a phone may name this address: as [`may_send`], in the networks of the configuration.
pub(crate) fn may_name(ip: IpAddr, from: IpAddr, settings: &Settings) -> Result<(), Barred> {
    may_send(ip, from, settings)?;
    let (networks, ip) = (&settings.registrar.contact_networks, embedded(ip));
    if networks.is_empty() || networks.iter().any(|network| network.contains(&ip)) {
        Ok(())
    } else {
        Err(Barred::Network)
    }
}

/// Whether the host of a URI may be sent to, by this rule; a name as far as it can be judged before it is resolved. Its
/// maddr counts as well (RFC 3261 19.1.1): which of the two a message goes to depends on how it is sent.
pub(crate) fn check_host(
    uri: &SipUri<'_>,
    from: IpAddr,
    settings: &Settings,
    rule: impl Fn(IpAddr, IpAddr, &Settings) -> Result<(), Barred>,
) -> Result<(), Barred> {
    let maddr = uri.maddr().map(|maddr| Host::parse(maddr).map_err(|_| Barred::Name)).transpose()?;
    for host in [Some(uri.host), maddr].into_iter().flatten() {
        match host {
            Host::V4(ip) => rule(ip.into(), from, settings)?,
            Host::V6(ip) => rule(ip.into(), from, settings)?,
            Host::Name(name) => check_name(name, from, settings)?,
        }
    }
    Ok(())
}

/// Whether a target may be sent to now that was made of this binding. A name may: it is judged when it is resolved.
pub(crate) fn is_reachable(target: &Target, binding: &Binding<'_>, settings: &Settings) -> bool {
    match &target.way {
        Way::Name(_) => true,
        Way::Hop(hop) => may_be_at(binding, hop.remote.ip(), target.over_flow, settings),
    }
}

/// Whether a target may be sent to at an address that its name was resolved to. `from`: who named it, where no binding did;
/// none if nobody is to be asked.
pub(crate) fn may_lead_to(target: &Target, ip: IpAddr, from: Option<IpAddr>, settings: &Settings) -> bool {
    match (target.uri.binding(), from) {
        (Some(binding), _) => may_be_at(&binding, ip, target.over_flow, settings),
        (None, None) => true,
        (None, Some(from)) if target.uri.is_redirect() => may_name(ip, from, settings).is_ok(),
        (None, Some(from)) => may_send(ip, from, settings).is_ok(),
    }
}

/// Whether the phone of this binding may be called at this address.
pub(crate) fn may_be_at(binding: &Binding<'_>, ip: IpAddr, over_flow: bool, settings: &Settings) -> bool {
    let from = binding.flow().remote.ip();
    // Where its REGISTER came from, as nearly all are; the phone need not have named that. Or made by the configuration: it
    // came from nowhere.
    if (ip == from && (over_flow || settings.registrar.contact_networks.is_empty())) || from.is_unspecified() {
        return true;
    }
    may_name(ip, from, settings).is_ok()
}

/// Whether a user that was heard from `source` may be reached at `place` in a dialog. Whoever has an account and has seen a call
/// can make one with its own phone that has the same Call-ID and tags: if a Contact, a Path or another user's name led the
/// requests of that dialog to somebody else's phone, that phone would take them for those of its own call. A private address,
/// and any of IPv6, is one machine, which may send from another port than it listens at; behind a public one of IPv4 there may
/// be several.
pub(crate) fn is_own_place(place: SocketAddr, source: SocketAddr) -> bool {
    place == source || (place.ip() == source.ip() && (place.is_ipv6() || nat::is_private(place.ip())))
}

/// Whether a binding leads to where its user was heard from, and so counts in a dialog. What the configuration made came from
/// nowhere, and counts; so does what came from a trusted network.
pub(crate) fn leads_to_own_place(binding: &Binding<'_>, way: &Way, over_flow: bool, settings: &Settings) -> bool {
    let source = binding.flow().remote;
    let is_own = matches!(way, Way::Hop(hop) if is_own_place(hop.remote, source));
    over_flow || is_own || is_believed(source.ip(), settings)
}

/// Whether a Contact that was registered from this address is not judged.
pub(crate) fn is_believed(source: IpAddr, settings: &Settings) -> bool {
    let nobody_proves = settings.authentication == Authentication::Off;
    nobody_proves || source.is_unspecified() || settings.trusts(source)
}

/// RFC 6761 6.3, and what some resolvers read as numbers (`0x7f.1`), which no host name ends in (RFC 1123 2.1).
fn check_name(name: &[u8], from: IpAddr, settings: &Settings) -> Result<(), Barred> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let last = name.rsplit(|octet| *octet == b'.').next().unwrap_or_default();
    if last.first().is_some_and(u8::is_ascii_digit) {
        return Err(Barred::Name);
    }
    if last.eq_ignore_ascii_case(b"localhost") {
        return may_send(Ipv4Addr::LOCALHOST.into(), from, settings);
    }
    Ok(())
}

/// The IPv4 address that leads to the same place, in whatever form it is put into IPv6: mapped (RFC 4291 2.5.5.2), compatible
/// (2.5.5.1), or translated (RFC 6052 2.1).
fn embedded(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let [a, b, c, d, e, f, high, low] = v6.segments();
    let is_embedding = match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => true,
        // But :: and ::1, which are addresses of their own.
        [0, 0, 0, 0, 0, 0] => high != 0 || low > 1,
        _ => false,
    };
    if !is_embedding {
        return ip;
    }
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into()
}

const fn barred_v4(ip: Ipv4Addr) -> Option<Barred> {
    match ip.octets() {
        // RFC 1122 3.2.1.3: this host on this network; most systems take all of it for loopback.
        [0, ..] => Some(Barred::Unspecified),
        [224..=239, ..] => Some(Barred::Multicast),
        [255, 255, 255, 255] => Some(Barred::Broadcast),
        // RFC 1112 4
        [240..=255, ..] => Some(Barred::Reserved),
        _ => None,
    }
}

/// The first and the last address of a network that we are in (RFC 1122 3.2.1.3, RFC 919 7); one of two has neither
/// (RFC 3021 2.1).
fn is_broadcast(ip: IpAddr, settings: &Settings) -> bool {
    settings.interfaces.networks.iter().any(|(_, network)| match network {
        IpNet::V4(network) if network.prefix_len() < 31 => {
            ip == IpAddr::V4(network.broadcast()) || ip == IpAddr::V4(network.network())
        }
        IpNet::V4(_) | IpNet::V6(_) => false,
    })
}

const fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => is_link_local_v6(ip),
    }
}

const fn is_link_local_v6(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfe80
}

/// Whether two link-local addresses can be on one link: of one family. A zone, which would tell links apart, is in no SIP URI.
const fn are_neighbours(one: IpAddr, other: IpAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
}
