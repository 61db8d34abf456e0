//! A phone with several contacts is called at one of them at a time. The next one is tried only if the flow has failed
//! (RFC 5626 7, RFC 5627 6.1).

use sim::{Agent, Simulation, Sip};

use crate::call_steps::calls;

/// Contact parameters of a flow: the instance and, unless it is 0, the reg-id.
fn flow(phone: &str, reg_id: u32) -> String {
    let reg_id = if reg_id == 0 { String::new() } else { format!(";reg-id={reg_id}") };
    format!(";+sip.instance=\"<urn:uuid:00000000-0000-0000-0000-{phone:0>12}>\"{reg_id}")
}

/// alice, and bob with one phone that has registered two flows, the second one later.
fn setup(reg_ids: [u32; 2]) -> (Simulation, Agent, [Agent; 2]) {
    let sim = Simulation::new();
    let alice = sim.udp("alice");
    let flows = [("bob/first", reg_ids[0]), ("bob/second", reg_ids[1])].map(|(name, reg_id)| {
        let agent = sim.udp(name);
        agent.registers_with(&flow("1", reg_id));
        sim.seconds(1);
        agent
    });
    (sim, alice, flows)
}

#[test]
fn one_phone_is_called_at_one_contact() {
    // checklist 143, 153
    for reg_ids in [[1, 2], [0, 0]] {
        let (_sim, alice, [first, second]) = setup(reg_ids);
        let invite = calls(&alice, "bob");
        let received = second.expects("INVITE");
        second.answers(&received, 180);
        alice.expects("180");
        first.receives_nothing();
        second.answers(&received, 200);
        let ok = alice.expects("200");
        alice.acks(&invite, &ok);
        assert_eq!(first.all_received(), []);
    }
}

#[test]
fn the_flow_that_was_refreshed_last_is_tried_first() {
    // checklist 153
    let (_sim, alice, [first, second]) = setup([0, 0]);
    first.registers_with(&flow("1", 0));
    calls(&alice, "bob");
    first.expects("INVITE");
    second.receives_nothing();
}

#[test]
fn a_flow_that_failed_is_replaced_by_the_next() {
    // checklist 143, 153
    for status in [430, 408] {
        let (_sim, alice, [first, second]) = setup([1, 2]);
        let invite = calls(&alice, "bob");
        let received = second.expects("INVITE");
        second.answers(&received, status);
        second.expects("ACK");
        let received = first.expects("INVITE");
        alice.receives_nothing();
        first.answers(&received, 200);
        let ok = alice.expects("200");
        alice.acks(&invite, &ok);
    }
}

#[test]
fn any_other_final_response_is_the_answer_of_the_phone() {
    // checklist 143, 153
    for (status, told) in [(486, "486"), (503, "500"), (404, "404")] {
        let (_sim, alice, [first, second]) = setup([1, 2]);
        let invite = calls(&alice, "bob");
        let received = second.expects("INVITE");
        second.answers(&received, status);
        second.expects("ACK");
        let refused = alice.expects(told);
        alice.acks(&invite, &refused);
        assert_eq!(first.all_received(), []);
    }
}

#[test]
fn a_430_is_not_forwarded_to_the_caller() {
    // checklist 143: 430 is for proxies; a phone could not use it.
    let (_sim, alice, [first, second]) = setup([1, 2]);
    let invite = calls(&alice, "bob");
    for phone in [&second, &first] {
        let received = phone.expects("INVITE");
        phone.answers(&received, 430);
        phone.expects("ACK");
    }
    let refused = alice.expects("480");
    alice.acks(&invite, &refused);
}

#[test]
fn a_user_whose_flows_have_all_ended_gets_480() {
    // checklist 138, 144: one flow, two of one phone, one of each of two phones.
    for flows in [&[("1", 1)][..], &[("1", 1), ("1", 2)], &[("1", 1), ("2", 1)]] {
        for method in ["INVITE", "MESSAGE"] {
            let sim = Simulation::new();
            let alice = sim.udp("alice");
            for (phone, reg_id) in flows {
                let line = sim.tcp(&format!("bob/{phone}-{reg_id}"));
                line.registers_with(&flow(phone, *reg_id));
                line.disconnects();
            }
            alice.sends(&alice.request(method, "sip:bob@office.example"));
            sim.millis(20);
            assert_eq!(alice.all_received().last().map(Sip::what), Some("480"), "{method}, {flows:?}");
        }
    }
}

