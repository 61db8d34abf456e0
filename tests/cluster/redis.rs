//! Two Redis servers, of which one takes the changes and the other has a copy.
//!
//! Every change is on disk before it is acknowledged (`appendfsync always`).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::process::Process;
use crate::harness::wait_for;
use crate::network::{self, Host, REDIS};

const PORT: u16 = 6379;

/// Both servers.
#[derive(Debug)]
pub(crate) struct RedisPair {
    processes: [Option<Process>; 2],
    folders: [TempDir; 2],
    /// Which one takes the changes.
    first: usize,
}

impl RedisPair {
    /// Starts both.
    pub(crate) fn start() -> Self {
        let folder = || TempDir::with_prefix("frontdesk-redis-").expect("a temporary folder");
        let mut pair = Self { processes: [None, None], folders: [folder(), folder()], first: 0 };
        network::move_shared_ip(REDIS[0]);
        pair.run(0);
        pair.run(1);
        pair.follow(1);
        pair
    }

    /// The machine of the one that takes changes.
    pub(crate) const fn machine(&self) -> Host {
        REDIS[self.first]
    }

    /// The process of the one that takes changes.
    pub(crate) const fn process(&self) -> Option<&Process> {
        self.processes[self.first].as_ref()
    }

    /// `kill -9` of the one that takes changes.
    pub(crate) fn kill(&mut self) {
        self.processes[self.first].take();
    }

    /// Starts it again with what is on its disk.
    pub(crate) fn restart(&mut self) {
        self.run(self.first);
    }

    /// Starts it again without anything.
    pub(crate) fn restart_empty(&mut self) {
        self.folders[self.first] = TempDir::with_prefix("frontdesk-redis-").expect("a temporary folder");
        self.run(self.first);
    }

    /// The other one takes the changes from now on.
    pub(crate) fn fail_over(&mut self) {
        self.first = 1 - self.first;
        command(REDIS[self.first], "REPLICAOF NO ONE");
        network::move_shared_ip(REDIS[self.first]);
    }

    /// The other one is there and copies this one again. Returns whether the copy is complete within the time.
    pub(crate) fn restore_replica(&mut self, patience: Duration) -> bool {
        let other = 1 - self.first;
        if self.processes[other].is_none() {
            self.run(other);
        }
        self.follow(other);
        let is_complete = || command(REDIS[other], "ROLE").contains("connected\r\n").then_some(());
        wait_for(patience, is_complete).is_some()
    }

    /// Stops the replica, or lets it go on.
    pub(crate) fn signal_replica(&self, name: &str) {
        self.processes[1 - self.first].as_ref().expect("a replica").signal(name);
    }

    fn run(&mut self, at: usize) {
        let mut redis = network::on(REDIS[at], "redis-server");
        redis.args(["--port", &PORT.to_string(), "--protected-mode", "no", "--save", "", "--appendonly", "yes"]);
        redis.args(["--appendfsync", "always", "--repl-diskless-sync-delay", "0", "--repl-timeout", "5"]);
        redis.arg("--dir").arg(self.folders[at].path()).stdout(Stdio::null()).stderr(Stdio::null());
        self.processes[at] = Some(Process::spawn(&mut redis));
        let answers = || try_command(REDIS[at], "PING").filter(|answer| answer.contains("PONG"));
        assert!(wait_for(Duration::from_secs(20), answers).is_some(), "redis-server does not start");
    }

    fn follow(&self, at: usize) {
        command(REDIS[at], &format!("REPLICAOF {} {PORT}", REDIS[1 - at].ip));
    }
}

/// The answer to a command without spaces in its words.
fn command(host: Host, text: &str) -> String {
    let answer = wait_for(Duration::from_secs(10), || try_command(host, text));
    answer.unwrap_or_else(|| panic!("no answer to {text} from {}", host.name))
}

fn try_command(host: Host, text: &str) -> Option<String> {
    let limit = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((host.ip, PORT)), limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.write_all(format!("{text}\r\nQUIT\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
