//! A Redis for a test: its own port, its own folder, every change on disk before it is acknowledged. Replicas, and Sentinels.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::process::Process;
use super::server::{free_port, fresh_ip};
use super::{PATIENCE, wait_for};

/// A running redis-server. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    process: Option<Process>,
    folder: TempDir,
    address: SocketAddr,
    /// Further arguments.
    more: Vec<String>,
}

/// The name that Sentinels know a Redis by.
const NAME: &str = "office";

impl Redis {
    /// An address where no Redis runs yet.
    pub(crate) fn absent() -> Self {
        let ip = fresh_ip();
        let folder = TempDir::with_prefix("frontdesk-redis-").expect("a temporary folder");
        Self { process: None, folder, address: SocketAddr::new(ip, free_port(ip)), more: Vec::new() }
    }

    /// A Redis that runs.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let mut redis = Self::absent();
        redis.run();
        redis
    }

    /// A replica of it, which is in step.
    #[track_caller]
    pub(crate) fn replica(&self) -> Self {
        let (mut replica, of) = (Self::absent(), self.address);
        let (of, own) = (format!("{} {}", of.ip(), of.port()), replica.address.ip().to_string());
        // By itself it would announce the source address of its connection.
        replica.more = ["--replicaof", &of, "--replica-announce-ip", &own].map(str::to_owned).to_vec();
        replica.run();
        replica.says("INFO replication", "master_link_status:up");
        replica
    }

    /// A Sentinel that watches it and lets its replica take over half a second after its end.
    #[track_caller]
    pub(crate) fn sentinel(&self) -> Self {
        let mut sentinel = Self::absent();
        let (own, of) = (sentinel.address, self.address);
        let lines = format!(
            "port {}\nbind {}\nsentinel monitor {NAME} {} {} 1\nsentinel down-after-milliseconds {NAME} 500\n\
             sentinel failover-timeout {NAME} 3000\n",
            own.port(),
            own.ip(),
            of.ip(),
            of.port()
        );
        let file = sentinel.path().join("sentinel.conf");
        std::fs::write(&file, lines).expect("a file");
        let mut command = Command::new(program());
        sentinel.spawn(command.arg(&file).arg("--sentinel"));
        sentinel.says("INFO sentinel", "slaves=1");
        sentinel
    }

    /// Waits until the answer to a command contains a text.
    #[track_caller]
    pub(crate) fn says(&self, command: &str, text: &str) {
        let ask = || {
            let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_millis(200)).ok()?;
            stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
            stream.write_all(format!("{command}\r\n").as_bytes()).ok()?;
            let (mut answer, mut part) = (String::new(), [0; 4096]);
            while !answer.contains(text) {
                // The connection stays open: after the answer nothing more comes.
                let length = stream.read(&mut part).ok().filter(|length| *length > 0)?;
                answer.push_str(&String::from_utf8_lossy(part.get(..length)?));
            }
            Some(())
        };
        assert!(wait_for(PATIENCE, ask).is_some(), "{command} at {} never says {text}", self.address);
    }

    /// Starts it again, with what is on its disk.
    #[track_caller]
    pub(crate) fn run(&mut self) {
        let (ip, port) = (self.address.ip().to_string(), self.address.port().to_string());
        let mut command = Command::new(program());
        command.args(["--bind", &ip, "--port", &port, "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
        command.arg("--dir").arg(self.folder.path()).args(&self.more);
        self.spawn(&mut command);
    }

    #[track_caller]
    fn spawn(&mut self, command: &mut Command) {
        command.current_dir(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(Process::spawn(command));
        let connect = || TcpStream::connect_timeout(&self.address, Duration::from_millis(200)).ok();
        assert!(wait_for(PATIENCE, connect).is_some(), "redis-server (package redis-server) does not start");
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process.take();
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// The URL by which this Sentinel is asked for the Redis that it watches. The first address has no Sentinel.
    pub(crate) fn sentinel_url(&self) -> String {
        format!("redis+sentinel://{}:1,{}/{NAME}/0", self.address.ip(), self.address)
    }

    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// The server program: that of Redis, or another one with the same arguments.
fn program() -> String {
    std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}
