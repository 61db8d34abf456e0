//! A Redis for a test: its own port, its own folder, every change on disk before it is acknowledged.

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
}

impl Redis {
    /// An address where no Redis runs yet.
    pub(crate) fn absent() -> Self {
        let ip = fresh_ip();
        let folder = TempDir::with_prefix("frontdesk-redis-").expect("a temporary folder");
        Self { process: None, folder, address: SocketAddr::new(ip, free_port(ip)) }
    }

    /// A Redis that runs.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let mut redis = Self::absent();
        redis.run();
        redis
    }

    /// Starts it again, with what is on its disk.
    #[track_caller]
    pub(crate) fn run(&mut self) {
        let (ip, port) = (self.address.ip().to_string(), self.address.port().to_string());
        let mut command = Command::new("redis-server");
        command.args(["--bind", &ip, "--port", &port, "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
        command.arg("--dir").arg(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(Process::spawn(&mut command));
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

    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}
