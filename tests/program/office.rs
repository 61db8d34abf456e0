//! Calls by the rules of the office: each recipe of docs/office.md, and a call that is forwarded.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;

use crate::commands::{frontdesk, good};
use crate::harness::digest::Credentials;

use crate::harness::message::ack_of;
use crate::harness::server::fresh_ip;
use crate::harness::{DnsServer, Phone, Server};

/// A recipe: its configuration, and the rows of its table.
struct Recipe {
    config: String,
    rows: Vec<[String; 3]>,
}

fn recipes() -> Vec<Recipe> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/office.md");
    let page = fs::read_to_string(path).expect("docs/office.md");
    let blocks = page.split("```yaml\n").skip(1).map(|part| part.split_once("```").expect("the end of the block"));
    let recipe = |(config, rest): (&str, &str)| {
        let rows = rest.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
        let cells = |row: &str| {
            row.split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>().try_into().expect("three cells")
        };
        let rows = rows.skip(1).filter(|row| !row.starts_with("--")).map(cells).collect();
        Recipe { config: config.to_owned(), rows }
    };
    blocks.map(recipe).collect()
}

/// The accounts of a recipe that have a password, and that password.
fn users(config: &str) -> Vec<(String, String)> {
    let config: serde_yaml::Value = serde_yaml::from_str(config).expect("YAML");
    let accounts = config["accounts"].as_sequence().expect("accounts");
    let phones = accounts.iter().filter(|account| account.get("password").is_some());
    let text = |account: &serde_yaml::Value, key: &str| account[key].as_str().expect("a text").to_owned();
    phones.map(|account| (text(account, "user"), text(account, "password"))).collect()
}

/// Who rings, as in the tables: the groups of an explanation, with the user part of each target.
fn who_rings(explanation: &str) -> String {
    let groups = explanation.lines().filter(|line| line.contains(". It goes"));
    let targets = |line: &str| {
        let uris = line.split("sip:").skip(1);
        uris.filter_map(|uri| Some(uri.split_once('@')?.0.to_owned())).collect::<Vec<_>>().join(", ")
    };
    groups.map(targets).collect::<Vec<_>>().join("; ")
}

#[test]
fn the_recipes_of_the_documentation_do_what_their_tables_say() {
    let recipes = recipes();
    assert!(recipes.len() >= 8);
    for Recipe { config, rows } in recipes {
        assert!(!rows.is_empty(), "{config}");
        // Nobody dials without a password.
        let dials = config.contains("\noutgoing:");
        let authentication = if dials { "required" } else { "off" };
        let server = Server::start(&format!("authentication: {authentication}\n{config}"));
        let _phones: Vec<_> = users(&config)
            .iter()
            .map(|(user, password)| {
                let phone = Phone::udp(user, server.address());
                if dials { phone.registered_as(password) } else { phone.registered() }
            })
            .collect();
        for [call, at, expected] in rows {
            let explanation = good(&server, &format!("explain {call} --at {at}"));
            assert_eq!(who_rings(&explanation), expected, "{call} at {at} with\n{config}\n{explanation}");
        }
    }
}

