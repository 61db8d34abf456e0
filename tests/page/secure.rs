//! The phone in the browser over https and secure WebSocket, with a certificate that the browser verifies: by the server
//! itself, and by nginx before it (Debian package `nginx-light`).

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::harness::browser::{Browser, LOOPBACK};
use super::harness::process::Process;
use super::harness::server::{CLOSED, fresh_ip};
use super::harness::tls::Pair;
use super::harness::{Authority, PATIENCE, Phone, Server, wait_for};
use super::phone::{CALL, STATE, call, click, hears, reads, sign_in};

/// Makes the browser with this home folder trust the authority: the database of certificates that Chromium shares with
/// other programs.
pub(super) fn trust(home: &Path, authority: &Authority) {
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

/// Starts nginx, as one process, with the configuration in docs/tls.md, other addresses and this certificate. It connects to the
/// server from `source`.
fn nginx(folder: &Path, listen: SocketAddr, source: IpAddr, server: &Server, certificate: &Pair) -> Process {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tls.md");
    let page = std::fs::read_to_string(page).expect("a page");
    let (_, rest) = page.split_once("nginx:\n\n").expect("the example");
    let (example, _) = rest.split_once("\n\n").expect("its end");
    let mut text = example.to_owned();
    let live = "/etc/letsencrypt/live/phones.office.example";
    for (documented, here) in [
        ("listen 443 ssl", format!("listen {listen} ssl")),
        (&format!("{live}/fullchain.pem"), certificate.certificate.display().to_string()),
        (&format!("{live}/privkey.pem"), certificate.private_key.display().to_string()),
        ("http://127.0.0.1:5080;", format!("http://{}; proxy_bind {source};", server.websocket())),
    ] {
        assert!(text.contains(documented), "no {documented} in\n{text}");
        text = text.replace(documented, &here);
    }
    let file = folder.join("nginx.conf");
    let text = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr; events {{}} http {{ access_log off;\n{text}\n}}\n"
    );
    std::fs::write(&file, text).expect("a file");
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(file);
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin");
    let process = Process::spawn(command.env("PATH", path));
    assert!(wait_for(PATIENCE, || TcpStream::connect(listen).ok()).is_some(), "nginx does not listen");
    process
}

#[test]
fn browsers_call_through_nginx() {
    let (authority, proxy) = (Authority::new(), fresh_ip());
    let listen = SocketAddr::new(proxy, 8443);
    let certificate = authority.issue("phones", &[&proxy.to_string()]);
    let rules = format!("trusted: [{proxy}]\nws: {{ origins: [\"https://{listen}\"] }}\n");
    let server = Server::start(&format!("{CLOSED}{rules}"));
    let folder = TempDir::with_prefix("frontdesk-nginx-").expect("a temporary folder");
    let nginx = nginx(folder.path(), listen, proxy, &server, &certificate);

    let mut alice = Browser::open_with(&format!("https://{listen}/phone"), &[LOOPBACK], |home| trust(home, &authority));
    alice.shows("!document.getElementById('sign-in').hidden");
    sign_in(&mut alice, "alice", "wonderland");
    alice.shows(&format!("{STATE} === 'Ready'"));
    // The address is that of the browser, because nginx sets X-Forwarded-For.
    server.logs("alice registered from 127.0.0.1 over ws");
    let mut bob = Phone::udp("bob", server.address()).registered_as("builder");
    call(&mut alice, "bob");
    let at_bob = bob.expect("INVITE");
    bob.reply(&at_bob, 180);
    alice.shows(&format!("{CALL} === 'Ringing…'"));
    bob.reply(&at_bob, 486);
    reads(&mut alice, "notice", "bob is busy.");
    // The page where users forward their calls, by the same way: nginx changes Host.
    let mut carol = Browser::open_with(&format!("https://{listen}/me"), &[], |home| trust(home, &authority));
    carol.shows("!document.getElementById('sign-in').hidden");
    sign_in(&mut carol, "carol", "christmas");
    carol.shows(&format!("{STATE} === 'signed in'"));
    carol.ask("document.getElementById('always').value = 'bob'");
    click(&mut carol, "save");
    carol.shows(&format!("{STATE} === 'saved'"));
    drop(nginx);
}
