//! The table of calls: what it knows of a call while it lasts, and the record at its end.

use std::time::Duration;

use proxy::{CallDialog, CallEnd, CallRecord, CallSide, DialogState, Event, Limit, Offence, Strangers};

use sim::{Agent, Simulation, Sip, sequential};

use crate::accounts::{ALICE, BOB, MALLORY};
use crate::call_steps::{accepts, rings, stops};
use crate::dialog_peers::{call, picks_up, secured};

/// The one record since the last check, and that no call is in progress.
#[track_caller]
fn only_record(sim: &Simulation) -> CallRecord {
    assert_eq!(sim.calls().len(), 0, "{:?}", sim.calls());
    let mut records = sim.records();
    assert_eq!(records.len(), 1, "{records:?}");
    records.remove(0)
}

/// The side that hung up.
fn hung_up(record: &CallRecord) -> Option<CallSide> {
    if let CallEnd::HungUp(side) = record.end { Some(side) } else { None }
}

/// From the answer to the end.
fn seconds(record: &CallRecord) -> Option<u64> {
    Some(record.ended.millis_since(record.answered?) / 1000)
}

/// The states of all dialogs of the one call in progress.
#[track_caller]
fn states(sim: &Simulation) -> Vec<DialogState> {
    let calls = sim.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls.iter().flat_map(|call| &call.dialogs).map(|dialog| dialog.state).collect()
}

/// alice and bob, who talk. Returns the INVITE and its 200.
fn talk(alice: &Agent, bob: &Agent) -> (Sip, Sip) {
    bob.registers();
    let invite = alice.calls("bob");
    let received = rings(alice, bob);
    let ok = accepts(alice, &invite, bob, &received);
    (invite, ok)
}

/// One side hangs up, and the other confirms it.
fn hangs_up(one: &Agent, bye: &Sip, other: &Agent) {
    one.sends(bye);
    let received = other.expects("BYE");
    other.answers(&received, 200);
    one.expects("200");
}

#[test]
fn a_call_is_in_progress_from_its_invite_to_the_bye_of_either_side() {
    for side in [CallSide::Caller, CallSide::Callee] {
        let sim = Simulation::with_workers(2, |_| {});
        let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
        bob.registers();
        let invite = alice.calls("bob");
        sim.millis(1);
        assert_eq!(states(&sim), []);
        sim.seconds(1);
        let received = rings(&alice, &bob);
        assert_eq!(states(&sim), [DialogState::Early]);
        sim.seconds(4);
        let ok = accepts(&alice, &invite, &bob, &received);
        let call = sim.calls().remove(0);
        let (from_tag, to_tag) = (ok.param("From", "tag").unwrap(), ok.param("To", "tag").unwrap());
        assert_eq!((&*call.call_id, &*call.caller_tag), (invite.value("Call-ID").as_bytes(), from_tag.as_bytes()));
        let [CallDialog { callee_tag, user, state: DialogState::Confirmed, .. }] = &call.dialogs[..] else {
            panic!("{call:?}");
        };
        assert_eq!((&**callee_tag, &**user), (to_tag.as_bytes(), &b"bob@office.example"[..]));
        for user in ["alice", "bob"] {
            assert_eq!(sim.calls_of(user).len(), 1, "{user}");
        }
        assert_eq!(sim.calls_of("carol").len(), 0);
        sim.seconds(90);
        // The BYE arrives at another worker than the INVITE.
        match side {
            CallSide::Caller => hangs_up(&alice, &alice.reaches_worker(1).within(&invite, &ok, "BYE"), &bob),
            CallSide::Callee => hangs_up(&bob, &bob.reaches_worker(1).within_as_callee(&invite, &ok, "BYE"), &alice),
        }
        let record = only_record(&sim);
        assert_eq!((hung_up(&record), seconds(&record), record.status), (Some(side), Some(90), Some(200)));
        assert_eq!(record.answered.unwrap().millis_since(record.began) / 1000, 5);
        assert_eq!(
            (record.from.as_bytes(), record.to.as_bytes()),
            (&b"alice@office.example"[..], &b"bob@office.example"[..])
        );
        assert_eq!(record.reached.phone().map(|(user, _)| user), Some(&b"bob@office.example"[..]));
    }
}

