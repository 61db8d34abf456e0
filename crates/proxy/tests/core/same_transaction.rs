//! What counts as a retransmission of a request, and what as its ACK or CANCEL: nothing that somebody else sends after
//! reading it (RFC 3261 9.2, 16.10, 16.11, 17.2.3).

use proxy::{Authentication, Settings};

use sim::{Agent, DOMAIN, Login, Simulation, Sip, hop_by_hop};

use crate::accounts::{ALICE, aor};

fn secured(settings: &mut Settings) {
    settings.authentication = Authentication::Required;
    for user in ["alice", "bob", "carol"] {
        let login = Login { user, ..ALICE };
        settings.accounts.insert(aor(user), login.account(DOMAIN));
    }
}

/// Registers a phone with the password of its user.
fn signs_in(phone: &Agent) {
    phone.signs_in(Login { user: phone.user(), ..ALICE });
}

#[test]
fn a_request_that_is_no_retransmission_does_not_follow_the_pin() {
    // checklist 81
    let sim = Simulation::with(secured);
    let (alice, bob, mallory) = (sim.udp("alice"), sim.udp("bob"), sim.udp("mallory"));
    signs_in(&bob);
    let message = alice.authenticates(ALICE, &alice.request("MESSAGE", "sip:bob@office.example"));
    bob.expects("MESSAGE");
    let invite = |from: &str| {
        let invite = message.clone().set("CSeq", message.value("CSeq").replace("MESSAGE", "INVITE"));
        Sip::parse(invite.to_string().replacen("MESSAGE", "INVITE", 1).as_bytes())
            .set("From", from)
            .without("Proxy-Authorization")
    };
    let tag = message.param("From", "tag").unwrap();
    let as_carol = format!("<sip:carol@office.example>;tag={tag}");
    for sender in [&mallory, &alice] {
        // Another method in another name, another From, another body, and a copy from another address.
        sender.sends(&invite(&as_carol));
        sender.sends(&message.clone().without("Proxy-Authorization").set("From", &as_carol));
        sender.sends(&message.clone().without("Proxy-Authorization").with_body("other words"));
    }
    mallory.sends(&message);
    for sender in [&mallory, &alice] {
        let answers: Vec<_> = (0..3).map(|_| sender.next_message()).collect();
        // Responses go where the Via says, even if mallory copied it.
        assert!(answers.iter().all(|answer| answer.status() == Some(407)), "{answers:?}");
    }
    assert_eq!(mallory.next_message().status(), Some(407), "the nonce count was used already");
    // An exact copy from alice's own address is a retransmission.
    alice.sends(&message);
    bob.expects("MESSAGE");
    assert_eq!(bob.all_received(), []);
}

/// An ACK or CANCEL of an INVITE of others: from the own address, with the Via of the INVITE or an own one.
fn foreign(method: &str, invite: &Sip, to: &str, sender: &Agent) -> [Sip; 2] {
    let captured = hop_by_hop(method, invite, to);
    let own_via = format!("SIP/2.0/UDP {};branch={};rport", sender.address, invite.branch());
    [captured.clone().set("Via", own_via), captured]
}

#[test]
fn a_cancel_is_accepted_only_from_the_source_of_its_invite() {
    // checklist 79, 80
    for phones in [1, 2] {
        let sim = Simulation::with(secured);
        let (alice, mallory) = (sim.udp("alice"), sim.udp("mallory"));
        let bobs = [sim.udp("bob/desk"), sim.udp("bob/mobile")];
        bobs.iter().take(phones).for_each(signs_in);
        let invite = alice.authenticates(ALICE, &alice.request("INVITE", "sip:bob@office.example"));
        let received: Vec<_> = bobs.iter().take(phones).map(|bob| bob.expects("INVITE")).collect();
        bobs[0].answers(&received[0], 180);
        for cancel in foreign("CANCEL", &invite, invite.value("To"), &mallory) {
            mallory.sends(&cancel);
            assert_eq!(mallory.next_message().status(), Some(481));
        }
        // At the same address, but another program: only the port differs.
        let neighbour = sim.udp("neighbour");
        let beside = std::net::SocketAddr::new(alice.address.ip(), 5099);
        for cancel in foreign("CANCEL", &invite, invite.value("To"), &alice) {
            neighbour.sends_from(beside).sends(&cancel);
        }
        bobs.iter().for_each(|bob| bob.receives_nothing());
        alice.all_received();
        alice.cancels(&invite);
        assert_eq!(bobs[0].expects("CANCEL").branch(), received[0].branch());
        sim.skip_final_check();
    }
}

