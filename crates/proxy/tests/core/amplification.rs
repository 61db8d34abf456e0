//! Responses over UDP to an unauthenticated sender must not amplify: none is longer than three times its request.
//!
//! The source address of a datagram can be forged. RFC 3261 has no such rule; the factor is that of RFC 9000 8.1.

use proxy::{Account, Algorithm, Authentication, Drop, Event, Limit, Settings, Strangers, fixed_bindings};

use sim::{Agent, DOMAIN, Random, Simulation, Sip, at};

use crate::accounts::{ALICE, aor};

const FACTOR: usize = 3;

/// All users must authenticate, with one of three algorithms.
fn secured(settings: &mut Settings) {
    settings.authentication = Authentication::Required;
    settings.digest.algorithms = vec![Algorithm::Sha256, Algorithm::Sha512t256, Algorithm::Md5];
    settings.accounts.insert(aor("alice"), ALICE.account(DOMAIN));
    let contacts: Vec<String> = (0..9).map(|host| format!("sip:bob@192.0.2.{}", 100 + host)).collect();
    let contacts = Some(fixed_bindings(contacts.iter().map(|uri| (uri.as_str(), None))));
    settings.accounts.insert(aor("bob"), Account { contacts, ..Account::default() });
}

/// A request with as few octets as possible.
fn smallest(method: &str, uri: &str, more: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nv:SIP/2.0/UDP a;rport\r\nf:<sip:a@b>\r\nt:<{uri}>\r\ni:1\r\nCSeq:1 {method}\r\n{more}\r\n"
    )
}

/// Sends a request, and checks the length of all that arrives within a second.
#[track_caller]
fn answer_to(phone: &Agent, sim: &Simulation, request: &str) -> Option<Sip> {
    phone.sends_raw(request);
    sim.seconds(1);
    let answers = phone.all_received();
    let octets: usize = answers.iter().map(|answer| answer.bytes().len()).sum();
    assert!(octets <= FACTOR * request.len(), "{octets} octets for {}:\n{request}\n{answers:?}", request.len());
    answers.into_iter().next()
}

#[test]
fn unsupported_tags_are_sent_in_one_line_and_limited() {
    // As many tags of one octet as fit into a datagram: with a line for each, the response would be 7.8 times as long.
    let sim = Simulation::with(secured);
    let mallory = sim.udp("mallory");
    for (header, uri, status) in
        [("Require", "sip:office.example", 420), ("Proxy-Require", "sip:x@office.example", 420)]
    {
        for tags in [1, 10, 100, 700] {
            let method = if header == "Require" { "OPTIONS" } else { "MESSAGE" };
            let list = vec!["a"; tags].join(",");
            let request = smallest(method, uri, &format!("{header}:{list}\r\n"));
            let refused = answer_to(&mallory, &sim, &request).expect("an answer");
            assert_eq!(refused.status(), Some(status), "{refused}");
            assert_eq!(refused.values("Unsupported").count(), 1, "{refused}");
            let named = refused.value("Unsupported").split(", ").filter(|tag| *tag == "a").count();
            assert!(named > 0 && named <= tags, "{named} of {tags}");
        }
    }
}

