//! Calls from every transport to every other one, over IPv4 and IPv6: what the server writes into Via and Record-Route,
//! and that each request within the call reaches the other side over its flow. RFC 3261 16.6, 16.12, RFC 5658, RFC 5630,
//! RFC 7118.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tempfile::TempDir;

use crate::harness::message::{param, uri};
use crate::harness::server::{OPEN, fresh_ip};
use crate::harness::{Authority, Dialog, Message, Phone, Server};

/// A transport: its name in `listen`, in Via, and in the Record-Route of calls to `sip:` and to `sips:` URIs.
pub(crate) struct Transport {
    listen: &'static str,
    via: &'static str,
    sip: &'static str,
    sips: Option<&'static str>,
    phone: fn(&str, SocketAddr, &Authority) -> Phone,
}

const TRANSPORTS: [Transport; 5] = [
    Transport { listen: "udp", via: "UDP", sip: "", sips: None, phone: |user, at, _| Phone::udp(user, at) },
    Transport {
        listen: "tcp",
        via: "TCP",
        sip: ";transport=tcp",
        sips: None,
        phone: |user, at, _| Phone::tcp(user, at),
    },
    // RFC 5630 3.1.4: in a `sips:` URI the parameter names the transport below TLS, which is TCP by default.
    Transport { listen: "tls", via: "TLS", sip: ";transport=tls", sips: Some(""), phone: Phone::tls },
    Transport {
        listen: "ws",
        via: "WS",
        sip: ";transport=ws",
        sips: None,
        phone: |user, at, _| Phone::websocket(user, at),
    },
    // RFC 7118 5.2: the parameter is `ws` with and without TLS.
    Transport {
        listen: "wss",
        via: "WSS",
        sip: ";transport=ws",
        sips: Some(";transport=ws"),
        phone: Phone::secure_websocket,
    },
];

/// The transport with this name in `listen`.
pub(crate) fn transport(name: &str) -> &'static Transport {
    TRANSPORTS.iter().find(|transport| transport.listen == name).expect("a transport")
}

/// One phone with its listener.
pub(crate) struct End {
    pub(crate) transport: &'static Transport,
    pub(crate) listener: SocketAddr,
    pub(crate) phone: Phone,
}

impl End {
    /// The end of the server's Record-Route value for this side, after the token.
    fn route(&self, scheme: &str) -> String {
        let parameter =
            if scheme == "sips" { self.transport.sips.expect("a secure transport") } else { self.transport.sip };
        format!("@{}{parameter};lr", self.listener)
    }

    /// The topmost Via of a request must name this side's transport and listener, because the response comes back there.
    #[track_caller]
    fn got_over_its_flow(&self, request: &Message) {
        let top = format!("SIP/2.0/{} {};branch=z9hG4bK", self.transport.via, self.listener);
        assert!(request.list("Via")[0].starts_with(&top), "{top} expected:\n{request}");
        assert_eq!(request.list("Via").len(), 2, "{request}");
        assert!(request.find("Route").is_none(), "the server removes its own Route values:\n{request}");
    }
}

/// A server that listens on every transport over IPv4 and IPv6, with two phones at each listener.
struct Office {
    server: Server,
    callers: Vec<End>,
    callees: Vec<End>,
    /// The server reads its files as long as it runs.
    _authority: Authority,
}

impl Office {
    fn new(scheme: &'static str) -> Self {
        let authority = Authority::new();
        let ips = [fresh_ip(), IpAddr::from(Ipv6Addr::LOCALHOST)];
        let listen: Vec<_> = ips
            .iter()
            .flat_map(|ip| {
                TRANSPORTS
                    .iter()
                    .map(move |transport| format!("\"{}://{}\"", transport.listen, SocketAddr::new(*ip, 0)))
            })
            .collect();
        let certificate = authority.config(&authority.issue("office", &["office.example"]), "");
        let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
        let server = Server::start_in(folder, ips[0], &format!("{OPEN}listen: [{}]\n{certificate}", listen.join(", ")));
        let (mut callers, mut callees) = (Vec::new(), Vec::new());
        for ip in ips {
            for transport in TRANSPORTS.iter().filter(|transport| scheme == "sip" || transport.sips.is_some()) {
                let listener = server.listens(transport.listen, ip);
                let end = |role: &str| {
                    let user = format!("{role}-{}-{}", transport.listen, if ip.is_ipv4() { 4 } else { 6 });
                    // The callers register too: a connection without a message is closed after `limits.message_time`.
                    let phone = (transport.phone)(&user, listener, &authority).with_scheme(scheme).registered();
                    End { transport, listener, phone }
                };
                callers.push(end("caller"));
                callees.push(end("callee"));
            }
        }
        Self { server, callers, callees, _authority: authority }
    }
}

