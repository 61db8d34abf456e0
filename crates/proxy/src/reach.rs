//! Which addresses that others name this server may send to.
//!
//! A Contact, a Path, a redirection or a Request-URI makes this server send a message, perhaps over a new TCP
//! connection. An attacker could use this to pass a firewall, to reach services that trust this machine, or to scan a
//! network. So a message may name a loopback or link-local address, or one of this machine, only if it came from there.
//! An unspecified, multicast, broadcast or reserved address is never allowed. `registrar.contact_networks` can restrict
//! the addresses that phones name, but not those that users call. A host name is checked again when it is resolved,
//! because its address may change in between (DNS rebinding).
//!
//! Addresses in the configuration are not checked. RFC 3261 has no such rule.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use location::Binding;
use parser::{Host, SipUri};

use crate::nat;
use crate::reject::Barred;
use crate::settings::{Authentication, Settings};
use crate::target::{NextHop, Target};

/// Checks whether this server may send to an address that a message from `from` names. Only the rules of the office and a
/// trunk may name that of a trunk: in networks in `trusted` there are phones of users, too.
pub(crate) fn check_address(ip: IpAddr, from: IpAddr, settings: &Settings) -> Result<(), Barred> {
    let (ip, from) = (without_ipv6_form(ip), without_ipv6_form(from));
    let never_allowed = match ip {
        IpAddr::V4(ip) => barred_ipv4(ip),
        IpAddr::V6(ip) if ip.is_unspecified() => Some(Barred::Unspecified),
        IpAddr::V6(ip) if ip.is_multicast() => Some(Barred::Multicast),
        IpAddr::V6(_) => None,
    };
    if let Some(barred) = never_allowed.or_else(|| is_broadcast(ip, settings).then_some(Barred::Broadcast)) {
        return Err(barred);
    }
    // The sender can reach its own address without this server, so it gains nothing.
    if ip == from {
        return Ok(());
    }
    let is_local = |ip: IpAddr| ip.is_loopback() || settings.is_own_ip(ip);
    if is_local(ip) {
        let barred = if ip.is_loopback() { Barred::Loopback } else { Barred::Own };
        return if is_local(from) { Ok(()) } else { Err(barred) };
    }
    if is_link_local(ip) && !(is_link_local(from) && have_same_family(ip, from)) {
        return Err(Barred::LinkLocal);
    }
    // The attack: a user who may not dial a number calls it at the address of the provider, which trusts this server, or
    // registers it there, or redirects a call to it.
    if settings.is_of_trunk(ip) && settings.trunk_at(from).is_none() {
        return Err(Barred::Trunk);
    }
    Ok(())
}

/// As [`check_address`], for an address that a phone names in a Contact, Path or redirection: it must also be in
/// `registrar.contact_networks`.
pub(crate) fn check_phone_address(ip: IpAddr, from: IpAddr, settings: &Settings) -> Result<(), Barred> {
    check_address(ip, from, settings)?;
    let (networks, ip) = (&settings.registrar.contact_networks, without_ipv6_form(ip));
    if networks.is_empty() || networks.iter().any(|network| network.contains(&ip)) {
        Ok(())
    } else {
        Err(Barred::Network)
    }
}

/// Checks the host and the maddr of a URI by this rule: which of the two a message is sent to depends on the transport
/// (RFC 3261 19.1.1). Of a host name only the text is checked here.
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

/// Whether a target of this binding may be used. A host name is allowed here and checked when it is resolved.
pub(crate) fn is_reachable(target: &Target, binding: &Binding<'_>, settings: &Settings) -> bool {
    match &target.next_hop {
        NextHop::Name(_) => true,
        NextHop::Hop(hop) => is_allowed_at(binding, hop.remote.ip(), target.over_flow, settings),
    }
}

/// Whether the name of a target may be resolved to this address. `from` is the source of the message that named it, if
/// it comes from no binding; in a dialog its other side.
pub(crate) fn may_resolve_to(target: &Target, ip: IpAddr, from: IpAddr, settings: &Settings) -> bool {
    match target.uri.binding() {
        Some(binding) => is_allowed_at(&binding, ip, target.over_flow, settings),
        // The configuration names it.
        None if target.uri.trunk().is_some() => true,
        None if target.uri.is_redirect() => check_phone_address(ip, from, settings).is_ok(),
        None => check_address(ip, from, settings).is_ok(),
    }
}