#[test]
fn the_response_to_each_smallest_request_is_limited() {
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.strangers = Strangers::Accept;
        settings.registrar.limits.min_expires = 600;
    });
    let mallory = sim.udp("mallory");
    let mut seen = std::collections::BTreeSet::new();
    let user = "sip:bob@office.example";
    for (kind, request) in [
        ("400", smallest("MESSAGE", user, "Max-Forwards:x\r\n")),
        ("400", "A b SIP/2.0\r\nv:SIP/2.0/UDP a;rport\r\n\r\n".to_owned()),
        ("401", smallest("REGISTER", "sip:office.example", "").replace("t:<sip:", "t:<sip:alice@")),
        ("403", smallest("MESSAGE", "sip:elsewhere.example", "")),
        ("404", smallest("MESSAGE", "sip:nobody@office.example", "")),
        ("404", smallest("MESSAGE", "sip:office.example", "")),
        ("407", smallest("MESSAGE", user, "").replace("sip:a@b", "sip:alice@office.example")),
        ("416", smallest("MESSAGE", "tel:5", "")),
        ("420", smallest("OPTIONS", "sip:office.example", "Require:x\r\n")),
        ("420", smallest("MESSAGE", user, "Proxy-Require:x\r\n")),
        ("480", smallest("MESSAGE", "sip:alice@office.example", "")),
        ("481", smallest("CANCEL", "sip:alice@office.example", "")),
        ("483", smallest("MESSAGE", user, "Max-Forwards:0\r\n")),
        ("489", smallest("SUBSCRIBE", "sip:office.example", "")),
        ("505", smallest("MESSAGE", user, "").replacen("SIP/2.0", "SIP/3.0", 1)),
        ("200", smallest("OPTIONS", "sip:office.example", "")),
    ] {
        let answer = answer_to(&mallory, &sim, &request);
        let answer = answer.unwrap_or_else(|| panic!("no {kind} to\n{request}"));
        assert_eq!(answer.what(), kind, "{answer}");
        seen.insert(kind);
    }
    assert_eq!(seen.len(), 13);
    // Without authentication.
    sim.reconfigure(|settings| settings.authentication = Authentication::Off);
    let register = smallest("REGISTER", "sip:office.example", "m:<sip:c@192.0.2.9>\r\n");
    let register = register.replace("t:<sip:", "t:<sip:alice@");
    for (kind, request) in [
        ("302", smallest("INVITE", user, "Request-Disposition:redirect\r\n").replace("a@b", "a@office.example")),
        ("423", register.replace("\r\n\r\n", "\r\nExpires:1\r\n\r\n")),
        ("200", register),
    ] {
        let answer = answer_to(&mallory, &sim, &request);
        assert_eq!(answer.unwrap_or_else(|| panic!("no {kind} to\n{request}")).what(), kind);
    }
}

#[test]
fn of_several_challenges_the_first_is_always_sent() {
    let sim = Simulation::with(secured);
    let mallory = sim.udp("mallory");
    let challenges = |filler: usize| {
        let subject = format!("s:{}\r\n", "x".repeat(filler));
        let request = smallest("REGISTER", "sip:office.example", &subject).replace("t:<sip:", "t:<sip:alice@");
        let refused = answer_to(&mallory, &sim, &request).expect("a challenge");
        refused.values("WWW-Authenticate").map(str::to_owned).collect::<Vec<_>>()
    };
    let few = challenges(0);
    assert_eq!(few.len(), 1);
    assert!(few[0].contains("algorithm=SHA-256"), "{few:?}");
    // The account has secrets for two algorithms.
    assert_eq!(challenges(400).len(), 2);
    assert!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::Amplification))) > 0);
}

#[test]
fn a_response_that_cannot_be_shortened_enough_is_not_sent() {
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.domains = vec![format!("{}.example", "a".repeat(150)).into()];
    });
    let mallory = sim.udp("mallory");
    let own = format!("sip:{}.example", "a".repeat(150));
    // The realm of its challenge is longer than the rest of the request.
    let request = smallest("MESSAGE", "sip:x@192.0.2.1", "").replace("f:<sip:a@b>", "f:<sip:a@192.0.2.1>");
    assert!(answer_to(&mallory, &sim, &request).is_none());
    assert_eq!(sim.count_events(|event| matches!(event, Event::Dropped(Drop::Amplification))), 1);
    assert_eq!(sim.count_events(|event| matches!(event, Event::ResponseSent { .. })), 0);
    let honest = mallory.request("MESSAGE", &format!("{own};x=1").replace("sip:", "sip:y@"));
    assert_eq!(answer_to(&mallory, &sim, &honest.to_string()).map(|answer| answer.status()), Some(Some(407)));
}

#[test]
fn many_vias_are_returned_once() {
    let sim = Simulation::with(secured);
    let mallory = sim.udp("mallory");
    let vias: String = (0..60).map(|n| format!("v:SIP/2.0/UDP h{n}\r\n")).collect();
    let refused = answer_to(&mallory, &sim, &smallest("MESSAGE", "sip:x@office.example", &vias));
    assert_eq!(refused.expect("an answer").values("Via").count(), 61);
}

