//! What an administrator does with the status page: the walk-through of docs/troubleshooting.md, accounts, bans, the log.

use std::path::Path;

use tempfile::TempDir;

use super::harness::browser::Browser;
use super::harness::digest::Credentials;
use super::harness::server::{CLOSED, fresh_ip};
use super::harness::{Dialog, Phone, Server};

const TOKEN: &str = "0123456789abcdef";

fn open(server: &Server) -> Browser {
    let mut page = Browser::open(&format!("http://{}/", server.http()));
    page.resize(1280, 1200);
    page
}

#[track_caller]
fn reads(page: &mut Browser, id: &str, text: &str) {
    page.shows(&format!("document.getElementById('{id}').innerText.includes('{text}')"));
}

/// Selects a button by its text, twice if it asks back.
#[track_caller]
fn select(page: &mut Browser, within: &str, text: &str) {
    let button = format!("[...document.querySelectorAll('{within} button')].find(one => one.textContent === '{text}')");
    page.shows(&format!("{button} !== undefined"));
    page.ask(&format!("window.button = {button}, window.button.click(), null"));
    page.ask("window.button.textContent.startsWith('Really') && window.button.click(), null");
}

/// Pictures for a person to look at. At the width of a phone there is no sideways scrolling.
fn pictures(page: &mut Browser, name: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    page.picture(&folder.join(format!("{name}.png")));
    page.resize(390, 2600);
    assert_eq!(page.ask("document.documentElement.scrollWidth"), 390);
    page.picture(&folder.join(format!("{name}-phone.png")));
}

/// docs/troubleshooting.md, "With the status page alone".
#[test]
fn a_person_who_knows_no_sip_finds_out_what_is_wrong() {
    let server = Server::start(&format!("{CLOSED}timers: {{ t1: 100ms }}\n"));
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut alice = Phone::udp("alice", server.address()).registered_as("wonderland");
    let mut page = open(&server);
    page.shows("document.getElementById('state').innerText === 'ready'");

    // Why does this phone not register? It has another domain, and another one a wrong password.
    let mut lost = Phone::udp("105", server.address());
    let register = lost.request("REGISTER", "sip:pbx.example").set("To", "<sip:105@pbx.example>");
    lost.send(register);
    lost.response(403);
    let ip = lost.local().ip();
    reads(
        &mut page,
        "state",
        &format!("refused: Not a domain of this server (see domains, aliases) of 105@pbx.example from {ip}"),
    );
    let register = alice.register(Some(&format!("<{}>", alice.contact())));
    let mut guess = Phone::udp("alice", server.address());
    guess.authenticated(register, Credentials::new("alice", "guess"));
    guess.response(401);
    reads(&mut page, "state", "refused: wrong password of alice");
    reads(&mut page, "refusals", "105@pbx.example");

    // Why did this call fail?
    let invite = alice.invite("sip:dave@far.example");
    alice.send(invite);
    alice.response(403);
    page.ask("document.getElementById('call-search').value = 'dave', document.getElementById('call-search').dispatchEvent(new Event('input')), null");
    reads(&mut page, "ended", "alice → dave@far.example");
    reads(&mut page, "ended", "Not relaying to foreign domains (see foreign)");

    // Who hung up?
    let invite = alice.invite("sip:bob@office.example");
    let invite = alice.authenticated(invite, Credentials::new("alice", "wonderland"));
    let at_bob = bob.expect("INVITE");
    let answered = bob.reply(&at_bob, 200);
    let ok = alice.response(200);
    alice.send(Dialog::caller(&invite, &ok).ack());
    bob.expect("ACK");
    reads(&mut page, "now", "answered");
    bob.send(Dialog::callee(&at_bob, &answered).request("BYE"));
    let bye = alice.expect("BYE");
    alice.reply(&bye, 200);
    bob.response(200);
    reads(&mut page, "now", "None.");
    page.ask("document.getElementById('call-search').value = 'bob', document.getElementById('call-search').dispatchEvent(new Event('input')), null");
    reads(&mut page, "ended", "alice → bob");
    reads(&mut page, "ended", "the called party hung up after");
    page.shows("!document.getElementById('ended').innerText.includes('dave')");

    // The graphs say the same in numbers, and to a screen reader.
    page.ask("window.graphs = () => [...document.querySelectorAll('#graphs svg')].map(graph => graph.getAttribute('aria-label')).join('; '), null");
    page.shows("/registered: 2 phones now, 2 at most; calls: 2 calls, 1 failed; refused: [2-9] requests/.test(window.graphs())");

    // The log, opened with the keyboard.
    page.ask("document.querySelector('#log-section summary').focus()");
    page.press("Enter");
    reads(&mut page, "log", "registration of 105@pbx.example refused");
    pictures(&mut page, "page-walk-through");
}