#[test]
fn a_call_that_is_not_answered_has_a_record_without_an_answer() {
    // Without a response context, and with one.
    for phones in [&["bob/desk"][..], &["bob/desk", "bob/mobile"]] {
        for status in [486, 487] {
            let sim = Simulation::new();
            let alice = sim.udp("alice");
            let phones: Vec<_> = phones.iter().map(|name| sim.udp(name)).collect();
            phones.iter().for_each(Agent::registers);
            let invite = alice.calls("bob");
            let received: Vec<_> = phones.iter().map(|phone| phone.expects("INVITE")).collect();
            for (phone, received) in phones.iter().zip(&received) {
                phone.answers(received, 180);
            }
            sim.seconds(3);
            assert_eq!(states(&sim).len(), phones.len());
            if status == 487 {
                alice.cancels(&invite);
                for (phone, received) in phones.iter().zip(&received) {
                    let cancel = phone.expects("CANCEL");
                    phone.answers(&cancel, 200);
                    phone.answers(received, 487);
                }
            } else {
                phones.iter().zip(&received).for_each(|(phone, received)| drop(phone.answers(received, 486)));
            }
            sim.seconds(1);
            let record = only_record(&sim);
            assert!(matches!(record.end, CallEnd::Unanswered), "{record:?}");
            assert_eq!((record.status, record.answered), (Some(status), None));
            assert_eq!(record.ended.millis_since(record.began) / 1000, 3);
        }
    }
}

#[test]
fn a_call_that_this_server_refuses_has_a_record() {
    let sim = Simulation::new();
    let alice = sim.udp("alice");
    alice.calls("bob");
    alice.expects("480");
    let record = only_record(&sim);
    assert!(matches!(record.end, CallEnd::Refused(_)), "{record:?}");
    assert_eq!(record.status, Some(480));
}

/// A challenge is not the end of a call.
#[test]
fn a_challenged_invite_is_no_call() {
    let sim = Simulation::with(secured);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let (invite, ok) = call(&alice, &bob);
    hangs_up(&alice, &alice.within(&invite, &ok, "BYE"), &bob);
    assert_eq!(hung_up(&only_record(&sim)), Some(CallSide::Caller));
}

/// A scanner is challenged first, whatever its From is.
#[test]
fn a_challenged_invite_of_a_stranger_is_no_call() {
    let sim = Simulation::with(secured);
    let eve = sim.udp("eve");
    for from in ["sip:eve@elsewhere.example", "sip:eve@office.example"] {
        for to in ["sip:bob@office.example", "sip:0049891234@office.example"] {
            let invite = eve.request("INVITE", to).set("From", format_args!("<{from}>;tag=1"));
            eve.sends(&invite);
            eve.acks(&invite, &eve.expects("407"));
        }
    }
    assert_eq!(sim.records().len(), 0);
    let reported = |event: &Event| matches!(event, Event::RequestRefused { offence: Offence::Stranger, .. });
    assert_eq!(sim.count_events(reported), 2);
}

/// The records of strangers are limited, so it must be known which these are.
#[test]
fn a_refused_call_says_whether_anybody_can_cause_it() {
    let sim = Simulation::with(secured);
    let is_of_stranger = || match only_record(&sim) {
        CallRecord { end: CallEnd::Refused(_), is_of_stranger, .. } => is_of_stranger,
        end => panic!("{end:?}"),
    };
    let (alice, eve) = (sim.udp("alice"), sim.udp("eve"));
    eve.sends(&eve.request("INVITE", "sip:bob@192.0.2.250"));
    eve.expects("403");
    assert!(is_of_stranger());
    let invite = alice.authenticates(ALICE, &alice.request("INVITE", "sip:bob@office.example"));
    alice.acks(&invite, &alice.expects("480"));
    assert!(!is_of_stranger());
}