#[test]
fn authenticated_trusted_and_tcp_senders_get_the_full_response() {
    let redirected = |phone: &Agent| {
        let invite = phone.request("INVITE", "sip:bob@office.example").with("Request-Disposition", "redirect");
        phone.sends(&invite);
        invite
    };
    let contacts = |answer: &Sip| answer.values("Contact").count();
    let with = |trusted: bool| {
        Simulation::with(move |settings| {
            secured(settings);
            // Long Contacts, so that the response to a REGISTER of usual length cannot list all.
            let contacts: Vec<String> =
                (0..9).map(|n| format!("sip:bob@192.0.2.{};x={}", 100 + n, "y".repeat(300))).collect();
            let contacts = Some(fixed_bindings(contacts.iter().map(|uri| (uri.as_str(), None))));
            settings.accounts.insert(aor("bob"), Account { contacts, ..Account::default() });
            if trusted {
                settings.trusted = vec!["192.0.2.0/24".parse().unwrap()];
            }
        })
    };
    // With credentials.
    let sim = with(false);
    let alice = sim.udp("alice");
    let invite = redirected(&alice);
    let refused = alice.expects("407");
    alice.acks(&invite, &refused);
    let again = alice.request("INVITE", "sip:bob@office.example").with("Request-Disposition", "redirect");
    let answer = ALICE.answer(&refused, "SHA-256", &again, 1);
    alice.sends(&again.with("Proxy-Authorization", answer));
    assert_eq!(contacts(&alice.expects("302")), 9);
    // Without authentication the response lists what fits.
    sim.reconfigure(|settings| settings.authentication = Authentication::Off);
    let carol = sim.udp("carol");
    let invite = carol.request("INVITE", "sip:bob@office.example").with("Request-Disposition", "redirect");
    let some = answer_to(&carol, &sim, &invite.to_string()).expect("a 302");
    assert!((1..9).contains(&contacts(&some)), "{some}");
    assert!(some.value("Contact").contains("192.0.2.100"), "{some}");
    // Over TCP, where no address can be forged.
    let dave = sim.tcp("dave");
    dave.sends(&invite.set("Via", dave.via()).set("Call-ID", "another"));
    assert_eq!(contacts(&dave.expects("302")), 9);
    // From a trusted network.
    let sim = with(true);
    let trunk = sim.udp("trunk");
    redirected(&trunk);
    assert_eq!(contacts(&trunk.expects("302")), 9);
}

#[test]
fn without_authentication_a_200_lists_the_requested_contacts_first() {
    let sim = Simulation::with(|settings| settings.registrar.limits.max_contacts = 40);
    let bob = sim.udp("bob");
    let many: Vec<String> = (0..30).map(|n| format!("<sip:bob@192.0.2.{};x={}>", 100 + n, "y".repeat(60))).collect();
    bob.sends(&bob.register().set("Contact", many.join(", ")));
    assert_eq!(bob.expects("200").values("Contact").count(), 30);
    // A query from any address.
    let mallory = sim.udp("mallory").sends_from(at(77)).clone();
    let query = smallest("REGISTER", "sip:office.example", "").replace("t:<sip:", "t:<sip:bob@");
    let ok = answer_to(&mallory, &sim, &query);
    assert!(ok.is_none_or(|ok| ok.values("Contact").count() < 4));
    // A phone finds its own Contact among those of others.
    let mobile = sim.udp("bob/mobile");
    let register = mobile.register();
    let ok = answer_to(&mobile, &sim, &register.to_string()).expect("a 200");
    assert!(ok.value("Contact").contains(&mobile.contact()), "{ok}");
    assert!(sim.count_events(|event| matches!(event, Event::LimitReached(Limit::Amplification))) > 0);
}

#[test]
fn a_retransmitted_response_counts_again() {
    // The failure response of a response context is retransmitted until the ACK (RFC 3261 17.2.1), which the owner of a
    // forged address never sends.
    let sim = Simulation::with(|settings| settings.strangers = Strangers::Accept);
    let (desk, mobile) = (sim.udp("bob/desk"), sim.udp("bob/mobile"));
    desk.registers();
    mobile.registers();
    let mallory = sim.udp("mallory");
    let invite = mallory.request("INVITE", "sip:bob@office.example").set("From", "<sip:m@elsewhere.example>;tag=1");
    mallory.sends(&invite);
    for phone in [&desk, &mobile] {
        let received = phone.expects("INVITE");
        phone.answers(&received, 486);
    }
    sim.seconds(40);
    let answers = mallory.all_received();
    let octets: usize = answers.iter().map(|answer| answer.bytes().len()).sum();
    // The first message is the response of the phone.
    let octets = octets - answers.last().map_or(0, |refused| refused.bytes().len());
    assert!(octets <= FACTOR * invite.bytes().len(), "{octets} octets for {}", invite.bytes().len());
    assert!(answers.len() > 2, "a lost one is sent again all the same");
    desk.all_received();
    mobile.all_received();
}