/// INVITE, 180, 200 and ACK. Returns both sides of the dialog.
#[track_caller]
pub(crate) fn connects(caller: &mut End, callee: &mut End, scheme: &str) -> (Dialog, Dialog) {
    let called = callee.phone.aor();
    let invite = caller.phone.invite(&called);
    let sent = caller.phone.send(invite);
    let at_callee = callee.phone.expect("INVITE");
    callee.got_over_its_flow(&at_callee);
    assert_eq!(at_callee.uri(), callee.phone.contact());
    let from_caller = at_callee.list("Via")[1];
    assert!(from_caller.starts_with(&format!("SIP/2.0/{} ", caller.transport.via)), "{at_callee}");
    assert_eq!(param(from_caller, "branch"), Some(sent.branch()));

    // RFC 5658: the value for the callee is above the one for the caller. Sides that share a listener share a value.
    let mut ends = vec![callee.route(scheme), caller.route(scheme)];
    ends.dedup();
    let are_ours = |message: &Message| {
        let routes = message.list("Record-Route");
        let is_ours = |(route, end): (&&str, &String)| {
            let route = uri(route);
            route.starts_with(&format!("{scheme}:")) && route.ends_with(end)
        };
        routes.len() == ends.len() && routes.iter().zip(&ends).all(is_ours)
    };
    assert!(are_ours(&at_callee), "{ends:?} expected:\n{at_callee}");

    callee.phone.reply(&at_callee, 180);
    let ringing = caller.phone.response(180);
    assert_eq!(ringing.list("Via").len(), 1, "{ringing}");
    let answered = callee.phone.reply(&at_callee, 200);
    let ok = caller.phone.response(200);
    assert!(are_ours(&ok), "{ends:?} expected:\n{ok}");
    assert_eq!(
        (ok.list("Via").len(), ok.branch(), ok.header("Contact")),
        (1, sent.branch(), answered.header("Contact"))
    );

    let (at_caller, at_callee) = (Dialog::caller(&sent, &ok), Dialog::callee(&at_callee, &answered));
    caller.phone.send(at_caller.ack());
    let ack = callee.phone.expect("ACK");
    callee.got_over_its_flow(&ack);
    assert_eq!(ack.uri(), callee.phone.contact());
    (at_caller, at_callee)
}

/// A request within the dialog and its 200, with the ACK of a re-INVITE.
#[track_caller]
pub(crate) fn follows(from: &mut End, to: &mut End, dialog: &mut Dialog, method: &str) {
    let request = dialog.request(method).with("Contact", format!("<{}>", from.phone.contact()));
    from.phone.send(request);
    let arrived = to.phone.expect(method);
    to.got_over_its_flow(&arrived);
    assert_eq!(arrived.uri(), to.phone.contact());
    to.phone.reply(&arrived, 200);
    from.phone.response(200);
    if method == "INVITE" {
        from.phone.send(dialog.ack());
        let ack = to.phone.expect("ACK");
        to.got_over_its_flow(&ack);
    }
}

/// Calls between all pairs: each call has a re-INVITE from both sides, and each side hangs up once.
#[track_caller]
fn all_pairs_call(scheme: &'static str, pairs: usize) {
    let Office { server, mut callers, mut callees, _authority } = Office::new(scheme);
    let mut calls = 0;
    for caller in &mut callers {
        for callee in &mut callees {
            for caller_hangs_up in [true, false] {
                let (mut at_caller, mut at_callee) = connects(caller, callee, scheme);
                follows(caller, callee, &mut at_caller, "INVITE");
                follows(callee, caller, &mut at_callee, "INVITE");
                if caller_hangs_up {
                    follows(caller, callee, &mut at_caller, "BYE");
                } else {
                    follows(callee, caller, &mut at_callee, "BYE");
                }
                calls += 1;
            }
        }
    }
    assert_eq!(calls, 2 * pairs);
    let metrics = server.metrics();
    assert_eq!(metrics.sum("frontdesk_connections_opened_total", &[("direction", "out")]), 0.0);
    assert_eq!(metrics.sum("frontdesk_requests_forwarded_total", &[("method", "BYE")]), calls as f64);
    assert_eq!(metrics.sum("frontdesk_lookups_total", &[]), 0.0, "a host in .invalid is never looked up");
}

#[test]
fn every_transport_calls_every_other_one_over_both_address_families() {
    // checklist 50, 112, 166
    all_pairs_call("sip", 100);
}

#[test]
fn phones_on_encrypted_transports_call_each_other_by_sips() {
    // checklist 50, 116, 117
    all_pairs_call("sips", 16);
}