#[test]
fn accounts_are_changed_on_the_page() {
    let folder = TempDir::with_prefix("frontdesk-accounts-").expect("a folder");
    let file = folder.path().join("accounts.yaml");
    std::fs::write(&file, "- { user: bob, password: builder }\n").expect("a file");
    let config = format!(
        "domains: [office.example]\nlocation: {{ store: memory }}\naccounts_file: {}\nadmin: {{ token: {TOKEN} }}\n",
        file.display()
    );
    let server = Server::start(&config);
    let mut page = open(&server);
    page.shows("!document.getElementById('login').hidden");
    page.ask(&format!(
        "document.querySelector('#key input').value = '{TOKEN}', document.getElementById('key').requestSubmit()"
    ));
    reads(&mut page, "users", "bob");
    // A new user, whose password is shown.
    page.ask("document.querySelector('#add-account input').value = '105', document.getElementById('add-account').requestSubmit()");
    reads(&mut page, "account-answer", "105 has the password");
    let password = |page: &mut Browser| {
        let text = page.ask("document.getElementById('account-answer').innerText");
        text.as_str().and_then(|text| text.split(' ').nth(4)).expect("a password").to_owned()
    };
    let first = password(&mut page);
    Phone::udp("105", server.address()).registered_as(&first);
    reads(&mut page, "users", "1 phone");
    // The same name again does not replace it.
    page.ask("document.querySelector('#add-account input').value = '105', document.getElementById('add-account').requestSubmit()");
    reads(&mut page, "account-answer", "has an account already");
    Phone::udp("105", server.address()).registered_as(&first);
    // Another password; then no account. Both ask back.
    let item = "#users li:first-child";
    select(&mut page, item, "new password");
    reads(&mut page, "account-answer", "105@office.example has the password");
    let second = password(&mut page);
    assert_ne!(first, second);
    Phone::udp("105", server.address()).registered_as(&second);
    pictures(&mut page, "page-accounts");
    select(&mut page, item, "remove account");
    reads(&mut page, "account-answer", "105@office.example has no account any more.");
    page.shows("!document.getElementById('users').innerText.includes('105')");
}

#[test]
fn a_ban_is_lifted_on_the_page() {
    let server = Server::start(&format!("{CLOSED}defence: {{ failures: 2 }}\n"));
    let mut page = open(&server);
    page.shows(
        "document.getElementById('state').innerText === 'ready' && document.getElementById('bans-section').hidden",
    );
    let ip = fresh_ip();
    let socket = std::net::UdpSocket::bind((ip, 0)).expect("a socket");
    let mut guesser = Phone::on_socket("bob", server.address(), socket);
    for _ in 0..2 {
        let register = guesser.register(Some("<sip:bob@192.0.2.66>"));
        guesser.authenticated(register, Credentials::new("bob", "guess"));
        guesser.response(401);
    }
    reads(&mut page, "bans", &ip.to_string());
    reads(&mut page, "bans", "2 failures as bob");
    pictures(&mut page, "page-bans");
    select(&mut page, "#bans", "lift");
    page.shows("document.getElementById('bans-section').hidden");
    guesser.registered_as("builder");
}