/// Whether the phone of this binding may be reached at this address.
pub(crate) fn is_allowed_at(binding: &Binding<'_>, ip: IpAddr, over_flow: bool, settings: &Settings) -> bool {
    let from = binding.flow().remote.ip();
    // The source of the REGISTER, as for nearly all phones: the flow does not depend on what the Contact names. A
    // configured binding has the unspecified address as its source.
    if (ip == from && (over_flow || settings.registrar.contact_networks.is_empty())) || from.is_unspecified() {
        return true;
    }
    check_phone_address(ip, from, settings).is_ok()
}

/// Whether `address` belongs to the user whose REGISTER or request came from `source`, so that requests in a dialog may
/// go there.
///
/// The attack: somebody with an account has seen a call, and makes one of their own with the same Call-ID and tags. If
/// a Contact, a Path or the name of another user could lead the requests of that dialog to the phone in the first call,
/// that phone would accept them as part of its own call.
///
/// A private or an IPv6 address belongs to one host, which may send from another port than it listens at. A public IPv4
/// address may be shared by several hosts, so the port must match too.
pub(crate) fn is_own_address(address: SocketAddr, source: SocketAddr) -> bool {
    address == source || (address.ip() == source.ip() && (address.is_ipv6() || nat::is_private(address.ip())))
}

/// Whether a binding leads to the host that registered it, so that requests in a dialog may follow it. Configured
/// bindings and those from trusted networks need no check.
pub(crate) fn leads_to_own_address(
    binding: &Binding<'_>,
    next_hop: &NextHop,
    over_flow: bool,
    settings: &Settings,
) -> bool {
    let source = binding.flow().remote;
    let is_own = matches!(next_hop, NextHop::Hop(hop) if is_own_address(hop.remote, source));
    over_flow || is_own || is_exempt_source(source.ip(), settings)
}

/// Whether a Contact registered from this address needs no check.
pub(crate) fn is_exempt_source(source: IpAddr, settings: &Settings) -> bool {
    let is_off = settings.authentication == Authentication::Off;
    is_off || source.is_unspecified() || settings.trusts(source)
}

/// Checks a host name. `localhost` is a loopback address (RFC 6761 6.3). Some resolvers read a name like `0x7f.1` as an
/// address, so a name must not end in a label that begins with a digit (RFC 1123 2.1).
fn check_name(name: &[u8], from: IpAddr, settings: &Settings) -> Result<(), Barred> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let last = name.rsplit(|octet| *octet == b'.').next().unwrap_or_default();
    if last.first().is_some_and(u8::is_ascii_digit) {
        return Err(Barred::Name);
    }
    if last.eq_ignore_ascii_case(b"localhost") {
        return check_address(Ipv4Addr::LOCALHOST.into(), from, settings);
    }
    Ok(())
}

/// The IPv4 address that is embedded in an IPv6 address, as all of them lead to the same host: mapped (RFC 4291
/// 2.5.5.2), compatible (2.5.5.1) or translated (RFC 6052 2.1). Other addresses are unchanged.
fn without_ipv6_form(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let [a, b, c, d, e, f, high, low] = v6.segments();
    let is_embedding = match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => true,
        // :: and ::1 are no compatible addresses.
        [0, 0, 0, 0, 0, 0] => high != 0 || low > 1,
        _ => false,
    };
    if !is_embedding {
        return ip;
    }
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into()
}

const fn barred_ipv4(ip: Ipv4Addr) -> Option<Barred> {
    match ip.octets() {
        // RFC 1122 3.2.1.3: "this host on this network"; most systems treat these as loopback addresses.
        [0, ..] => Some(Barred::Unspecified),
        [224..=239, ..] => Some(Barred::Multicast),
        [255, 255, 255, 255] => Some(Barred::Broadcast),
        // RFC 1112 4
        [240..=255, ..] => Some(Barred::Reserved),
        _ => None,
    }
}

/// Whether it is the first or the last address of a network of this machine (RFC 1122 3.2.1.3, RFC 919 7). A network of
/// two addresses has no broadcast address (RFC 3021 2.1).
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
        IpAddr::V6(ip) => is_link_local_ipv6(ip),
    }
}

const fn is_link_local_ipv6(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfe80
}

/// Whether two link-local addresses may be on the same link, that is, of the same family. A zone would identify the
/// link, but a SIP URI cannot contain one.
const fn have_same_family(one: IpAddr, other: IpAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
}
