//! The pages of the server in a real browser (Debian package `chromium`). The status page shows events while they happen, at
//! the widths of a desktop and of a phone, and text from a phone stays text. The phone calls other browsers and other phones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test that cannot go on must say so and stop"
)]

mod desk_phone;
#[path = "../harness/mod.rs"]
mod harness;
mod jssip;
mod me;
mod modules;
mod phone;
mod secure;
mod site;
mod status;

use std::path::Path;

use harness::browser::Browser;
use harness::digest::Credentials;
use harness::server::{CLOSED, OPEN};
use harness::{Dialog, Phone, Server};

const HOSTILE: &str = "<img src=x onerror=window.taken=1><script>window.taken=2</script>";

#[track_caller]
fn registered(user: &str, device: &str, server: &Server) -> Phone {
    let mut phone = Phone::udp(user, server.address());
    let register = phone.register(Some(&format!("<{}>", phone.contact()))).with("Expires", 600);
    phone.send(register.with("User-Agent", device));
    phone.response(200);
    phone
}

#[test]
fn the_page_shows_events_while_they_happen() {
    let server = Server::start(OPEN);
    let mut bob = registered("bob", "Yealink SIP-T46S 66.84.0.15", &server);
    let mut page = Browser::open(&format!("http://{}/", server.http()));
    page.resize(1280, 1000);
    page.shows("document.getElementById('users').innerText.includes('Yealink SIP-T46S')");
    page.shows("document.getElementById('state').innerText === 'ready'");
    page.ask("window.same = true");
    // Issue 18: "1 phones of 1 users".
    page.shows("document.getElementById('facts').innerText.includes('1 phone of 1 user ')");

    // A phone registers and calls, and the call is answered; the page is not reloaded.
    let mut alice = registered("alice", HOSTILE, &server);
    page.shows("document.getElementById('users').innerText.includes('onerror')");
    let (invite, at_bob) = alice.calls("sip:bob@office.example", &mut bob);
    page.shows("document.getElementById('now').innerText.includes('alice → bob')");
    bob.reply(&at_bob, 200);
    let ok = alice.response(200);
    page.shows("/answered .* ago/.test(document.getElementById('now').innerText)");
    alice.send(Dialog::caller(&invite, &ok).request("BYE"));
    let bye = bob.expect("BYE");
    bob.reply(&bye, 200);
    alice.response(200);
    page.shows("document.getElementById('ended').innerText.includes('answered by Yealink SIP-T46S')");
    page.shows("document.getElementById('ended').innerText.includes('alice hung up after')");
    page.shows("document.getElementById('now').innerText.includes('None.')");
    let invite = bob.invite("sip:carol@office.example");
    bob.send(invite);
    bob.response(480);
    page.shows("document.getElementById('failures').innerText.includes('480')");
    // The calls of one user, and those of no day.
    let search = |id: &str, text: &str| {
        let field = format!("const field = document.getElementById('{id}'); field.value = '{text}'");
        format!("(() => {{ {field}; field.dispatchEvent(new Event('input')); }})()")
    };
    page.ask(&search("call-search", "carol"));
    page.shows("!document.getElementById('ended').innerText.includes('alice')");
    page.shows("document.getElementById('ended').innerText.includes('carol')");
    page.ask(&search("call-day", "2020-02-02"));
    page.shows("document.getElementById('ended').innerText.includes('No such call.')");
    for id in ["call-search", "call-day"] {
        page.ask(&search(id, ""));
    }
    page.shows("document.getElementById('ended').innerText.includes('alice')");
    assert_eq!(page.ask("window.same"), true, "the page was loaded again");

    // The name that a phone gives itself is shown as text.
    assert_eq!(page.ask("document.images.length + document.scripts.length"), 1);
    assert!(page.ask("window.taken ?? null").is_null());
    let injected = "try { document.body.append(Object.assign(document.createElement('script'), { text: 'window.taken = 3' })) } catch {}";
    page.ask(&format!("(() => {{ {injected} }})(), null"));
    assert!(page.ask("window.taken ?? null").is_null(), "the policy lets foreign scripts run");

    // Pictures for a person to look at. At the width of a phone there is no sideways scrolling.
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR"));
    page.picture(&pictures.join("page-desk.png"));
    page.fits_a_phone(1600);
    page.picture(&pictures.join("page-phone.png"));

    // The button next to a phone.
    page.ask("document.querySelector('#users button').click()");
    page.shows("!document.getElementById('users').innerText.includes('onerror')");
    page.shows("document.getElementById('users').innerText.includes('Yealink')");
    assert_eq!(alice.bindings().len(), 0);

    server.stop();
    page.shows("document.getElementById('state').innerText === 'the server does not answer'");
}

