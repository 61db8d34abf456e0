//! The dialog of a subscription: its identifiers, route set and remote target, and the NOTIFYs in it (RFC 3261 12.1.1,
//! 12.2.1.1; RFC 6665 4.4.1).
//!
//! Decides where a NOTIFY is sent: to the first route of the route set, else over the flow to a phone behind a NAT or a
//! firewall, else to the Contact. Must not know the state that is reported.

use std::net::IpAddr;

use parser::headers::{Contact, Event, From};
use parser::{HeaderName, Message, Reply, SipUri, Transport, Uri, write_decimal, write_target};
use smallvec::SmallVec;

use crate::ask::Answer;
use crate::event_package::EventPackage;
use crate::forward::{self, ViaBranch};
use crate::hop::{self, Endpoint, Hop};
use crate::nat;
use crate::reach;
use crate::reject::{Barred, Reject};
use crate::request::Request;
use crate::route::{check_sips_hop, next_hop_of, via_flow};
use crate::settings::Settings;
use crate::target::{NextHop, route_uri};

use super::table::LocalTag;

/// The most octets of text that are kept for one dialog. The SUBSCRIBEs of phones have a fraction of this.
const MAX_TEXT: usize = 4096;

/// One dialog, as the notifier sees it.
#[derive(Debug)]
pub(super) struct Dialog {
    pub(super) tag: LocalTag,
    /// The From of our NOTIFYs: the To of the SUBSCRIBE.
    local: Box<[u8]>,
    /// The To of our NOTIFYs: the From of the SUBSCRIBE, with its tag.
    remote: Box<[u8]>,
    call_id: Box<[u8]>,
    pub(super) package: EventPackage,
    /// The `id` of the Event header (RFC 6665 8.2.1).
    event_id: Option<Box<[u8]>>,
    /// The remote target: the Request-URI of our NOTIFYs.
    target: Box<[u8]>,
    routes: SmallVec<[Box<[u8]>; 1]>,
    /// The next hop of our NOTIFYs.
    pub(super) next_hop: NextHop,
    /// Whether that is the flow of the phone, and not the address in its Contact.
    pub(super) over_flow: bool,
    /// The source address of the last SUBSCRIBE.
    from: IpAddr,
    /// The CSeq number of the last SUBSCRIBE.
    pub(super) sequence: u32,
}

/// The parts of a NOTIFY that are not in its dialog.
pub(super) struct Notice<'a> {
    pub(super) hop: &'a Hop,
    pub(super) branch: ViaBranch,
    pub(super) sequence: u32,
    /// The value of Subscription-State.
    pub(super) subscription_state: &'a [u8],
    pub(super) body: &'a [u8],
}

impl Dialog {
    /// The dialog that an initial SUBSCRIBE creates.
    pub(super) fn new(
        package: EventPackage,
        request: &Request,
        tag: LocalTag,
        settings: &Settings,
    ) -> Result<Self, Reject> {
        let message = &request.message;
        let target = target_of(message)?.ok_or(Reject::Target)?;
        let routes: SmallVec<[&[u8]; 1]> = message.values(HeaderName::RecordRoute).collect();
        let text = |name| message.value(name).unwrap_or_default();
        let event = message.header::<Event<'_>>().ok().flatten();
        let event_id = event.and_then(|event| event.id());
        let kept = [text(HeaderName::To), text(HeaderName::From), text(HeaderName::CallId), target.as_bytes()];
        let kept = kept.into_iter().chain(event_id).chain(routes.iter().copied());
        if kept.map(<[u8]>::len).sum::<usize>() > MAX_TEXT {
            return Err(Reject::DialogTooLong);
        }
        let (next_hop, over_flow) = notify_hop(request, &target, routes.first().copied(), settings)?;
        Ok(Self {
            tag,
            local: text(HeaderName::To).into(),
            remote: text(HeaderName::From).into(),
            call_id: text(HeaderName::CallId).into(),
            package,
            event_id: event_id.map(Into::into),
            next_hop,
            over_flow,
            from: request.flow.remote.ip(),
            target: target.as_bytes().into(),
            routes: routes.into_iter().map(Into::into).collect(),
            sequence: request.sequence,
        })
    }

