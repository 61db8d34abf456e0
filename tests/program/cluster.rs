//! Several servers of one office that share their registrations in Redis (docs/cluster.md).

use std::net::IpAddr;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::digest::Credentials;
use crate::harness::message::{ack_of, cancel_of};
use crate::harness::redis::Redis;
use crate::harness::server::{CLOSED, OPEN, fresh_ip};
use crate::harness::{Dialog, PATIENCE, Phone, Server, http, wait_for};

const BOB: &str = "sip:bob@office.example";

/// Longer than a lease.
const LEASE: Duration = Duration::from_secs(6);

/// The configuration of one server.
fn node(name: &str, ip: IpAddr, redis: &Redis, config: &str) -> String {
    format!(
        "{config}location: {{ store: redis, url: \"{}\" }}\n\
         cluster: {{ node: {name}, advertise: \"{ip}:5060\", lease: 3s }}\n",
        redis.url()
    )
}

#[track_caller]
fn start(name: &str, redis: &Redis, config: &str) -> Server {
    let (folder, ip) = (TempDir::with_prefix("frontdesk-test-").expect("a temporary folder"), fresh_ip());
    Server::start_in(folder, ip, &node(name, ip, redis, config))
}

/// Two servers that know each other.
#[track_caller]
pub(crate) fn pair(redis: &Redis, config: &str) -> [Server; 2] {
    let servers = ["a", "b"].map(|name| start(name, redis, config));
    for server in &servers {
        server.counts("frontdesk_nodes", &[], |nodes| nodes == 2.0);
    }
    servers
}

/// Waits until a server knows the phone of a user.
#[track_caller]
pub(crate) fn knows(server: &Server, users: f64) {
    server.counts("frontdesk_bindings", &[], |phones| phones == users);
}

/// A call over both servers, which each side can change and the given side ends.
#[track_caller]
pub(crate) fn call(alice: &mut Phone, bob: &mut Phone, caller_ends: bool) {
    let (invite, at_bob) = alice.calls(BOB, bob);
    // The other server adds a Via, and nothing else.
    assert_eq!(at_bob.header("Max-Forwards"), "69", "{at_bob}");
    assert!(at_bob.list("Via").len() <= 3 && at_bob.find("Route").is_none(), "{at_bob}");
    bob.reply(&at_bob, 180);
    alice.response(180);
    let ok = bob.reply(&at_bob, 200);
    let ok_at_alice = alice.response(200);
    let (mut from_alice, mut from_bob) = (Dialog::caller(&invite, &ok_at_alice), Dialog::callee(&at_bob, &ok));
    alice.send(from_alice.ack());
    bob.expect("ACK");
    // Changes of the session, from both sides.
    let info = alice.send(from_alice.request("INFO"));
    let info_at_bob = bob.expect("INFO");
    bob.reply(&info_at_bob, 200);
    assert_eq!(alice.response(200).header("CSeq"), info.header("CSeq"));
    bob.send(from_bob.request("INFO"));
    let info_at_alice = alice.expect("INFO");
    alice.reply(&info_at_alice, 200);
    bob.response(200);
    let (end, one, other) =
        if caller_ends { (from_alice.request("BYE"), alice, bob) } else { (from_bob.request("BYE"), bob, alice) };
    one.send(end);
    let bye = other.expect("BYE");
    other.reply(&bye, 200);
    one.response(200);
}

#[test]
fn a_phone_of_one_server_is_called_through_another() {
    let redis = Redis::start();
    let [a, b] = pair(&redis, OPEN);
    for number in 0..3 {
        let bob = match number {
            0 => Phone::udp("bob", a.address()),
            1 => Phone::tcp("bob", a.address()),
            _ => Phone::websocket("bob", a.websocket()),
        };
        let mut bob = bob.registered();
        knows(&b, 1.0);
        for caller_ends in [true, false] {
            let mut alice = Phone::udp("alice", b.address());
            call(&mut alice, &mut bob, caller_ends);
            let mut alice = Phone::tcp("alice", b.address());
            call(&mut alice, &mut bob, caller_ends);
        }
        let remove = bob.register(Some("*")).with("Expires", 0);
        assert_eq!(bob.ask(remove).status(), Some(200), "{number}");
        knows(&b, 0.0);
    }
}

#[test]
fn a_cancelled_and_a_refused_call_over_two_servers() {
    let redis = Redis::start();
    let [a, b] = pair(&redis, OPEN);
    let mut bob = Phone::tcp("bob", a.address()).registered();
    knows(&b, 1.0);
    let mut alice = Phone::udp("alice", b.address());
    let (invite, at_bob) = alice.calls(BOB, &mut bob);
    bob.reply(&at_bob, 486);
    let busy = alice.response(486);
    alice.send(ack_of(&invite, &busy));
    bob.expect("ACK");
    let (invite, at_bob) = alice.calls(BOB, &mut bob);
    bob.reply(&at_bob, 180);
    alice.response(180);
    alice.send(cancel_of(&invite));
    let cancel = bob.expect("CANCEL");
    bob.reply(&cancel, 200);
    bob.reply(&at_bob, 487);
    let ended = [alice.next(), alice.next()];
    let mut statuses = ended.each_ref().map(|response| response.status());
    statuses.sort_unstable();
    assert_eq!(statuses, [Some(200), Some(487)]);
    let terminated = ended.iter().find(|response| response.status() == Some(487)).expect("487");
    alice.send(ack_of(&invite, terminated));
    bob.expect("ACK");
}

