//! Several servers with TLS between them, and with a Redis that Sentinels know (docs/cluster.md).

use std::net::IpAddr;

use tempfile::TempDir;

use crate::cluster::{call, knows};
use crate::harness::message::ack_of;
use crate::harness::redis::Redis;
use crate::harness::server::{OPEN, fresh_ip};
use crate::harness::{Authority, PATIENCE, Phone, Server, wait_for};

/// A server that shares its registrations, with further keys of `cluster`.
#[track_caller]
fn start(name: &str, ip: IpAddr, url: &str, config: &str, keys: &str) -> Server {
    let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let location = format!("location: {{ store: redis, url: \"{url}\" }}\n");
    let cluster = format!("cluster: {{ node: {name}, lease: 3s, {keys} }}\n");
    Server::start_in(folder, ip, &format!("{OPEN}{config}{location}{cluster}"))
}

/// A server with TLS towards the others. `names`: what its certificate says it is.
#[track_caller]
fn start_tls(name: &str, ip: IpAddr, redis: &Redis, authority: &Authority, names: &[&str]) -> Server {
    let pair = authority.issue(&ip.to_string(), names);
    let tls = authority.config(&pair, ", client_certificates: require");
    start(name, ip, &redis.url(), &tls, &format!("advertise: \"{ip}:5061\", transport: tls"))
}

#[test]
fn servers_prove_to_each_other_who_they_are() {
    let (redis, authority) = (Redis::start(), Authority::new());
    let ips = [fresh_ip(), fresh_ip(), fresh_ip()];
    let texts = ips.map(|ip| ip.to_string());
    // The last one has the certificate of the first.
    let names = [0, 1, 0].map(|at| ["office.example", texts[at].as_str()]);
    let begin = |at: usize, name: &str| start_tls(name, ips[at], &redis, &authority, &names[at]);
    let servers = [begin(0, "a"), begin(1, "b"), begin(2, "c")];
    for server in &servers {
        server.counts("frontdesk_nodes", &[], |nodes| nodes == 3.0);
    }
    let [a, b, c] = &servers;
    let mut bob = Phone::tcp("bob", a.address()).registered();
    let mut carol = Phone::tcp("carol", c.address()).registered();
    knows(b, 2.0);
    // The listener takes no connection without a certificate, so both sides have proven theirs.
    let mut alice = Phone::udp("alice", b.address());
    for caller_ends in [true, false] {
        call(&mut alice, &mut bob, caller_ends);
    }
    a.counts("frontdesk_node_requests_total", &[("outcome", "delivered")], |count| count > 0.0);
    // Its certificate is that of another server, so nothing is sent to it.
    let invite = alice.invite("sip:carol@office.example");
    let sent = alice.send(invite);
    let refused = alice.next_final();
    assert_eq!(refused.status(), Some(480), "{refused}");
    alice.send(ack_of(&sent, &refused));
    carol.silence();
    b.counts("frontdesk_connections_failed_total", &[], |count| count > 0.0);
    // A server that was forgotten when the others got TLS.
    let ip = fresh_ip();
    let forgotten = start("d", ip, &redis.url(), "", &format!("advertise: \"{ip}:5060\""));
    b.logs("node d is reached over tcp, this one over tls");
    forgotten.logs("node a is reached over tls, this one over tcp");
}

#[test]
fn servers_follow_the_sentinels_to_the_replica_that_has_taken_over() {
    let mut redis = Redis::start();
    let replica = redis.replica();
    let sentinel = redis.sentinel();
    let begin = |name: &str| {
        let ip = fresh_ip();
        start(name, ip, &sentinel.sentinel_url(), "", &format!("advertise: \"{ip}:5060\""))
    };
    let servers = ["a", "b"].map(begin);
    for server in &servers {
        server.counts("frontdesk_nodes", &[], |nodes| nodes == 2.0);
    }
    let [a, b] = &servers;
    let mut bob = Phone::tcp("bob", a.address()).registered();
    knows(b, 1.0);
    let mut alice = Phone::udp("alice", b.address());
    call(&mut alice, &mut bob, true);

    redis.kill();
    replica.says("INFO replication", "role:master");
    let mut carol = Phone::tcp("carol", a.address());
    let accepted = wait_for(PATIENCE, || {
        let register = carol.register(Some(&format!("<{}>", carol.contact()))).with("Expires", 600);
        (carol.ask(register).status() == Some(200)).then_some(())
    });
    assert!(accepted.is_some(), "registrations are accepted again");
    // What was registered before, and what was registered since, at the other server.
    knows(b, 2.0);
    call(&mut alice, &mut bob, false);
    alice.calls_busy_phone("sip:carol@office.example", &mut carol);
    let c = begin("c");
    knows(&c, 2.0);
    alice.moves_to(c.address());
    call(&mut alice, &mut bob, true);
}
