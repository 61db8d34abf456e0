//! JsSIP in a browser: it registers and calls over WebSocket with sound, with another JsSIP and with the phone of the
//! server, and over secure WebSocket. Its page comes from another origin. `jssip/` beside this file has the page; the npm packages are in the build
//! folder, where `tests/run` installs them.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use super::harness::browser::{Browser, LOOPBACK};
use super::harness::server::{CLOSED, fresh_ip};
use super::harness::{Authority, PATIENCE, Server, wait_for};
use super::phone::{self, CALL, STATE};
use super::secure::trust;
use super::site::serve;

/// The web site with the page.
fn site() -> SocketAddr {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let packages = workspace.join(target).join("jssip/node_modules");
    assert!(packages.exists(), "no {}: tests/run makes it", packages.display());
    serve(vec![("/node_modules/", packages), ("/", workspace.join("tests/page/jssip"))])
}

/// A browser with a registered JsSIP.
struct Client {
    page: Browser,
    read: u64,
}

impl Client {
    /// Registers at the WebSocket address `url`, in a browser that shows the page.
    #[track_caller]
    fn register(mut page: Browser, url: &str, user: &str, password: &str) -> Self {
        page.shows("typeof start === 'function'");
        page.ask(&format!("start('{url}', '{user}', '{password}')"));
        let mut client = Self { page, read: 0 };
        client.says("registered");
        client
    }

    /// Waits for the next event, which must be this one.
    #[track_caller]
    fn says(&mut self, what: &str) {
        self.page.shows(&format!("said.length > {}", self.read));
        assert_eq!(self.page.ask(&format!("said[{}]", self.read)), what, "{}", self.page.ask("said.join()"));
        self.read += 1;
    }

    /// Waits until sound arrives.
    #[track_caller]
    fn hears(&mut self) {
        let hears = || self.page.ask("received()").as_u64().is_some_and(|packets| packets > 10).then_some(());
        assert!(wait_for(PATIENCE, hears).is_some(), "no sound arrives");
    }

    fn run(&mut self, command: &str) {
        self.page.ask(command);
    }
}

/// A call that is accepted, and that the caller ends.
#[track_caller]
fn call_with_sound(caller: &mut Client, user: &str, callee: &mut Client) {
    caller.run(&format!("call('{user}')"));
    callee.says("a call rings");
    caller.says("it rings there");
    callee.run("answer()");
    for client in [&mut *caller, &mut *callee] {
        client.says("accepted");
        client.says("confirmed");
        client.hears();
    }
    caller.run("hangUp()");
    caller.says("ended by local");
    callee.says("ended by remote");
}

#[test]
fn jssip_registers_and_calls_over_secure_websocket() {
    let (authority, ip) = (Authority::new(), fresh_ip());
    let certificate = authority.issue("office", &["office.example", &ip.to_string()]);
    let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let server = Server::start_in(folder, ip, &format!("{CLOSED}{}", authority.config(&certificate, "")));
    let (site, url) = (format!("http://{}/", site()), format!("wss://{}", server.secure_websocket()));
    let browser = || Browser::open_with(&site, &[LOOPBACK], |home| trust(home, &authority));

    // A browser that does not know the authority opens no connection.
    let mut stranger = Browser::open(&site);
    stranger.shows("typeof start === 'function'");
    stranger.ask(&format!(
        "start('{url}', 'alice', 'wonderland'), agent.on('disconnected', () => said.push('disconnected')), null"
    ));
    stranger.shows("said.includes('disconnected')");
    drop(stranger);

    let mut alice = Client::register(browser(), &url, "alice", "wonderland");
    let mut bob = Client::register(browser(), &url, "bob", "builder");
    call_with_sound(&mut alice, "bob", &mut bob);
    call_with_sound(&mut bob, "alice", &mut alice);
    bob.run("agent.unregister()");
    bob.says("unregistered");
    server.counts("frontdesk_bindings", &[], |count| count == 1.0);
    let metrics = server.metrics();
    assert_eq!(metrics.sum("frontdesk_requests_forwarded_total", &[("method", "BYE"), ("transport", "wss")]), 2.0);
    assert_eq!(metrics.sum("frontdesk_requests_received_total", &[("transport", "ws")]), 0.0);
}

#[test]
fn jssip_registers_and_calls() {
    let server = Server::start(CLOSED);
    let (site, url) = (format!("http://{}/", site()), format!("ws://{}", server.websocket()));
    let mut alice = Client::register(Browser::open(&site), &url, "alice", "wonderland");
    let mut bob = Client::register(Browser::open(&site), &url, "bob", "builder");
    call_with_sound(&mut alice, "bob", &mut bob);

    bob.run("call('alice')");
    alice.says("a call rings");
    bob.says("it rings there");
    alice.run("decline()");
    alice.says("failed: Rejected");
    bob.says("failed: 603");
    bob.run("call('carol')");
    bob.says("failed: 480");

    // The phone of the server calls it, and JsSIP hangs up.
    let mut carol = phone::open(&server);
    phone::sign_in(&mut carol, "carol", "christmas");
    carol.shows(&format!("{STATE} === 'Ready'"));
    phone::call(&mut carol, "alice");
    alice.says("a call rings");
    alice.run("answer()");
    carol.shows(&format!("{CALL} === 'Connected'"));
    phone::hears(&mut carol);
    alice.says("accepted");
    alice.says("confirmed");
    alice.hears();
    alice.run("hangUp()");
    phone::reads(&mut carol, "recent", "alice has hung up.");
    alice.says("ended by local");
    alice.run("agent.unregister()");
    alice.says("unregistered");
    server.counts("frontdesk_bindings", &[], |count| count == 2.0);
}