#[test]
fn a_call_with_two_2xx_goes_on_until_both_dialogs_have_ended() {
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    desk.answers(&at_desk, 200);
    mobile.answers(&at_mobile, 200);
    let oks: Vec<_> = (0..2).map(|_| alice.expects("200")).collect();
    assert_eq!(states(&sim), [DialogState::Confirmed; 2]);
    for (ok, phone) in oks.iter().zip([&desk, &mobile]) {
        alice.acks(&invite, ok);
        phone.expects("ACK");
    }
    // The caller keeps the second one.
    sim.seconds(1);
    hangs_up(&alice, &alice.within(&invite, &oks[0], "BYE"), &desk);
    assert_eq!(states(&sim), [DialogState::Terminated, DialogState::Confirmed]);
    sim.seconds(60);
    hangs_up(&mobile, &mobile.within_as_callee(&invite, &oks[1], "BYE"), &alice);
    let record = only_record(&sim);
    assert_eq!((hung_up(&record), seconds(&record)), (Some(CallSide::Callee), Some(61)));
}

#[test]
fn a_phone_that_stops_ringing_has_no_early_dialog() {
    let sim = Simulation::with(|settings| settings.forking = sequential(10));
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers_with(";q=1");
    mobile.registers_with(";q=0.5");
    let invite = alice.calls("bob");
    let at_desk = desk.expects("INVITE");
    alice.expects("100");
    desk.answers(&at_desk, 180);
    alice.expects("180");
    sim.seconds(10);
    stops(&desk, &at_desk);
    let at_mobile = rings(&alice, &mobile);
    assert_eq!(states(&sim), [DialogState::Terminated, DialogState::Early]);
    let ok = accepts(&alice, &invite, &mobile, &at_mobile);
    hangs_up(&alice, &alice.within(&invite, &ok, "BYE"), &mobile);
    only_record(&sim);
}

#[test]
fn a_bye_counts_from_its_first_copy_and_once() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let (invite, ok) = talk(&alice, &bob);
    sim.seconds(20);
    let bye = alice.within(&invite, &ok, "BYE");
    alice.sends(&bye);
    bob.expects("BYE");
    sim.seconds(2);
    alice.sends(&bye);
    let received = bob.expects("BYE");
    assert_eq!(sim.calls().len(), 1, "the other side has not confirmed it");
    bob.answers(&received, 200);
    alice.expects("200");
    bob.answers(&received, 200);
    alice.expects("200");
    let record = only_record(&sim);
    assert_eq!((hung_up(&record), seconds(&record)), (Some(CallSide::Caller), Some(20)));
}

#[test]
fn a_bye_without_a_response_ends_the_call_after_64_t1() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let (invite, ok) = talk(&alice, &bob);
    sim.seconds(10);
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    sim.seconds(30);
    sim.sweep_calls();
    assert_eq!(sim.calls().len(), 1);
    sim.seconds(10);
    sim.sweep_calls();
    let record = only_record(&sim);
    assert_eq!((hung_up(&record), seconds(&record)), (Some(CallSide::Caller), Some(10)));
}

/// The phone lost its connection: nobody can tell it.
#[test]
fn a_bye_that_cannot_be_sent_ends_the_call() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.tcp("bob"));
    let (invite, ok) = talk(&alice, &bob);
    bob.is_unplugged();
    sim.seconds(10);
    alice.sends(&alice.within(&invite, &ok, "BYE"));
    sim.seconds(1);
    assert_eq!(hung_up(&only_record(&sim)), Some(CallSide::Caller));
}

/// A phone must not end its call in the records by a BYE that the other side is sure to refuse.
#[test]
fn a_refused_bye_does_not_end_the_call() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let (invite, ok) = talk(&alice, &bob);
    for status in [500, 403] {
        alice.sends(&alice.within(&invite, &ok, "BYE").set("Via", alice.via()));
        let received = bob.expects("BYE");
        bob.answers(&received, status);
        alice.expects(&status.to_string());
        assert_eq!(states(&sim), [DialogState::Confirmed], "{status}");
    }
    sim.seconds(100);
    hangs_up(&bob, &bob.within_as_callee(&invite, &ok, "BYE"), &alice);
    let record = only_record(&sim);
    assert_eq!((hung_up(&record), seconds(&record)), (Some(CallSide::Callee), Some(100)));
}

