//! Registration events (RFC 3680) over UDP and TCP, whatever caused the change.

use crate::harness::dialog::Dialog;
use crate::harness::digest::Credentials;
use crate::harness::http;
use crate::harness::server::CLOSED;
use crate::harness::{Message, Phone, Server};

/// A server with several workers and a user `board` that may subscribe to bob. NOTIFYs are not delayed.
fn setup() -> Server {
    let board = "  - { user: board, password: lamps, may_watch: [bob] }\n";
    let rest = "workers: 3\nsubscriptions: { interval: 100ms }\ntimers: { t1: 20ms, t2: 80ms }\n";
    Server::start(&format!("{CLOSED}{board}{rest}"))
}

/// Subscribes to bob. Returns the dialog.
#[track_caller]
fn subscribe(watcher: &mut Phone, password: &str) -> Dialog {
    let user = watcher.user.clone();
    let asked = watcher.request("SUBSCRIBE", "sip:bob@office.example").with("Event", "reg").with("Expires", 600);
    let asked = watcher.authenticated(asked, Credentials::new(&user, password));
    let ok = watcher.response(200);
    assert_eq!(ok.header("Expires"), "600", "{ok}");
    Dialog::caller(&asked, &ok)
}

/// The next NOTIFY, after it was answered, and its body.
#[track_caller]
fn next_notify(watcher: &mut Phone) -> (Message, String) {
    let notify = watcher.expect("NOTIFY");
    watcher.reply(&notify, 200);
    let body = String::from_utf8(notify.body.clone()).expect("UTF-8");
    assert!(body.starts_with("<?xml version=\"1.0\"?>") && body.ends_with("</reginfo>\n"), "{body}");
    (notify, body)
}

#[track_caller]
fn says(body: &str, parts: &[&str]) {
    for part in parts {
        assert!(body.contains(part), "no {part} in\n{body}");
    }
}

#[test]
fn a_phone_subscribes_to_its_own_user_over_udp() {
    // checklist 155
    let server = setup();
    let mut desk = Phone::udp("bob", server.address()).registered_as("builder");
    let mut dialog = subscribe(&mut desk, "builder");
    let (_, first) = next_notify(&mut desk);
    says(&first, &["version=\"0\"", "state=\"full\"", "event=\"registered\"", &desk.contact()]);
    // At whichever worker the kernel delivers it.
    let mobile = Phone::udp("bob", server.address()).registered_as("builder");
    let (_, second) = next_notify(&mut desk);
    says(&second, &["version=\"1\"", "state=\"partial\"", "event=\"registered\"", &mobile.contact()]);
    let contact = mobile.contact().replace(':', "%3A").replace('@', "%40");
    let path = format!("/api/v1/users/bob/phones/{contact}");
    assert_eq!(http::change(server.http(), "DELETE", &path).status, 200);
    let (_, third) = next_notify(&mut desk);
    says(&third, &["version=\"2\"", "state=\"terminated\" event=\"deactivated\"", &mobile.contact()]);
    server.counts("frontdesk_subscriptions", &[], |count| count == 1.0);
    desk.send(dialog.request("SUBSCRIBE").with("Event", "reg").with("Expires", 0));
    assert_eq!(desk.response(200).header("Expires"), "0");
    let (last, fourth) = next_notify(&mut desk);
    assert_eq!(last.header("Subscription-State"), "terminated;reason=timeout");
    says(&fourth, &["version=\"3\"", "state=\"full\"", &desk.contact()]);
    server.counts("frontdesk_notifications_total", &[("outcome", "answered")], |count| count == 4.0);
    server.counts("frontdesk_subscriptions", &[], |count| count == 0.0);
}

#[test]
fn another_user_subscribes_over_tcp() {
    // checklist 155
    let server = setup();
    let mut board = Phone::tcp("board", server.address());
    subscribe(&mut board, "lamps");
    let (_, first) = next_notify(&mut board);
    says(&first, &["version=\"0\"", "state=\"init\""]);
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let (_, second) = next_notify(&mut board);
    says(&second, &["version=\"1\"", "state=\"active\"", "event=\"registered\"", &bob.contact()]);
    let gone = bob.register(Some("*")).with("Expires", 0);
    bob.authenticated(gone, Credentials::new("bob", "builder"));
    bob.response(200);
    let (_, third) = next_notify(&mut board);
    says(&third, &["version=\"2\"", "state=\"terminated\"", "event=\"unregistered\""]);
    let mut carol = Phone::tcp("carol", server.address());
    let asked = carol.request("SUBSCRIBE", "sip:bob@office.example").with("Event", "reg");
    carol.authenticated(asked, Credentials::new("carol", "christmas"));
    carol.response(403);
}

#[test]
fn a_restart_ends_subscriptions_without_a_notify() {
    // checklist 155
    let server = setup();
    let ip = server.ip();
    let mut desk = Phone::udp("bob", server.address());
    let mut dialog = subscribe(&mut desk, "builder");
    next_notify(&mut desk);
    let _server = Server::start_in(server.stop(), ip, CLOSED);
    desk.send(dialog.request("SUBSCRIBE").with("Event", "reg").with("Expires", 600));
    desk.response(481);
}