#[test]
fn an_ack_is_accepted_only_from_the_source_of_its_invite() {
    // checklist 99, 101
    let sim = Simulation::with(secured);
    let (alice, mallory) = (sim.udp("alice"), sim.udp("mallory"));
    let bobs = [sim.udp("bob/desk"), sim.udp("bob/mobile")];
    bobs.iter().for_each(signs_in);
    let invite = alice.authenticates(ALICE, &alice.request("INVITE", "sip:bob@office.example"));
    alice.expects("100");
    for bob in &bobs {
        let received = bob.expects("INVITE");
        bob.answers(&received, 486);
        bob.expects("ACK");
    }
    let busy = alice.expects("486");
    for ack in foreign("ACK", &invite, busy.value("To"), &mallory) {
        mallory.sends(&ack);
    }
    // It is retransmitted until alice has sent the ACK.
    sim.millis(500);
    alice.expects("486");
    alice.acks(&invite, &busy);
    sim.seconds(5);
    assert_eq!(alice.all_received(), []);
}

#[test]
fn a_cancel_without_an_invite_reveals_nothing() {
    // checklist 80: RFC 3261 16.10 would forward it, but the response of the phone would show that there is a call.
    let sim = Simulation::with(secured);
    let (bob, carol, mallory) = (sim.udp("bob"), sim.udp("carol"), sim.udp("mallory"));
    signs_in(&bob);
    signs_in(&carol);
    for user in ["bob", "alice", "nobody"] {
        for from in ["carol", "mallory"] {
            let invite = mallory
                .request("INVITE", &format!("sip:{user}@office.example"))
                .set("From", format_args!("<sip:{from}@office.example>;tag=1"));
            mallory.cancels(&invite);
            let answer = mallory.next_message();
            assert_eq!((answer.status(), answer.reason()), (Some(481), "Call/Transaction Does Not Exist"), "{user}");
        }
    }
    bob.receives_nothing();
    // From a registered phone it is forwarded, and where no phone is the response reveals nothing either.
    let [to_bob, to_nobody] =
        ["bob", "nobody"].map(|user| carol.request("INVITE", &format!("sip:{user}@office.example")));
    carol.cancels(&to_bob);
    let cancel = bob.expects("CANCEL");
    bob.answers(&cancel, 481);
    carol.expects("481");
    carol.cancels(&to_nobody);
    carol.expects("481");
}

#[test]
fn two_senders_with_the_same_branch_are_kept_apart() {
    // A request with the branch, the Call-ID and the tag of a ringing call begins a call of its own.
    let sim = Simulation::with(secured);
    let (alice, carol) = (sim.udp("alice"), sim.udp("carol"));
    let bobs = [sim.udp("bob/desk"), sim.udp("bob/mobile")];
    bobs.iter().for_each(signs_in);
    let invite = alice.authenticates(ALICE, &alice.request("INVITE", "sip:bob@office.example"));
    alice.expects("100");
    let hers = bobs[0].expects("INVITE");
    bobs[1].expects("INVITE");
    let tag = invite.param("From", "tag").unwrap();
    let same = invite
        .clone()
        .without("Proxy-Authorization")
        .set("From", format_args!("<sip:carol@office.example>;tag={tag}"))
        .set("Via", format_args!("SIP/2.0/UDP {};branch={};rport", carol.address, invite.branch()));
    carol.sends(&same);
    let refused = carol.expects("407");
    carol.acks(&same, &refused);
    carol.sends(
        &same.clone().with("Proxy-Authorization", Login { user: "carol", ..ALICE }.answer(&refused, "MD5", &same, 1)),
    );
    carol.expects("100");
    bobs[0].expects("INVITE");
    // Only alice can cancel this call, and only bob can answer it.
    bobs[0].answers(&hers, 180);
    alice.expects("180");
    alice.cancels(&invite);
    alice.expects("200");
    assert_eq!(bobs[0].expects("CANCEL").branch(), hers.branch());
    carol.receives_nothing();
    sim.skip_final_check();
}

