//! The error of each mistake names its line, its key and the expected value.

use super::*;

#[test]
fn every_error_names_line_key_and_expected_value() {
    refused(&[
        ("domain: [a]\n", "1:", &["domain", "unknown field", "domains"]),
        ("domains: []\n", "1:", &["domains", "at least one"]),
        ("domains: office.example\n", "1:", &["domains", "expected a list"]),
        ("domains: [a, a]\n", "1:", &["domains[1]", "twice"]),
        ("domains: [a b]\n", "1:", &["domains[0]", "host name"]),
        ("\naliases: [office.example]\n", "2:", &["aliases[0]", "domains"]),
        ("listen: [\"upd://0.0.0.0:5060\"]\n", "1:", &["listen[0]", "upd://", "udp://, tcp://"]),
        ("listen:\n  - udp://0.0.0.0:5060\n  - 5060\n", "3:", &["listen[1]", "expected"]),
        ("listen:\n  - udp://0.0.0.0\n  - udp://0.0.0.0:5060\n", "3:", &["listen[1]", "twice"]),
        ("listen: []\n", "1:", &["listen", "at least one"]),
        ("\nlisten: [\"tls://0.0.0.0\"]\n", "2:", &["listen[0]", "tls.certificate", "tls.private_key"]),
        ("listen:\n  - udp://0.0.0.0\n  - wss://0.0.0.0\n", "3:", &["listen[1]", "tls.certificate"]),
        ("tls:\n  certificate: a.pem\n", "2:", &["tls.private_key", "tls.certificate"]),
        ("tls:\n  private_key: a.key\n", "2:", &["tls.certificate", "tls.private_key"]),
        ("tls:\n  certificate: a.pem\n  private_key: a.key\n", "2:", &["tls.certificate", "a.pem cannot be read"]),
        ("tls: { client_certificates: maybe }\n", "1:", &["tls.client_certificates", "off, request or require"]),
        ("\n\nworkers: 0\n", "3:", &["workers", "1 to 64"]),
        ("ws:\n  origins: [office.example]\n", "2:", &["ws.origins[0]", "https://office.example"]),
        ("authentication: maybe\n", "1:", &["authentication", "required or off"]),
        ("digest: { algorithms: [sha-1] }\n", "1:", &["digest.algorithms[0]", "sha-256"]),
        ("digest:\n  algorithms: []\n", "2:", &["digest.algorithms", "at least one"]),
        ("digest:\n  algorithms: [md5, md5]\n", "2:", &["digest.algorithms[1]", "twice"]),
        ("digest:\n  md5_fallback: 5\n", "2:", &["digest.md5_fallback", "10m, or off"]),
        ("digest:\n  md5_user_agents: [\"\"]\n", "2:", &["digest.md5_user_agents[0]", "User-Agent"]),
        ("digest: { nonce_failures: 0 }\n", "1:", &["digest.nonce_failures", "above zero"]),
        ("defence:\n  failures: 1001\n", "2:", &["defence.failures", "1000"]),
        ("defence: { within: 1 }\n", "1:", &["defence.within", "unit"]),
        ("defence: { ban: never }\n", "1:", &["defence.ban", "or off"]),
        ("timers:\n  t1: 5s\n  t2: 4s\n", "3:", &["timers.t2", "t1"]),
        ("limits:\n  message_size: 64\n", "2:", &["limits.message_size", "KiB"]),
        ("location:\n  store: mysql\n", "2:", &["location.store", "disk, memory or redis"]),
        ("forking:\n  strategy: serial\n", "2:", &["forking.strategy", "sequential"]),
        ("forking:\n  recurse: perhaps\n", "2:", &["forking.recurse", "true or false"]),
        ("forking:\n  late_registration: 5s\n", "2:", &["forking.late_registration", "true or false"]),
        ("forking:\n  single_target: fork\n", "2:", &["forking.single_target", "stateless or stateful"]),
        ("limits:\n  transaction_memory: 512\n", "2:", &["limits.transaction_memory", "KiB"]),
        ("limits:\n  targets: 256\n", "2:", &["limits.targets", "255"]),
        ("forking: 30s\n", "1:", &["forking", "expected keys and values", "forking: {"]),
        ("trusted: [192.0.2.0/40]\n", "1:", &["trusted[0]", "network"]),
        ("strangers: welcome\n", "1:", &["strangers", "refuse or accept"]),
        ("foreign: all\n", "1:", &["foreign", "authenticated"]),
        ("metrics: { listen: 9090 }\n", "1:", &["metrics.listen", "127.0.0.1:9090"]),
        ("log:\n  level: loud\n", "2:", &["log.level", "debug"]),
        ("log:\n  format: xml\n", "2:", &["log.format", "json"]),
        ("domains: [a]\n# again\ndomains: [b]\n", "3:", &["domains", "second time"]),
        ("limits:\n  pins: 3\nlog:\n  level: info\n  level: debug\n", "5:", &["level", "second time"]),
        ("domains: [a\n", "", &["2"]),
        ("\tdomains: [a]\n", "1:", &["tab", "spaces"]),
        ("limits:\n\tpins: 3\n", "2:", &["tab", "spaces"]),
    ]);
}