#[test]
fn a_side_that_does_not_know_the_dialog_ends_the_call() {
    for status in [481, 408] {
        let sim = Simulation::new();
        let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
        let (invite, ok) = talk(&alice, &bob);
        sim.seconds(10);
        alice.sends(&alice.within(&invite, &ok, "UPDATE"));
        let received = bob.expects("UPDATE");
        bob.answers(&received, status);
        alice.expects(&status.to_string());
        let record = only_record(&sim);
        assert!(matches!(record.end, CallEnd::Lost), "{record:?}");
    }
}

/// A side must not end the record of its call by a request that is sure to fail.
#[test]
fn a_request_that_fails_for_another_reason_does_not_end_the_call() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let (invite, ok) = talk(&alice, &bob);
    for (method, status) in [
        ("PRACK", 481),
        ("INFO", 404),
        ("INFO", 408),
        ("OPTIONS", 481),
        ("OPTIONS", 483),
        ("MESSAGE", 410),
        ("REFER", 604),
        ("UPDATE", 483),
        ("UPDATE", 404),
        ("INVITE", 416),
        ("INVITE", 604),
        ("BYE", 483),
    ] {
        let request = alice.within(&invite, &ok, method).set("Via", alice.via());
        alice.sends(&request);
        let received = bob.expects(method);
        bob.answers(&received, status);
        let response = loop {
            let message = alice.next_message();
            if message.status() != Some(100) {
                break message;
            }
        };
        assert_eq!(response.status(), Some(status), "{method}");
        if method == "INVITE" {
            alice.acks(&request, &response);
            bob.expects("ACK");
        }
        assert_eq!(states(&sim), [DialogState::Confirmed], "{method} {status}");
    }
    hangs_up(&bob, &bob.within_as_callee(&invite, &ok, "BYE"), &alice);
    assert_eq!(hung_up(&only_record(&sim)), Some(CallSide::Callee));
}

#[test]
fn only_a_side_of_the_dialog_can_end_the_call() {
    let sim = Simulation::with(secured);
    let (alice, bob, mallory) = (sim.udp("alice"), sim.udp("bob"), sim.udp("mallory"));
    let accomplice = sim.udp("mallory/other");
    let (invite, ok) = call(&alice, &bob);
    sim.records();
    for captured in [alice.within(&invite, &ok, "BYE"), bob.within_as_callee(&invite, &ok, "BYE")] {
        mallory.sends(&captured.set("Via", mallory.via()));
        assert!(matches!(mallory.next_message().status(), Some(403 | 407)));
    }
    // A call of mallory's own with the same identifiers: Call-ID and both tags.
    accomplice.signs_in(MALLORY);
    let tag = invite.param("From", "tag").unwrap().to_owned();
    let own = mallory.request("INVITE", "sip:mallory@office.example").set("Call-ID", invite.value("Call-ID"));
    let own = mallory.authenticates(MALLORY, &own.set("From", format!("<sip:mallory@office.example>;tag={tag}")));
    let received = accomplice.expects("INVITE");
    let to = format!("{};tag={}", received.value("To"), ok.param("To", "tag").unwrap());
    accomplice.sends(&accomplice.answer(&received, 200).set("To", to));
    let own_ok = mallory.expects("200");
    assert_eq!(own_ok.param("To", "tag"), ok.param("To", "tag"));
    mallory.acks(&own, &own_ok);
    accomplice.expects("ACK");
    assert_eq!(sim.calls().len(), 2);
    hangs_up(&mallory, &mallory.within(&own, &own_ok, "BYE"), &accomplice);
    let record = sim.records().remove(0);
    assert_eq!(record.from.user(), b"mallory");
    let left = sim.calls();
    assert_eq!((left.len(), left[0].from.user()), (1, &b"alice"[..]));
    hangs_up(&alice, &alice.within(&invite, &ok, "BYE"), &bob);
    assert_eq!(only_record(&sim).from.user(), ALICE.user.as_bytes());
}

