//! One server for each test: its configuration, its process, its log, its metrics.
//!
//! Every server gets its own loopback address (all of 127.0.0.0/8 is local on Linux), so all of them listen on port
//! 5060 and two tests cannot meet. What a test does not configure is added: `listen`, `metrics`, a memory store, two
//! workers.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
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

/// A configuration without authentication.
pub(crate) const OPEN: &str = "domains: [office.example]\nauthentication: off\n";

/// A configuration with three users who must authenticate.
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
    /// Starts a server with this configuration and waits until it serves.
    #[track_caller]
    pub(crate) fn start(config: &str) -> Self {
        let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
        Self::start_in(folder, fresh_ip(), config)
    }

    /// Starts a server on the IPv6 loopback address, which all servers share, with free ports.
    #[track_caller]
    pub(crate) fn start_v6(config: &str) -> (Self, SocketAddr) {
        let port = free_port(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
        let listen = format!("listen: [\"udp://[::1]:{port}\", \"tcp://[::1]:{port}\"]\n");
        let server = Self::start(&format!("{config}{listen}"));
        (server, SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)))
    }

    /// Starts a server in a given folder and on a given address, perhaps after another server there.
    #[track_caller]
    pub(crate) fn start_in(folder: TempDir, ip: IpAddr, config: &str) -> Self {
        Self::launch(folder, ip, config).ready()
    }

    /// Starts a server that may have at most so many open files.
    #[track_caller]
    pub(crate) fn start_with_file_limit(config: &str, files: u32) -> Self {
        Self::start_limited(config, &format!("ulimit -n {files}"))
    }

    /// Starts a server after these shell commands.
    #[track_caller]
    pub(crate) fn start_limited(config: &str, commands: &str) -> Self {
        let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{commands} && exec \"$0\" \"$@\""), PROGRAM]);
        Self::launch_by(shell, folder, fresh_ip(), config).ready()
    }

    /// Starts a server whose data folder is on a disk of so many KiB, in memory. Needs the right to mount.
    #[track_caller]
    pub(crate) fn start_on_small_disk(config: &str, kib: u32) -> Self {
        Self::launch_mounted(config, kib, "").ready()
    }

    /// Starts a server with a full disk after an earlier run. Does not wait, because it must fail.
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

    /// Starts a server without waiting, for tests where it must fail.
    pub(crate) fn launch(folder: TempDir, ip: IpAddr, config: &str) -> Self {
        Self::launch_by(Command::new(PROGRAM), folder, ip, config)
    }

    fn launch_by(mut command: Command, folder: TempDir, ip: IpAddr, config: &str) -> Self {
        // Nothing else uses this address, so the port stays free.
        let metrics = SocketAddr::new(ip, 9090);
        let path = folder.path().join("frontdesk.yaml");
        fs::write(&path, complete(config, ip, metrics)).expect("the configuration file");
        command.args(["run", "--config"]).arg(&path);
        let process = run(command, folder.path());
        Self { process, folder: Some(folder), ip, metrics }
    }

    /// The address that phones use.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, 5060)
    }

    /// Where phones in browsers find it.
    pub(crate) fn websocket(&self) -> SocketAddr {
        SocketAddr::new(self.ip, 5080)
    }

    /// Where phones with TLS find it.
    pub(crate) fn tls(&self) -> SocketAddr {
        SocketAddr::new(self.ip, 5061)
    }

    /// Where phones in browsers find it over TLS.
    pub(crate) fn secure_websocket(&self) -> SocketAddr {
        SocketAddr::new(self.ip, 5443)
    }

    /// Where it listens with this transport on this address, if it was to take a free port.
    #[track_caller]
    pub(crate) fn listens(&self, transport: &str, ip: IpAddr) -> SocketAddr {
        let start = format!("listening on {transport}://{}", SocketAddr::new(ip, 0));
        let start = start.trim_end_matches('0');
        let log = self.log();
        let port = log.split(start).nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        SocketAddr::new(ip, port.unwrap_or_else(|| panic!("no {start:?} in the log:\n{log}")))
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

    /// Rewrites its configuration file, for a reload.
    pub(crate) fn rewrite(&self, config: &str) {
        let path = self.path().join("frontdesk.yaml");
        fs::write(path, complete(config, self.ip, self.metrics)).expect("the configuration file");
    }

    /// Everything it has printed and logged so far.
    pub(crate) fn log(&self) -> String {
        let read = |name| fs::read(self.path().join(name)).unwrap_or_default();
        format!("{}{}", String::from_utf8_lossy(&read("stdout.log")), String::from_utf8_lossy(&read("stderr.log")))
    }

    /// Waits until its log contains a text.
    #[track_caller]
    pub(crate) fn logs(&self, what: &str) {
        let found = wait_for(PATIENCE, || self.log().contains(what).then_some(()));
        assert!(found.is_some(), "no {what:?} in the log:\n{}", self.log());
    }

    /// The address of its HTTP interface.
    pub(crate) fn http(&self) -> SocketAddr {
        self.metrics
    }

    /// The current `/metrics`.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::scrape(self.metrics)
    }

    /// Waits until the value of a metric fits.
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

    /// Waits until the server answers over a new TCP connection: until it has noticed that closed ones are closed, it may
    /// be at a limit.
    #[track_caller]
    pub(crate) fn takes_connections(&self) {
        let answers_ping = || {
            let mut stream = TcpStream::connect(self.address()).ok()?;
            stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
            // RFC 5626 3.5.1
            stream.write_all(b"\r\n\r\n").ok()?;
            stream.read_exact(&mut [0; 2]).ok()
        };
        assert!(wait_for(PATIENCE, answers_ping).is_some(), "no answer over a new connection");
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.wait(Duration::ZERO)
    }

    /// Its exit status, if it ends within `patience`.
    pub(crate) fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.process.wait(patience)
    }

    /// SIGTERM; it must exit with 0 within 5 s. Returns its folder.
    #[track_caller]
    pub(crate) fn stop(mut self) -> TempDir {
        self.signal("TERM");
        let status = self.process.wait(Duration::from_secs(5));
        let status = status.unwrap_or_else(|| panic!("still there 5 s after SIGTERM:\n{}", self.log()));
        assert!(status.success(), "it ended with {status} after SIGTERM:\n{}", self.log());
        self.folder.take().expect("a folder until the end")
    }

    /// `kill -9`. Returns its folder.
    pub(crate) fn kill(mut self) -> TempDir {
        self.process.kill();
        self.folder.take().expect("a folder until the end")
    }
}

impl Drop for Server {
    /// A failed test prints the log of the server.
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

/// Adds what a test did not configure.
fn complete(config: &str, ip: IpAddr, metrics: SocketAddr) -> String {
    let mut text = config.to_owned();
    let mut default = |key: &str, value: String| {
        let given = config.lines().any(|line| line.starts_with(&format!("{key}:")));
        if !given {
            text.push_str(&format!("{key}: {value}\n"));
        }
    };
    let secure = if config.lines().any(|line| line.starts_with("tls:")) {
        format!(", \"tls://{ip}:5061\", \"wss://{ip}:5443\"")
    } else {
        String::new()
    };
    default("listen", format!("[\"udp://{ip}:5060\", \"tcp://{ip}:5060\", \"ws://{ip}:5080\"{secure}]"));
    default("metrics", format!("{{ listen: \"{metrics}\" }}"));
    default("location", "{ store: memory }".to_owned());
    default("workers", "2".to_owned());
    text
}
