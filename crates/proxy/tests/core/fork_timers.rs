//! The timers of a response context: ring time, Timer C, Timer B and Timer H (RFC 3261 16.6 step 11, 16.8, 17).

use std::time::Duration;

use proxy::{Event, ForkOutcome};

use sim::{Agent, Simulation, Sip};

/// Two phones of bob; each group may ring for so many seconds.
fn setup(ring_time: u64) -> (Simulation, Agent, Agent, Agent) {
    let sim = Simulation::with(|settings| {
        settings.forking.ring_time = Duration::from_secs(ring_time);
    });
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    (sim, alice, desk, mobile)
}

/// How many messages of a kind an agent has received and the script has not read.
fn count(agent: &Agent, what: &str) -> usize {
    agent.all_received().iter().filter(|sip| sip.what() == what).count()
}

#[test]
fn ringing_does_not_extend_the_ring_time() {
    // checklist 71, 76
    let (sim, alice, desk, mobile) = setup(30);
    let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    for _ in 0..29 {
        desk.answers(&at_desk, 180);
        mobile.answers(&at_mobile, 183);
        sim.seconds(1);
    }
    alice.all_received();
    assert_eq!((desk.all_received(), mobile.all_received()), (vec![], vec![]));
    sim.seconds(1);
    for (phone, received) in [(&desk, &at_desk), (&mobile, &at_mobile)] {
        let cancel = phone.expects("CANCEL");
        phone.answers(&cancel, 200);
        phone.answers(received, 487);
        phone.expects("ACK");
    }
    let timeout = alice.expects("408");
    alice.acks(&invite, &timeout);
    assert_eq!(sim.count_events(|event| matches!(event, Event::Fork { outcome: ForkOutcome::TimedOut })), 1);
}

#[test]
fn a_call_without_any_response_gets_408() {
    // checklist 58, 71, 76, 90
    let (sim, alice, desk, mobile) = setup(40);
    let invite = alice.calls("bob");
    alice.expects("100");
    sim.seconds(31);
    assert_eq!(alice.all_received(), []);
    sim.millis(1050);
    let timeout = alice.expects("408");
    assert!(timeout.param("To", "tag").is_some());
    alice.acks(&invite, &timeout);
    for phone in [&desk, &mobile] {
        let received = phone.all_received();
        assert_eq!(received.len(), 7, "Timer A: 0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s");
        assert!(received.iter().all(|sip| *sip == received[0]), "the same octets each time");
    }
}

#[test]
fn a_phone_that_does_not_respond_does_not_hide_a_486() {
    // checklist 68
    let (sim, alice, desk, mobile) = setup(30);
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_desk = desk.expects("INVITE");
    desk.answers(&at_desk, 486);
    sim.millis(29_800);
    assert_eq!(alice.all_received(), []);
    sim.millis(200);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
    assert_eq!(count(&mobile, "CANCEL"), 0, "no CANCEL before a provisional");
}

#[test]
fn a_phone_that_responds_after_its_ring_time_is_cancelled() {
    // checklist 76, 79
    let (sim, alice, desk, mobile) = setup(30);
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_desk = desk.expects("INVITE");
    mobile.expects("INVITE");
    sim.millis(30_050);
    let timeout = alice.expects("408");
    alice.acks(&invite, &timeout);
    desk.all_received();
    desk.answers(&at_desk, 180);
    desk.expects("CANCEL");
    // The phone sends nothing more. The response context must end nevertheless, which each simulation checks at its
    // end.
    sim.seconds(120);
    assert_eq!(sim.load(0).transactions, 0);
}

#[test]
fn a_provisional_response_extends_timer_c() {
    // checklist 59, 61, 76
    let (sim, alice, desk, mobile) = setup(3600);
    let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    mobile.answers(&at_mobile, 486);
    desk.answers(&at_desk, 180);
    sim.seconds(170);
    desk.answers(&at_desk, 180);
    sim.seconds(170);
    // A 100 does not show that the phone is alive.
    desk.answers(&at_desk, 100);
    sim.seconds(10);
    assert_eq!(count(&desk, "CANCEL"), 0);
    sim.seconds(2);
    let cancel = desk.expects("CANCEL");
    desk.answers(&cancel, 200);
    desk.answers(&at_desk, 487);
    let received = {
        sim.millis(50);
        alice.all_received()
    };
    let last = received.last().unwrap();
    assert_eq!(last.what(), "486", "better than a silent phone");
    alice.acks(&invite, last);
}

