//! Calls by the rules of the office: each recipe of docs/office.md, and a call that is forwarded.

use std::fs;
use std::path::Path;

use crate::commands::{frontdesk, good};
use crate::harness::message::ack_of;
use crate::harness::{Phone, Server};

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
        let rows = rest.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
        let cells =
            |row: &str| row.split(" | ").map(str::to_owned).collect::<Vec<_>>().try_into().expect("three cells");
        let rows = rows.skip(1).filter(|row| !row.starts_with("--")).map(cells).collect();
        Recipe { config: config.to_owned(), rows }
    };
    blocks.map(recipe).collect()
}

/// The accounts of a recipe that have a password.
fn users(config: &str) -> Vec<String> {
    let config: serde_yaml::Value = serde_yaml::from_str(config).expect("YAML");
    let accounts = config["accounts"].as_sequence().expect("accounts");
    let phones = accounts.iter().filter(|account| account.get("password").is_some());
    phones.map(|account| account["user"].as_str().expect("a user in quotation marks").to_owned()).collect()
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
        let server = Server::start(&format!("authentication: off\n{config}"));
        let _phones: Vec<_> =
            users(&config).iter().map(|user| Phone::udp(user, server.address()).registered()).collect();
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
    assert!(shown.contains("always: to carol (set with this command)"), "{shown}");
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