/// Tags of different phones should differ. The call goes on in the dialog that was accepted.
#[test]
fn a_phone_accepts_with_the_tag_of_one_that_declined() {
    let sim = Simulation::new();
    let (alice, desk, mobile) = (sim.udp("alice"), sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    let ringing = desk.answers(&at_desk, 180);
    desk.answers(&at_desk, 486);
    desk.expects("ACK");
    alice.expects("180");
    assert_eq!(states(&sim), [DialogState::Terminated]);
    mobile.sends(&mobile.answer(&at_mobile, 200).set("To", ringing.value("To")));
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    mobile.expects("ACK");
    assert_eq!(states(&sim), [DialogState::Confirmed]);
    hangs_up(&alice, &alice.within(&invite, &ok, "BYE"), &mobile);
    assert_eq!(hung_up(&only_record(&sim)), Some(CallSide::Caller));
}

/// The caller calls a phone of her own with the identifiers of her first call, and hangs up there.
#[test]
fn a_second_call_with_equal_identifiers_does_not_end_the_first() {
    let sim = Simulation::new();
    let (alice, bob, accomplice) = (sim.udp("alice"), sim.udp("bob"), sim.udp("carol"));
    accomplice.registers();
    let (invite, ok) = talk(&alice, &bob);
    let again = alice.request("INVITE", "sip:carol@office.example");
    let again = again.set("Call-ID", invite.value("Call-ID")).set("From", invite.value("From"));
    alice.sends(&again);
    let received = accomplice.expects("INVITE");
    accomplice.sends(&accomplice.answer(&received, 200).set("To", ok.value("To")));
    let ok_again = alice.expects("200");
    alice.acks(&again, &ok_again);
    accomplice.expects("ACK");
    hangs_up(&alice, &alice.within(&again, &ok_again, "BYE"), &accomplice);
    let calls = sim.calls();
    assert_eq!((calls.len(), sim.records().len()), (2, 0));
    assert!(calls.iter().flat_map(|call| &call.dialogs).all(|dialog| dialog.state == DialogState::Confirmed));
}

/// A caller must not hide a call by many others with its identifiers.
#[test]
fn a_call_with_the_identifiers_of_many_others_has_a_record() {
    let sim = Simulation::with(|settings| settings.call_lifetime = Duration::from_secs(3600));
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let first = alice.request("INVITE", "sip:bob@office.example");
    let talks = || {
        let invite = first.clone().set("Via", alice.via());
        alice.sends(&invite);
        let ok = accepts(&alice, &invite, &bob, &bob.expects("INVITE"));
        (invite, ok)
    };
    let calls: Vec<_> = (0..20).map(|_| talks()).collect();
    // A request may be of one that it cannot find.
    for (invite, ok) in [&calls[0], &calls[19]] {
        hangs_up(&alice, &alice.within(invite, ok, "BYE"), &bob);
    }
    assert_eq!(sim.calls().len(), 20);
    sim.seconds(3610);
    sim.sweep_calls();
    let records = sim.records();
    assert_eq!((sim.calls().len(), records.len()), (0, 20));
    assert!(records.iter().all(|record| matches!(record.end, CallEnd::Lost)), "{records:?}");
    // Nothing of them is left.
    bob.registers();
    let (invite, ok) = talks();
    hangs_up(&alice, &alice.within(&invite, &ok, "BYE"), &bob);
    assert_eq!(hung_up(&only_record(&sim)), Some(CallSide::Caller));
}

/// An INVITE that passes this server twice begins two calls. The BYE has the Route values of both, and passes once.
#[test]
fn one_bye_ends_both_calls_of_a_spiral() {
    let sim = Simulation::new();
    let (alice, carol, gateway) = (sim.udp("alice"), sim.udp("carol"), sim.udp("gateway"));
    carol.registers();
    gateway.sends(&gateway.register().set("To", "<sip:bob@office.example>"));
    gateway.expects("200");
    let invite = alice.calls("bob");
    let at_gateway = gateway.expects("INVITE");
    let again = at_gateway.to("sip:carol@office.example").with_first("Via", gateway.via()).set("Max-Forwards", 60);
    gateway.sends(&again);
    let at_carol = carol.expects("INVITE");
    carol.answers(&at_carol, 200);
    gateway.sends(&gateway.expects("200").without_first("Via"));
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    carol.expects("ACK");
    assert_eq!(sim.calls().len(), 2);
    hangs_up(&alice, &alice.within(&invite, &ok, "BYE"), &carol);
    assert_eq!(sim.calls().len(), 0, "{:?}", sim.calls());
    let ends: Vec<_> = sim.records().iter().map(hung_up).collect();
    assert_eq!(ends, [Some(CallSide::Caller); 2]);
}

/// The Contact of the phone is a host name, so the BYE goes to the address that the 200 came from.
#[test]
fn a_bye_for_a_host_name_ends_its_call() {
    let sim = Simulation::with(secured);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.signs_in(BOB);
    let invite = alice.authenticates(ALICE, &alice.request("INVITE", "sip:bob@office.example"));
    let ok = picks_up(&bob, &alice, "sip:bob@phone.far.example");
    alice.acks(&invite, &ok);
    bob.expects("ACK");
    hangs_up(&alice, &alice.within(&invite, &ok, "BYE"), &bob);
    assert_eq!(hung_up(&only_record(&sim)), Some(CallSide::Caller));
}

#[test]
fn a_call_without_a_request_for_its_lifetime_is_lost() {
    let sim = Simulation::with(|settings| settings.call_lifetime = Duration::from_secs(3600));
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let (invite, ok) = talk(&alice, &bob);
    // A session timer refreshes the call (RFC 4028). Any other request is a sign of life too.
    for method in ["UPDATE", "INFO"] {
        sim.seconds(1500);
        alice.sends(&alice.within(&invite, &ok, method));
        let received = bob.expects(method);
        bob.answers(&received, 200);
        alice.expects("200");
    }
    sim.seconds(3590);
    sim.sweep_calls();
    assert_eq!(sim.calls().len(), 1);
    sim.seconds(20);
    sim.sweep_calls();
    let record = only_record(&sim);
    assert!(matches!(record.end, CallEnd::Lost), "{record:?}");
    assert_eq!(seconds(&record), Some(6610));
}

#[test]
fn a_saved_call_goes_on_after_a_restart() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    let (invite, ok) = talk(&alice, &bob);
    sim.seconds(10);
    sim.restart();
    assert_eq!(states(&sim), [DialogState::Confirmed]);
    sim.seconds(10);
    hangs_up(&bob, &bob.within_as_callee(&invite, &ok, "BYE"), &alice);
    let record = only_record(&sim);
    assert_eq!((hung_up(&record), seconds(&record)), (Some(CallSide::Callee), Some(20)));
}