#[test]
fn a_misspelt_key_suggests_the_right_one() {
    refused(&[
        ("domians: [a]\n", "1:", &["domians", "did you mean `domains`?"]),
        ("acounts_file: a.yaml\n", "1:", &["did you mean `accounts_file`?"]),
        ("\nregistrar:\n  max_contact: 3\n", "3:", &["registrar", "did you mean `max_contacts`?"]),
        ("forking:\n  ringtime: 3s\n", "2:", &["forking", "did you mean `ring_time`?"]),
        ("limits:\n  connection_per_source: 3\n", "2:", &["limits", "did you mean `connections_per_source`?"]),
        ("accounts:\n  - { usr: a, password: b }\n", "2:", &["accounts[0]", "did you mean `user`?"]),
        ("accounts:\n  - { user: a, ha1: { sha256: 00 } }\n", "2:", &["accounts[0].ha1", "did you mean `sha-256`?"]),
        ("log: { lvl: info }\n", "1:", &["log", "did you mean `level`?"]),
    ]);
    let message = error("colour: blue\n");
    assert!(message.contains("unknown field") && !message.contains("did you mean"), "{message}");
}

#[test]
fn errors_in_admin_and_log_name_the_key() {
    refused(&[
        ("admin: { token: secret }\n", "1:", &["admin.token", "16 to 256", "openssl rand"]),
        ("admin:\n  token: \"0123456789 abcdef\"\n", "2:", &["admin.token", "letters"]),
        ("log:\n  mask: [names]\n", "2:", &["log.mask[0]", "users or addresses"]),
        ("log:\n  mask: users\n", "2:", &["log.mask", "expected a list"]),
        ("limits:\n  admin_connections: 0\n", "2:", &["limits.admin_connections", "above zero"]),
        ("metrics:\n  listen: 127.0.0.1\n", "2:", &["metrics.listen", "with port"]),
    ]);
    let message = error("admin: { token: secret }\n");
    assert!(!message.contains("\"secret\""), "the error must not show an invalid token: {message}");
}

#[test]
fn errors_in_registrar_name_the_key() {
    refused(&[
        ("registrar:\n  min_expires: 60\n", "2:", &["registrar.min_expires", "unit"]),
        ("registrar:\n  min_expires: 2h\n", "2:", &["registrar.min_expires", "1h"]),
        ("registrar:\n  max_contacts: 10\n  max_expires: 10m\n", "3:", &["registrar.max_expires", "default_expires"]),
        ("registrar:\n  min_expire: 60s\n", "2:", &["registrar", "min_expire", "unknown field"]),
        ("subscriptions:\n  default_expires: 59s\n", "2:", &["subscriptions.default_expires", "min_expires"]),
        ("subscriptions: { interval: 5 }\n", "1:", &["subscriptions.interval", "unit"]),
        ("registrar: { max_contacts: many }\n", "1:", &["registrar.max_contacts", "whole number"]),
        ("registrar:\n  service_route:\n    - sip:a;lr\n    - sip:b\n", "4:", &["registrar.service_route[1]", ";lr"]),
        ("registrar: { when_full: panic }\n", "1:", &["registrar.when_full", "replace_oldest"]),
        ("registrar: { jitter: 10 }\n", "1:", &["registrar.jitter", "50%"]),
        ("registrar: { unannounced_path: maybe }\n", "1:", &["registrar.unannounced_path", "accept or refuse"]),
        ("registrar:\n  flow_timer: 120\n", "2:", &["registrar.flow_timer", "2m, or off"]),
        ("registrar:\n  contact_size: 9KiB\n", "2:", &["registrar.contact_size", "8KiB"]),
        ("location: { pace: 2s }\n", "1:", &["location.pace", "1s"]),
    ]);
}

