//! The clocks of a response context: ring time, Timer C, Timer B and Timer H (RFC 3261 16.6 step 11, 16.8, 17).

use std::time::Duration;

use proxy::{Event, ForkOutcome};

use sim::{Agent, Sip, World};

/// A world in which each group may ring for so many seconds.
fn office(ring_time: u64) -> (World, Agent, Agent, Agent) {
    let world = World::with(|settings| {
        settings.forking.ring_time = Duration::from_secs(ring_time);
    });
    let (alice, desk, mobile) = (world.udp("alice"), world.udp("bob/desk"), world.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    (world, alice, desk, mobile)
}

/// The messages of a kind that an agent has heard and not expected.
fn count(agent: &Agent, what: &str) -> usize {
    agent.heard().iter().filter(|sip| sip.what() == what).count()
}

#[test]
fn ringing_does_not_extend_the_ring_time() {
    // checklist 71, 76
    let (world, alice, desk, mobile) = office(30);
    let (invite, [at_desk, at_mobile]) = alice.rings("bob", [&desk, &mobile]);
    for _ in 0..29 {
        desk.answers(&at_desk, 180);
        mobile.answers(&at_mobile, 183);
        world.seconds(1);
    }
    alice.heard();
    assert_eq!((desk.heard(), mobile.heard()), (vec![], vec![]));
    world.seconds(1);
    for (phone, heard) in [(&desk, &at_desk), (&mobile, &at_mobile)] {
        let cancel = phone.expects("CANCEL");
        phone.answers(&cancel, 200);
        phone.answers(heard, 487);
        phone.expects("ACK");
    }
    let timeout = alice.expects("408");
    alice.acks(&invite, &timeout);
    assert_eq!(world.saw(|event| matches!(event, Event::Fork { outcome: ForkOutcome::TimedOut })), 1);
}

#[test]
fn a_mute_office_is_a_408() {
    // checklist 58, 71, 76, 90
    let (world, alice, desk, mobile) = office(40);
    let invite = alice.calls("bob");
    alice.expects("100");
    world.seconds(31);
    assert_eq!(alice.heard(), []);
    world.millis(1050);
    let timeout = alice.expects("408");
    assert!(timeout.param("To", "tag").is_some());
    alice.acks(&invite, &timeout);
    for phone in [&desk, &mobile] {
        let heard = phone.heard();
        assert_eq!(heard.len(), 7, "Timer A: 0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s");
        assert!(heard.iter().all(|sip| *sip == heard[0]), "the same octets each time");
    }
}

#[test]
fn a_mute_phone_beside_a_busy_one_does_not_hide_it() {
    // checklist 68
    let (world, alice, desk, mobile) = office(30);
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_desk = desk.expects("INVITE");
    desk.answers(&at_desk, 486);
    world.millis(29_800);
    assert_eq!(alice.heard(), []);
    world.millis(200);
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
    assert_eq!(count(&mobile, "CANCEL"), 0, "no CANCEL before a provisional");
}

#[test]
fn a_phone_that_wakes_up_after_its_time_is_cancelled_and_not_waited_for() {
    // checklist 76, 79
    let (world, alice, desk, mobile) = office(30);
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_desk = desk.expects("INVITE");
    mobile.expects("INVITE");
    world.millis(30_050);
    let timeout = alice.expects("408");
    alice.acks(&invite, &timeout);
    desk.heard();
    desk.answers(&at_desk, 180);
    desk.expects("CANCEL");
    // It says no more: its context must end all the same, as every world checks.
    world.seconds(120);
    assert_eq!(world.load(0).transactions, 0);
}

#[test]
fn timer_c_is_extended_by_a_phone_that_rings() {
    // checklist 59, 61, 76
    let (world, alice, desk, mobile) = office(3600);
    let (invite, [at_desk, at_mobile]) = alice.rings("bob", [&desk, &mobile]);
    mobile.answers(&at_mobile, 486);
    desk.answers(&at_desk, 180);
    world.seconds(170);
    desk.answers(&at_desk, 180);
    world.seconds(170);
    // A 100 says nothing of the phone.
    desk.answers(&at_desk, 100);
    world.seconds(10);
    assert_eq!(count(&desk, "CANCEL"), 0);
    world.seconds(2);
    let cancel = desk.expects("CANCEL");
    desk.answers(&cancel, 200);
    desk.answers(&at_desk, 487);
    let heard = {
        world.millis(50);
        alice.heard()
    };
    let last = heard.last().unwrap();
    assert_eq!(last.what(), "486", "better than a silent phone");
    alice.acks(&invite, last);
}

#[test]
fn a_phone_that_stops_talking_ends_with_timer_c_and_64_t1() {
    // checklist 59, 76
    let (world, alice, desk, mobile) = office(3600);
    let (invite, [at_desk, at_mobile]) = alice.rings("bob", [&desk, &mobile]);
    desk.answers(&at_desk, 180);
    mobile.answers(&at_mobile, 180);
    world.seconds(180);
    assert_eq!(count(&desk, "CANCEL"), 0);
    world.seconds(2);
    assert!(count(&desk, "CANCEL") > 0);
    assert!(count(&mobile, "CANCEL") > 0);
    assert_eq!(count(&alice, "408"), 0);
    world.seconds(32);
    let heard: Vec<Sip> = alice.heard();
    assert_eq!(heard[0].what(), "408");
    alice.acks(&invite, &heard[0]);
}

#[test]
fn a_caller_who_never_acknowledges_is_given_up_after_timer_h() {
    // checklist 99
    let (world, alice, desk, mobile) = office(30);
    world.reconfigure(|settings| settings.trusted = vec!["192.0.2.0/24".parse().unwrap()]);
    alice.calls("bob");
    alice.expects("100");
    for phone in [&desk, &mobile] {
        let heard = phone.expects("INVITE");
        phone.answers(&heard, 486);
        phone.expects("ACK");
    }
    world.seconds(60);
    // 0, 0.5, 1.5, 3.5, then each 4 s until 32 s.
    assert_eq!(count(&alice, "486"), 11);
    assert_eq!(world.load(0).transactions, 0);
}

#[test]
fn a_call_keeps_the_settings_it_began_with() {
    let (world, alice, desk, _mobile) = office(30);
    alice.calls("bob");
    alice.expects("100");
    let at_desk = desk.expects("INVITE");
    desk.answers(&at_desk, 180);
    world.reconfigure(|settings| settings.forking.ring_time = Duration::from_secs(5));
    world.seconds(10);
    assert_eq!(count(&desk, "CANCEL"), 0);
    world.seconds(20);
    assert!(count(&desk, "CANCEL") > 0);
}

#[test]
fn over_tcp_nothing_is_sent_twice() {
    // checklist 90, 92, 99, 100
    let world = World::new();
    let (alice, desk, mobile) = (world.tcp("alice"), world.tcp("bob/desk"), world.tcp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let (invite, [at_desk, at_mobile]) = alice.rings("bob", [&desk, &mobile]);
    world.seconds(20);
    assert_eq!((desk.heard(), mobile.heard()), (vec![], vec![]), "no Timer A");
    desk.answers(&at_desk, 486);
    desk.expects("ACK");
    mobile.answers(&at_mobile, 480);
    mobile.expects("ACK");
    let busy = alice.expects("486");
    world.seconds(10);
    assert_eq!(alice.heard(), [], "no Timer G");
    alice.acks(&invite, &busy);
    world.millis(10);
    assert_eq!(world.load(0).transactions, 0, "Timers D and I are 0");
}

#[test]
fn the_timers_are_settings() {
    // checklist 105: a quick network
    let world = World::with(|settings| {
        settings.timers.t1 = Duration::from_millis(50);
        settings.trusted = vec!["192.0.2.0/24".parse().unwrap()];
    });
    let (alice, desk, mobile) = (world.udp("alice"), world.udp("bob/desk"), world.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    alice.calls("bob");
    alice.expects("100");
    world.millis(3_300);
    // 64·T1 are 3.2 s; Timer A: 0, 50, 150, 350, 750, 1550, 3150 ms.
    assert_eq!((count(&desk, "INVITE"), count(&mobile, "INVITE")), (7, 7));
    // Timer G to Timer H, up to T2: the same again, to 3.2 s after the final.
    world.seconds(4);
    assert_eq!(count(&alice, "408"), 7);
    assert_eq!(world.load(0).transactions, 0);
}