#[test]
fn two_phones_are_each_called_at_one_contact() {
    // checklist 143
    let (sim, alice, [first, second]) = setup([1, 2]);
    let other = sim.udp("bob/other");
    other.registers_with(&flow("2", 1));
    calls(&alice, "bob");
    let received = second.expects("INVITE");
    other.expects("INVITE");
    // The other phone goes on ringing while this one is called again.
    second.answers(&received, 430);
    second.expects("ACK");
    first.expects("INVITE");
    other.receives_nothing();
}

#[test]
fn a_flow_that_does_not_respond_has_its_share_of_64_t1() {
    // checklist 143, 153: with one phone there is no ring time, however many contacts it has.
    for method in ["INVITE", "MESSAGE"] {
        let (sim, alice, [first, second]) = setup([1, 2]);
        alice.sends(&alice.request(method, "sip:bob@office.example"));
        second.expects(method);
        sim.millis(15_700);
        assert_eq!(first.all_received(), []);
        sim.millis(300);
        let received = first.expects(method);
        first.answers(&received, 200);
        sim.millis(20);
        assert!(alice.all_received().iter().any(|sip| sip.what() == "200"), "{method}");
    }
}

#[test]
fn a_flow_that_responds_too_late_is_cancelled() {
    // checklist 79, 143
    let (sim, alice, [first, second]) = setup([1, 2]);
    calls(&alice, "bob");
    let late = second.expects("INVITE");
    sim.seconds(16);
    let received = first.expects("INVITE");
    second.all_received();
    second.answers(&late, 180);
    let cancel = second.expects("CANCEL");
    second.answers(&cancel, 200);
    second.answers(&late, 487);
    second.expects("ACK");
    first.answers(&received, 200);
    sim.millis(20);
    assert!(alice.all_received().iter().any(|sip| sip.what() == "200"));
}

#[test]
fn a_flow_that_responded_is_not_given_up() {
    // checklist 143
    let (sim, alice, [first, second]) = setup([1, 2]);
    calls(&alice, "bob");
    let received = second.expects("INVITE");
    second.answers(&received, 100);
    sim.seconds(60);
    assert_eq!(first.all_received(), []);
}

#[test]
fn a_flow_that_only_sent_100_is_not_replaced_after_the_sender_gave_up() {
    // RFC 4321 1.3
    let (sim, alice, [first, second]) = setup([1, 2]);
    alice.sends(&alice.request("MESSAGE", "sip:bob@office.example"));
    let received = second.expects("MESSAGE");
    second.answers(&received, 100);
    sim.seconds(60);
    assert_eq!(first.all_received(), []);
}

#[test]
fn after_hanging_up_no_other_flow_is_tried() {
    // checklist 64, 143
    let (_sim, alice, [first, second]) = setup([1, 2]);
    let invite = calls(&alice, "bob");
    let received = second.expects("INVITE");
    second.answers(&received, 180);
    alice.expects("180");
    alice.cancels(&invite);
    alice.expects("200");
    second.expects("CANCEL");
    second.answers(&received, 408);
    second.expects("ACK");
    assert_eq!(first.all_received(), []);
}

#[test]
fn a_closed_connection_removes_all_bindings_over_it() {
    // checklist 138, 144
    let sim = Simulation::new();
    let (alice, phone, backup) = (sim.udp("alice"), sim.tcp("bob/phone"), sim.tcp("bob/backup"));
    backup.registers_with(&flow("1", 2));
    sim.seconds(1);
    phone.registers_with(&flow("1", 1));
    // Another user with the same flow.
    let carol = phone.register().set("To", "<sip:carol@office.example>").set("Call-ID", "carol");
    phone.sends(&carol.set("Contact", format_args!("<{}>{}", phone.contact(), flow("1", 1))));
    phone.expects("200");
    phone.disconnects();
    let invite = calls(&alice, "bob");
    let received = backup.expects("INVITE");
    backup.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    let invite = alice.calls("carol");
    let refused = alice.expects("480");
    alice.acks(&invite, &refused);
    // The server never connects to a phone that maintains its flows itself.
    assert_eq!(phone.all_received(), []);
}

#[test]
fn a_flow_over_udp_leads_to_the_source_of_its_register() {
    // checklist 143: it is not called at its Contact.
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let contact = format!("<sip:bob@10.0.0.9:5060>{}", flow("1", 1));
    bob.sends(&bob.register().set("Contact", contact));
    bob.expects("200");
    alice.calls("bob");
    assert_eq!(bob.expects("INVITE").uri(), "sip:bob@10.0.0.9:5060");
}