#[test]
fn a_ringing_phone_without_further_responses_ends_with_timer_c_and_64_t1() {
    // checklist 59, 76
    let (sim, alice, desk, mobile) = setup(3600);
    let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    desk.answers(&at_desk, 180);
    mobile.answers(&at_mobile, 180);
    sim.seconds(180);
    assert_eq!(count(&desk, "CANCEL"), 0);
    sim.seconds(2);
    assert!(count(&desk, "CANCEL") > 0);
    assert!(count(&mobile, "CANCEL") > 0);
    assert_eq!(count(&alice, "408"), 0);
    sim.seconds(32);
    let received: Vec<Sip> = alice.all_received();
    assert_eq!(received[0].what(), "408");
    alice.acks(&invite, &received[0]);
}

#[test]
fn a_caller_that_sends_no_ack_is_given_up_after_timer_h() {
    // checklist 99
    let (sim, alice, desk, mobile) = setup(30);
    sim.reconfigure(|settings| settings.trusted = vec!["192.0.2.0/24".parse().unwrap()]);
    alice.calls("bob");
    alice.expects("100");
    for phone in [&desk, &mobile] {
        let received = phone.expects("INVITE");
        phone.answers(&received, 486);
        phone.expects("ACK");
    }
    sim.seconds(60);
    // 0, 0.5, 1.5, 3.5, then every 4 s until 32 s.
    assert_eq!(count(&alice, "486"), 11);
    assert_eq!(sim.load(0).transactions, 0);
}

#[test]
fn a_call_keeps_the_settings_that_it_began_with() {
    let (sim, alice, desk, _mobile) = setup(30);
    alice.calls("bob");
    alice.expects("100");
    let at_desk = desk.expects("INVITE");
    desk.answers(&at_desk, 180);
    sim.reconfigure(|settings| settings.forking.ring_time = Duration::from_secs(5));
    sim.seconds(10);
    assert_eq!(count(&desk, "CANCEL"), 0);
    sim.seconds(20);
    assert!(count(&desk, "CANCEL") > 0);
}

#[test]
fn over_tcp_nothing_is_retransmitted() {
    // checklist 90, 92, 99, 100
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.tcp("alice"), sim.tcp("bob/desk"), sim.tcp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    sim.seconds(20);
    assert_eq!((desk.all_received(), mobile.all_received()), (vec![], vec![]), "no Timer A");
    desk.answers(&at_desk, 486);
    desk.expects("ACK");
    mobile.answers(&at_mobile, 480);
    mobile.expects("ACK");
    let busy = alice.expects("486");
    sim.seconds(10);
    assert_eq!(alice.all_received(), [], "no Timer G");
    alice.acks(&invite, &busy);
    sim.millis(10);
    assert_eq!(sim.load(0).transactions, 0, "Timers D and I are 0");
}

#[test]
fn the_timers_are_configurable() {
    // checklist 105: a fast network.
    let sim = Simulation::with(|settings| {
        settings.timers.t1 = Duration::from_millis(50);
        settings.trusted = vec!["192.0.2.0/24".parse().unwrap()];
    });
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    alice.calls("bob");
    alice.expects("100");
    sim.millis(3_300);
    // 64·T1 are 3.2 s; Timer A: 0, 50, 150, 350, 750, 1550, 3150 ms.
    assert_eq!((count(&desk, "INVITE"), count(&mobile, "INVITE")), (7, 7));
    // Timer G until Timer H, up to T2: the same again, until 3.2 s after the final response.
    sim.seconds(4);
    assert_eq!(count(&alice, "408"), 7);
    assert_eq!(sim.load(0).transactions, 0);
}
