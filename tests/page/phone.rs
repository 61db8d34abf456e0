//! The phone in the browser: two tabs that call each other, with the microphone that Chromium imitates.

use std::path::Path;

use super::harness::Server;
use super::harness::browser::Browser;
use super::harness::server::CLOSED;

pub(crate) const STATE: &str = "document.getElementById('state').innerText";
pub(crate) const CALL: &str = "document.getElementById('call-state').innerText";

pub(crate) fn open(server: &Server) -> Browser {
    let mut page = Browser::open(&format!("http://{}/phone", server.http()));
    page.shows("!document.getElementById('sign-in').hidden");
    page
}

pub(crate) fn sign_in(page: &mut Browser, user: &str, password: &str) {
    page.ask(&format!(
        "document.getElementById('user').value = '{user}', document.getElementById('password').value = '{password}', \
         document.getElementById('sign-in-form').requestSubmit()"
    ));
}

pub(crate) fn call(page: &mut Browser, user: &str) {
    page.ask(&format!(
        "document.getElementById('target').value = '{user}', document.getElementById('dial').requestSubmit()"
    ));
}

pub(crate) fn click(page: &mut Browser, id: &str) {
    page.ask(&format!("document.getElementById('{id}').click()"));
}

#[track_caller]
pub(crate) fn reads(page: &mut Browser, id: &str, text: &str) {
    page.shows(&format!("document.getElementById('{id}').innerText.includes('{text}')"));
}

/// Waits until more packets with sound have arrived.
#[track_caller]
pub(crate) fn hears(page: &mut Browser) {
    let packets = "import('/phone/main.js').then(({ phone }) => phone.call.media.packetsReceived())";
    let before = page.ask(packets).as_u64().expect("a number");
    let more = super::harness::wait_for(super::harness::PATIENCE, || {
        (page.ask(packets).as_u64().expect("a number") > before + 10).then_some(())
    });
    assert!(more.is_some(), "no sound arrives");
}

#[test]
fn two_browsers_call_each_other() {
    let server = Server::start(CLOSED);
    let mut alice = open(&server);
    let mut bob = open(&server);
    alice.resize(1000, 800);
    bob.fits_a_phone(844);

    sign_in(&mut alice, "alice", "wrong");
    reads(&mut alice, "notice", "The user name or the password is wrong.");
    sign_in(&mut alice, "alice", "wonderland");
    sign_in(&mut bob, "bob", "builder");
    alice.shows(&format!("{STATE} === 'Ready'"));
    bob.shows(&format!("{STATE} === 'Ready'"));
    bob.fits_a_phone(844);
    assert!(alice.ask("sessionStorage.getItem('phone-account')").is_null(), "the password is stored");

    call(&mut alice, "carol");
    reads(&mut alice, "notice", "carol cannot be reached now.");

    // Ringing, answer, sound, keys, mute, the end.
    call(&mut alice, "bob");
    bob.shows("document.title === 'alice is calling'");
    alice.shows(&format!("{CALL} === 'Ringing…'"));
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR"));
    bob.picture(&pictures.join("phone-ringing.png"));
    click(&mut bob, "answer");
    alice.shows(&format!("{CALL} === 'Connected'"));
    bob.shows(&format!("{CALL} === 'Connected'"));
    hears(&mut alice);
    hears(&mut bob);
    click(&mut alice, "keys");
    alice.ask("document.querySelectorAll('#keypad button')[4].click()");
    reads(&mut alice, "tones", "5");
    click(&mut alice, "mute");
    reads(&mut alice, "call-state", "You are muted");
    alice.picture(&pictures.join("phone-call.png"));
    click(&mut alice, "hang-up");
    reads(&mut bob, "recent", "alice has hung up.");

    // Declined, and given up.
    call(&mut bob, "alice");
    alice.shows("!document.getElementById('answer').hidden");
    click(&mut alice, "hang-up");
    reads(&mut bob, "notice", "alice declined the call.");
    call(&mut bob, "alice");
    alice.shows("!document.getElementById('answer').hidden");
    click(&mut bob, "hang-up");
    reads(&mut alice, "recent", "Missed call from bob.");

    // A phone's screen needs no sideways scrolling, and nothing came from elsewhere.
    assert_eq!(bob.ask("document.documentElement.scrollWidth"), 390);
    let foreign =
        "performance.getEntriesByType('resource').filter(entry => !entry.name.startsWith(location.origin)).length";
    assert_eq!(bob.ask(foreign), 0);

    click(&mut bob, "sign-out");
    bob.shows("!document.getElementById('sign-in').hidden");
    call(&mut alice, "bob");
    reads(&mut alice, "notice", "bob cannot be reached now.");
    server.stop();
    alice.shows(&format!("{STATE}.startsWith('The connection') || {STATE}.startsWith('The server does not answer')"));
}
