//! Invalid and hostile REGISTERs: each gets the exact refusal and changes nothing.

use proxy::{Authentication, ConfigKey, Event, Foreign, Registration};
use sim::{Agent, Simulation, Sip, param, uri_in};

/// A Contact with these parameters.
fn contact(params: &str) -> String {
    format!("<sip:bob@192.0.2.99>{params}")
}

/// The description of a request, the change that makes it, the status and a part of the reason phrase.
type Case = (&'static str, fn(Sip) -> Sip, &'static str, &'static str);

const CASES: &[Case] = &[
    // Contacts.
    ("no URI", |sip| sip.set("Contact", "<bob>"), "400", "Contact"),
    ("no brackets", |sip| sip.set("Contact", "sip:bob@192.0.2.99?x=y"), "400", "Contact"),
    ("no host", |sip| sip.set("Contact", "<sip:bob@>"), "400", "Contact"),
    ("a port that is none", |sip| sip.set("Contact", "<sip:bob@192.0.2.99:99999>"), "400", "Contact"),
    ("one good, one bad", |sip| sip.set("Contact", contact("")).with("Contact", "<sip:>"), "400", "Contact"),
    ("half a quote", |sip| sip.set("Contact", "\"Bob <sip:bob@192.0.2.99>"), "400", "Contact"),
    ("q above one", |sip| sip.set("Contact", contact(";q=1.1")), "400", "Contact"),
    ("q that is no number", |sip| sip.set("Contact", contact(";q=high")), "400", "Contact"),
    ("q with four digits", |sip| sip.set("Contact", contact(";q=0.1234")), "400", "Contact"),
    ("q below zero", |sip| sip.set("Contact", contact(";q=-0.5")), "400", "Contact"),
    ("a wildcard with parameters", |sip| sip.set("Contact", "*;expires=0"), "400", "Contact"),
    ("too brief", |sip| sip.set("Contact", contact(";expires=1")), "423", ""),
    ("thousands of contacts", |sip| many_contacts(sip, 3000), "403", "Too Many Contacts"),
    ("thousands of times the same", |sip| many(sip, "Contact", &contact(""), 3000), "403", "Too Many Contacts"),
    ("one contact too many", |sip| many_contacts(sip, 11), "403", "Too Many Contacts"),
    ("thousands of lines", |sip| (0..3000).fold(sip, |sip, _| sip.with("Contact", contact(""))), "400", "header lines"),
    // Length.
    ("a URI of 64 KB", |sip| sip.set("Contact", long("<sip:", "@192.0.2.99>")), "400", "too long"),
    ("parameters of 64 KB", |sip| sip.set("Contact", contact(&long(";x=", ""))), "400", "too long"),
    ("an instance of 64 KB", |sip| sip.set("Contact", contact(&long(";+sip.instance=\"<", ">\""))), "400", "too long"),
    ("a Call-ID of 64 KB", |sip| sip.set("Call-ID", long("", "")), "400", "too long"),
    ("a User-Agent of 64 KB", |sip| sip.with("User-Agent", long("", "")), "400", "too long"),
    ("a Path of 64 KB", |sip| sip.with("Path", long("<sip:", "@edge.example;lr>")), "400", "too long"),
    ("thousands of Paths", |sip| many(sip, "Path", "<sip:edge.example;lr>", 3000), "400", "too long"),
    // Other headers.
    ("a Path that is none", |sip| sip.with("Path", "edge.example"), "400", "Path"),
    ("a CSeq beyond 32 bits", |sip| sip.set("CSeq", "4294967296 REGISTER"), "400", "CSeq"),
    ("a CSeq of another method", |sip| sip.set("CSeq", "7 INVITE"), "400", "CSeq"),
    ("no Call-ID", |sip| sip.without("Call-ID"), "400", "Call-ID"),
    ("nobody in To", |sip| sip.set("To", "<sip:office.example>"), "404", ""),
    ("a telephone in To", |sip| sip.set("To", "<tel:+4930123456>"), "404", ""),
    ("another domain in To", |sip| sip.set("To", "<sip:bob@elsewhere.example>"), "404", ""),
];

fn long(before: &str, after: &str) -> String {
    format!("{before}{}{after}", "x".repeat(64 << 10))
}

/// The request with this header and so many values in one line.
fn many(sip: Sip, name: &str, value: &str, count: usize) -> Sip {
    sip.set(name, vec![value; count].join(", "))
}

fn many_contacts(sip: Sip, count: usize) -> Sip {
    let contacts: Vec<_> = (0..count).map(|at| format!("<sip:{at}@192.0.2.99>")).collect();
    sip.set("Contact", contacts.join(", "))
}

/// The current bindings: URI and remaining time.
fn bindings(phone: &Agent) -> Vec<(String, String)> {
    phone.sends(&phone.register().without("Contact"));
    let read = |value| (uri_in(value).to_owned(), param(value, "expires").unwrap_or_default().to_owned());
    phone.expects("200").values("Contact").map(read).collect()
}

#[test]
fn an_invalid_request_changes_nothing() {
    // checklist 1, 3, 28
    let sim = Simulation::new();
    let (bob, mallory) = (sim.udp("bob"), sim.udp("bob/other"));
    bob.registers_with(";expires=600");
    let before = bindings(&bob);
    assert_eq!(before, [(bob.contact(), "600".to_owned())]);
    for (what, spoil, status, reason) in CASES {
        mallory.sends(&spoil(mallory.register()));
        let answer = mallory.next_message();
        assert_eq!(answer.what(), *status, "{what}: {answer}");
        assert!(answer.reason().contains(reason), "{what}: {answer}");
        let rest = bindings(&bob);
        assert_eq!((rest.len(), &rest[0].0), (1, &before[0].0), "{what}");
    }
}

#[test]
fn only_a_register_changes_bindings() {
    // checklist 1
    let sim = Simulation::new();
    let bob = sim.udp("bob");
    for method in ["OPTIONS", "INVITE", "MESSAGE", "SUBSCRIBE", "PUBLISH", "REGISTERED"] {
        bob.sends(&bob.request(method, "sip:office.example").set("To", "<sip:bob@office.example>"));
        let answer = bob.next_message();
        assert!(answer.status().is_some_and(|status| status < 600), "{answer}");
        assert!(!answer.has("Expires") && !answer.has("Contact"), "{answer}");
        if method == "INVITE" {
            bob.all_received();
        }
    }
    assert_eq!(bindings(&bob), []);
}

#[test]
fn an_excessive_expiry_is_not_an_error() {
    // checklist 15, 16
    let sim = Simulation::new();
    let bob = sim.udp("bob");
    for (asked, granted) in [
        ("4294967295", "7200"),
        ("4294967296", "7200"),
        ("99999999999999999999999999999999", "7200"),
        ("-1", "3600"),
        ("1.5e9", "3600"),
        ("0x100", "3600"),
        ("soon", "3600"),
        ("000600", "600"),
    ] {
        bob.sends(&bob.register().set("Contact", contact(&format!(";expires={asked}"))));
        assert_eq!(bob.expects("200").param("Contact", "expires"), Some(granted), "{asked}");
        bob.sends(&bob.register().set("Contact", contact("")).with("Expires", asked));
        assert_eq!(bob.expects("200").param("Contact", "expires"), Some(granted), "{asked} in the header");
    }
}

/// Issue 18: a REGISTER for a foreign or wrong domain is neither logged nor counted. It is refused, with the domain that the
/// phone wants and the key that decided.
#[test]
fn a_register_for_a_wrong_domain_is_reported_with_its_domain() {
    type Case = (&'static str, &'static str, &'static str, Foreign, &'static str);
    let cases: &[Case] = &[
        ("sip:wrong.example", "sip:bob@wrong.example", "sip:bob@wrong.example", Foreign::Refuse, "403"),
        ("sip:192.0.2.77", "sip:bob@192.0.2.77", "sip:bob@192.0.2.77", Foreign::Refuse, "403"),
        ("sip:pbx.local", "sip:bob@pbx.local", "sip:bob@office.example", Foreign::Refuse, "403"),
        ("sip:office.example", "sip:bob@wrong.example", "sip:bob@office.example", Foreign::Refuse, "404"),
        ("sip:office.example", "sip:bob@wrong.example", "sip:bob@wrong.example", Foreign::Authenticated, "404"),
    ];
    for (uri, to, from, foreign, status) in cases {
        for authentication in [Authentication::Required, Authentication::Off] {
            let sim = Simulation::with(|settings| {
                settings.authentication = authentication;
                settings.foreign = *foreign;
            });
            let bob = sim.udp("bob");
            let register = bob.request("REGISTER", uri).set("To", format!("<{to}>"));
            bob.sends(&register.set("From", format!("<{from}>;tag=1")));
            assert_eq!(bob.expects(status).reason(), "Not a domain of this server", "{uri} {to}");
            let domain = to.rsplit_once('@').expect("a domain").1;
            let told = |event: &Event| {
                matches!(event, Event::Registration { outcome: Registration::Refused, aor, key: Some(ConfigKey::Domains), .. }
                    if aor.domain() == domain.as_bytes() && aor.user() == b"bob")
            };
            assert_eq!(sim.count_events(told), 1, "{uri} {to}");
        }
    }
}