#[test]
fn a_group_is_busy_and_the_next_party_accepts() {
    let config = "\
domains: [office.example]
authentication: off
accounts:
  - { user: alice, password: a }
  - { user: bob, password: b }
  - { user: carol, password: c }
  - { user: dave, password: d }
groups:
  - { user: \"600\", numbers: [\"+49 89 1234\"], members: [bob, carol], otherwise: dave }
";
    let server = Server::start(config);
    let mut alice = Phone::udp("alice", server.address());
    let [mut bob, mut carol, mut dave] =
        ["bob", "carol", "dave"].map(|user| Phone::udp(user, server.address()).registered());
    let invite = alice.invite("sip:+49-89-1234@office.example");
    let invite = alice.send(invite);
    for phone in [&mut bob, &mut carol] {
        let received = phone.expect("INVITE");
        phone.reply(&received, 486);
        phone.expect("ACK");
    }
    alice.response(181);
    let received = dave.expect("INVITE");
    dave.reply(&received, 200);
    let ok = alice.response(200);
    alice.send(ack_of(&invite, &ok));
    dave.expect("ACK");
    let labels = [("group", "600"), ("outcome", "otherwise")];
    server.counts("frontdesk_group_calls_total", &labels, |count| count == 1.0);
}

#[test]
fn forwarding_is_set_shown_and_cleared_while_the_server_runs() {
    let config = "\
domains: [office.example]
authentication: off
location: { store: disk }
codes: { dnd_on: \"*78\", dnd_off: \"*79\", forward_always: \"*21\" }
accounts:
  - { user: alice, password: a }
  - { user: bob, password: b, forward: { busy: carol } }
  - { user: carol, password: c }
";
    let server = Server::start(config);
    let [_bob, _carol] = ["bob", "carol"].map(|user| Phone::udp(user, server.address()).registered());
    let rings = |server: &Server| who_rings(&good(server, "explain bob"));
    assert_eq!(rings(&server), "bob");
    let shown = good(&server, "forward bob always carol");
    assert!(shown.contains("always: to carol (set while the server runs)"), "{shown}");
    assert!(shown.contains("if busy: to carol (as configured)"), "{shown}");
    assert_eq!(rings(&server), "carol");

    // It is still set after a reload and a restart.
    good(&server, "reload");
    assert_eq!(rings(&server), "carol");
    let (ip, folder) = (server.ip(), server.stop());
    let server = Server::start_in(folder, ip, config);
    assert_eq!(rings(&server), "carol");

    good(&server, "forward bob default");
    good(&server, "dnd bob on");
    // Busy, so the configured party is called.
    assert_eq!(rings(&server), "carol");
    good(&server, "forward bob busy off");
    assert!(good(&server, "explain bob").contains("486"));
    let shown = good(&server, "dnd bob default");
    assert!(shown.contains("do not disturb: off (as configured)"), "{shown}");
    assert_eq!(rings(&server), "bob");
    for (line, expected) in
        [("forward nobody carol", "no account"), ("forward bob nobody", "always: \"nobody\" is no user")]
    {
        let (output, code) = frontdesk(server.path(), line);
        assert!(code == 1 && output.contains(expected), "{line}: {output}");
    }
}

#[test]
fn who_rings_beside_a_user_is_set_shown_and_cleared_while_the_server_runs() {
    let config = "\
domains: [office.example]
authentication: off
location: { store: disk }
accounts:
  - { user: alice, password: a }
  - { user: bob, password: b, also_ring: [{ to: dave }] }
  - { user: carol, password: c }
  - { user: dave, password: d }
hours:
  office: { zone: UTC, open: [\"mon-fri 08:00-18:00\"] }
";
    let server = Server::start(config);
    let [mut bob, mut carol, _dave] =
        ["bob", "carol", "dave"].map(|user| Phone::udp(user, server.address()).registered());
    let rings = |server: &Server, at: &str| who_rings(&good(server, &format!("explain bob --at {at}")));
    let (monday, sunday) = ("2026-11-30T10:00", "2026-11-29T10:00");
    assert_eq!(rings(&server, monday), "bob, dave");
    let shown = good(&server, "forward bob also_ring carol after 10s hours office");
    assert!(shown.contains("also rings: carol after 10s in the hours office (set while the server runs)"), "{shown}");
    assert_eq!((rings(&server, monday), rings(&server, sunday)), ("bob; carol".into(), "bob".into()));
    let shown = good(&server, "bindings show bob");
    assert!(shown.contains("also rings: carol after 10s"), "{shown}");

    // It is still set after a reload and a restart.
    good(&server, "reload");
    let (ip, folder) = (server.ip(), server.stop());
    let server = Server::start_in(folder, ip, config);
    assert_eq!((rings(&server, monday), rings(&server, sunday)), ("bob; carol".into(), "bob".into()));

    // A call rings all of them.
    good(&server, "forward bob also_ring carol");
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite("sip:bob@office.example");
    let invite = alice.send(invite);
    for phone in [&mut bob, &mut carol] {
        let received = phone.expect("INVITE");
        phone.reply(&received, 486);
    }
    let busy = alice.next_final();
    alice.send(ack_of(&invite, &busy));

    good(&server, "forward bob also_ring off");
    assert_eq!(rings(&server, monday), "bob");
    let shown = good(&server, "forward bob also_ring default");
    assert!(shown.contains("also rings: dave (as configured)"), "{shown}");
    assert_eq!(rings(&server, monday), "bob, dave");
    for (line, expected) in [
        ("forward bob also_ring nobody", "also_ring[0].to: \"nobody\" is no user"),
        ("forward bob also_ring carol hours night", "also_ring[0].hours: \"night\" is not defined"),
        ("forward bob also_ring carol bob", "also_ring[1].to: \"bob\" is this user"),
    ] {
        let (output, code) = frontdesk(server.path(), line);
        assert!(code == 1 && output.contains(expected), "{line}: {output}");
    }
}

/// These calls by trunks were counted, each once: trunk, direction and outcome.
#[track_caller]
fn check_trunk_calls(server: &Server, calls: &[(&str, &str, &str)]) {
    for (trunk, direction, outcome) in calls {
        let labels = [("trunk", *trunk), ("direction", *direction), ("outcome", *outcome)];
        server.counts("frontdesk_trunk_calls_total", &labels, |count| count == 1.0);
    }
    assert_eq!(server.metrics().sum("frontdesk_trunk_calls_total", &[]), calls.len() as f64);
}

/// An office that calls by the trunk at this address, and else by `second.example`.
fn config_with_two_trunks(first: IpAddr) -> String {
    format!(
        "\
domains: [office.example]
authentication: required
accounts:
  - {{ user: alice, password: a, caller_id: \"+4989111\" }}
  - {{ user: bob, password: b, numbers: [\"+4989112\"] }}
trunks:
  - {{ name: first, server: \"{first}:5060\", probe: off }}
  - {{ name: second, server: second.example, shows: from, max_calls: 1, probe: off }}
outgoing:
  - {{ prefix: \"0\", strip: 1, add: \"+49\", trunks: [first, second] }}
"
    )
}

#[test]
fn a_call_leaves_by_the_second_trunk_and_one_comes_in() {
    let [first, second] = [(); 2].map(|()| fresh_ip());
    let config = config_with_two_trunks(first);
    let dns = DnsServer::start();
    dns.set(&format!("second.example A {second}\n"));
    let server = Server::start(&format!("{config}{}", dns.config()));
    let trunk = |name: &str, ip: IpAddr| {
        Phone::on_socket(name, server.address(), UdpSocket::bind((ip, 5060)).expect("a port")).of("provider.example")
    };
    let (mut first, mut second) = (trunk("first", first), trunk("second", second));
    let mut alice = Phone::udp("alice", server.address()).registered_as("a");
    let mut bob = Phone::udp("bob", server.address()).registered_as("b");
    let invite = alice.invite("sip:0891234@office.example");
    let invite = alice.authenticated(invite, Credentials::new("alice", "a"));
    let received = first.expect("INVITE");
    assert_eq!(received.header("P-Asserted-Identity"), format!("<sip:+4989111@{}>", first.local().ip()));
    first.reply(&received, 503);
    first.expect("ACK");
    let received = second.expect("INVITE");
    assert!(received.header("From").starts_with("<sip:+4989111@second.example>;tag="), "{received}");
    second.reply(&received, 200);
    let ok = alice.response(200);
    assert_eq!(ok.header("From"), invite.header("From"));
    alice.send(ack_of(&invite, &ok));
    second.expect("ACK");
    // The trunk has no further line.
    let incoming = second.invite("sip:4989112@office.example");
    let incoming = second.send(incoming);
    let busy = second.response(486);
    second.send(ack_of(&incoming, &busy));
    server.counts("frontdesk_limits_reached_total", &[("limit", "max_calls")], |count| count == 1.0);
    server.counts("frontdesk_trunk_full_total", &[("trunk", "second")], |count| count == 1.0);
    server.counts("frontdesk_trunk_calls", &[("trunk", "second")], |count| count == 1.0);
    server.counts("frontdesk_trunk_max_calls", &[("trunk", "second")], |count| count == 1.0);
    // The other one reaches the number, and no name.
    let (incoming, received) = first.calls("sip:4989112@office.example", &mut bob);
    bob.reply(&received, 200);
    let ok = first.response(200);
    first.send(ack_of(&incoming, &ok));
    bob.expect("ACK");
    let incoming = first.invite("sip:bob@office.example");
    let incoming = first.send(incoming);
    let refusal = first.response(404);
    first.send(ack_of(&incoming, &refusal));
    check_trunk_calls(
        &server,
        &[
            ("first", "out", "failed"),
            ("second", "out", "answered"),
            ("second", "in", "refused"),
            ("first", "in", "answered"),
            ("first", "in", "refused"),
        ],
    );
    // A trunk that is not configured any more has no gauges.
    server.rewrite(&format!("{}{}", config.replace("max_calls: 1, ", ""), dns.config()));
    good(&server, "reload");
    server.counts("frontdesk_trunk_calls", &[("trunk", "second")], f64::is_nan);
}

#[test]
fn the_server_registers_at_a_trunk_and_ends_the_registration_when_it_stops() {
    let ip = fresh_ip();
    let config = format!(
        "\
domains: [office.example]
authentication: required
accounts:
  - {{ user: bob, password: b, numbers: [\"+4989112\"] }}
trunks:
  - {{ name: provider, server: \"{ip}\", user: \"4989100\", password: secret, register: true, probe: off }}
"
    );
    let socket = UdpSocket::bind((ip, 5060)).expect("a port");
    let server = Server::start(&config);
    let mut trunk = Phone::on_socket("4989100", server.address(), socket).of("provider.example");
    let register = trunk.expect("REGISTER");
    server.counts("frontdesk_trunks_unregistered", &[], |count| count == 1.0);
    server.counts("frontdesk_trunk_registered", &[("trunk", "provider")], |count| count == 0.0);
    server.counts("frontdesk_trunks_usable", &[], |count| count == 0.0);
    let challenge = trunk.answer(&register, 401);
    trunk.send(
        challenge.with("WWW-Authenticate", "Digest realm=\"provider\", nonce=\"n\", algorithm=MD5, qop=\"auth\""),
    );
    let register = trunk.expect("REGISTER");
    assert!(register.header("Authorization").contains("username=\"4989100\", realm=\"provider\""), "{register}");
    let contact = register.header("Contact").to_owned();
    let granted = trunk.answer(&register, 200).with("Contact", format!("{contact};expires=600"));
    trunk.send(granted);
    server.counts("frontdesk_trunks_unregistered", &[], |count| count == 0.0);
    server.counts("frontdesk_trunk_registered", &[("trunk", "provider")], |count| count == 1.0);
    server.counts("frontdesk_trunk_challenges_total", &[("trunk", "provider")], |count| count == 1.0);
    server.logs("registered at the trunk provider");
    // A call comes to the Contact, with the number in To.
    let mut bob = Phone::udp("bob", server.address()).registered_as("b");
    let invite = trunk.invite(contact.trim_matches(['<', '>'])).set("To", "<sip:+4989112@provider.example>");
    let invite = trunk.send(invite);
    let received = bob.expect("INVITE");
    bob.reply(&received, 486);
    let busy = trunk.response(486);
    trunk.send(ack_of(&invite, &busy));
    server.stop();
    let last = trunk.expect("REGISTER");
    assert_eq!(last.header("Expires"), "0");
    assert_eq!(last.header("Call-ID"), register.header("Call-ID"));
    assert!(last.header("Authorization").contains("nc=00000002"), "{last}");
}