#[test]
fn errors_in_a_cluster_name_the_key() {
    let location = "location: { store: redis, url: \"redis://127.0.0.1\" }\n";
    let with = |text: &str| format!("{location}{text}");
    let rows = [
        ("location:\n  store: redis\n".to_owned(), "2:", ["location.store", "location.url"]),
        ("location:\n  url: \"http://a\"\n".to_owned(), "2:", ["location.url", "redis://127.0.0.1"]),
        ("location: { prefix: \"a b\" }\n".to_owned(), "1:", ["location.prefix", "1 to 64 letters"]),
        ("location: { replicas: 17 }\n".to_owned(), "1:", ["location.replicas", "0 to 16"]),
        ("cluster:\n  node: a\n".to_owned(), "2:", ["cluster.node", "store: redis"]),
        ("cluster: { node: \"a b\" }\n".to_owned(), "1:", ["cluster.node", "1 to 64 letters"]),
        ("cluster: { advertise: \"0.0.0.0:5060\" }\n".to_owned(), "1:", ["cluster.advertise", "192.0.2.11:5060"]),
        ("cluster: { transport: udp }\n".to_owned(), "1:", ["cluster.transport", "tcp or tls"]),
        (with("accounts_file: a.yaml\n"), "1:", ["location.store", "cluster.node"]),
        (with("cluster: { node: a }\n"), "1:", ["location.store", "cluster.advertise"]),
        (with("cluster:\n  node: a\n  advertise: \"192.0.2.1:5070\"\n"), "4:", ["cluster.advertise", "listen"]),
        (with("cluster:\n  node: a\n  advertise: \"192.0.2.1:5060\"\n"), "1:", ["location.store", "accounts_file"]),
        (with("cluster: { node: a, advertise: \"192.0.2.1:5060\", lease: 2s }\n"), "2:", ["cluster.lease", "3s to 1m"]),
        (
            with("cluster: { node: a, advertise: \"192.0.2.1:5060\" }\nlimits: { message_size: 16KiB }\n"),
            "3:",
            ["limits.message_size", "32KiB"],
        ),
    ];
    for (text, line, parts) in &rows {
        refused(&[(text, line, parts)]);
    }
    let message = error("location: { url: \"mysql://root:secret@a\" }\n");
    assert!(!message.contains("secret"), "the error must not show a password: {message}");
}

#[test]
fn errors_in_accounts_name_the_key() {
    refused(&[
        ("accounts:\n  - user: a b\n    password: x\n", "2:", &["accounts[0].user", "user name"]),
        ("accounts:\n  - user: alice\n", "2:", &["accounts[0].user", "password", "ha1"]),
        ("accounts:\n  - password: x\n", "2:", &["accounts[0]", "user"]),
        (
            "accounts:\n  - { user: a, password: x }\n  - { user: a, password: y }\n",
            "3:",
            &["accounts[1].user", "twice"],
        ),
        ("accounts:\n  - user: a\n    password: x\n    domain: b.example\n", "4:", &["accounts[0].domain", "domains"]),
        ("accounts:\n  - user: a\n    ha1: { md5: 12 }\n", "3:", &["accounts[0].ha1.md5", "32 hex"]),
        (
            "accounts:\n  - user: door\n    contacts: [door]\n",
            "3:",
            &["accounts[0].contacts[0]", "sip:door@192.0.2.50"],
        ),
        (
            "accounts:\n  - user: door\n    contacts: [\"sip:bob@Office.example\"]\n",
            "3:",
            &["accounts[0].contacts[0]", "not this server's"],
        ),
        (
            "accounts:\n  - user: door\n    contacts: [\"sip:bob@office.example.\"]\n",
            "3:",
            &["accounts[0].contacts[0]", "not this server's"],
        ),
        ("accounts:\n  - { user: a, password: x, ha1: {} }\n", "2:", &["accounts[0].user", "not both"]),
        (
            "accounts:\n  - user: a\n    password: x\n    may_register: [a, bob]\n",
            "4:",
            &["accounts[0].may_register[1]", "has an account"],
        ),
        ("\naccounts_file: nowhere.yaml\n", "2:", &["accounts_file", "nowhere.yaml", "no such file"]),
        ("accounts:\n  - { user: a, password: \"\" }\n", "2:", &["accounts[0].password", "not empty"]),
    ]);
}

