//! The page of a user: signs in, sets a forward, and a call over SIP goes there.

use std::path::Path;

use super::harness::browser::Browser;
use super::harness::digest::Credentials;
use super::harness::message::ack_of;
use super::harness::server::CLOSED;
use super::harness::{Phone, Server, http};
use super::phone::{STATE, click, reads, sign_in};

const HOSTILE: &str = "<img src=x onerror=window.taken=1>";

fn open(server: &Server) -> Browser {
    // The server listens at another loopback address, which is as trustworthy as localhost.
    let mut page = Browser::open(&format!("http://{}/me", server.http()));
    page.shows("!document.getElementById('sign-in').hidden");
    page
}

fn fill(page: &mut Browser, id: &str, text: &str) {
    page.ask(&format!("document.getElementById('{id}').value = '{text}'"));
}

fn value(page: &mut Browser, id: &str) -> String {
    let value = page.ask(&format!("document.getElementById('{id}').value"));
    value.as_str().expect("a text").to_owned()
}

/// alice calls bob: this phone gets the call.
#[track_caller]
fn alice_calls_bob(server: &Server, phone: &mut Phone) {
    let mut alice = Phone::tcp("alice", server.address()).registered_as("wonderland");
    let invite = alice.invite("sip:bob@office.example");
    let sent = alice.authenticated(invite, Credentials::new("alice", "wonderland"));
    let received = phone.expect("INVITE");
    phone.reply(&received, 486);
    let busy = alice.next_final();
    alice.send(ack_of(&sent, &busy));
    phone.expect("ACK");
}

#[test]
fn a_user_forwards_calls_and_the_setting_is_kept() {
    let config = format!("{CLOSED}location: {{ store: disk, path: data/location }}\n");
    let server = Server::start(&config);
    let mut bob = Phone::udp("bob", server.address());
    let register = bob.register(Some(&format!("<{}>", bob.contact()))).with("User-Agent", HOSTILE);
    bob.authenticated(register, Credentials::new("bob", "builder"));
    bob.response(200);
    let mut carol = Phone::udp("carol", server.address()).registered_as("christmas");
    alice_calls_bob(&server, &mut bob);

    let mut page = open(&server);
    page.fits_a_phone(900);
    page.resize(1000, 900);
    sign_in(&mut page, "bob", "wrong");
    reads(&mut page, "notice", "The user name or the password is wrong.");
    sign_in(&mut page, "bob", "builder");
    page.shows(&format!("{STATE} === 'signed in'"));
    reads(&mut page, "account-name", "bob@office.example");
    // The name that a phone gives itself is shown as text.
    reads(&mut page, "phones", "onerror");
    assert!(page.ask("window.taken ?? null").is_null());

    fill(&mut page, "always", "carol");
    click(&mut page, "save");
    page.shows(&format!("{STATE} === 'saved'"));
    reads(&mut page, "always-set", "set by you");
    alice_calls_bob(&server, &mut carol);
    fill(&mut page, "busy", "nobody");
    click(&mut page, "save");
    reads(&mut page, "notice", "is no user, group or number");
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR"));
    page.picture(&pictures.join("me.png"));
    page.fits_a_phone(1200);
    page.picture(&pictures.join("me-phone.png"));

    // It is kept over a restart, and the page, which is still open, gets a new challenge.
    let (ip, folder) = (server.ip(), server.stop());
    let server = Server::start_in(folder, ip, &config);
    alice_calls_bob(&server, &mut carol);
    fill(&mut page, "busy", "");
    page.ask("document.getElementById('do_not_disturb').checked = true");
    click(&mut page, "save");
    page.shows(&format!("{STATE} === 'saved'"));
    reads(&mut page, "do_not_disturb-set", "set by you");
    assert_eq!(value(&mut page, "always"), "carol");
    page.ask("document.querySelector('[data-clears=do_not_disturb]').click()");
    page.shows("document.getElementById('do_not_disturb-set').innerText === ''");
    page.ask("document.querySelector('[data-clears=always]').click()");
    page.shows("document.getElementById('always-set').innerText === ''");
    assert_eq!(value(&mut page, "always"), "");
    alice_calls_bob(&server, &mut bob);

    assert_eq!(page.ask("document.cookie + Object.keys(sessionStorage) + Object.keys(localStorage)"), "");
    let foreign =
        "performance.getEntriesByType('resource').filter(entry => !entry.name.startsWith(location.origin)).length";
    assert_eq!(page.ask(foreign), 0);
    click(&mut page, "sign-out");
    page.shows("document.getElementById('me').hidden");
    server.stop();
    sign_in(&mut page, "bob", "builder");
    reads(&mut page, "notice", "The server does not answer.");
}

