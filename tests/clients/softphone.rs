//! A softphone without a window: the test types lines into it and reads what it prints. It runs without sound, without
//! a terminal and in its own home folder, and it ends with its test.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::process::Process;
use crate::harness::server::log_into;
use crate::harness::{PATIENCE, Phone, Server, wait_for};

/// A client: how it is started, its commands, and what it prints.
pub(crate) struct Client {
    /// Starts it as the phone of alice with these settings.
    pub(crate) start: fn(&Server, &Settings) -> Softphone,
    /// The command for a call, which the URI follows.
    pub(crate) call: &'static str,
    /// The command for answering.
    pub(crate) answer: &'static str,
    /// The command for declining a ringing call.
    pub(crate) decline: &'static str,
    /// The command for ending a call or cancelling one.
    pub(crate) hang_up: &'static str,
    /// The command for unregistering.
    pub(crate) unregister: &'static str,
    /// Printed when a call for it rings.
    pub(crate) rings: &'static str,
    /// Printed when the phone that it calls rings.
    pub(crate) hears_ringing: &'static str,
    /// Printed when its call was answered.
    pub(crate) is_answered: &'static str,
    /// Printed when it has answered a call.
    pub(crate) has_answered: &'static str,
    /// Printed when the other side has hung up.
    pub(crate) is_hung_up: &'static str,
    /// Printed when it has cancelled its call.
    pub(crate) has_cancelled: &'static str,
    /// Printed when the caller hung up before it answered.
    pub(crate) is_cancelled: &'static str,
    /// Printed when the other side is busy (486).
    pub(crate) is_busy: &'static str,
    /// Printed when the other side declines (603).
    pub(crate) is_declined: &'static str,
    /// The status with which it declines a call.
    pub(crate) declines_with: u16,
}

/// A transport.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Udp,
    Tcp,
    WebSocket,
}

impl Over {
    /// Its name as a URI has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::WebSocket => "ws",
        }
    }

    /// A scripted phone on it.
    pub(crate) fn phone(self, user: &str, server: &Server) -> Phone {
        match self {
            Self::Udp => Phone::udp(user, server.address()),
            Self::Tcp => Phone::tcp(user, server.address()),
            Self::WebSocket => Phone::websocket(user, server.websocket()),
        }
    }
}

/// The account settings of a client.
pub(crate) struct Settings {
    /// The transport between the client and the server.
    pub(crate) over: Over,
    /// The domain of its address of record.
    pub(crate) domain: String,
    /// The server as a SIP URI: its registrar or, if it has one, its outbound proxy.
    pub(crate) server: String,
    /// Whether it has an outbound proxy.
    pub(crate) proxy: bool,
}

impl Settings {
    /// With an outbound proxy the domain is a name that no DNS knows; without one it is the address of the server.
    pub(crate) fn new(server: &Server, over: Over, proxy: bool) -> Self {
        let ip = server.ip();
        let domain = if proxy { "office.example".to_owned() } else { ip.to_string() };
        Self { over, domain, server: format!("sip:{ip};transport={}", over.name()), proxy }
    }

    /// The URI of a user, as a person dials it.
    pub(crate) fn uri(&self, user: &str) -> String {
        // Without an outbound proxy only the URI says that the server must be reached over TCP.
        let transport = if self.proxy || self.over != Over::Tcp { "" } else { ";transport=tcp" };
        format!("sip:{user}@{}{transport}", self.domain)
    }

    /// Its own address of record.
    pub(crate) fn identity(&self) -> String {
        format!("sip:alice@{}", self.domain)
    }
}

/// A running client.
pub(crate) struct Softphone {
    process: Process,
    input: ChildStdin,
    folder: TempDir,
    read: Cell<usize>,
}

impl Softphone {
    /// Runs a command that lives in this folder.
    #[track_caller]
    pub(crate) fn run(mut command: Command, folder: TempDir) -> Self {
        // No sound server and no desktop, so that the test does not depend on the machine.
        command.env("HOME", folder.path()).env("LANG", "C.UTF-8").env("PULSE_SERVER", "none");
        for name in ["DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"] {
            command.env_remove(name);
        }
        log_into(&mut command, folder.path());
        let mut process = Process::spawn(command.stdin(Stdio::piped()));
        let input = process.stdin().expect("a pipe");
        Self { process, input, folder, read: Cell::new(0) }
    }

    /// Everything it has printed.
    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("stdout.log")).unwrap_or_default()).into_owned()
    }

    /// Types a line as fast as a person. A client may still be busy with what it has just printed, and some ignore what
    /// is typed until then.
    pub(crate) fn type_in(&mut self, line: &str) {
        std::thread::sleep(Duration::from_millis(100));
        writeln!(self.input, "{line}").unwrap_or_else(|error| panic!("it takes no {line:?}: {error}\n{}", self.log()));
    }

    /// Waits until it prints a text, after the text that was waited for last.
    #[track_caller]
    pub(crate) fn says(&self, what: &str) {
        let found = wait_for(PATIENCE, || {
            let log = self.log();
            let new = log.get(self.read.get()..).unwrap_or_default();
            new.find(what).map(|at| self.read.set(self.read.get() + at + what.len()))
        });
        assert!(
            found.is_some(),
            "it does not say {what:?} after the first {} octets:\n{}",
            self.read.get(),
            self.log()
        );
    }

    /// Ends it by its own command.
    #[track_caller]
    pub(crate) fn quits(mut self) {
        self.type_in("quit");
        let status = self.process.wait(PATIENCE).unwrap_or_else(|| panic!("it does not quit:\n{}", self.log()));
        assert!(status.success(), "it ended with {status}:\n{}", self.log());
    }
}

impl Drop for Softphone {
    /// A failed test prints the output of the client.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut text = String::new();
            for name in ["stdout.log", "stderr.log", "linphone.log", "pjsua.log", ".twinkle/twinkle.log"] {
                let log = fs::read(self.folder.path().join(name)).unwrap_or_default();
                let _ = writeln!(text, "--- {name} of the client ---\n{}", String::from_utf8_lossy(&log));
            }
            println!("{text}");
        }
    }
}

/// A port of loopback that is free now, for a client that listens on all addresses.
pub(crate) fn free_port() -> u16 {
    crate::harness::server::free_port(IpAddr::from([0, 0, 0, 0]))
}
