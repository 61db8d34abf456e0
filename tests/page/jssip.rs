//! JsSIP in a browser: it registers and calls over WebSocket with sound, with another JsSIP and with the phone of the
//! server. Its page comes from another origin. `jssip/` beside this file has the page; the npm packages are in the build
//! folder, where `tests/run` installs them.

use std::net::SocketAddr;
use std::path::Path;

use super::harness::browser::Browser;
use super::harness::server::CLOSED;
use super::harness::{PATIENCE, Server, wait_for};
use super::phone::{self, CALL, STATE};
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
    #[track_caller]
    fn register(site: SocketAddr, server: &Server, user: &str, password: &str) -> Self {
        let mut page = Browser::open(&format!("http://{site}/"));
        page.shows("typeof start === 'function'");
        page.ask(&format!("start('ws://{}', '{user}', '{password}')", server.websocket()));
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

#[test]
fn jssip_registers_and_calls() {
    let server = Server::start(CLOSED);
    let site = site();
    let mut alice = Client::register(site, &server, "alice", "wonderland");
    let mut bob = Client::register(site, &server, "bob", "builder");

    alice.run("call('bob')");
    bob.says("a call rings");
    alice.says("it rings there");
    bob.run("answer()");
    for client in [&mut alice, &mut bob] {
        client.says("accepted");
        client.says("confirmed");
        client.hears();
    }
    alice.run("hangUp()");
    alice.says("ended by local");
    bob.says("ended by remote");

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
