//! Registration at trunks (RFC 3261 10.2), and the question whether they respond.

use std::time::Duration;

use proxy::{Event, Login, TrunkTask};

use super::*;

fn settings_with(settings: &mut Settings, change: impl FnOnce(&mut Trunk)) {
    secured(settings, |trunk| {
        trunk.login = Some(Login { user: "4989100".into(), password: "secret".into() });
        trunk.registers = true;
        change(trunk);
    });
}

/// The simulation and the provider, before the first REGISTER.
pub(super) fn setup(change: impl FnOnce(&mut Trunk)) -> (Simulation, Agent) {
    let sim = Simulation::with(|settings| settings_with(settings, change));
    // The server registers for ever.
    sim.skip_final_check();
    let provider = sim.udp("provider").at(format!("{PROVIDER}:5060").parse().expect("an address"));
    (sim, provider)
}

/// A 200 to a REGISTER that grants this expiry.
fn grants(provider: &Agent, register: &Sip, expires: u32) {
    let contact = format!("{};expires={expires}", register.value("Contact"));
    provider.sends(&provider.answer(register, 200).with("Contact", contact));
}

/// Waits for the next request, and returns it with the seconds that have passed.
pub(super) fn waits(sim: &Simulation, provider: &Agent) -> (f64, Sip) {
    let began = sim.elapsed();
    loop {
        if let Some(request) = provider.next_message_if_any() {
            return ((sim.elapsed() - began).as_secs_f64(), request);
        }
        sim.millis(100);
        assert!(sim.elapsed() - began < Duration::from_secs(7200), "no request");
    }
}

fn sequence(request: &Sip) -> u32 {
    let (number, _) = request.value("CSeq").split_once(' ').expect("a method");
    number.parse().expect("a number")
}

/// Challenges a request.
pub(super) fn challenges(provider: &Agent, request: &Sip, status: u16, challenge: &str) {
    let name = if status == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
    provider.sends(&provider.answer(request, status).with(name, challenge));
}

const CHALLENGE: &str =
    "Digest realm=\"provider.example\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\", opaque=\"o\"";

pub(super) fn registered(sim: &Simulation, works: bool) -> usize {
    sim.count_events(
        |event| matches!(event, Event::Trunk { task: TrunkTask::Register, status, .. } if status.is_none() == works),
    )
}

/// The response in the credentials is the right one for its nonce.
fn is_right(register: &Sip, header: &str) -> bool {
    let credentials = register.value(header);
    let login = sim::Login { user: "4989100", password: "secret" };
    let count = credentials.rsplit("nc=").next().unwrap_or_default();
    let cnonce = sim::quoted(credentials, "cnonce");
    assert_eq!(cnonce.len(), 16);
    let count = u32::from_str_radix(count, 16).expect("a number");
    let expected = login.response(CHALLENGE, register, count, cnonce);
    expected == sim::quoted(credentials, "response")
}

#[test]
fn a_registration_is_challenged_granted_and_refreshed() {
    let (sim, provider) = setup(|_| {});
    let register = provider.expects("REGISTER");
    assert_eq!(register.uri(), "sip:192.0.2.80");
    assert_eq!(register.value("To"), "<sip:4989100@192.0.2.80>");
    assert_eq!(register.value("Contact"), "<sip:4989100@192.0.2.1:5060>");
    assert_eq!(register.value("Expires"), "600");
    challenges(&provider, &register, 401, CHALLENGE);
    let again = provider.expects("REGISTER");
    assert!(is_right(&again, "Authorization"), "{again}");
    // RFC 3261 10.2: the same Call-ID, a higher CSeq.
    assert_eq!(again.value("Call-ID"), register.value("Call-ID"));
    assert!(sequence(&again) > sequence(&register));
    grants(&provider, &again, 100);
    provider.receives_nothing();
    assert_eq!(registered(&sim, true), 1);
    // It is refreshed before it expires, with the nonce of the last challenge.
    let (pause, refresh) = waits(&sim, &provider);
    assert!((69.0..91.0).contains(&pause), "{pause}");
    assert!(is_right(&refresh, "Authorization") && refresh.value("Authorization").ends_with("nc=00000002"));
    grants(&provider, &refresh, 600);
    provider.receives_nothing();
}