#[test]
fn errors_in_office_rules_name_the_key() {
    let users = "accounts:\n  - { user: 101, password: x }\n  - { user: 102, password: y, numbers: [\"+49891\"] }\n";
    let table: &[(&str, &str, &[&str])] = &[
        ("groups:\n  - { user: 600, members: [101, 199] }\n", "5:", &["groups[0].members[1]", "\"199\" is no user"]),
        ("groups:\n  - { user: 600, members: [] }\n", "5:", &["groups[0]", "members", "at least one"]),
        ("groups:\n  - { user: 600, members: [voicemail] }\n", "5:", &["members[0]", "otherwise"]),
        ("groups:\n  - { user: 600, members: [101], otherwise: voicemail }\n", "5:", &["otherwise", "`voicemail`"]),
        ("groups:\n  - { user: 600, members: [101], strategy: all }\n", "5:", &["strategy", "parallel, sequential"]),
        ("groups:\n  - { user: 600, members: [101], ring_time: 20 }\n", "5:", &["ring_time", "unit"]),
        (
            "groups:\n  - { user: 600, members: [{ to: 101, folow: true }] }\n",
            "5:",
            &["members[0]", "did you mean `follow`?"],
        ),
        ("groups:\n  - { user: 600, member: [101] }\n", "5:", &["did you mean `members`?"]),
        ("groups:\n  - { user: 101, members: [102] }\n", "5:", &["groups[0].user", "is a user"]),
        (
            "groups:\n  - { user: 600, members: [101] }\n  - { user: 6-00, members: [101] }\n",
            "6:",
            &["groups[1].user", "already"],
        ),
        (
            "groups:\n  - { user: 600, members: [101], numbers: [\"+49 891\"] }\n",
            "5:",
            &["numbers[0]", "a user already"],
        ),
        ("hours:\n  office: { zone: Berlin, open: [] }\n", "5:", &["hours.office.zone", "Europe/Berlin"]),
        ("hours:\n  office: { zone: UTC, open: [mon 8-18] }\n", "5:", &["open[0]", "mon-fri 08:00-18:00"]),
        ("hours:\n  office: { zone: UTC, open: [mon 08:00-24:30] }\n", "5:", &["open[0]", "expected"]),
        (
            "hours:\n  office:\n    zone: UTC\n    open: [mon-fri 08:00-18:00, tue 17:00-19:00]\n",
            "7:",
            &["hours.office.open[1]", "overlaps"],
        ),
        ("hours:\n  office: { zone: UTC, closed: [2026-12-32] }\n", "5:", &["closed[0]", "2026-12-24"]),
        ("hours:\n  office: { zone: UTC, closed: [2026-12-24/2026-12-01] }\n", "5:", &["closed[0]", "expected"]),
        ("hours:\n  office: { open: [mon 08:00-18:00] }\n", "5:", &["hours.office", "zone"]),
        ("numbers:\n  \"+49892\": { to: 199 }\n", "5:", &["numbers.+49892.to", "\"199\" is no user"]),
        ("numbers:\n  \"+49892\": { to: 101, hours: office }\n", "5:", &["numbers.+49892.hours", "not defined"]),
        ("numbers:\n  \"+49892\": { to: 101, closed: 102 }\n", "5:", &["numbers.+49892.closed", "`hours`"]),
        ("numbers:\n  \"+49891\": { to: 101 }\n", "5:", &["numbers.+49891", "a user already"]),
        ("voicemail: vm\n", "4:", &["voicemail", "SIP URI"]),
        ("codes: { dnd_on: dnd }\n", "4:", &["codes.dnd_on", "like *21"]),
        ("codes: { dnd_on: \"*1\", dnd_off: \"*1\" }\n", "4:", &["codes.dnd_off", "of `dnd_on` already"]),
        ("codes: { dnd_on: 101 }\n", "4:", &["codes.dnd_on", "is the name of a user"]),
    ];
    for (text, place, expected) in table {
        refused(&[(&format!("{users}{text}"), place, expected)]);
    }
}

