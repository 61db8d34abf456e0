//! What real phones do, over loopback: one test for each kind that public reports show. The rules are tested in the
//! scenarios of the core; these tests show that the program has them.

use crate::harness::digest::Credentials;
use crate::harness::message::uri;
use crate::harness::server::{CLOSED, OPEN};
use crate::harness::{Dialog, Message, Phone, Server};

const BOB: &str = "sip:bob@office.example";

/// A gateway that may call with a number and with any name at its own host.
const GATEWAY: &str = "  - { user: gateway, password: copper, may_call_as: [\"+4989123451\", \"*@192.0.2.60\"] }\n";

fn from(request: Message, uri: &str) -> Message {
    request.set("From", format!("<{uri}>;tag=from"))
}

#[test]
fn the_ack_of_a_2xx_on_the_branch_of_its_invite_reaches_the_phone() {
    // RFC 6026 7.1
    let server = Server::start(OPEN);
    for case in 0..8 {
        let [tcp, forked, routed] = [1, 2, 4].map(|bit| case & bit != 0);
        let phone = |user: &str| match tcp {
            true => Phone::tcp(user, server.address()),
            false => Phone::udp(user, server.address()),
        };
        let user = format!("bob{case}");
        let mut called: Vec<_> = (0..=u8::from(forked)).map(|_| phone(&user).registered()).collect();
        let mut alice = phone("alice");
        let invite = alice.invite(&format!("sip:{user}@office.example"));
        let invite = alice.send(invite);
        let received: Vec<_> = called.iter_mut().map(|phone| phone.expect("INVITE")).collect();
        called[0].reply(&received[0], 200);
        let ok = alice.next_final();
        assert_eq!(ok.status(), Some(200));
        let ack = Dialog::caller(&invite, &ok).ack().with_first("Via", invite.header("Via"));
        // A client that ignores Record-Route sends no Route. Without waiting, its ACK could arrive before the message
        // of the other worker.
        server.counts("frontdesk_calls_ended_total", &[("ending", "answered")], |count| count >= f64::from(case + 1));
        alice.send(if routed { ack } else { ack.without("Route") });
        let received = called[0].expect("ACK");
        assert_eq!(received.uri(), called[0].contact(), "tcp: {tcp}, forked: {forked}, routed: {routed}");
        assert_eq!(received.find("Route"), None);
    }
}

#[test]
fn a_user_calls_anonymously_and_with_the_names_of_its_account() {
    let server = Server::start(&format!("{CLOSED}{GATEWAY}"));
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    for (user, password, name, passes) in [
        ("alice", "wonderland", "sip:anonymous@anonymous.invalid", true),
        ("gateway", "copper", "sip:anonymous@anonymous.invalid", true),
        ("gateway", "copper", "sip:+4989123451@office.example", true),
        ("gateway", "copper", "sip:+1555@192.0.2.60", true),
        ("gateway", "copper", "sip:alice@office.example", false),
        ("alice", "wonderland", "sip:+4989123451@office.example", false),
        ("alice", "wonderland", "sip:+1555@192.0.2.60", false),
        ("alice", "wonderland", "sip:alice@elsewhere.example", false),
    ] {
        let mut phone = Phone::udp(user, server.address());
        let message = from(phone.request("MESSAGE", BOB), name);
        phone.authenticated(message, Credentials::new(user, password));
        if passes {
            let received = bob.expect("MESSAGE");
            assert!(received.header("From").contains(name), "{received}");
            bob.reply(&received, 200);
        }
        phone.response(if passes { 200 } else { 403 });
    }
    // Without credentials the request is refused.
    let mut mallory = Phone::udp("mallory", server.address());
    for user in ["bob", "nobody"] {
        let message = mallory.request("MESSAGE", &format!("sip:{user}@office.example"));
        let message = from(message, "sip:anonymous@anonymous.invalid");
        assert_eq!(mallory.ask(message).status(), Some(407));
    }
    bob.silence();
}

