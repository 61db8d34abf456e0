//! Requests within a dialog whose next hop is a host name: they are forwarded without a transaction, so all copies of one
//! go to the same server (RFC 3263 4.4). All requests of a call go to the server that accepted it, while it works.

use std::collections::BTreeMap;
use std::time::Duration;

use proxy::{Query, Records, Srv};
use sim::{Agent, Fault, Simulation, Sip};

/// The phone of bob is a host name with two addresses.
fn two_servers(sim: &Simulation) -> (Agent, [Agent; 2]) {
    let named = |agent: Agent| agent.named("sip:bob@desk.lan.example:5060");
    let (alice, first, second) = (sim.udp("alice"), named(sim.udp("bob/first")), named(sim.udp("bob/second")));
    first.registers();
    sim.dns("desk.lan.example", &[first.address, second.address]);
    (alice, [first, second])
}

/// The server that gets the next call sends 503, so that it is tried last from now on.
fn fails(alice: &Agent, failing: &Agent, other: &Agent) {
    let invite = alice.calls("bob");
    alice.expects("100");
    failing.answers(&failing.expects("INVITE"), 503);
    failing.expects("ACK");
    other.answers(&other.expects("INVITE"), 486);
    other.expects("ACK");
    alice.acks(&invite, &alice.expects("486"));
}

#[test]
fn copies_of_a_request_go_to_the_server_of_the_first_one() {
    // checklist 121
    let sim = Simulation::new();
    let (alice, [first, second]) = two_servers(&sim);
    let invite = alice.calls("bob");
    alice.expects("100");
    first.answers(&first.expects("INVITE"), 200);
    let ok = alice.expects("200");
    let ack = alice.acks(&invite, &ok);
    first.expects("ACK");
    let info = alice.within(&invite, &ok, "INFO");
    alice.sends(&info);
    first.expects("INFO");
    fails(&alice, &first, &second);
    for copy in [&info, &ack] {
        alice.sends(copy);
        first.expects(copy.what());
        second.receives_nothing();
    }
    // Another request goes to the server that works.
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    second.expects("BYE");
}

/// The phone of bob is a domain with servers of equal priority and weight.
fn three_servers(sim: &Simulation) -> (Agent, Vec<Agent>) {
    let hosts = ["one", "two", "three"];
    let alice = sim.udp("alice");
    let servers: Vec<_> =
        hosts.iter().map(|host| sim.udp(&format!("bob/{host}")).named("sip:bob@desk.lan.example")).collect();
    servers.iter().take(1).for_each(Agent::registers);
    let srv = |host: &str| Srv { priority: 1, weight: 10, port: 5060, target: format!("{host}.lan.example").into() };
    let records = Records::Srv(hosts.map(srv).into());
    sim.dns_records(Query::Srv("_sip._udp.desk.lan.example".into()), records);
    for (host, server) in hosts.iter().zip(&servers) {
        sim.dns(&format!("{host}.lan.example"), &[server.address]);
    }
    (alice, servers)
}

/// The only server that has received something, and what it has received.
fn only_receiver(servers: &[Agent]) -> Option<(&Agent, Sip)> {
    let mut received =
        servers.iter().flat_map(|server| server.all_received().into_iter().map(move |sip| (server, sip)));
    let first = received.next();
    assert_eq!(received.map(|(_, sip)| sip.what().to_owned()).collect::<Vec<_>>(), Vec::<String>::new());
    first
}

#[test]
fn all_requests_of_a_call_go_to_the_server_of_its_invite() {
    // checklist 120, 121
    let sim = Simulation::new();
    let (alice, servers) = three_servers(&sim);
    let mut calls_at = BTreeMap::new();
    for _ in 0..60 {
        let invite = alice.calls("bob");
        sim.millis(5);
        let (server, received) = only_receiver(&servers).expect("one of them receives it");
        *calls_at.entry(server.id()).or_insert(0) += 1;
        server.answers(&received, 200);
        sim.millis(5);
        let ok = alice.all_received().pop().expect("the 200");
        alice.acks(&invite, &ok);
        for method in ["ACK", "INFO", "UPDATE", "BYE"] {
            if method != "ACK" {
                alice.sends(&alice.within(&invite, &ok, method));
            }
            sim.millis(5);
            let (at, sip) = only_receiver(&servers).expect("one of them receives it");
            assert_eq!((at.id(), sip.what()), (server.id(), method));
        }
    }
    // The weights hold over the calls.
    assert!(calls_at.len() == 3 && calls_at.values().all(|calls| (8..33).contains(calls)), "{calls_at:?}");
}

#[test]
fn a_call_stays_at_the_server_that_it_failed_over_to() {
    // checklist 120, 121
    let sim = Simulation::new();
    let (alice, [first, second]) = two_servers(&sim);
    first.reports_failures();
    first.is_unplugged();
    let invite = alice.calls("bob");
    alice.expects("100");
    second.answers(&second.expects("INVITE"), 200);
    let ok = alice.expects("200");
    // It works again, and is tried first by new calls after a while.
    sim.inject(Duration::ZERO, Fault::Plug(first.id()));
    sim.seconds(600);
    alice.acks(&invite, &ok);
    second.expects("ACK");
    for method in ["INFO", "BYE"] {
        alice.sends(&alice.within(&invite, &ok, method));
        second.expects(method);
    }
    first.receives_nothing();
    alice.calls("bob");
    first.expects("INVITE");
}

#[test]
fn the_order_of_the_addresses_in_the_answer_of_dns_may_change_during_a_call() {
    let sim = Simulation::new();
    let (alice, [first, second]) = two_servers(&sim);
    let invite = alice.calls("bob");
    first.answers(&first.expects("INVITE"), 200);
    let _trying = alice.expects("100");
    let ok = alice.expects("200");
    sim.dns("desk.lan.example", &[second.address, first.address]);
    alice.acks(&invite, &ok);
    first.expects("ACK");
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    first.expects("BYE");
}

#[test]
fn requests_of_the_callee_go_to_the_host_of_the_caller() {
    let sim = Simulation::new();
    let (bob, other) = (sim.udp("bob"), sim.udp("alice/other"));
    let alice = sim.udp("alice/own").named("sip:alice@farm.lan.example");
    sim.dns("farm.lan.example", &[other.address, alice.address]);
    bob.registers();
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    let ok = bob.answers(&received, 200);
    alice.acks(&invite, &alice.expects("200"));
    bob.expects("ACK");
    bob.sends(&bob.within_as_callee(&received, &ok, "BYE"));
    alice.expects("BYE");
    other.receives_nothing();
}

#[test]
fn a_name_that_leads_elsewhere_meanwhile_is_followed() {
    let sim = Simulation::new();
    let (alice, [first, second]) = two_servers(&sim);
    let invite = alice.calls("bob");
    first.answers(&first.expects("INVITE"), 200);
    alice.expects("100");
    let ok = alice.expects("200");
    sim.dns("desk.lan.example", &[second.address]);
    alice.acks(&invite, &ok);
    second.expects("ACK");
}
