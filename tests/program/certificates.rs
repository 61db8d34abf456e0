//! Certificates that cannot be used, or that phones will refuse: what the server says at its start, in `check`, at a
//! reload and when the files change. Each message names the file, and an error its key.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::server::{OPEN, PROGRAM, fresh_ip};
use crate::harness::tls::{self, Pair};
use crate::harness::{Authority, Phone, Server, wait_for};

/// Certificates and keys that cannot be used: what is wrong, the files, the key and the reason in the error.
fn unusable(authority: &Authority) -> Vec<(&'static str, Pair, &'static str, &'static str)> {
    let good = authority.issue("good", &["office.example"]);
    let other = authority.issue("other", &["office.example"]);
    let folder = good.certificate.parent().expect("a folder").to_owned();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let (certificate, private_key) =
        (|path| Pair { certificate: path, ..good.clone() }, |path| Pair { private_key: path, ..good.clone() });
    let text = std::fs::read_to_string(&good.certificate).expect("the certificate");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
    vec![
        ("of another key", private_key(other.private_key), "tls.private_key", "this is not the key of the certificate"),
        ("a folder", certificate(folder.clone()), "tls.certificate", "cannot be read"),
        ("absent", certificate(folder.join("none.pem")), "tls.certificate", "none.pem cannot be read"),
        ("absent", private_key(folder.join("none.key")), "tls.private_key", "none.key cannot be read"),
        ("empty", certificate(file("empty.pem", "")), "tls.certificate", "expected certificates in PEM"),
        (
            "cut off",
            certificate(file("half.pem", &text[..text.len() / 2])),
            "tls.certificate",
            "expected certificates in PEM",
        ),
        (
            "not a certificate",
            certificate(file("text.pem", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n")),
            "tls.certificate",
            "this is not an X.509 certificate",
        ),
        ("with a passphrase", private_key(file("locked.key", encrypted)), "tls.private_key", "without a passphrase"),
    ]
}

/// Certificates that can be used, although phones refuse them, and what `check` and the log say.
fn outdated(authority: &Authority) -> [(Pair, &'static str, &'static str); 2] {
    let expired = authority.issue_with("expired", &["office.example"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let early = authority.issue_with("early", &["office.example"], |params| {
        params.not_before = rcgen::date_time_ymd(2090, 1, 1);
    });
    [
        (expired, "(expired)", "expired.pem is not valid since 2021-01-01"),
        (early, "(not yet valid)", "early.pem is not valid before 2090-01-01"),
    ]
}

/// Runs a command with this configuration in a file. Whether it succeeded, and what it printed.
fn run(verb: &str, folder: &Path, config: &str) -> (Option<i32>, String) {
    std::fs::write(folder.join("frontdesk.yaml"), config).expect("a file");
    let output = Command::new(PROGRAM).args([verb, "--config", "frontdesk.yaml"]).current_dir(folder).output();
    let output = output.expect("the program");
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).expect("text"))
}

/// The commands of docs/tls.md that begin with this word, with the lines that continue them.
fn documented_commands(first: &str) -> String {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tls.md")).expect("a page");
    let mut commands = String::new();
    let mut continues = false;
    for line in page.lines() {
        if continues || line.strip_prefix("    ").is_some_and(|line| line.starts_with(first)) {
            commands.push_str(line);
            commands.push('\n');
            continues = line.ends_with('\\');
        }
    }
    commands
}

#[test]
fn the_documented_commands_make_an_authority_and_a_certificate() {
    let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let commands = documented_commands("openssl ");
    assert_eq!(commands.matches("openssl ").count(), 3, "{commands}");
    let output = Command::new("sh").args(["-ec", &commands]).current_dir(folder.path()).output().expect("a shell");
    assert!(output.status.success(), "{commands}\n{}", String::from_utf8_lossy(&output.stderr));
    let config = format!("{OPEN}tls: {{ certificate: fullchain.pem, private_key: privkey.pem }}\n");
    let authority = folder.path().join("authority.pem");
    let (code, text) = run("check", folder.path(), &config);
    assert!(code == Some(0) && text.contains("sip.office.example, office.example, 192.168.1.20 until "), "{text}");
    let server = Server::start_in(folder, fresh_ip(), &config);
    for name in ["sip.office.example", "office.example", "192.168.1.20"] {
        tls::Socket::connect(server.tls(), name, tls::client_of(&authority, None)).expect("a verified connection");
    }
    assert!(tls::Socket::connect(server.tls(), "other.example", tls::client_of(&authority, None)).is_err());
}

#[test]
fn the_documented_deploy_hook_copies_a_renewed_certificate() {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tls.md")).expect("a page");
    let script = page.split("    #!/bin/sh\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("the script");
    let authority = Authority::new();
    let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let (live, copies) = (folder.path().join("live"), folder.path().join("tls"));
    std::fs::create_dir(&live).expect("a folder");
    let renew = |file: &str| {
        let pair = authority.issue(file, &["office.example"]);
        std::fs::copy(&pair.certificate, live.join("fullchain.pem")).expect("a copy");
        std::fs::copy(&pair.private_key, live.join("privkey.pem")).expect("a copy");
        // Neither the user of the server nor its folder exist here.
        let script =
            script.replace("-o root -g frontdesk ", "").replace("/etc/frontdesk/tls", &copies.display().to_string());
        let status = Command::new("sh").args(["-c", &script]).env("RENEWED_LINEAGE", &live).status().expect("a shell");
        assert!(status.success(), "{script}");
    };
    renew("first");
    let config = format!("{OPEN}tls: {{ certificate: tls/fullchain.pem, private_key: tls/privkey.pem }}\n");
    let server = Server::start_in(folder, fresh_ip(), &config);
    let served = || {
        let socket = tls::Socket::connect(server.tls(), tls::NAME, authority.client(None)).expect("a connection");
        socket.peer_certificate()
    };
    let first = served();
    renew("second");
    let is_renewed = wait_for(Duration::from_secs(15), || (served() != first).then_some(()));
    assert!(is_renewed.is_some(), "{}", server.log());
}

#[test]
fn with_unusable_files_the_server_does_not_start_and_a_reload_changes_nothing() {
    let authority = Authority::new();
    let office = authority.issue("office", &["office.example"]);
    let server = Server::start(&format!("{OPEN}{}", authority.config(&office, "")));
    let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    for (what, pair, key, reason) in unusable(&authority) {
        let config = format!("{OPEN}{}", authority.config(&pair, ""));
        for verb in ["check", "run"] {
            let (code, text) = run(verb, folder.path(), &config);
            let names_all = ["frontdesk.yaml:3:", key, reason].iter().all(|part| text.contains(part));
            assert!(code == Some(2) && names_all, "{verb} of a file that is {what}, {code:?}:\n{text}");
        }
        let reported = server.log().matches(reason).count();
        server.rewrite(&config);
        server.signal("HUP");
        let reports = || (server.log().matches(reason).count() > reported).then_some(());
        assert!(wait_for(Duration::from_secs(10), reports).is_some(), "{what}:\n{}", server.log());
        drop(Phone::tls("alice", server.tls(), &authority).registered());
    }
}

#[test]
fn certificates_that_are_not_valid_now_are_used_with_a_warning() {
    let authority = Authority::new();
    for (pair, in_check, in_log) in outdated(&authority) {
        let config = format!("{OPEN}{}", authority.config(&pair, ""));
        let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
        let (code, text) = run("check", folder.path(), &config);
        assert!(code == Some(0) && text.contains(in_check), "{text}");
        let server = Server::start_in(folder, fresh_ip(), &config);
        server.logs(in_log);
        // A phone that checks it does not connect; others are served.
        assert!(tls::Socket::connect(server.tls(), tls::NAME, authority.client(None)).is_err());
        drop(Phone::udp("alice", server.address()).registered());
        // A good one at a reload is used at once.
        let office = authority.issue("office", &["office.example"]);
        server.rewrite(&format!("{OPEN}{}", authority.config(&office, "")));
        server.signal("HUP");
        let connects = || tls::Socket::connect(server.tls(), tls::NAME, authority.client(None)).ok();
        assert!(wait_for(Duration::from_secs(10), connects).is_some(), "{}", server.log());
    }
}