#[test]
fn may_call_as_is_checked_and_reloaded() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut gateway = Phone::udp("carol", server.address());
    let mut ask = |status: u16| {
        let message = from(gateway.request("MESSAGE", BOB), "sip:+4989123451@office.example");
        gateway.authenticated(message, Credentials::new("carol", "christmas"));
        if status == 200 {
            let received = bob.expect("MESSAGE");
            bob.reply(&received, 200);
        }
        gateway.response(status);
    };
    ask(403);
    let carol = "{ user: carol, password: christmas";
    server.rewrite(&CLOSED.replace(carol, &format!("{carol}, may_call_as: [\"*@office.example\"]")));
    server.signal("HUP");
    server.logs("cannot call as every user of a domain of this server");
    server.rewrite(&CLOSED.replace(carol, &format!("{carol}, may_call_as: [\"+4989123451\"]")));
    server.signal("HUP");
    server.counts("frontdesk_reloads_total", &[], |count| count >= 2.0);
    ask(200);
}

#[test]
fn our_address_without_its_port_is_our_domain() {
    let (_server, address) = Server::start_v6(OPEN);
    let mut bob = Phone::udp("bob", address).registered();
    let mut alice = Phone::udp("alice", address);
    for uri in ["sip:bob@[::1]".to_owned(), format!("sip:bob@{address}")] {
        let message = alice.request("MESSAGE", &uri);
        alice.send(message);
        let received = bob.expect("MESSAGE");
        assert_eq!(received.uri(), bob.contact(), "{uri}");
        bob.reply(&received, 200);
        alice.response(200);
    }
    let beside = alice.request("MESSAGE", &format!("sip:bob@[::1]:{}", address.port() ^ 1));
    assert_eq!(alice.ask(beside).status(), Some(403));
}

#[test]
fn a_notify_carries_the_route_of_its_dialog() {
    // RFC 6665 4.3
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let subscribe = alice.request("SUBSCRIBE", BOB).with("Event", "conference").with("Expires", 600);
    alice.send(subscribe);
    let received = bob.expect("SUBSCRIBE");
    let ok = bob.reply(&received, 200);
    alice.response(200);
    let mut dialog = Dialog::callee(&received, &ok);
    let notify = dialog.request("NOTIFY").with("Contact", format!("<{}>", bob.contact()));
    bob.send(notify.with("Event", "conference").with("Subscription-State", "active"));
    let notify = alice.expect("NOTIFY");
    let routes = notify.list("Record-Route");
    assert!(!routes.is_empty(), "{notify}");
    alice.reply(&notify, 200);
    bob.response(200);
    let refresh = alice.request("SUBSCRIBE", uri(notify.header("Contact")));
    let refresh = routes.iter().fold(refresh, |refresh, route| refresh.with("Route", route));
    let refresh = refresh.set("From", notify.header("To")).set("To", notify.header("From"));
    alice.send(refresh.set("Call-ID", notify.header("Call-ID")).with("Event", "conference"));
    assert_eq!(bob.expect("SUBSCRIBE").uri(), bob.contact());
}

#[test]
fn a_subscription_to_the_own_user_is_not_sent_back() {
    let server = Server::start(OPEN);
    for mut phone in
        [Phone::udp("bob", server.address()).registered(), Phone::tcp("carol", server.address()).registered()]
    {
        let aor = phone.aor();
        for (method, package) in [("SUBSCRIBE", "message-summary"), ("PUBLISH", "presence")] {
            let request = phone.request(method, &aor).with("Event", package);
            let refused = phone.ask(request);
            assert_eq!((refused.status(), refused.header("Allow-Events")), (Some(489), "reg, dialog"), "{refused}");
        }
    }
}

#[test]
fn a_preloaded_route_with_a_user_part_is_an_outbound_proxy() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut alice = Phone::udp("alice", server.address());
    for route in [format!("<sip:alice@{};lr>", server.ip()), "<sip:anything@office.example;lr>".to_owned()] {
        let message = alice.request("MESSAGE", BOB).with("Route", &route);
        alice.authenticated(message, Credentials::new("alice", "wonderland"));
        let received = bob.expect("MESSAGE");
        assert_eq!(received.find("Route"), None, "{route}");
        bob.reply(&received, 200);
        alice.response(200);
        let out = alice.request("MESSAGE", "sip:x@192.0.2.99").with("Route", &route);
        assert_eq!(alice.ask(out).status(), Some(403), "{route}");
    }
}