#[test]
fn the_page_shows_groups_trunks_and_the_rules_of_users() {
    let config = "\
domains: [office.example]
authentication: off
accounts:
  - { user: alice, name: Alice Moser, password: a, forward: { busy: bob, no_answer: bob } }
  - { user: bob, password: b }
  - { user: carol, password: c, do_not_disturb: true }
groups:
  - { user: \"600\", name: Sales, members: [alice, bob, carol, \"sip:door@192.0.2.9\"], otherwise: bob }
trunks:
  - { name: provider, server: \"sip:127.0.0.9:9;transport=tcp\", user: u, password: p, register: true, max_calls: 4 }
  - { name: backup, server: 192.0.2.80, probe: off }
";
    let server = Server::start(config);
    let mut alice = registered("alice", "phone of alice", &server);
    let mut page = Browser::open(&format!("http://{}/", server.http()));
    page.resize(1280, 1000);
    let reads = |page: &mut Browser, id: &str, text: &str| {
        page.shows(&format!("document.getElementById('{id}').innerText.includes('{text}')"));
    };
    for text in ["Sales", "1 of 3 free", "alice Alice Moser", "no phone", "do not disturb", "sip:door@192.0.2.9"] {
        reads(&mut page, "groups", text);
    }
    for text in ["does not work", "not registered", "0 of 4 calls", "last failure: 503", "backup"] {
        reads(&mut page, "trunks", text);
    }
    for text in ["Alice Moser", "if busy → bob", "after 20s → bob", "do not disturb: on"] {
        reads(&mut page, "users", text);
    }
    // What is set while the server runs is shown, and marked.
    let path = "/api/v1/users/alice/forwarding";
    let put = harness::http::put(
        server.http(),
        path,
        r#"{"always":"carol","busy":"off","also_ring":[{"to":"bob","after":"5s"}]}"#,
    );
    assert_eq!(put.status, 200, "{}", put.body);
    for text in ["all calls → carol (set)", "if busy → not forwarded (set)", "also rings: bob after 5s (set)"] {
        reads(&mut page, "users", text);
    }
    let put = harness::http::put(server.http(), path, r#"{"always":null,"also_ring":null}"#);
    assert_eq!(put.status, 200, "{}", put.body);
    // A member who calls is not free.
    let mut bob = registered("bob", "phone of bob", &server);
    reads(&mut page, "groups", "2 of 3 free");
    let invite = bob.invite("sip:alice@office.example");
    bob.send(invite);
    alice.expect("INVITE");
    reads(&mut page, "groups", "0 of 3 free");
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR"));
    page.picture(&pictures.join("page-office.png"));
    page.fits_a_phone(1600);
    page.picture(&pictures.join("page-office-phone.png"));
}

/// Issue 18: the page says "all is well" beside refused passwords and names neither address nor user nor time; refusals do not
/// name their rule; the phone that is gone, busy and declined calls.
#[test]
fn the_page_names_who_was_refused_and_why() {
    let server = Server::start(&format!("{CLOSED}timers: {{ t1: 100ms }}\n"));
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut page = Browser::open(&format!("http://{}/", server.http()));
    page.resize(1280, 1000);
    let reads = |page: &mut Browser, id: &str, text: &str| {
        page.shows(&format!("document.getElementById('{id}').innerText.includes('{text}')"));
    };
    page.shows("document.getElementById('state').innerText === 'ready'");
    // A phone with a wrong domain.
    let mut lost = Phone::udp("105", server.address());
    let register = lost.request("REGISTER", "sip:wrong.example").set("To", "<sip:105@wrong.example>");
    lost.send(register);
    lost.response(403);
    reads(&mut page, "refusals", "105@wrong.example");
    reads(&mut page, "refusals", "Not a domain of this server (see domains, aliases)");
    // Wrong passwords.
    for _ in 0..3 {
        let mut guesser = Phone::udp("alice", server.address());
        let register = guesser.register(Some("<sip:alice@192.0.2.66>"));
        guesser.authenticated(register, Credentials::new("alice", "guess"));
        guesser.response(401);
    }
    let ip = lost.local().ip();
    for text in ["wrong password of alice", &format!("from {ip}"), "3 times", "and 1 other sender"] {
        reads(&mut page, "state", text);
    }
    page.shows("document.getElementById('state').className === 'wait'");
    // Calls: to another domain, to a phone that is busy, and to a phone that is gone.
    let call = |to: &str, status: Option<u16>, bob: &mut Phone| {
        let mut alice = Phone::udp("alice", server.address());
        let invite = alice.invite(to);
        match status {
            Some(403) => drop(alice.send(invite)),
            _ => drop(alice.authenticated(invite, Credentials::new("alice", "wonderland"))),
        }
        match status {
            Some(486) => {
                let received = bob.expect("INVITE");
                bob.reply(&received, 486);
                alice.response(486);
            }
            Some(status) => drop(alice.response(status)),
            None => drop(bob.expect("INVITE")),
        }
    };
    call("sip:dave@far.example", Some(403), &mut bob);
    reads(&mut page, "ended", "Not relaying to foreign domains (see foreign)");
    call("sip:bob@office.example", Some(486), &mut bob);
    reads(&mut page, "ended", "called 1 phone, after");
    call("sip:bob@office.example", None, &mut bob);
    reads(&mut page, "now", "alice → bob");
    reads(&mut page, "ended", "no phone responded");
    reads(&mut page, "now", "None.");
    // Busy is no failure.
    page.shows("!document.getElementById('failures').innerText.includes('486')");
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR"));
    page.picture(&pictures.join("page-refused.png"));
    page.fits_a_phone(2000);
    page.picture(&pictures.join("page-refused-phone.png"));
}

#[test]
fn the_page_shows_the_messages_of_calls() {
    let server = Server::start(&format!("{CLOSED}trace: {{ calls: 2 }}\n"));
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    let mut page = Browser::open(&format!("http://{}/", server.http()));
    page.resize(1280, 1200);
    page.shows("document.getElementById('traces').innerText.includes('No call yet.')");
    let mut alice = Phone::udp("alice", server.address());
    let invite = alice.invite("sip:bob@office.example").with("User-Agent", HOSTILE);
    alice.authenticated(invite, Credentials::new("alice", "wonderland"));
    let at_bob = bob.expect("INVITE");
    let row = "document.querySelector('#traces details')";
    page.shows(&format!("{row}.innerText.includes('alice → bob') && {row}.innerText.includes('5 messages')"));
    // The row is opened with the keyboard.
    page.ask(&format!("{row}.querySelector('summary').focus()"));
    page.press("Enter");
    page.shows(&format!("{row}.open && {row}.querySelectorAll('.message').length === 5"));
    page.ask(&format!("{row}.querySelectorAll('.message')[3].open = true"));
    // It stays open while the call goes on.
    bob.reply(&at_bob, 486);
    alice.response(486);
    page.shows(&format!("{row}.querySelectorAll('.message').length >= 7"));
    page.shows(&format!("/^\\d\\d:\\d\\d:\\d\\d.\\d{{3}}$/.test({row}.querySelector('.message span').innerText)"));
    let labels = page.ask(&format!("[...{row}.querySelectorAll('.label')].map(label => label.innerText).join()"));
    let labels = labels.as_str().expect("text");
    for label in
        ["INVITE bob@office.example", "407 Proxy Authentication Required (INVITE)", "486 As The Test Says (INVITE)"]
    {
        assert!(labels.contains(label), "{labels}");
    }
    let text = page.ask(&format!("{row}.querySelectorAll('.message')[3].querySelector('pre').innerText"));
    let text = text.as_str().expect("text");
    assert!(
        text.contains("Proxy-Authorization: Digest") && text.contains("response=\"xxxx") && text.contains(HOSTILE),
        "{text}"
    );
    assert!(page.ask("window.taken ?? null").is_null());
    assert_eq!(page.ask("document.images.length + document.scripts.length"), 1);
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR"));
    page.picture(&pictures.join("page-messages.png"));
    page.fits_a_phone(2600);
    page.picture(&pictures.join("page-messages-phone.png"));
    // The file is made without another origin; the name is what the browser would save.
    page.ask("HTMLAnchorElement.prototype.click = function () { window.saved = [this.download, this.href] }, null");
    page.ask(&format!("{row}.querySelector('button').click()"));
    page.shows("/^call-[0-9a-f]{8}.pcap$/.test(window.saved?.[0]) && window.saved[1].startsWith('blob:')");
    page.shows("document.getElementById('state').innerText === 'ready'");
}

#[test]
fn the_page_asks_for_the_token() {
    let server = Server::start(&format!("{OPEN}admin: {{ token: 0123456789abcdef }}\n"));
    let _bob = registered("bob", "phone", &server);
    let mut page = Browser::open(&format!("http://{}/", server.http()));
    page.shows("!document.getElementById('login').hidden && document.getElementById('content').hidden");
    assert_eq!(page.ask("document.body.innerText.includes('bob')"), false);
    page.ask("document.querySelector('#key input').value = '0123456789abcdef', document.getElementById('key').requestSubmit()");
    page.shows("document.getElementById('login').hidden && document.getElementById('users').innerText.includes('bob')");
    assert_eq!(page.ask("document.cookie"), "");
}