    /// Whether a request belongs to the same subscription.
    pub(super) fn is_of(&self, message: &Message) -> bool {
        let tag = message.header::<From<'_>>().ok().flatten().and_then(|from| from.tag());
        let event = message.header::<Event<'_>>().ok().flatten();
        message.value(HeaderName::CallId) == Some(&*self.call_id)
            && tag == tag_of(&self.remote)
            && EventPackage::of(message) == Some(self.package)
            && event.and_then(|event| event.id()) == self.event_id.as_deref()
    }

    /// Updates the dialog by a later SUBSCRIBE: its Contact, if there is one, becomes the remote target (RFC 3261
    /// 12.2.2). The route set does not change.
    pub(super) fn refresh(&mut self, request: &Request, settings: &Settings) -> Result<(), Reject> {
        let target: Box<[u8]> = match target_of(&request.message)? {
            Some(target) if target.as_bytes().len() > MAX_TEXT => return Err(Reject::DialogTooLong),
            Some(target) => target.as_bytes().into(),
            None => self.target.clone(),
        };
        let Ok(Uri::Sip(uri)) = Uri::parse(&target) else { return Err(Reject::Target) };
        (self.next_hop, self.over_flow) =
            notify_hop(request, &uri, self.routes.first().map(|route| &**route), settings)?;
        (self.target, self.sequence, self.from) = (target, request.sequence, request.flow.remote.ip());
        Ok(())
    }

    /// The hop to the first address of a host, by DNS, that the subscriber may name.
    pub(super) fn hop_to(&self, host: &hop::Name, answer: &Answer, settings: &Settings) -> Option<Hop> {
        let Answer::Resolved(endpoints) = answer else { return None };
        let usable = |endpoint: &&Endpoint| {
            let remote = endpoint.address;
            !settings.is_own_address(remote.ip(), Some(remote.port()))
                && reach::check_phone_address(remote.ip(), self.from, settings).is_ok()
                && may_notify(remote.ip(), self.from, settings)
        };
        let endpoint = *endpoints.iter().flatten().find(usable)?;
        let local = settings.local_for(endpoint.transport, endpoint.address.ip())?;
        Some(Hop::to_endpoint(host, endpoint, local))
    }

    /// Writes a NOTIFY (RFC 6665 4.2.2).
    pub(super) fn write(&self, notice: &Notice<'_>, settings: &Settings, out: &mut Vec<u8>) {
        let Notice { hop, branch, sequence, subscription_state, body } = notice;
        let strict = self.routes.first().and_then(|route| route_uri(route)).filter(|route| !route.is_loose());
        out.extend_from_slice(b"NOTIFY ");
        match &strict {
            // RFC 3261 12.2.1.1: the URI of a strict router becomes the Request-URI.
            Some(strict) => strict.write_target(out),
            None => write_target(out, &self.target),
        }
        out.extend_from_slice(b" SIP/2.0\r\n");
        line(out, HeaderName::Via, |out| forward::write_via_value(out, hop, branch, settings));
        for route in self.routes.iter().skip(usize::from(strict.is_some())) {
            line(out, HeaderName::Route, |out| out.extend_from_slice(route));
        }
        if strict.is_some() {
            line(out, HeaderName::Route, |out| {
                out.push(b'<');
                write_target(out, &self.target);
                out.push(b'>');
            });
        }
        line(out, HeaderName::MaxForwards, |out| out.extend_from_slice(b"70"));
        line(out, HeaderName::From, |out| {
            out.extend_from_slice(&self.local);
            if tag_of(&self.local).is_none() {
                out.extend_from_slice(b";tag=");
                self.tag.write(out);
            }
        });
        line(out, HeaderName::To, |out| out.extend_from_slice(&self.remote));
        line(out, HeaderName::CallId, |out| out.extend_from_slice(&self.call_id));
        line(out, HeaderName::CSeq, |out| {
            write_decimal(out, *sequence);
            out.extend_from_slice(b" NOTIFY");
        });
        line(out, HeaderName::Contact, |out| write_contact(out, hop, settings));
        line(out, HeaderName::Event, |out| {
            out.extend_from_slice(self.package.name().as_bytes());
            if let Some(id) = &self.event_id {
                out.extend_from_slice(b";id=");
                out.extend_from_slice(id);
            }
        });
        line(out, HeaderName::SubscriptionState, |out| out.extend_from_slice(subscription_state));
        line(out, HeaderName::ContentType, |out| {
            let (kind, subtype) = self.package.media_type();
            out.extend_from_slice(kind.as_bytes());
            out.push(b'/');
            out.extend_from_slice(subtype.as_bytes());
        });
        line(out, HeaderName::ContentLength, |out| write_decimal(out, body.len() as u64));
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
    }
}