#[test]
fn errors_in_the_rules_of_users_name_the_key() {
    refused(&[
        (
            "accounts:\n  - { user: 101, password: x, forward: { busy: 199 } }\n",
            "2:",
            &["accounts[0].forward.busy", "199"],
        ),
        ("accounts:\n  - { user: 101, password: x, forward: { busi: 101 } }\n", "2:", &["did you mean `busy`?"]),
        ("accounts:\n  - { user: 101, password: x, forward: { after: 0s } }\n", "2:", &["forward.after", "unit"]),
        ("accounts:\n  - { user: 101, password: x, also_ring: [{ to: 199 }] }\n", "2:", &["also_ring[0].to", "199"]),
        (
            "accounts:\n  - { user: 101, password: x, also_ring: [{ to: 101, hours: h }] }\n",
            "2:",
            &["also_ring[0].hours", "not defined"],
        ),
        (
            "domains: [a.example, b.example]
groups: [{ user: 600, members: [101] }]
accounts:
  - { user: 101, password: x }
  - { user: 101, password: x, domain: b.example, forward: { busy: 600 } }
",
            "5:",
            &["accounts[1].forward.busy", "no user of b.example", "sip:600@a.example"],
        ),
        (
            "accounts:\n  - { user: 101, password: x, do_not_disturb: maybe }\n",
            "2:",
            &["do_not_disturb", "true or false"],
        ),
        (
            "accounts:\n  - { user: a, password: x, numbers: [1-2] }\n  - { user: b, password: x, numbers: [12] }\n",
            "3:",
            &["accounts[1].numbers", "another user"],
        ),
    ]);
}