#[test]
fn a_call_beyond_the_limit_is_made_but_not_known() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    // Two callers may have one counter by chance; so each has half of a share.
    let others = ["carol", "dave", "erin", "frank", "grace", "heidi", "ivan"].map(|caller| sim.udp(caller));
    let reached = || sim.count_events(|event| matches!(event, Event::LimitReached(Limit::JournalCalls)));
    for caller in std::iter::once(&alice).chain(&others) {
        for _ in 0..125 {
            caller.calls("bob");
            bob.expects("INVITE");
        }
    }
    assert_eq!((sim.calls().len(), reached()), (1000, 0));
    let invite = alice.calls("bob");
    let received = rings(&alice, &bob);
    let ok = accepts(&alice, &invite, &bob, &received);
    assert_eq!((sim.calls().len(), reached()), (1000, 1));
    hangs_up(&alice, &alice.within(&invite, &ok, "BYE"), &bob);
    assert_eq!((sim.calls().len(), sim.records().len()), (1000, 0));
    // Each of the others ends when its caller has given up, which makes room.
    sim.seconds(200);
    assert_eq!((sim.calls().len(), sim.records().len()), (0, 1000));
}

#[test]
fn calls_of_one_caller_leave_room_for_others() {
    let sim = Simulation::new();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let reached = || sim.count_events(|event| matches!(event, Event::LimitReached(Limit::JournalCalls)));
    for _ in 0..600 {
        alice.calls("bob");
        bob.expects("INVITE");
    }
    assert_eq!((sim.calls().len(), reached()), (500, 100));
    // One of them may have the counter of alice by chance.
    for caller in [sim.udp("carol"), sim.udp("dave")] {
        caller.calls("bob");
        bob.expects("INVITE");
    }
    let known = sim.calls().len();
    assert!(known > 500);
    assert_eq!(known + reached(), 502);
}

