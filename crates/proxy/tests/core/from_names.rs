//! Users whose From is not their address of record: anonymous (RFC 3323 4.1.1.3), a number, the address of a gateway.
//! Only credentials identify a user, and no user may call in the name of another.

use location::Aor;

use proxy::{Account, Authentication, AuthenticationFailure, Caller, Event, Foreign, Offence, Settings, Strangers};

use sim::{Agent, DOMAIN, Login, Simulation, Sip, quoted};

use crate::accounts::{ALICE, BOB, add_accounts, aor};

const GATEWAY: Login<'static> = Login { user: "gateway", password: "copper" };

fn secured(settings: &mut Settings) {
    add_accounts(settings, &[ALICE, BOB]);
    settings.strangers = Strangers::Refuse;
    let may_call_as = vec![
        Caller::User(b"+4989123451".as_slice().into()),
        Caller::Host(b"192.0.2.60".as_slice().into()),
        Caller::Address(Aor::new(b"desk", b"partner.example")),
    ];
    settings.accounts.insert(aor("gateway"), Account { may_call_as, ..GATEWAY.account(DOMAIN) });
}

fn setup() -> (Simulation, Agent, Agent) {
    let sim = Simulation::with(secured);
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.signs_in(BOB);
    (sim, alice, bob)
}

fn from(request: Sip, uri: &str) -> Sip {
    request.set("From", format_args!("<{uri}>;tag=1"))
}

const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

#[test]
fn an_anonymous_user_is_challenged_and_may_call() {
    let (sim, alice, bob) = setup();
    let invite = from(alice.request("INVITE", "sip:bob@office.example"), ANONYMOUS);
    let again = alice.authenticates(ALICE, &invite);
    let received = bob.expects("INVITE");
    assert!(received.value("From").contains(ANONYMOUS), "{received}");
    assert!(!received.to_string().contains("alice@office"), "the callee does not learn who it is: {received}");
    bob.answers(&received, 200);
    let ok = alice.expects("200");
    alice.acks(&again, &ok);
    bob.expects("ACK");
    // Within the dialog neither side needs credentials.
    bob.sends(&bob.within_as_callee(&again, &ok, "INFO"));
    alice.expects("INFO");
    alice.sends(&alice.within(&again, &ok, "BYE"));
    bob.expects("BYE");
    // A challenge is neither counted as an offence nor as a failure.
    assert_eq!(
        sim.count_events(|event| matches!(event, Event::RequestRefused { .. } | Event::AuthenticationFailed { .. })),
        0
    );
    sim.skip_final_check();
}

#[test]
fn the_token_of_an_anonymous_call_is_that_of_a_stranger() {
    // The length of our Record-Route must not depend on who the anonymous caller is.
    let token_length = |from_uri: &str| {
        let (sim, alice, bob) = setup();
        let invite = from(alice.request("INVITE", "sip:bob@office.example"), from_uri);
        alice.authenticates(ALICE, &invite);
        let received = bob.expects("INVITE");
        sim.skip_final_check();
        received.value("Record-Route").len()
    };
    assert!(token_length(ANONYMOUS) < token_length("sip:alice@office.example"));
}

#[test]
fn names_that_an_account_lists_pass_and_no_others() {
    let (sim, alice, bob) = setup();
    for good in [
        "sip:+4989123451@office.example",
        "sip:+4989123451@192.0.2.60:5080;user=phone",
        "sip:+4989123451@provider.example",
        "tel:+4989123451;phone-context=x",
        "sip:0176555@192.0.2.60",
        "sip:192.0.2.60",
        "sip:desk@Partner.Example.",
        ANONYMOUS,
        "sip:gateway@office.example",
    ] {
        alice.authenticates(GATEWAY, &from(alice.request("MESSAGE", "sip:bob@office.example"), good));
        assert!(bob.expects("MESSAGE").value("From").contains(good), "{good}");
    }
    for bad in [
        "sip:alice@office.example",
        "sip:+4989123452@office.example",
        "sip:boss@partner.example",
        "sip:desk@office.example",
        "sip:gateway@elsewhere.example",
        "sip:anonymous@office.example",
        "tel:+4989123452",
        "sip:x@192.0.2.61",
    ] {
        alice.authenticates(GATEWAY, &from(alice.request("MESSAGE", "sip:bob@office.example"), bad));
        assert_eq!(alice.expects("403").reason(), "Authenticated as another user", "{bad}");
    }
    // The names of one account are not valid for another one.
    for other in ["sip:+4989123451@office.example", "sip:x@192.0.2.60", "sip:desk@partner.example"] {
        alice.authenticates(ALICE, &from(alice.request("MESSAGE", "sip:bob@office.example"), other));
        alice.expects("403");
    }
    let identity =
        |event: &Event| matches!(event, Event::AuthenticationFailed { reason: AuthenticationFailure::Identity, .. });
    assert_eq!(sim.count_events(identity), 11);
    bob.receives_nothing();
}

