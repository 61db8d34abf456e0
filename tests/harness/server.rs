//! One frontdesk per test: its configuration, its life, its log, its metrics.
//!
//! Every server gets a loopback address of its own (all of 127.0.0.0/8 is local on Linux), so all of them listen on
//! port 5060 and no two tests can meet. What a test does not say is filled in: `listen`, `metrics`, a memory store,
//! two workers.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::metrics::Metrics;
use super::namespace::rights;
use super::process::Process;
use super::{PATIENCE, wait_for};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_frontdesk");

/// A configuration that asks nobody for a password.
pub(crate) const OPEN: &str = "domains: [office.example]\nauthentication: off\n";

/// A configuration with three users who must prove who they are.
pub(crate) const CLOSED: &str = "\
domains: [office.example]
authentication: required
accounts:
  - { user: alice, password: wonderland }
  - { user: bob, password: builder }
  - { user: carol, password: christmas }
";

/// A running server. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    folder: Option<TempDir>,
    ip: IpAddr,
    metrics: SocketAddr,
}

impl Server {
    /// Starts one with this configuration and waits until it serves.
    #[track_caller]
    pub(crate) fn start(config: &str) -> Self {
        let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
        Self::start_in(folder, fresh_ip(), config)
    }

    /// Starts one on IPv6 loopback, whose one address all servers share: its ports are free ones.
    #[track_caller]
    pub(crate) fn start_v6(config: &str) -> (Self, SocketAddr) {
        let port = free_port(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
        let listen = format!("listen: [\"udp://[::1]:{port}\", \"tcp://[::1]:{port}\"]\n");
        let server = Self::start(&format!("{config}{listen}"));
        (server, SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)))
    }

    /// Starts one in a folder and on an address that a test chose, perhaps after another server there.
    #[track_caller]
    pub(crate) fn start_in(folder: TempDir, ip: IpAddr, config: &str) -> Self {
        Self::launch(folder, ip, config).ready()
    }

    /// Starts one that may have no more than so many open files.
    #[track_caller]
    pub(crate) fn start_starved(config: &str, files: u32) -> Self {
        Self::start_limited(config, &format!("ulimit -n {files}"))
    }

    /// Starts one after these commands of a shell.
    #[track_caller]
    pub(crate) fn start_limited(config: &str, commands: &str) -> Self {
        let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{commands} && exec \"$0\" \"$@\""), PROGRAM]);
        Self::launch_by(shell, folder, fresh_ip(), config).ready()
    }

    /// Starts one whose data folder is on a disk of so many KiB, in memory. Needs the right to mount.
    #[track_caller]
    pub(crate) fn start_cramped(config: &str, kib: u32) -> Self {
        Self::launch_mounted(config, kib, "").ready()
    }

    /// Starts one after an earlier run of which a full disk is left: without waiting for anything, for it is to fail.
    pub(crate) fn launch_full(config: &str) -> Self {
        let earlier = "(timeout -s KILL 2 \"$0\" \"$@\" || true) && (dd if=/dev/zero of=data/rest bs=1k 2>&- || true)";
        Self::launch_mounted(config, 1024, &format!("{earlier} && "))
    }

    fn launch_mounted(config: &str, kib: u32, before: &str) -> Self {
        let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
        let mount = format!("mkdir data && mount -t tmpfs -o size={kib}k none data && {before}exec \"$0\" \"$@\"");
        let mut shell = Command::new("unshare");
        shell.args(rights()).args(["--mount", "--", "sh", "-c", &mount, PROGRAM]);
        Self::launch_by(shell, folder, fresh_ip(), config)
    }

    #[track_caller]
    fn ready(mut self) -> Self {
        let server = &mut self;
        let patience = Duration::from_secs(30);
        let ready = wait_for(patience, || {
            server.log().contains("listening").then_some(true).or_else(|| server.ended().map(|_| false))
        });
        assert!(ready == Some(true), "the server does not serve; its log:\n{}", server.log());
        self
    }

    /// Starts one without waiting for anything: for those that are to fail.
    pub(crate) fn launch(folder: TempDir, ip: IpAddr, config: &str) -> Self {
        Self::launch_by(Command::new(PROGRAM), folder, ip, config)
    }

    fn launch_by(mut command: Command, folder: TempDir, ip: IpAddr, config: &str) -> Self {
        // A free port of an address that nobody else has stays free.
        let metrics = SocketAddr::new(ip, 9090);
        let path = folder.path().join("frontdesk.yaml");
        fs::write(&path, complete(config, ip, metrics)).expect("the configuration file");
        command.args(["run", "--config"]).arg(&path);
        let process = run(command, folder.path());
        Self { process, folder: Some(folder), ip, metrics }
    }

    /// Where phones find it.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, 5060)
    }

    /// Where phones in browsers find it.
    pub(crate) fn websocket(&self) -> SocketAddr {
        SocketAddr::new(self.ip, 5080)
    }

    /// Its host part in a URI.
    pub(crate) fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Its folder: configuration, data, logs.
    pub(crate) fn path(&self) -> &Path {
        self.folder.as_ref().expect("a folder until the end").path()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its configuration file, for a reload.
    pub(crate) fn rewrite(&self, config: &str) {
        let path = self.path().join("frontdesk.yaml");
        fs::write(path, complete(config, self.ip, self.metrics)).expect("the configuration file");
    }

    /// Everything it has printed and logged so far.
    pub(crate) fn log(&self) -> String {
        let read = |name| fs::read(self.path().join(name)).unwrap_or_default();
        format!("{}{}", String::from_utf8_lossy(&read("stdout.log")), String::from_utf8_lossy(&read("stderr.log")))
    }

    /// Waits until its log says something.
    #[track_caller]
    pub(crate) fn logs(&self, what: &str) {
        let found = wait_for(PATIENCE, || self.log().contains(what).then_some(()));
        assert!(found.is_some(), "no {what:?} in the log:\n{}", self.log());
    }

    /// Where it answers HTTP.
    pub(crate) fn http(&self) -> SocketAddr {
        self.metrics
    }

    /// What `/metrics` says now.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::scrape(self.metrics)
    }

    /// Waits until a metric has a value that fits.
    #[track_caller]
    pub(crate) fn counts(&self, name: &str, labels: &[(&str, &str)], fits: impl Fn(f64) -> bool) {
        let found = wait_for(PATIENCE, || fits(self.metrics().sum(name, labels)).then_some(()));
        assert!(
            found.is_some(),
            "{name} {labels:?} is {} in\n{}",
            self.metrics().sum(name, labels),
            self.metrics().text
        );
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.wait(Duration::ZERO)
    }

    /// How it ended, if it does within `patience`.
    pub(crate) fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.process.wait(patience)
    }

    /// SIGTERM; it must exit 0 within 5 s. Gives back its folder.
    #[track_caller]
    pub(crate) fn stop(mut self) -> TempDir {
        self.signal("TERM");
        let status = self.process.wait(Duration::from_secs(5));
        let status = status.unwrap_or_else(|| panic!("still there 5 s after SIGTERM:\n{}", self.log()));
        assert!(status.success(), "it ended with {status} after SIGTERM:\n{}", self.log());
        self.folder.take().expect("a folder until the end")
    }

    /// `kill -9`. Gives back its folder.
    pub(crate) fn kill(mut self) -> TempDir {
        self.process.kill();
        self.folder.take().expect("a folder until the end")
    }
}

