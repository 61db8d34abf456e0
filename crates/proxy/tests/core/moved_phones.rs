//! Requests in a dialog follow a phone that has registered again from another port of its NAT or over another
//! connection. The Record-Route of a dialog cannot change (RFC 3261 12.2.1.1), but the registration can.

use sim::{Agent, Simulation, Sip};

const INSTANCE: &str = ";+sip.instance=\"<urn:uuid:1>\"";

/// A phone whose registered Contact leads nowhere, with these parameters.
struct Phone {
    agent: Agent,
    contact: String,
    params: &'static str,
}

impl Phone {
    fn new(agent: Agent, params: &'static str) -> Self {
        let contact = agent.contact().replace(&agent.address.ip().to_string(), "192.168.1.5");
        let phone = Self { agent, contact, params };
        phone.sends_from(1026);
        phone
    }

    fn sends_from(&self, port: u16) {
        self.agent.sends_from(([198, 51, 100, 7], port).into());
    }

    fn registers(&self) {
        let via = self.agent.via().replace(&self.agent.address.ip().to_string(), "192.168.1.5");
        let register = self.agent.register().set("Contact", format_args!("<{}>{}", self.contact, self.params));
        self.agent.sends(&register.set("Via", via).with("Supported", "outbound"));
        self.agent.expects("200");
    }

    /// The message with its own Contact and Via.
    fn says(&self, sip: Sip) -> Sip {
        let via = self.agent.via().replace(&self.agent.address.ip().to_string(), "192.168.1.5");
        let sip = if sip.is_request() { sip.set("Via", via) } else { sip };
        let sip = sip.set("Contact", format_args!("<{}>{}", self.contact, self.params));
        self.agent.sends(&sip);
        sip
    }

    /// A call between the phone and another agent: the INVITE and the 200.
    fn in_call_with(&self, other: &Agent, calls: bool) -> (Sip, Sip) {
        if calls {
            let invite = self.says(self.agent.request("INVITE", &other.aor()));
            let received = other.expects("INVITE");
            other.answers(&received, 200);
            let ok = self.agent.expects("200");
            self.says(self.agent.within(&invite, &ok, "ACK").set("CSeq", format_args!("{} ACK", number(&invite))));
            other.expects("ACK");
            return (invite, ok);
        }
        let invite = other.calls(self.agent.user());
        let received = self.agent.expects("INVITE");
        self.says(self.agent.answer(&received, 200));
        let ok = other.expects("200");
        other.acks(&invite, &ok);
        self.agent.expects("ACK");
        (invite, ok)
    }
}

fn number(invite: &Sip) -> &str {
    invite.value("CSeq").split(' ').next().unwrap_or_default()
}

/// A request of the other side to the phone.
fn to_phone(other: &Agent, (invite, ok): &(Sip, Sip), phone_calls: bool, method: &str) -> Sip {
    if phone_calls { other.within_as_callee(invite, ok, method) } else { other.within(invite, ok, method) }
}

/// Requests of the other side reach the phone: one, a re-INVITE with its ACK, BYE.
fn goes_on(other: &Agent, phone: &Phone, call: &(Sip, Sip), phone_calls: bool) {
    for method in ["INFO", "INVITE", "BYE"] {
        let request = to_phone(other, call, phone_calls, method);
        other.sends(&request);
        let received = phone.agent.expects(method);
        phone.says(phone.agent.answer(&received, 200));
        other.expects("200");
        if method == "INVITE" {
            let ack = to_phone(other, call, phone_calls, "ACK").set("CSeq", format_args!("{} ACK", number(&request)));
            other.sends(&ack);
            phone.agent.expects("ACK");
        }
    }
}

#[test]
fn a_phone_whose_nat_port_changed_is_reached_in_its_dialog() {
    for (phone_calls, params) in [(false, ""), (true, ""), (false, INSTANCE), (true, INSTANCE)] {
        let sim = Simulation::new();
        let (alice, bob) = (sim.udp("alice"), Phone::new(sim.udp("bob"), params));
        alice.registers();
        bob.registers();
        let call = bob.in_call_with(&alice, phone_calls);
        bob.sends_from(2052);
        sim.seconds(1);
        bob.registers();
        goes_on(&alice, &bob, &call, phone_calls);
    }
}

#[test]
fn a_phone_with_a_new_connection_is_reached_in_its_dialog() {
    let outbound = ";+sip.instance=\"<urn:uuid:1>\";reg-id=1";
    for phone_calls in [false, true] {
        // Recognised by its Contact, its host, its instance, its flow.
        for (params, same_contact) in
            [("", true), ("", false), (INSTANCE, true), (INSTANCE, false), (outbound, true), (outbound, false)]
        {
            let sim = Simulation::new();
            let (alice, mut bob) = (sim.udp("alice"), Phone::new(sim.tcp("bob"), params));
            let desk = sim.udp("bob/desk");
            alice.registers();
            bob.registers();
            let call = bob.in_call_with(&alice, phone_calls);
            // Another phone of the user makes no difference.
            desk.registers();
            bob.agent.disconnects();
            sim.seconds(1);
            if !same_contact {
                bob.contact = bob.contact.replace(":5060", ":6060");
            }
            bob.registers();
            goes_on(&alice, &bob, &call, phone_calls);
            desk.receives_nothing();
        }
    }
}

#[test]
fn requests_for_a_phone_that_is_gone_reach_no_other_phone() {
    for (params, others) in [("", 2), (INSTANCE, 2), ("", 1), (INSTANCE, 1)] {
        let sim = Simulation::new();
        let (alice, bob) = (sim.udp("alice"), Phone::new(sim.tcp("bob"), params));
        let others = &[sim.udp("bob/desk"), sim.udp("bob/mobile")][..others];
        bob.registers();
        let call = bob.in_call_with(&alice, false);
        others.iter().for_each(Agent::registers);
        bob.agent.disconnects();
        alice.sends(&to_phone(&alice, &call, false, "BYE"));
        let refused = alice.next_message();
        assert!(matches!(refused.status(), Some(480 | 500)), "{refused}");
        others.iter().for_each(Agent::receives_nothing);
    }
}

#[test]
fn a_later_request_in_the_dialog_overrides_the_registration() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), Phone::new(sim.udp("bob"), ""));
    alice.registers();
    bob.registers();
    let call = bob.in_call_with(&alice, false);
    sim.seconds(1);
    bob.sends_from(2052);
    // Without authentication, requests from there are accepted.
    bob.says(bob.agent.within_as_callee(&call.0, &call.1, "INFO"));
    let received = alice.expects("INFO");
    alice.answers(&received, 200);
    bob.agent.expects("200");
    goes_on(&alice, &bob, &call, false);
}

#[test]
fn a_phone_that_unregisters_during_its_call_is_still_reached() {
    for (params, phone_calls) in [("", false), ("", true), (INSTANCE, false), (INSTANCE, true)] {
        let sim = Simulation::new();
        let (alice, bob, desk) = (sim.udp("alice"), Phone::new(sim.udp("bob"), params), sim.udp("bob/desk"));
        alice.registers();
        bob.registers();
        let call = bob.in_call_with(&alice, phone_calls);
        bob.agent.sends(&bob.agent.register().set("Contact", format_args!("<{}>{params};expires=0", bob.contact)));
        bob.agent.expects("200");
        desk.registers();
        goes_on(&alice, &bob, &call, phone_calls);
        desk.receives_nothing();
    }
}