#[test]
fn nothing_for_a_sips_uri_is_sent_unencrypted() {
    let server = Server::start(OPEN);
    let mut bob = Phone::tcp("bob", server.address());
    let secure = bob.contact().replace("sip:", "sips:").replace(";transport=tcp", "");
    let register = bob.register(Some(&format!("<{secure}>")));
    assert_eq!(bob.ask(register).status(), Some(200));
    let mut carol = Phone::udp("carol", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    for (uri, warning) in [
        ("sips:bob@office.example", "380 frontdesk \"SIPS Not Allowed\""),
        ("sip:bob@office.example", "381 frontdesk \"SIPS Required\""),
        ("sips:carol@office.example", "380 frontdesk \"SIPS Not Allowed\""),
    ] {
        let invite = alice.invite(uri);
        let refused = alice.ask(invite);
        assert_eq!((refused.status(), refused.header("Warning")), (Some(480), warning), "{refused}");
    }
    bob.silence();
    carol.silence();
}

#[test]
fn a_contact_may_name_another_user() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let mut alice = Phone::udp("alice", server.address());
    let contact = "<sip:bob@office.example?Route=%3Csip:192.0.2.99%3Blr%3E>";
    let register = alice.register(Some(contact));
    let ok = alice.ask(register);
    assert!(ok.header("Contact").starts_with(contact), "{ok}");
    let own = alice.register(Some("<sip:alice@office.example>"));
    assert_eq!(alice.ask(own).status(), Some(403));
    let mut carol = Phone::udp("carol", server.address());
    let message = carol.request("MESSAGE", "sip:alice@office.example");
    carol.send(message);
    let received = bob.expect("MESSAGE");
    assert_eq!((received.uri().to_owned(), received.find("Route")), (bob.contact(), None));
    bob.reply(&received, 200);
    carol.response(200);
}

#[test]
fn received_and_rport_of_a_client_are_replaced() {
    let server = Server::start(OPEN);
    let mut phone = Phone::udp("alice", server.address());
    let (local, target) = (phone.local(), format!("sip:{}", server.ip()));
    for written in [";received=192.0.2.9;rport=9", ";rport=;received=192.0.2.9", ";received=192.0.2.9"] {
        let via = format!("SIP/2.0/UDP {local};branch=z9hG4bKfield{}", written.len());
        let options = phone.request("OPTIONS", &target).with_first("Via", format!("{via}{written}"));
        let ok = phone.ask(options);
        let rport = if written.contains("rport") { format!(";rport={}", local.port()) } else { String::new() };
        assert_eq!(ok.header("Via"), format!("{via}{rport};received={}", local.ip()), "{written}");
    }
}

#[test]
fn a_nonce_count_of_another_length_is_challenged_as_stale() {
    let server = Server::start(CLOSED);
    let mut bob = Phone::udp("bob", server.address());
    let register = bob.register(Some("<sip:bob@192.0.2.66>"));
    let first = bob.send(register);
    let challenge = bob.challenged(&first);
    assert!(!challenge.header("WWW-Authenticate").contains("stale"));
    let nonce = challenge.header("WWW-Authenticate").split("nonce=\"").nth(1).unwrap_or_default().to_owned();
    let nonce = nonce.split('"').next().unwrap_or_default();
    let answer = format!(
        "Digest username=\"bob\", realm=\"office.example\", nonce=\"{nonce}\", uri=\"sip:office.example\", qop=auth, nc=1, \
         cnonce=\"x\", algorithm=SHA-256, response=\"{}\"",
        "0".repeat(64)
    );
    let again = bob.register(Some("<sip:bob@192.0.2.66>")).with("Authorization", answer);
    let refused = bob.ask(again);
    assert!(refused.header("WWW-Authenticate").contains("stale=true"), "{refused}");
}