#[test]
fn after_a_restart_the_call_id_is_the_same_and_the_cseq_is_higher() {
    let (sim, provider) = setup(|_| {});
    let register = provider.expects("REGISTER");
    grants(&provider, &register, 600);
    sim.seconds(10);
    sim.restart();
    let again = provider.expects("REGISTER");
    assert_eq!(again.value("Call-ID"), register.value("Call-ID"));
    assert!(sequence(&again) > sequence(&register));
    grants(&provider, &again, 600);
    provider.receives_nothing();
}

#[test]
fn wrong_credentials_are_tried_once_and_then_again_later() {
    let (sim, provider) = setup(|_| {});
    let register = provider.expects("REGISTER");
    challenges(&provider, &register, 401, CHALLENGE);
    let again = provider.expects("REGISTER");
    challenges(&provider, &again, 401, CHALLENGE);
    provider.receives_nothing();
    assert_eq!(registered(&sim, false), 1);
    // RFC 5626 4.5: the pause doubles, half of it at random.
    for (least, most, status) in [(14.0, 31.0, 403), (29.0, 61.0, 503), (59.0, 121.0, 200)] {
        let (pause, register) = waits(&sim, &provider);
        assert!(least < pause && pause < most, "{pause}");
        provider.answers(&register, status);
    }
    provider.receives_nothing();
    assert_eq!(registered(&sim, true), 1);
    // Retry-After is obeyed.
    let (_, register) = waits(&sim, &provider);
    provider.sends(&provider.answer(&register, 403).with("Retry-After", 200));
    let (pause, _) = waits(&sim, &provider);
    assert!((199.0..201.0).contains(&pause), "{pause}");
}

#[test]
fn a_trunk_that_challenges_for_ever_gets_two_responses() {
    let (_sim, provider) = setup(|_| {});
    for number in 0..3 {
        let register = provider.expects("REGISTER");
        challenges(&provider, &register, 401, &CHALLENGE.replace("n1", &format!("n{number}")));
    }
    provider.receives_nothing();
}

#[test]
fn a_423_is_obeyed_and_odd_answers_are_failures() {
    let (sim, provider) = setup(|_| {});
    let register = provider.expects("REGISTER");
    provider.sends(&provider.answer(&register, 423).with("Min-Expires", 3600));
    let longer = provider.expects("REGISTER");
    assert_eq!(longer.value("Expires"), "3600");
    // Somebody else's Contact: this server is not registered.
    provider.sends(&provider.answer(&longer, 200).with("Contact", "<sip:mallory@192.0.2.66>;expires=3600"));
    provider.receives_nothing();
    assert_eq!((registered(&sim, true), registered(&sim, false)), (0, 1));
    for status in [423, 302, 699] {
        let (_, register) = waits(&sim, &provider);
        provider.sends(&provider.answer(&register, status).with("Min-Expires", 1).with("Contact", "<sip:192.0.2.66>"));
        provider.receives_nothing();
    }
    let (_, register) = waits(&sim, &provider);
    // Without a Contact the server got what it asked for.
    provider.answers(&register, 200);
    provider.receives_nothing();
    assert_eq!(registered(&sim, true), 1);
}

#[test]
fn the_next_address_of_the_trunk_is_tried() {
    let sim =
        Simulation::with(|settings| settings_with(settings, |trunk| trunk.server = "sip:provider.example".into()));
    sim.skip_final_check();
    let addresses = [PROVIDER, BACKUP].map(|address| format!("{address}:5060").parse().expect("an address"));
    sim.dns("provider.example", &addresses);
    let [first, second] = [("provider", 0), ("backup", 1)].map(|(name, at)| sim.udp(name).at(addresses[at]));
    let register = first.expects("REGISTER");
    assert_eq!(register.uri(), "sip:provider.example");
    first.answers(&register, 503);
    let register = second.expects("REGISTER");
    grants(&second, &register, 600);
    second.receives_nothing();
    assert_eq!(registered(&sim, true), 1);
}

#[test]
fn only_the_trunk_can_answer() {
    let (sim, provider) = setup(|_| {});
    let register = provider.expects("REGISTER");
    let mallory = sim.udp("mallory");
    grants(&mallory, &register, 600);
    let forged = register.clone().set("Via", register.value("Via").replace("z9hG4bKr00", "z9hG4bKr0000"));
    grants(&provider, &forged, 600);
    provider.receives_nothing();
    assert_eq!(registered(&sim, true), 0);
    grants(&provider, &register, 600);
    provider.receives_nothing();
    assert_eq!(registered(&sim, true), 1);
}