#[test]
fn the_challenge_of_a_stranger_does_not_show_which_users_exist() {
    let (sim, mallory, bob) = setup();
    let answers = |from_uri: &str| {
        ["bob", "alice", "nobody"].map(|user| {
            mallory.sends(&from(mallory.request("MESSAGE", &format!("sip:{user}@office.example")), from_uri));
            let refused = mallory.expects("407");
            let challenges = refused.values("Proxy-Authenticate").map(|value| {
                assert_eq!(quoted(value, "realm"), DOMAIN);
                value.replace(quoted(value, "nonce"), "")
            });
            (refused.start.clone(), challenges.collect::<Vec<_>>())
        })
    };
    let first = answers("sip:x@elsewhere.example")[0].clone();
    // A name that some account lists, the name of a user at another host, and no name.
    for uri in
        ["sip:x@elsewhere.example", "sip:1@192.0.2.60", "sip:bob@elsewhere.example", "tel:+4989123451", ANONYMOUS]
    {
        for answer in answers(uri) {
            assert_eq!(answer, first, "{uri}");
        }
    }
    // Names that no user can have are reported to the operator.
    let strangers = |event: &Event| matches!(event, Event::RequestRefused { offence: Offence::Stranger, .. });
    assert_eq!(sim.count_events(strangers), 3 + 3 + 3);
    // Wrong credentials are refused, and reported with the user that they name.
    let wrong = Login { password: "guess", ..ALICE };
    mallory.authenticates(wrong, &from(mallory.request("MESSAGE", "sip:bob@office.example"), ANONYMOUS));
    mallory.expects("407");
    let told = |event: &Event| matches!(event, Event::AuthenticationFailed { user, .. } if *user == aor("alice"));
    assert_eq!(sim.count_events(told), 1);
    bob.receives_nothing();
}

#[test]
fn the_challenge_of_a_stranger_is_at_most_three_times_its_request() {
    let (_sim, mallory, _bob) = setup();
    let short = "MESSAGE sip:bob@office.example SIP/2.0\r\nv:SIP/2.0/UDP h;branch=z9hG4bK1;rport\r\nf:<sip:a@b>;tag=1\r\n\
                 t:<sip:c@d>\r\ni:1\r\nCSeq:1 MESSAGE\r\n\r\n";
    mallory.sends_raw(short.as_bytes().to_vec());
    for answer in mallory.all_received() {
        assert!(answer.bytes().len() <= 3 * short.len(), "{answer}");
    }
}

#[test]
fn users_who_may_call_other_domains_may_do_so_anonymously() {
    let (sim, alice, _bob) = setup();
    let peer = sim.udp("peer");
    let request = || from(alice.request("MESSAGE", &peer.contact()), ANONYMOUS);
    alice.sends(&request());
    assert_eq!(alice.expects("403").reason(), "Not relaying to foreign domains");
    sim.reconfigure(|settings| settings.foreign = Foreign::Authenticated);
    alice.authenticates(ALICE, &request());
    peer.expects("MESSAGE");
    alice.authenticates(ALICE, &from(alice.request("MESSAGE", &peer.contact()), "sip:boss@elsewhere.example"));
    alice.expects("403");
    // Strangers that may call users may not call other domains.
    sim.reconfigure(|settings| settings.strangers = Strangers::Accept);
    alice.sends(&request());
    alice.expects("407");
    sim.reconfigure(|settings| settings.authentication = Authentication::Off);
    alice.sends(&request());
    alice.expects("403");
}

