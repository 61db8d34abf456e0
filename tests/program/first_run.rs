//! The first start on a fresh machine: no configuration, three phones that can register, and no access for others. In a
//! network namespace, since the defaults listen on port 5060 of every address.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::digest::Credentials;
use crate::harness::process::Process;
use crate::harness::server::{PROGRAM, data, run};
use crate::harness::{Algorithm, PATIENCE, Phone, namespace, wait_for};

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_default()
}

/// Starts the server in a folder without arguments and waits until it serves.
#[track_caller]
fn start(folder: &Path) -> Process {
    let process = run(Command::new(PROGRAM), folder);
    let log = || read(folder, "stdout.log") + &read(folder, "stderr.log");
    let ready = wait_for(PATIENCE, || log().contains("listening").then_some(()));
    assert!(ready.is_some(), "it does not serve:\n{}", log());
    process
}

#[track_caller]
fn stop(mut process: Process) {
    process.signal("TERM");
    let status = process.wait(Duration::from_secs(5)).expect("it ends within 5 s");
    assert!(status.success(), "{status}");
}

/// The passwords that are printed on the terminal.
fn passwords(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines() {
        let words: Vec<_> =
            line.split(|letter: char| letter.is_whitespace() || letter == ',' || letter == ':').collect();
        let user = words.iter().find(|word| ["101", "102", "103"].contains(word));
        let password = words.iter().rev().find(|word| word.len() >= 12);
        if let (Some(user), Some(password)) = (user, password) {
            found.push(((*user).to_owned(), (*password).to_owned()));
        }
    }
    found
}

fn serves(folder: &Path, server: SocketAddr) {
    let first = start(folder);
    // It serves first, and prints the passwords a moment later.
    let _ = wait_for(PATIENCE, || (passwords(&read(folder, "stdout.log")).len() == 3).then_some(()));
    let text = read(folder, "stdout.log");
    let accounts = passwords(&text);
    let users: Vec<_> = accounts.iter().map(|(user, _)| user.as_str()).collect();
    assert_eq!(users, ["101", "102", "103"], "what to type into three phones is printed:\n{text}");
    assert!(accounts.iter().all(|(_, password)| !text.replacen(password, "", 1).contains(password)), "all differ");

    // The domain is the address of the server, as people would use it.
    let phone = |user: &str| Phone::udp(user, server).of(&server.ip().to_string());
    let mut phones: Vec<_> = accounts.iter().map(|(user, password)| phone(user).registered_as(password)).collect();

    // A call between two of them.
    let [(one, secret), (two, _), _] = accounts.as_slice() else { panic!("three accounts") };
    let invite = phones[0].invite(&format!("sip:{two}@{}", server.ip()));
    phones[0].authenticated(invite, Credentials::new(one, secret).with(Algorithm::Md5));
    phones[1].expect("INVITE");

    // Other users and passwords are refused.
    for (user, password) in [("101", "101"), ("101", ""), ("104", "104"), ("admin", "admin")] {
        let mut mallory = phone(user);
        let register = mallory.register(Some("<sip:mallory@192.0.2.66>"));
        mallory.authenticated(register, Credentials::new(user, password));
        mallory.response(401);
    }
    let mut eve = Phone::udp("eve", server).of("elsewhere.example");
    let invite = eve.invite(&format!("sip:101@{}", server.ip()));
    assert_eq!(eve.ask(invite).status(), Some(407));

    let file = data(folder).join("accounts.yaml");
    let mode = fs::metadata(&file).expect("the accounts are kept").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "{mode:o}");
    stop(first);

    // The second start knows the accounts and does not print the passwords again.
    let second = start(folder);
    let log = read(folder, "stdout.log") + &read(folder, "stderr.log");
    assert!(accounts.iter().all(|(_, password)| !log.contains(password)), "{log}");
    let (user, password) = &accounts[1];
    let mut again = phone(user);
    let query = again.register(None);
    again.authenticated(query, Credentials::new(user, password));
    assert_eq!(again.response(200).list("Contact").len(), 1, "the phone is still registered");
    stop(second);
}

#[test]
fn the_server_starts_without_a_configuration() {
    namespace::inside("first_run::the_server_starts_without_a_configuration", &["192.0.2.10/32"], || {
        let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
        serves(folder.path(), "127.0.0.1:5060".parse().expect("an address"));
    });
}

#[test]
fn the_server_starts_with_the_shipped_configuration() {
    namespace::inside("first_run::the_server_starts_with_the_shipped_configuration", &["192.0.2.10/32"], || {
        let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/frontdesk.yaml");
        fs::create_dir(folder.path().join("config")).expect("a folder");
        fs::copy(shipped, folder.path().join("config/frontdesk.yaml")).expect("the shipped configuration");
        serves(folder.path(), "192.0.2.10:5060".parse().expect("an address"));
    });
}
