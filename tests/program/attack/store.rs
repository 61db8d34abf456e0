//! The files of the store are deleted or replaced while the server runs, at its start and at its end: no 200 to a
//! REGISTER confirms what would be lost, and a removed account has no registrations.

use std::fs::{self, OpenOptions};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::digest::Credentials;
use crate::harness::server::{CLOSED, OPEN, data, fresh_ip};
use crate::harness::{Message, PATIENCE, Phone, Server, http, wait_for};

const DISK: &str = "location: { store: disk, path: data/location }\n";

fn folder() -> TempDir {
    TempDir::with_prefix("frontdesk-test-").expect("a temporary folder")
}

/// How many contacts of a user the admin API lists.
fn phones(server: &Server, user: &str) -> usize {
    let answer = http::get(server.http(), &format!("/api/v1/users/{user}"));
    if answer.status == 404 { 0 } else { answer.json()["phones"].as_array().map_or(0, Vec::len) }
}

/// A REGISTER of a new user, and its response.
fn register(server: &Server, user: &str) -> Message {
    let mut phone = Phone::udp(user, server.address());
    let contact = format!("<{}>", phone.contact());
    let register = phone.register(Some(&contact));
    phone.ask(register)
}

#[test]
fn a_reload_that_removes_an_account_removes_its_registrations() {
    let config = format!("{CLOSED}{DISK}");
    let server = Server::start(&config);
    let mut carol = Phone::udp("carol", server.address()).registered_as("christmas");
    let _bob = Phone::udp("bob", server.address()).registered_as("builder");
    // A refused reload changes nothing.
    let without = config.replace("  - { user: carol, password: christmas }\n", "");
    server.rewrite(&format!("{without}nonsense: true\n"));
    assert_eq!(http::change(server.http(), "POST", "/api/v1/reload").status, 422);
    assert_eq!(phones(&server, "carol"), 1);
    server.rewrite(&without);
    assert_eq!(http::change(server.http(), "POST", "/api/v1/reload").status, 200);
    assert_eq!(phones(&server, "carol"), 0, "the account is gone and its phone still rings");
    assert_eq!(phones(&server, "bob"), 1);
    server.logs("registrations of carol removed: there is no such account");
    let mut bob = Phone::udp("bob", server.address());
    let invite = bob.invite("sip:carol@office.example");
    bob.authenticated(invite, Credentials::new("bob", "builder"));
    assert!(matches!(bob.next_final().status(), Some(404 | 480)));
    carol.silence();
    // It does not come back after a restart.
    let (ip, folder) = (server.ip(), server.kill());
    let server = Server::start_in(folder, ip, &config);
    assert_eq!((phones(&server, "carol"), phones(&server, "bob")), (0, 1));
}

#[test]
fn a_start_without_an_account_removes_its_registrations() {
    let config = format!("{CLOSED}{DISK}");
    let ip = fresh_ip();
    let server = Server::start_in(folder(), ip, &config);
    let _carol = Phone::udp("carol", server.address()).registered_as("christmas");
    let _bob = Phone::udp("bob", server.address()).registered_as("builder");
    let folder = server.stop();
    let server = Server::start_in(folder, ip, &config.replace("  - { user: carol, password: christmas }\n", ""));
    assert_eq!((phones(&server, "carol"), phones(&server, "bob")), (0, 1), "{}", server.log());
    let server = Server::start_in(server.kill(), ip, &config);
    assert_eq!((phones(&server, "carol"), phones(&server, "bob")), (0, 1));
}

#[test]
fn without_authentication_registrations_of_unlisted_users_are_removed() {
    let ip = fresh_ip();
    let open = format!("{OPEN}{DISK}");
    let server = Server::start_in(folder(), ip, &open);
    let _phones = ["alice", "dave"].map(|user| Phone::udp(user, server.address()).registered());
    // Without authentication and accounts nothing is removed.
    assert_eq!(http::change(server.http(), "POST", "/api/v1/reload").status, 200);
    let server = Server::start_in(server.stop(), ip, &open);
    assert_eq!((phones(&server, "alice"), phones(&server, "dave")), (1, 1));
    // Only alice has an account, with or without a password.
    server.rewrite(&format!("{open}accounts: [{{ user: alice, contacts: [\"sip:door@192.0.2.50\"] }}]\n"));
    assert_eq!(http::change(server.http(), "POST", "/api/v1/reload").status, 200);
    assert_eq!((phones(&server, "alice"), phones(&server, "dave")), (2, 0), "{}", server.log());
}

#[test]
fn a_read_only_store_is_refused_at_the_start() {
    // A first run creates the files, then the disk is filled.
    let mut server = Server::launch_full(&format!("{OPEN}{DISK}"));
    let ended = wait_for(Duration::from_secs(20), || server.ended());
    assert_eq!(ended.and_then(|status| status.code()), Some(1), "{}", server.log());
    let log = server.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("data/location") && last.contains("full"), "{log}");
}