/// A call of a stranger with its own name, which is not answered.
fn calls_as(stranger: &Agent, number: usize, bob: &Agent) {
    let from = format!("<sip:x{number}@evil.example>;tag=x{number}");
    stranger.sends(&stranger.request("INVITE", &bob.aor()).set("From", from));
    bob.expects("INVITE");
}

/// The stranger, who has read everything, picks up the call of alice. Returns the response.
fn takes_over(stranger: &Agent, alice: &Agent, (invite, ringing): (&Sip, &Sip)) -> Option<u16> {
    let tag = |sip: &Sip, name| sip.param(name, "tag").unwrap_or_default().to_owned();
    let (to, from) = (tag(ringing, "To"), tag(invite, "From"));
    let replaces = format!("{};to-tag={to};from-tag={from}", invite.value("Call-ID"));
    let pickup = stranger.request("INVITE", &alice.aor()).set("From", "<sip:m@evil.example>;tag=m");
    stranger.sends(&pickup.with("Replaces", replaces));
    let response = stranger.next_message_if_any();
    response.and_then(|response| response.status())
}

#[test]
fn a_stranger_with_many_names_leaves_room_for_others() {
    let sim = Simulation::with(|settings| settings.strangers = Strangers::Accept);
    let (alice, bob, stranger) = (sim.udp("alice"), sim.udp("bob"), sim.udp("stranger"));
    alice.registers();
    bob.registers();
    (0..600).for_each(|number| calls_as(&stranger, number, &bob));
    assert_eq!(sim.calls().len(), 500, "all names share the half that a host gets while nobody else needs it");
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    let ringing = alice.expects("180");
    assert_eq!(sim.calls().len(), 501);
    assert_eq!(takes_over(&stranger, &alice, (&invite, &ringing)), Some(403));
    alice.receives_nothing();
    sim.seconds(400);
    let records = sim.records();
    let of_strangers = records.iter().filter(|record| record.is_of_stranger).count();
    assert_eq!((records.len(), of_strangers), (502, 501), "one was refused");
}

#[test]
fn no_call_is_taken_over_because_the_table_is_full() {
    let sim = Simulation::with(|settings| settings.strangers = Strangers::Accept);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    alice.registers();
    bob.registers();
    // With a forged address, an attacker has any number of hosts.
    let strangers: Vec<_> = (0..8).map(|number| sim.udp(&format!("stranger/{number}"))).collect();
    for number in 0..125 {
        strangers.iter().for_each(|stranger| calls_as(stranger, number, &bob));
    }
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.answers(&received, 180);
    let ringing = alice.expects("180");
    assert!(!sim.calls().iter().any(|call| &*call.caller_tag == invite.param("From", "tag").unwrap().as_bytes()));
    assert_eq!(takes_over(&strangers[0], &alice, (&invite, &ringing)), Some(503));
    // Nor later, while the call may still ring.
    sim.seconds(150);
    bob.answers(&received, 180);
    alice.expects("180");
    sim.seconds(100);
    assert_eq!(takes_over(&strangers[0], &alice, (&invite, &ringing)), Some(503));
    assert!(!alice.all_received().iter().any(Sip::is_request));
    sim.skip_final_check();
}