#[test]
fn a_trunk_that_is_not_registered_is_passed_over() {
    let office = Office::with(|settings| settings_with(settings, |_| {}));
    office.sim.skip_final_check();
    let register = office.provider.expects("REGISTER");
    let invite = office.alice_dials("0891234");
    office.alice.expects("100");
    refuses(&office.backup, &office.backup.expects("INVITE"), 486);
    is_refused(&office.alice, &invite, "486");
    grants(&office.provider, &register, 600);
    let (invite, received) = office.alice_reaches("0891234");
    refuses(&office.provider, &received, 486);
    is_refused(&office.alice, &invite, "486");
}

#[test]
fn a_call_to_our_contact_reaches_the_number_in_to() {
    let office = Office::with(|settings| settings_with(settings, |_| {}));
    office.sim.skip_final_check();
    let register = office.provider.expects("REGISTER");
    grants(&office.provider, &register, 600);
    for (to, expected) in [("<sip:+4989112@provider.example>", "200"), ("<sip:+4989177@provider.example>", "404")] {
        let invite = office.provider.request("INVITE", "sip:4989100@192.0.2.1:5060").set("To", to);
        let invite = invite.set("From", "<sip:+49301@provider.example>;tag=p1");
        office.provider.sends(&invite);
        if expected == "200" {
            let received = office.bob.expects("INVITE");
            accepts(&office.provider, &invite, &office.bob, &received);
        } else {
            is_refused(&office.provider, &invite, expected);
        }
    }
}

#[test]
fn a_trunk_that_does_not_respond_is_passed_over_until_it_does() {
    let probed = |trunk: &mut Trunk| trunk.probe = Some(Duration::from_secs(30));
    let office = Office::with(|settings| secured(settings, probed));
    office.sim.skip_final_check();
    // Any response shows that the trunk is there.
    let options = office.provider.expects("OPTIONS");
    office.provider.answers(&options, 404);
    office.sim.seconds(30);
    office.provider.expects("OPTIONS");
    office.sim.seconds(32);
    while office.provider.next_message_if_any().is_some() {}
    let invite = office.alice_dials("0891234");
    office.alice.expects("100");
    refuses(&office.backup, &office.backup.expects("INVITE"), 486);
    is_refused(&office.alice, &invite, "486");
    office.sim.seconds(30);
    let options = office.provider.expects("OPTIONS");
    office.provider.answers(&options, 200);
    let (invite, received) = office.alice_reaches("0891234");
    refuses(&office.provider, &received, 486);
    is_refused(&office.alice, &invite, "486");
}

#[test]
fn a_removed_trunk_is_deregistered() {
    let (sim, provider) = setup(|_| {});
    let register = provider.expects("REGISTER");
    grants(&provider, &register, 600);
    provider.receives_nothing();
    sim.reconfigure(|settings| settings.trunks.all.retain(|trunk| &*trunk.name != "provider"));
    let last = provider.expects("REGISTER");
    assert_eq!(last.value("Expires"), "0");
    provider.answers(&last, 200);
    provider.receives_nothing();
}

#[test]
fn a_trunk_that_is_removed_while_it_is_being_registered_is_deregistered() {
    let (sim, provider) = setup(|_| {});
    let challenge = |nonce: &str| CHALLENGE.replace("n1", nonce) + ", stale=true";
    let mut register = provider.expects("REGISTER");
    for nonce in ["n1", "n2"] {
        challenges(&provider, &register, 401, &challenge(nonce));
        register = provider.expects("REGISTER");
    }
    sim.reconfigure(|settings| settings.trunks.all.retain(|trunk| &*trunk.name != "provider"));
    let last = provider.expects("REGISTER");
    assert_eq!(last.value("Expires"), "0");
    // The responses to the requests before it change nothing.
    grants(&provider, &register, 600);
    provider.receives_nothing();
    // Its challenge is answered, although two have been answered for the registration.
    challenges(&provider, &last, 401, &challenge("n3"));
    let last = provider.expects("REGISTER");
    assert_eq!(last.value("Expires"), "0");
    provider.answers(&last, 200);
    provider.receives_nothing();
}
