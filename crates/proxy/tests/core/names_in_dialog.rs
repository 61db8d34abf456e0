//! Requests within a dialog whose next hop is a host name: they are forwarded without a transaction, so all copies of one
//! go to the same server (RFC 3263 4.4).

use sim::{Agent, Simulation};

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