/// Header lines that change a response, or are repeated in it.
const LINES: [&str; 24] = [
    "Require: a,b,c,\"q,q\",d",
    "Proxy-Require: e, f ,g",
    "Require: path",
    "v: SIP/2.0/UDP b;rport, SIP/2.0/UDP c",
    "v: SIP/2.0/TCP [2001:db8::1]:9;branch=z9hG4bKx;received=1.2.3.4",
    "v: ;;",
    "m: *",
    "m: <sip:x@192.0.2.9>;expires=1",
    "m: <sip:x@192.0.2.10>;q=0.3, <sip:y@192.0.2.11>;+sip.instance=\"<urn:x>\";reg-id=1",
    "m: <sip:x@127.0.0.1>",
    "Expires: 0",
    "Expires: 5",
    "Path: <sip:p1.example;lr>,\r\n <sip:p2.example;lr>",
    "k: path, outbound, gruu, 199",
    "Record-Route: <sip:r.example;lr>",
    "Route: <sip:192.0.2.1;lr>",
    "Max-Forwards: 0",
    "Max-Breadth: 0",
    "Event: reg",
    "Event: presence",
    "Accept: text/plain",
    "Request-Disposition: redirect",
    "Timestamp: 54",
    "x: y",
];

/// A random request, usually a short one.
#[allow(clippy::indexing_slicing, reason = "a die of so many sides")]
fn any_request(random: &mut Random, number: usize) -> String {
    fn one<'a>(random: &mut Random, of: &[&'a str]) -> &'a str {
        of[random.index(of.len())]
    }
    let methods = ["REGISTER", "INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE", "CANCEL", "BYE", "ACK", "PUBLISH", "X"];
    let uris = ["sip:office.example", "sip:bob@office.example", "sip:alice@office.example", "sip:192.0.2.1"];
    let others = ["sip:nobody@office.example", "sip:a@elsewhere.example", "tel:5", "sip:", "sip:bob@192.0.2.1", "b"];
    let (method, uri) = (one(random, &methods), one(random, &[&uris[..], &others[..]].concat()));
    let tag = one(random, &["", "", ";tag=1"]);
    let (from, to) = (one(random, &uris), one(random, &[&uris[..], &others[..]].concat()));
    let version = one(random, &["SIP/2.0", "SIP/2.0", "SIP/2.0", "SIP/2.0", "SIP/9.0"]);
    let mut text = format!("{method} {uri} {version}\r\nv:SIP/2.0/UDP a;branch=z9hG4bK{number}\r\n");
    for line in [
        format!("f:<{from}>;tag={number}"),
        format!("t:<{to}>{tag}"),
        format!("i:{number}"),
        format!("CSeq:{number} {method}"),
    ] {
        if !random.chance(30) {
            text += &format!("{line}\r\n");
        }
    }
    for _ in 0..random.index(5) {
        for _ in 0..[1, 1, 1, 2, 60][random.index(5)] {
            text += &format!("{}\r\n", one(random, &LINES));
        }
    }
    text + "\r\n"
}

#[test]
fn no_random_request_gets_a_longer_response_than_allowed() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let sim = Simulation::build(1, seed, |settings| {
            secured(settings);
            settings.strangers = if seed % 2 == 0 { Strangers::Accept } else { Strangers::Refuse };
            if seed % 4 == 3 {
                settings.authentication = Authentication::Off;
            }
        });
        // No other agent sends anything, so the server created all responses.
        let mallory = sim.udp("mallory");
        let (mut received, mut sent) = (0, 0);
        for number in 0..100 {
            let request = any_request(&mut random, number);
            mallory.sends_raw(&*request);
            sim.millis(10);
            // A NOTIFY that is sent later is not a response.
            let answers: Vec<_> = mallory.all_received().into_iter().filter(|sip| !sip.is_request()).collect();
            let octets: usize = answers.iter().map(|answer| answer.bytes().len()).sum();
            assert!(octets <= FACTOR * request.len(), "seed {seed}: {octets} for {}:\n{request}", request.len());
            (received, sent) = (received + answers.len(), sent + 1);
        }
        assert!(received > sent / 3, "seed {seed}: {received} answers to {sent} requests");
        sim.skip_final_check();
    }
}