#[test]
fn the_phones_of_a_server_that_is_gone_are_skipped_unless_others_reach_them() {
    let redis = Redis::start();
    let [a, b] = pair(&redis, OPEN);
    let mut desk = Phone::udp("bob", a.address()).registered();
    let _mobile = Phone::tcp("bob", a.address()).registered();
    let _carol = Phone::websocket("carol", a.websocket()).registered();
    knows(&b, 3.0);
    drop(a.kill());
    b.counts("frontdesk_nodes", &[], |nodes| nodes == 1.0);
    b.logs("node a is gone");
    // A fork to both phones would have waited for the one that is gone.
    let mut alice = Phone::udp("alice", b.address());
    alice.calls_busy_phone(BOB, &mut desk);
    let invite = alice.invite("sip:carol@office.example");
    assert_eq!(alice.ask(invite).status(), Some(480));
}

#[test]
fn a_call_through_a_server_that_is_gone_is_ended_through_another() {
    let redis = Redis::start();
    let [a, b] = pair(&redis, OPEN);
    let mut bob = Phone::udp("bob", a.address()).registered();
    knows(&b, 1.0);
    let mut alice = Phone::udp("alice", a.address());
    let (invite, at_bob) = alice.calls(BOB, &mut bob);
    let ok = bob.reply(&at_bob, 200);
    let ok_at_alice = alice.response(200);
    let (mut from_alice, _) = (Dialog::caller(&invite, &ok_at_alice), Dialog::callee(&at_bob, &ok));
    alice.send(from_alice.ack());
    bob.expect("ACK");
    drop(a.kill());
    // Its phone sends to the next server of the SRV records.
    alice.moves_to(b.address());
    alice.send(from_alice.request("BYE"));
    let bye = bob.expect("BYE");
    bob.reply(&bye, 200);
    alice.response(200);
}

#[test]
fn a_server_waits_for_redis_and_goes_on_while_redis_is_away() {
    let mut redis = Redis::absent();
    let (folder, ip) = (TempDir::with_prefix("frontdesk-test-").expect("a temporary folder"), fresh_ip());
    let a = Server::launch(folder, ip, &node("a", ip, &redis, OPEN));
    let ready = |server: &Server| http::try_get(server.http(), "/ready").map(|answer| answer.status);
    let waiting = wait_for(PATIENCE, || ready(&a).filter(|status| *status == 503));
    assert!(waiting.is_some(), "it waits for Redis and says so");
    assert_eq!(http::get(a.http(), "/health").status, 200);
    redis.run();
    a.logs("listening");
    assert!(wait_for(PATIENCE, || ready(&a).filter(|status| *status == 200)).is_some());
    let mut bob = Phone::udp("bob", a.address()).registered();

    redis.kill();
    assert!(wait_for(PATIENCE, || ready(&a).filter(|status| *status == 503)).is_some());
    let register = bob.register(Some(&format!("<{}>", bob.contact()))).with("Expires", 600);
    let refused = bob.ask(register);
    assert_eq!(refused.status(), Some(503));
    assert!(!refused.header("Retry-After").is_empty(), "{refused}");
    let mut alice = Phone::udp("alice", a.address());
    alice.calls_busy_phone(BOB, &mut bob);

    redis.run();
    assert!(wait_for(PATIENCE, || ready(&a).filter(|status| *status == 200)).is_some());
    let bob = bob.registered();
    drop(a.stop());
    drop(bob);
}

#[test]
fn a_server_that_waits_for_redis_ends_on_sigterm() {
    let redis = Redis::absent();
    let (folder, ip) = (TempDir::with_prefix("frontdesk-test-").expect("a temporary folder"), fresh_ip());
    let server = Server::launch(folder, ip, &node("a", ip, &redis, OPEN));
    assert!(wait_for(PATIENCE, || http::try_get(server.http(), "/ready")).is_some());
    drop(server.stop());
}

#[test]
fn registrations_survive_the_end_of_all_servers_and_of_redis() {
    let mut redis = Redis::start();
    let [a, b] = pair(&redis, OPEN);
    let mut bob = Phone::udp("bob", a.address()).registered();
    drop((a.kill(), b.kill()));
    redis.kill();
    redis.run();
    let c = start("c", &redis, OPEN);
    let mut alice = Phone::udp("alice", c.address());
    alice.calls_busy_phone(BOB, &mut bob);
}

