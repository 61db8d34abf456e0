//! SIPp, a widely used traffic generator, as phones and callers. Its scenarios are in `sipp/`. Its exit code is the
//! result: 0 only if every step of the scenario happened as written.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::process::Process;
use crate::harness::server::{CLOSED, fresh_ip, run};
use crate::harness::{PATIENCE, Server, wait_for};

/// A transport as SIPp names it, and as a URI does.
#[derive(Clone, Copy)]
pub(crate) enum Over {
    Udp,
    Tcp,
}

impl Over {
    const fn option(self) -> &'static str {
        match self {
            Self::Udp => "u1",
            Self::Tcp => "t1",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// One SIPp process with one scenario.
pub(crate) struct Sipp {
    process: Process,
    folder: TempDir,
    scenario: &'static str,
    address: SocketAddr,
}

impl Sipp {
    /// Starts a scenario for one call on its own loopback address.
    fn start(server: &Server, scenario: &'static str, over: Over, options: &[&str]) -> Self {
        Self::start_at(fresh_ip(), server, scenario, over, options)
    }

    /// The same on this address.
    pub(crate) fn start_at(ip: IpAddr, server: &Server, scenario: &'static str, over: Over, options: &[&str]) -> Self {
        let address = SocketAddr::new(ip, 5060);
        let folder = TempDir::with_prefix("frontdesk-sipp-").expect("a temporary folder");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/clients/sipp/{scenario}.xml"));
        let mut command = Command::new("sipp");
        command.arg(server.address().to_string()).arg("-sf").arg(file);
        command.args(["-i", &address.ip().to_string(), "-p", "5060", "-t", over.option(), "-m", "1"]);
        command.args(["-nostdin", "-timeout", "30s", "-timeout_error", "-nd", "-default_behaviors", "none"]);
        command.args(["-trace_err", "-error_file", "errors.log", "-trace_msg", "-message_file", "messages.log"]);
        command.args(options);
        let process = run(command, folder.path());
        Self { process, folder, scenario, address }
    }

    /// Waits until it can be called.
    #[track_caller]
    pub(crate) fn listens(&mut self, over: Over) {
        if wait_for(PATIENCE, || listens(self.address, over).then_some(())).is_none() {
            self.process.kill();
            self.succeeds();
        }
    }

    /// Waits for success: every step happened as the scenario says.
    #[track_caller]
    pub(crate) fn succeeds(&mut self) {
        let status = self.process.wait(Duration::from_secs(40));
        let read = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        assert!(
            status.is_some_and(|status| status.success()),
            "SIPp ended {} with {status:?}\n{}\n{}\n{}",
            self.scenario,
            read("errors.log"),
            read("messages.log"),
            read("stderr.log")
        );
    }
}

/// A server with the accounts of alice and bob.
#[track_caller]
fn setup(config: &str) -> Server {
    Server::start(&format!("{CLOSED}{config}"))
}

/// A registered phone of bob that plays `scenario` when it is called.
fn phone(server: &Server, scenario: &'static str, over: Over, q: &str) -> Sipp {
    let mut phone = Sipp::start(server, scenario, over, &[]);
    phone.listens(over);
    let contact = format!("sip:bob@{};transport={}", phone.address, over.name());
    register(server, over, &contact, q);
    phone
}

/// Registers a Contact for bob.
#[track_caller]
fn register(server: &Server, over: Over, contact: &str, q: &str) {
    let secret = ["-au", "bob", "-ap", "builder", "-auth_uri", "office.example"];
    let keys = ["-key", "user", "bob", "-key", "contact", contact, "-key", "q", q];
    Sipp::start(server, "register", over, &[&secret[..], &keys].concat()).succeeds();
}

/// alice calls bob.
fn caller(server: &Server, scenario: &'static str, over: Over) -> Sipp {
    let secret = ["-au", "alice", "-ap", "wonderland", "-auth_uri", "bob@office.example"];
    Sipp::start(server, scenario, over, &[&secret[..], &["-s", "bob", "-key", "user", "alice"]].concat())
}

/// Whether a socket listens there, according to the kernel.
fn listens(address: SocketAddr, over: Over) -> bool {
    let IpAddr::V4(ip) = address.ip() else { return false };
    let wanted = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port());
    let table = fs::read_to_string(format!("/proc/net/{}", over.name())).unwrap_or_default();
    table.lines().filter_map(|line| line.split_whitespace().nth(1)).any(|local| local == wanted)
}

#[track_caller]
fn basic_call(over_caller: Over, over_phone: Over) {
    let server = setup("");
    let mut bob = phone(&server, "answers", over_phone, "1.0");
    caller(&server, "caller", over_caller).succeeds();
    bob.succeeds();
}

#[test]
fn a_phone_registers_with_digest() {
    let server = setup("");
    for over in [Over::Udp, Over::Tcp] {
        register(&server, over, "sip:bob@192.0.2.1", "1.0");
    }
    server.counts("frontdesk_bindings", &[], |count| count == 1.0);
    // SIPp knows only MD5 and gives up at SHA-256. Its User-Agent identifies it: one challenge, one response.
    for outcome in ["challenged", "registered"] {
        server.counts("frontdesk_registrations_total", &[("outcome", outcome)], |count| count == 2.0);
    }
}

#[test]
fn a_call_over_udp() {
    basic_call(Over::Udp, Over::Udp);
}

#[test]
fn a_call_over_tcp() {
    basic_call(Over::Tcp, Over::Tcp);
}

#[test]
fn a_call_from_udp_to_tcp() {
    basic_call(Over::Udp, Over::Tcp);
}

#[test]
fn a_call_from_tcp_to_udp() {
    basic_call(Over::Tcp, Over::Udp);
}

#[test]
fn a_watcher_sees_a_call() {
    // checklist 173
    for over in [Over::Udp, Over::Tcp] {
        let server =
            setup("  - { user: board, password: lamps, may_watch: all }\nsubscriptions: { call_interval: 1ms }\n");
        let mut bob = phone(&server, "answers", Over::Udp, "1.0");
        let secret = ["-au", "board", "-ap", "lamps", "-auth_uri", "bob@office.example"];
        let keys = ["-s", "bob", "-key", "user", "board"];
        let mut watcher = Sipp::start(&server, "watcher", over, &[&secret[..], &keys].concat());
        server.counts("frontdesk_notifications_total", &[("outcome", "answered")], |count| count == 1.0);
        caller(&server, "caller", Over::Udp).succeeds();
        bob.succeeds();
        watcher.succeeds();
    }
}

#[test]
fn one_phone_answers_and_the_other_is_cancelled() {
    let server = setup("");
    let mut loser = phone(&server, "loses", Over::Udp, "1.0");
    let mut winner = phone(&server, "answers", Over::Tcp, "0.5");
    caller(&server, "caller", Over::Udp).succeeds();
    winner.succeeds();
    loser.succeeds();
}

#[test]
fn the_second_phone_is_tried_when_the_first_is_busy() {
    let server = setup("forking: { strategy: sequential }\n");
    let mut first = phone(&server, "busy", Over::Udp, "1.0");
    let mut second = phone(&server, "answers", Over::Udp, "0.5");
    caller(&server, "caller", Over::Udp).succeeds();
    first.succeeds();
    second.succeeds();
}

#[test]
fn the_caller_hangs_up_on_one_phone() {
    let server = setup("");
    let mut bob = phone(&server, "rings_in_vain", Over::Udp, "1.0");
    caller(&server, "caller_cancels", Over::Udp).succeeds();
    bob.succeeds();
}

#[test]
fn the_caller_hangs_up_on_two_phones() {
    let server = setup("");
    let mut desk = phone(&server, "rings_in_vain", Over::Udp, "1.0");
    let mut cell = phone(&server, "rings_in_vain", Over::Tcp, "1.0");
    caller(&server, "caller_cancels", Over::Tcp).succeeds();
    desk.succeeds();
    cell.succeeds();
}

#[test]
fn a_busy_phone_gives_486() {
    let server = setup("");
    let mut bob = phone(&server, "busy", Over::Udp, "1.0");
    caller(&server, "caller_busy", Over::Udp).succeeds();
    bob.succeeds();
}

#[test]
fn a_call_that_nobody_answers_ends() {
    let server = setup("forking: { strategy: parallel, ring_time: 2s }\n");
    let mut desk = phone(&server, "rings_in_vain", Over::Udp, "1.0");
    let mut cell = phone(&server, "rings_in_vain", Over::Tcp, "1.0");
    caller(&server, "caller_unanswered", Over::Udp).succeeds();
    desk.succeeds();
    cell.succeeds();
}