#[test]
fn errors_in_trunks_name_the_key() {
    let start = "accounts:\n  - { user: 101, password: x, numbers: [\"+4989101\"] }\ntrunks:\n  - { name: a, server: 192.0.2.1 }\n";
    let table: &[(&str, &str, &[&str])] = &[
        ("  - { name: a, server: b.example }\n", "5:", &["trunks[1].name", "earlier trunk"]),
        ("  - { name: b }\n", "5:", &["trunks[1].name", "`server`"]),
        ("  - { name: b, server: sips:b.example }\n", "5:", &["trunks[1].server", "sip.provider.example"]),
        ("  - { name: b, server: \"x@b.example\" }\n", "5:", &["trunks[1].server", "sip.provider.example"]),
        ("  - { name: b, server: office.example }\n", "5:", &["trunks[1].server", "not this server's"]),
        ("  - { name: b, server: b.example, from: [b] }\n", "5:", &["trunks[1].from[0]", "network"]),
        ("  - { name: b, server: b.example, register: true }\n", "5:", &["trunks[1].register", "`user`"]),
        ("  - { name: b, server: b.example, user: x }\n", "5:", &["trunks[1].user", "`password`"]),
        ("  - { name: b, server: b.example, password: x }\n", "5:", &["trunks[1].password", "`user`"]),
        ("  - { name: b, server: b.example, probe: 30 }\n", "5:", &["trunks[1].probe", "off"]),
        ("  - { name: b, server: b.example, shows: all }\n", "5:", &["trunks[1].shows", "asserted or from"]),
        ("  - { name: b, server: b.example, max_call: 3 }\n", "5:", &["did you mean `max_calls`?"]),
        ("outgoing:\n  - { prefix: \"0\" }\n", "6:", &["outgoing[0].prefix", "`trunks`"]),
        ("outgoing:\n  - { prefix: \"0\", trunks: [a, c] }\n", "6:", &["outgoing[0].trunks[1]", "`trunks`"]),
        ("outgoing:\n  - { prefix: 0x, trunks: [a] }\n", "6:", &["outgoing[0].prefix", "\"00\""]),
        ("outgoing:\n  - { prefix: \"0\", trunks: [a], strip: 2 }\n", "6:", &["outgoing[0].strip", "length"]),
        ("outgoing:\n  - { prefix: \"0\", trunks: [a], digits: 9-4 }\n", "6:", &["outgoing[0].digits", "4-15"]),
        (
            "outgoing:\n  - { prefix: \"0\", trunks: [a] }\n  - { prefix: \"0\", trunks: [a], digits: 4 }\n",
            "7:",
            &["outgoing[1].prefix", "earlier line"],
        ),
        (
            "outgoing:\n  - { prefix: 112, trunks: [a], emergency: true, class: b }\n",
            "6:",
            &["outgoing[0].class", "emergency"],
        ),
        ("outgoing:\n  - { prefix: 101, trunks: [a], emergency: true }\n", "6:", &["outgoing[0].prefix", "a user"]),
        (
            "outgoing:\n  - { prefix: 1, trunks: [a] }\nauthentication: off\n",
            "6:",
            &["outgoing[0].prefix", "authentication: required"],
        ),
        (
            "outgoing:\n  - { prefix: 0, trunks: [a] }\ngroups:\n  - { user: 600, members: [101, \"0891\"] }\n",
            "8:",
            &["groups[0].members[1]", "outside of the office", "`forward`"],
        ),
        (
            "outgoing:\n  - { prefix: 0, trunks: [a] }\nnumbers:\n  \"+49892\": { to: \"0891\" }\n",
            "8:",
            &["numbers.+49892.to", "outside of the office"],
        ),
    ];
    for (text, place, expected) in table {
        refused(&[(&format!("{start}{text}"), place, expected)]);
    }
    refused(&[(
        "accounts:\n  - { user: 101, password: x, may_dial: [national] }\n",
        "2:",
        &["accounts[0].may_dial[0]", "`class`"],
    )]);
    let outside = "outgoing:\n  - { prefix: 0, trunks: [a] }\n";
    let user = "accounts:\n  - { user: 101, password: x, forward: { always: \"0 89-1\" } }\ntrunks: [{ name: a, server: a.example }]\n";
    valid(&format!("{user}{outside}"));
}

#[test]
fn no_rule_leads_to_an_emergency_number() {
    let forward = "accounts:\n  - { user: 101, password: x, forward: { busy: 112 } }\n";
    let number = "numbers:\n  \"+49892\": { to: \"112\" }\n";
    for (rule, key) in [(forward, "accounts[0].forward.busy"), (number, "numbers.+49892.to")] {
        let trunks = "trunks: [{ name: a, server: a.example }]\n";
        let text = format!("{rule}{trunks}outgoing:\n  - {{ prefix: 112, trunks: [a], emergency: true }}\n");
        refused(&[(&text, "2:", &[key, "emergency number"])]);
    }
}

/// Each text is refused with an error that begins with this position and contains these words.
fn refused(table: &[(&str, &str, &[&str])]) {
    for (text, place, expected) in table {
        let error = error(text);
        assert!(error.starts_with(place), "{text:?} should name {place}: {error}");
        for word in *expected {
            assert!(error.contains(word), "the error of {text:?} should contain {word:?}: {error}");
        }
    }
}

#[test]
fn a_hash_that_is_never_offered_is_an_error() {
    let hash = "0".repeat(64);
    let message = error(&format!("accounts:\n  - user: a\n    ha1: {{ sha-512-256: {hash} }}\n"));
    assert!(message.starts_with("3:") && message.contains("digest.algorithms"), "{message}");
}