impl Drop for Server {
    /// A failed test shows what the server had to say.
    fn drop(&mut self) {
        if std::thread::panicking() && self.folder.is_some() {
            println!("--- log of the server at {} ---\n{}", self.ip, self.log());
        }
    }
}

/// Starts the program in a folder, its standard output and error in new files there.
pub(crate) fn run(mut command: Command, folder: &Path) -> Process {
    log_into(&mut command, folder);
    Process::spawn(command.stdin(std::process::Stdio::null()))
}

/// Makes a command run in a folder, its standard output and error in new files there.
pub(crate) fn log_into(command: &mut Command, folder: &Path) {
    let file = |name: &str| File::create(folder.join(name)).expect("a log file");
    command.current_dir(folder).env_remove("RUST_LOG");
    command.stdout(file("stdout.log")).stderr(file("stderr.log"));
}

/// A loopback address that no other server of this run has had.
pub(crate) fn fresh_ip() -> IpAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id() as u16;
    let [high, low] = process.to_be_bytes();
    let (block, last) = (1 + next / 254, 1 + next % 254);
    assert!(block < 4, "more servers than addresses");
    IpAddr::V4(Ipv4Addr::new(127, (block as u8) << 6 | (high & 0x3f), low, last as u8))
}

/// A port that is free for UDP and TCP.
pub(crate) fn free_port(ip: IpAddr) -> u16 {
    let found = wait_for(PATIENCE, || {
        let udp = std::net::UdpSocket::bind((ip, 0)).ok()?;
        let port = udp.local_addr().ok()?.port();
        std::net::TcpListener::bind((ip, port)).ok().map(|_| port)
    });
    found.unwrap_or_else(|| {
        panic!("no port of {ip} is free for UDP and TCP; is the address up? Tests need 127.0.0.0/8 and ::1")
    })
}

/// The data folder of a server with the disk store.
pub(crate) fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// Fills in what a test left open.
fn complete(config: &str, ip: IpAddr, metrics: SocketAddr) -> String {
    let mut text = config.to_owned();
    let mut default = |key: &str, value: String| {
        let given = config.lines().any(|line| line.starts_with(&format!("{key}:")));
        if !given {
            text.push_str(&format!("{key}: {value}\n"));
        }
    };
    default("listen", format!("[\"udp://{ip}:5060\", \"tcp://{ip}:5060\", \"ws://{ip}:5080\"]"));
    default("metrics", format!("{{ listen: \"{metrics}\" }}"));
    default("location", "{ store: memory }".to_owned());
    default("workers", "2".to_owned());
    text
}