/// Writes the headers that only the 200 to a SUBSCRIBE has (RFC 6665 4.2.1.1, RFC 3261 12.1.1).
pub(super) fn write_answer(reply: &mut Reply<'_>, request: &Request, granted: u32, settings: &Settings) {
    if !request.in_dialog {
        for route in request.message.values(HeaderName::RecordRoute) {
            reply.header(HeaderName::RecordRoute, |out| out.extend_from_slice(route));
        }
    }
    reply.header(HeaderName::Contact, |out| write_contact(out, &Hop::back(&request.flow), settings));
    reply.header(HeaderName::Expires, |out| write_decimal(out, granted));
}

/// The next hop of the NOTIFYs (RFC 3261 12.2.1.1), if the subscriber may name its address, and whether it is a flow. A
/// phone without a proxy in front of it is reached over its flow, as for its registration (RFC 5626 5.3).
fn notify_hop(
    request: &Request,
    target: &SipUri<'_>,
    route: Option<&[u8]>,
    settings: &Settings,
) -> Result<(NextHop, bool), Reject> {
    let check = |place, uri: &SipUri<'_>| {
        reach::check_host(uri, request.flow.remote.ip(), settings, reach::check_phone_address)
            .map_err(|barred| Reject::Address { place, barred })
    };
    check("Contact", target)?;
    let (next_hop, over_flow) = unchecked_next_hop(request, target, route, check, settings)?;
    if let NextHop::Hop(hop) = &next_hop
        && !may_notify(hop.remote.ip(), request.flow.remote.ip(), settings)
    {
        let place = if route.is_some() { "Record-Route" } else { "Contact" };
        return Err(Reject::Address { place, barred: Barred::Elsewhere });
    }
    check_sips_hop(target.as_bytes(), route.unwrap_or_default(), &next_hop).map(|()| (next_hop, over_flow))
}

/// Whether a subscriber whose SUBSCRIBE came from `from` may have its NOTIFYs sent to `to`. They are longer than the
/// SUBSCRIBE and are retransmitted over UDP, so an attacker could use them to flood a host that never asked for them.
fn may_notify(to: IpAddr, from: IpAddr, settings: &Settings) -> bool {
    to == from || reach::is_exempt_source(from, settings)
}

/// The next hop of the NOTIFYs, if `check` permits the URI that names it.
fn unchecked_next_hop(
    request: &Request,
    target: &SipUri<'_>,
    route: Option<&[u8]>,
    check: impl Fn(&'static str, &SipUri<'_>) -> Result<(), Reject>,
    settings: &Settings,
) -> Result<(NextHop, bool), Reject> {
    if let Some(route) = route {
        let route = route_uri(route).ok_or(Reject::Route)?;
        check("Record-Route", &route)?;
        return Ok((next_hop_of(&route, settings)?, false));
    }
    let direct = request.message.values(HeaderName::Via).nth(1).is_none();
    if direct && nat::is_flow_bound(request, Some(target)) {
        return Ok((NextHop::Hop(via_flow(Hop::back(&request.flow), target)), true));
    }
    Ok((next_hop_of(target, settings)?, false))
}

/// The URI in the Contact; `None` without a Contact.
fn target_of(message: &Message) -> Result<Option<SipUri<'_>>, Reject> {
    let Some(contact) = message.headers::<Contact<'_>>().next() else { return Ok(None) };
    let contact = contact.map_err(Reject::Malformed)?;
    let uri = contact.address().and_then(|address| address.uri.sip().copied());
    uri.map(Some).ok_or(Reject::Target)
}

fn tag_of(value: &[u8]) -> Option<&[u8]> {
    <From<'_> as parser::Header<'_>>::parse(value).ok()?.tag()
}

/// Writes our Contact, the remote target of the subscriber: this server, not a user.
fn write_contact(out: &mut Vec<u8>, hop: &Hop, settings: &Settings) {
    out.extend_from_slice(b"<sip:");
    forward::write_own_address(out, hop, settings);
    if hop.transport != Transport::Udp {
        out.extend_from_slice(b";transport=");
        out.extend_from_slice(hop.transport.param().as_bytes());
    }
    out.push(b'>');
}

fn line(out: &mut Vec<u8>, name: HeaderName, value: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    value(out);
    out.extend_from_slice(b"\r\n");
}