#[test]
fn the_identity_is_that_of_the_credentials() {
    // RFC 3325 6
    let (sim, alice, bob) = setup();
    let preferring = |uri: &str, preferred: &str| {
        from(alice.request("MESSAGE", "sip:bob@office.example"), uri)
            .with("P-Preferred-Identity", format!("<{preferred}>"))
    };
    let asserted = |login, request: &Sip| {
        let sent = alice.authenticates(login, request);
        let received = bob.expects("MESSAGE");
        // A copy asserts the same identity as the first request.
        alice.sends(&sent);
        assert_eq!(bob.expects("MESSAGE"), received);
        received.value("P-Asserted-Identity").to_owned()
    };
    assert_eq!(asserted(ALICE, &preferring(ANONYMOUS, "sip:alice@office.example")), "<sip:alice@office.example>");
    assert_eq!(asserted(ALICE, &preferring(ANONYMOUS, "sip:bob@office.example")), "");
    let number = "sip:+4989123451@office.example";
    assert_eq!(asserted(GATEWAY, &preferring(number, "sip:gateway@office.example")), "<sip:gateway@office.example>");
    assert_eq!(asserted(GATEWAY, &preferring(ANONYMOUS, number)), format!("<{number}>"));
    assert_eq!(asserted(GATEWAY, &preferring(number, "sip:alice@office.example")), "");
    let private = preferring(ANONYMOUS, "sip:alice@office.example").with("Privacy", "id");
    assert_eq!(asserted(ALICE, &private), "");
    sim.skip_final_check();
}

#[test]
fn a_caller_with_a_number_may_send_bye_from_another_address() {
    let (sim, gateway, bob) = setup();
    let number = "sip:+4989123451@office.example";
    let invite = from(gateway.request("INVITE", "sip:bob@office.example"), number);
    let again = gateway.authenticates(GATEWAY, &invite);
    let received = bob.expects("INVITE");
    bob.answers(&received, 200);
    let ok = gateway.expects("200");
    gateway.acks(&again, &ok);
    bob.expects("ACK");
    gateway.sends_from("192.0.2.99:40000".parse().expect("an address"));
    gateway.authenticates(ALICE, &gateway.within(&again, &ok, "INFO"));
    gateway.expects("403");
    gateway.authenticates(GATEWAY, &gateway.within(&again, &ok, "BYE"));
    bob.expects("BYE");
    sim.skip_final_check();
}

#[test]
fn each_domain_has_its_own_realm() {
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.domains.push("branch.example".into());
        let carol = Login { user: "carol", password: "branch" };
        settings.accounts.insert(Aor::new(b"carol", b"branch.example"), carol.account("branch.example"));
    });
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.signs_in(BOB);
    for (uri, realm) in [("sip:x@branch.example", "branch.example"), ("sip:x@office.example", DOMAIN)] {
        alice.sends(&from(alice.request("MESSAGE", uri), ANONYMOUS));
        assert_eq!(quoted(alice.expects("407").value("Proxy-Authenticate"), "realm"), realm);
    }
}

#[test]
fn a_percent_sign_in_a_name_is_not_read_as_an_escape() {
    // RFC 3261 19.1.4: both forms are the name of alice.
    const OTHER: Login<'static> = Login { user: "%61lice", password: "malice" };
    for from in ["sip:alice@office.example", "sip:%61lice@office.example"] {
        let sim = Simulation::with(|settings| add_accounts(settings, &[ALICE, BOB, OTHER]));
        sim.skip_final_check();
        let (other, bob) = (sim.udp("other"), sim.udp("bob"));
        bob.signs_in(BOB);
        let own = "<sip:%2561lice@office.example>;tag=m";
        let invite = other.authenticates(OTHER, &other.request("INVITE", "sip:bob@office.example").set("From", own));
        let received = bob.expects("INVITE");
        bob.answers(&received, 200);
        let ok = other.expects("200");
        other.acks(&invite, &ok);
        bob.expects("ACK");
        other.sends(&other.within(&invite, &ok, "INFO").set("From", format_args!("<{from}>;tag=m")));
        bob.receives_nothing();
    }
}