#[test]
fn two_phones_that_register_at_two_servers_at_once_both_stay() {
    let redis = Redis::start();
    let [a, b] = pair(&redis, OPEN);
    for round in 0..20 {
        let user = format!("user{round}");
        let mut phones = [&a, &b].map(|server| Phone::udp(&user, server.address()));
        for phone in &mut phones {
            let contact = format!("<{}>", phone.contact());
            let register = phone.register(Some(&contact)).with("Expires", 600);
            phone.send(register);
        }
        for phone in &mut phones {
            phone.response(200);
        }
        for server in [&a, &b] {
            let mut reader = Phone::udp(&user, server.address());
            let both = wait_for(PATIENCE, || (reader.bindings().len() == 2).then_some(()));
            assert!(both.is_some(), "round {round}");
        }
    }
}

#[test]
fn what_is_set_at_one_server_holds_at_all() {
    let redis = Redis::start();
    let [a, b] = pair(&redis, CLOSED);
    let forwarding = |server: &Server| http::get(server.http(), "/api/v1/users/bob/forwarding").json();
    assert_eq!(http::put(a.http(), "/api/v1/users/bob/forwarding", r#"{"always":"carol"}"#).status, 200);
    assert!(wait_for(PATIENCE, || (forwarding(&b)["always"] == "carol").then_some(())).is_some());
    assert_eq!(http::put(b.http(), "/api/v1/users/alice/forwarding", r#"{"always":"bob"}"#).status, 200);
    let both = ["alice", "bob"].map(|user| format!("/api/v1/users/{user}/forwarding"));
    let all_set = || both.iter().all(|path| !http::get(a.http(), path).json()["always"].is_null()).then_some(());
    assert!(wait_for(PATIENCE, all_set).is_some(), "no change was lost");

    let beside = r#"{"always":null,"also_ring":[{"to":"carol","after":"5s"}]}"#;
    assert_eq!(http::put(a.http(), "/api/v1/users/bob/forwarding", beside).status, 200);
    let is_beside = || (forwarding(&b)["also_ring"][0]["to"] == "carol").then_some(());
    assert!(wait_for(PATIENCE, is_beside).is_some());

    // A phone with a password registers at either.
    let bob = Phone::tcp("bob", a.address()).registered_as("builder");
    knows(&b, 1.0);
    let phone = http::get(b.http(), "/api/v1/users/bob").json()["phones"][0].clone();
    assert_eq!((phone["node"].as_str(), phone["reached_by"].as_str()), (Some("a"), Some("flow")));
    drop(bob);
}

#[test]
fn keys_that_were_replaced_at_one_server_hold_at_all_and_calls_go_on() {
    let redis = Redis::start();
    let [a, b] = pair(&redis, OPEN);
    let mut bob = Phone::tcp("bob", a.address()).registered();
    knows(&b, 1.0);
    let mut alice = Phone::udp("alice", b.address());
    let (invite, at_bob) = alice.calls(BOB, &mut bob);
    let ok = bob.reply(&at_bob, 200);
    let ok_at_alice = alice.response(200);
    let (mut from_alice, mut from_bob) = (Dialog::caller(&invite, &ok_at_alice), Dialog::callee(&at_bob, &ok));
    alice.send(from_alice.ack());
    bob.expect("ACK");
    assert_eq!(http::change(a.http(), "POST", "/api/v1/keys/rotate").status, 200);
    b.logs("another server has replaced the keys");
    assert_eq!(http::change(b.http(), "POST", "/api/v1/keys/rotate").status, 409, "the old keys are still valid");
    bob.send(from_bob.request("INFO"));
    let info = alice.expect("INFO");
    alice.reply(&info, 200);
    bob.response(200);
    alice.send(from_alice.request("BYE"));
    let bye = bob.expect("BYE");
    bob.reply(&bye, 200);
    alice.response(200);
    // A new call has the new keys at both servers.
    call(&mut alice, &mut bob, true);
}

#[test]
fn a_nonce_of_one_server_is_challenged_again_at_another() {
    let redis = Redis::start();
    let [a, b] = pair(&redis, CLOSED);
    let mut bob = Phone::udp("bob", a.address());
    let register = bob.register(Some(&format!("<{}>", bob.contact()))).with("Expires", 600);
    let first = bob.send(register.clone());
    let challenge = bob.challenged(&first);
    bob.moves_to(b.address());
    bob.send_again(register.clone(), Credentials::new("bob", "builder"), &challenge);
    let again = bob.response(401);
    assert!(again.header("WWW-Authenticate").contains("stale=true"), "{again}");
    bob.send_again(register, Credentials::new("bob", "builder"), &again);
    bob.response(200);
}

#[test]
fn a_second_server_with_the_same_name_waits_until_the_first_has_ended() {
    let redis = Redis::start();
    let a = start("a", &redis, OPEN);
    let (folder, ip) = (TempDir::with_prefix("frontdesk-test-").expect("a temporary folder"), fresh_ip());
    let second = Server::launch(folder, ip, &node("a", ip, &redis, OPEN));
    let status = || http::try_get(second.http(), "/ready").map(|answer| answer.status);
    assert_eq!(wait_for(PATIENCE, status), Some(503));
    std::thread::sleep(LEASE);
    assert_eq!(status(), Some(503), "the first one keeps its lease");
    // SIGTERM gives up the lease at once.
    drop(a.stop());
    second.logs("listening");
}