/// The fields of row `at` of who rings beside the phones.
fn row(at: usize) -> String {
    format!("document.getElementById('also_ring').children[{at}]")
}

#[test]
fn a_user_sets_who_rings_beside_the_own_phones() {
    let config = format!("{CLOSED}hours: {{ office: {{ zone: UTC, open: [\"mon-sun 00:00-24:00\"] }} }}\n");
    let server = Server::start(&config);
    let _bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut carol = Phone::udp("carol", server.address()).registered_as("christmas");
    let mut page = open(&server);
    page.resize(1000, 1200);
    sign_in(&mut page, "bob", "builder");
    page.shows(&format!("{STATE} === 'signed in'"));
    let put = |page: &mut Browser, at: usize, name: &str, text: &str| {
        page.ask(&format!("{}.querySelector('[name={name}]').value = '{text}'", row(at)));
    };
    click(&mut page, "also_ring-add");
    put(&mut page, 0, "to", "carol");
    put(&mut page, 0, "hours", "office");
    // A row without a name is left out.
    click(&mut page, "also_ring-add");
    click(&mut page, "save");
    page.shows(&format!("{STATE} === 'saved'"));
    reads(&mut page, "also_ring-set", "set by you");
    assert_eq!(page.ask("document.getElementById('also_ring').children.length"), 1);
    let set = http::get(server.http(), "/api/v1/users/bob/forwarding").json()["set"].clone();
    assert_eq!(set, serde_json::json!({ "also_ring": [{ "to": "carol", "hours": "office" }] }));
    // carol rings beside bob.
    let mut alice = Phone::tcp("alice", server.address()).registered_as("wonderland");
    let invite = alice.invite("sip:bob@office.example");
    alice.authenticated(invite, Credentials::new("alice", "wonderland"));
    carol.expect("INVITE");

    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR"));
    page.picture(&pictures.join("me-also-ring.png"));
    page.fits_a_phone(1400);
    page.picture(&pictures.join("me-also-ring-phone.png"));
    // Nothing has changed.
    click(&mut page, "save");
    page.shows(&format!("{STATE} === 'nothing to save'"));
    put(&mut page, 0, "to", "sip:carol@192.0.2.66");
    click(&mut page, "save");
    reads(&mut page, "notice", "which only the administrator may set");
    put(&mut page, 0, "to", "carol");
    put(&mut page, 0, "after", "10s");
    put(&mut page, 0, "hours", "");
    click(&mut page, "save");
    page.shows(&format!("{STATE} === 'saved'"));
    let set = http::get(server.http(), "/api/v1/users/bob/forwarding").json()["set"].clone();
    assert_eq!(set, serde_json::json!({ "also_ring": [{ "to": "carol", "after": "10s" }] }));
    // The only row is removed: nobody rings beside bob, whatever the office says.
    page.ask(&format!("{}.querySelector('button').click()", row(0)));
    click(&mut page, "save");
    page.shows(&format!("{STATE} === 'saved'"));
    let set = http::get(server.http(), "/api/v1/users/bob/forwarding").json()["set"].clone();
    assert_eq!(set, serde_json::json!({ "also_ring": [] }));
    page.ask("document.querySelector('[data-clears=also_ring]').click()");
    page.shows("document.getElementById('also_ring-set').innerText === ''");
}

#[test]
fn too_many_wrong_passwords_end_in_a_ban() {
    let server = Server::start(&format!("{CLOSED}defence: {{ failures: 2, ban: 1m }}\n"));
    let mut page = open(&server);
    for password in ["wrong", "wrong too"] {
        sign_in(&mut page, "bob", password);
        page.shows(&format!("{STATE} === 'Signing in…' || true"));
        reads(&mut page, "notice", "The user name or the password is wrong.");
        page.ask("document.getElementById('notice').textContent = ''");
    }
    sign_in(&mut page, "bob", "builder");
    reads(&mut page, "notice", "too many wrong passwords from this address");
    assert_eq!(page.ask("document.getElementById('me').hidden"), true);
}