#[test]
fn deleted_store_files_are_detected() {
    type Damage = fn(&std::path::Path);
    let table: [(&str, Damage); 6] = [
        ("deleted", |store| fs::remove_file(store).expect("removed")),
        ("the log deleted", |store| {
            fs::remove_file(store.with_extension("").with_file_name("location-wal")).expect("removed")
        }),
        ("all deleted", |store| fs::remove_dir_all(store.parent().expect("a folder")).expect("removed")),
        ("cut", |store| OpenOptions::new().write(true).open(store).expect("open").set_len(100).expect("cut")),
        ("moved away", |store| fs::rename(store, store.with_file_name("elsewhere")).expect("moved")),
        ("replaced", |store| {
            fs::copy(store, store.with_file_name("copy")).expect("copied");
            fs::rename(store.with_file_name("copy"), store).expect("moved");
        }),
    ];
    for (what, damage) in table {
        let server = Server::start(&format!("{OPEN}{DISK}"));
        assert_eq!(register(&server, "first").status(), Some(200));
        damage(&data(server.path()).join("location"));
        // At once, before the next check of the files.
        let refused = register(&server, "second");
        assert!(matches!(refused.status(), Some(500 | 503)), "{what}: a 200 for what is lost: {refused}");
        assert!(refused.find("Retry-After").is_some(), "{what}: {refused}");
        assert_eq!(http::get(server.http(), "/ready").status, 503, "{what}");
        assert_eq!(http::get(server.http(), "/health").status, 200, "{what}");
        server.counts("frontdesk_store_usable", &[], |usable| usable == 0.0);
        server.logs("deleted, cut or replaced");
        // Registered users stay registered.
        assert_eq!(phones(&server, "first"), 1, "{what}");
    }
}

#[test]
fn a_restored_store_is_used_again() {
    let server = Server::start(&format!("{OPEN}{DISK}"));
    assert_eq!(register(&server, "first").status(), Some(200));
    let store = data(server.path()).join("location");
    fs::rename(&store, store.with_file_name("elsewhere")).expect("moved");
    // Without any REGISTER.
    let unready = wait_for(PATIENCE, || (http::get(server.http(), "/ready").status == 503).then_some(()));
    assert!(unready.is_some(), "the loss was not noticed:\n{}", server.log());
    fs::rename(store.with_file_name("elsewhere"), &store).expect("moved back");
    let ready = wait_for(PATIENCE, || (http::get(server.http(), "/ready").status == 200).then_some(()));
    assert!(ready.is_some(), "{}", server.log());
    assert_eq!(register(&server, "second").status(), Some(200));
    server.counts("frontdesk_store_usable", &[], |usable| usable == 1.0);
    let (ip, folder) = (server.ip(), server.kill());
    let server = Server::start_in(folder, ip, &format!("{OPEN}{DISK}"));
    assert_eq!((phones(&server, "first"), phones(&server, "second")), (1, 1));
}

#[test]
fn registers_during_shutdown_are_stored_or_refused() {
    let ip = fresh_ip();
    let config = format!("{OPEN}{DISK}");
    let mut server = Server::start_in(folder(), ip, &config);
    let (stop, address) = (AtomicBool::new(false), server.address());
    let answers: Vec<(String, Message)> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut answers = Vec::new();
                    for turn in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let user = format!("user{sender}x{turn}");
                        let mut phone = Phone::udp(&user, address);
                        let register = phone.register(Some(&format!("<{}>", phone.contact())));
                        phone.send(register);
                        match phone.next_in(Duration::from_millis(300)) {
                            Some(answer) => answers.push((user, answer)),
                            // The server has stopped.
                            None => break,
                        }
                    }
                    answers
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        server.signal("TERM");
        assert!(server.wait(Duration::from_secs(5)).is_some_and(|status| status.success()), "{}", server.log());
        stop.store(true, Ordering::Relaxed);
        senders.into_iter().flat_map(|sender| sender.join().expect("a sender")).collect()
    });
    // RFC 3261 21.5.4: during maintenance a 503 with Retry-After is sent.
    for (user, answer) in &answers {
        let good = match answer.status() {
            Some(200) => true,
            Some(503) => answer.find("Retry-After").is_some(),
            _ => false,
        };
        assert!(good, "{user}: {answer}");
    }
    let server = Server::start_in(server.kill(), ip, &config);
    for (user, _) in answers.iter().filter(|(_, answer)| answer.status() == Some(200)) {
        assert_eq!(phones(&server, user), 1, "{user} got 200");
    }
}
