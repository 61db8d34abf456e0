//! The phone in the browser over https and secure WebSocket, with a certificate that the browser verifies.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::harness::browser::{Browser, LOOPBACK};
use super::harness::server::{CLOSED, fresh_ip};
use super::harness::{Authority, Server};
use super::phone::{CALL, STATE, call, click, hears, reads, sign_in};

/// Makes the browser with this home folder trust the authority: the database of certificates that Chromium shares with
/// other programs.
fn trust(home: &Path, authority: &Authority) {
    let folder = home.join(".pki/nssdb");
    std::fs::create_dir_all(&folder).expect("a folder");
    let database = format!("sql:{}", folder.display());
    let certutil = |options: &[&str]| {
        let run = Command::new("certutil").args(["-d", &database]).args(options).output();
        let run = run.expect("certutil (Debian package libnss3-tools)");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    };
    certutil(&["-N", "--empty-password"]);
    let file = authority.file();
    certutil(&["-A", "-n", "authority of a test", "-t", "C,,", "-i", file.to_str().expect("a path in UTF-8")]);
}

#[test]
fn browsers_that_trust_the_authority_call_over_secure_websocket() {
    let (authority, ip) = (Authority::new(), fresh_ip());
    let certificate = authority.issue("office", &["office.example", &ip.to_string()]);
    let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let server = Server::start_in(folder, ip, &format!("{CLOSED}{}", authority.config(&certificate, "")));
    let url = format!("https://{}/phone", server.secure_websocket());

    let mut stranger = Browser::open(&url);
    stranger.shows("document.body.innerText.includes('ERR_CERT_AUTHORITY_INVALID')");
    drop(stranger);

    let open = || {
        let mut page = Browser::open_with(&url, &[LOOPBACK], |home| trust(home, &authority));
        page.shows("!document.getElementById('sign-in').hidden");
        page
    };
    let (mut alice, mut bob) = (open(), open());
    for (page, user, password) in [(&mut alice, "alice", "wonderland"), (&mut bob, "bob", "builder")] {
        sign_in(page, user, password);
        page.shows(&format!("{STATE} === 'Ready'"));
    }
    call(&mut alice, "bob");
    bob.shows("document.title === 'alice is calling'");
    alice.shows(&format!("{CALL} === 'Ringing…'"));
    click(&mut bob, "answer");
    alice.shows(&format!("{CALL} === 'Connected'"));
    hears(&mut alice);
    hears(&mut bob);
    click(&mut bob, "hang-up");
    reads(&mut alice, "recent", "bob has hung up.");
    let metrics = server.metrics();
    assert_eq!(metrics.sum("frontdesk_requests_forwarded_total", &[("method", "BYE"), ("transport", "wss")]), 1.0);
    assert_eq!(metrics.sum("frontdesk_requests_received_total", &[("transport", "ws")]), 0.0);
}