#[test]
fn a_response_is_accepted_only_from_the_target_of_its_request() {
    // Everybody who has read the request can write each octet of a response. Only the source distinguishes it from the
    // phone's own.
    for phones in [1, 2] {
        let sim = Simulation::with(secured);
        let (alice, mallory) = (sim.udp("alice"), sim.udp("mallory"));
        let mallory_on_tcp = sim.tcp("mallory");
        let bobs = [sim.udp("bob/desk"), sim.tcp("bob/mobile")];
        bobs.iter().take(phones).for_each(signs_in);
        let invite = alice.authenticates(ALICE, &alice.request("INVITE", "sip:bob@office.example"));
        let received: Vec<_> = bobs.iter().take(phones).map(|bob| bob.expects("INVITE")).collect();
        alice.all_received();
        for received in &received {
            for status in [180, 200, 302, 486, 603] {
                mallory.sends(&mallory.answer(received, status));
                mallory_on_tcp.sends(&mallory_on_tcp.answer(received, status));
            }
        }
        alice.receives_nothing();
        bobs[0].answers(&received[0], 200);
        let ok = alice.expects("200");
        alice.acks(&invite, &ok);
        assert_eq!(bobs[0].expects("ACK").uri(), bobs[0].contact());
        sim.skip_final_check();
    }
}

#[test]
fn a_phone_may_respond_from_the_source_of_its_register() {
    // Some phones listen at one port and send from another, at any worker.
    for worker in [0, 1] {
        let sim = Simulation::with_workers(2, secured);
        let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
        // The port that it sends from, where it does not listen.
        let out = sim.udp("out");
        out.sends_from(std::net::SocketAddr::new(bob.address.ip(), 49_152));
        let without_rport = |request: Sip| {
            let via = bob.via().replace(";rport", "");
            request.set("Via", via)
        };
        let register = without_rport(bob.register());
        out.sends(&register);
        let refused = bob.expects("401");
        let again = without_rport(register);
        let login = Login { user: "bob", ..ALICE };
        out.sends(&again.clone().with("Authorization", login.answer(&refused, "SHA-256", &again, 1)));
        bob.expects("200");
        alice.authenticates(ALICE, &alice.request("INVITE", "sip:bob@office.example"));
        let received = bob.expects("INVITE");
        out.reaches_worker(worker).sends(&bob.answer(&received, 486));
        assert_eq!(alice.next_message().status(), Some(486));
        sim.skip_final_check();
    }
}

#[test]
fn behind_a_path_only_its_proxy_responds() {
    // A registration from one address, with a Path to another: responses come from the host in the Path, at any port.
    let sim = Simulation::with(secured);
    let (alice, bob, edge) = (sim.udp("alice"), sim.udp("bob"), sim.udp("edge"));
    let register = bob.register().with("Path", format_args!("<sip:{};lr>", edge.address));
    bob.authenticates(Login { user: "bob", ..ALICE }, &register);
    bob.expects("200");
    alice.authenticates(ALICE, &alice.request("INVITE", "sip:bob@office.example"));
    let received = edge.expects("INVITE");
    bob.sends(&bob.answer(&received, 200));
    alice.receives_nothing();
    let other_port = sim.udp("other_port");
    other_port.sends_from(std::net::SocketAddr::new(edge.address.ip(), 49_152));
    other_port.sends(&edge.answer(&received, 486));
    assert_eq!(alice.next_message().status(), Some(486));
    sim.skip_final_check();
}
