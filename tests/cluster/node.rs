//! One frontdesk in a network namespace of its own.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::LEASE;
use crate::harness::process::Process;
use crate::harness::server::PROGRAM;
use crate::network::{self, Host, SHARED_IP};

/// The settings that are the same at all servers of a world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) replicas: u8,
    pub(crate) transport: &'static str,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) host: Host,
    process: Option<Process>,
    folder: TempDir,
    /// Seconds that its clock is ahead.
    clock: i64,
}

impl Node {
    /// Starts it, without waiting.
    pub(crate) fn start(host: Host, settings: Settings, clock: i64) -> Self {
        let folder = TempDir::with_prefix("frontdesk-node-").expect("a temporary folder");
        let (Host { name, ip }, Settings { replicas, transport }, lease) = (host, settings, LEASE.as_secs());
        let config = format!(
            "domains: [office.example]\nauthentication: off\nworkers: 2\n\
             listen: [\"udp://{ip}:5060\", \"tcp://{ip}:5060\", \"ws://{ip}:5080\"]\n\
             metrics: {{ listen: \"{ip}:9090\" }}\nadmin: {{ token: {TOKEN} }}\n\
             location: {{ store: redis, url: \"redis://{SHARED_IP}:6379/0\", replicas: {replicas} }}\n\
             cluster: {{ node: {name}, advertise: \"{ip}:5060\", transport: {transport}, lease: {lease}s }}\n"
        );
        fs::write(folder.path().join("frontdesk.yaml"), config).expect("the configuration file");
        let mut node = Self { host, process: None, folder, clock };
        node.run();
        node
    }

    /// Starts it again.
    pub(crate) fn run(&mut self) {
        let mut command = network::on(self.host, PROGRAM);
        let file = || OpenOptions::new().create(true).append(true).open(self.folder.path().join("log"));
        command.args(["run", "--config", "frontdesk.yaml"]).current_dir(self.folder.path()).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(file().expect("a log")).stderr(file().expect("a log"));
        if self.clock != 0 {
            command.env("LD_PRELOAD", fake_clock()).env("FAKETIME", format!("{:+}s", self.clock));
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_NO_CACHE", "1");
        }
        self.process = Some(Process::spawn(&mut command));
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process.take();
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        process.signal("TERM");
        let status = process.wait(Duration::from_secs(10));
        assert!(status.is_some_and(|status| status.success()), "after SIGTERM: {status:?}\n{}", self.log());
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        self.process.as_ref().expect("a running server").signal(name);
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.as_mut()?.wait(Duration::ZERO)
    }

    /// Everything it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The status of `/ready` and the body; `None` if it does not answer.
    pub(crate) fn ready(&self) -> Option<(u16, String)> {
        self.get("/ready")
    }

    /// The body of an answer of the API.
    pub(crate) fn api(&self, path: &str) -> Option<Value> {
        let (status, body) = self.get(path)?;
        (status == 200).then(|| serde_json::from_str(&body).ok())?
    }

    /// The value of a metric.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let (_, body) = self.get("/metrics")?;
        body.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        let limit = Duration::from_secs(2);
        let address = SocketAddr::from((self.host.ip, 9090));
        let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
        stream.set_read_timeout(Some(limit)).ok()?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\n");
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }
}

/// Of the API.
const TOKEN: &str = "a-token-that-only-this-test-knows";

/// The library that changes the clock of a process (package libfaketime).
fn fake_clock() -> &'static str {
    let places =
        ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];
    places.into_iter().find(|place| Path::new(place).exists()).expect("clocks that differ need the package faketime")
}
