//! A Redis of the test's own, and stores on it.
//!
//! `REDIS_SERVER` names another program, such as `valkey-server`.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "shared by several test programs"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use location::{
    Aor, Commit, Hooks, NodeEntry, OutsideChange, Record, RedisOptions, RedisStore, Store, StoreError, Ticket, Wall,
};

use crate::support::Outcomes;

/// How long a test waits for what must happen soon.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A redis-server on a port of its own, with a folder of its own. It ends with the value.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    folder: tempfile::TempDir,
    more: Vec<String>,
}

impl Server {
    /// Every change is on its disk before it answers.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = unused_port();
        let more: Vec<String> = more.iter().map(|&part| part.to_owned()).collect();
        let child = spawn(port, folder.path(), &more);
        let server = Self { child, port, folder, more };
        server.wait();
        server
    }

    /// A Sentinel that watches `server` under the name `office`, and lets its replica take over half a second after its end.
    pub(crate) fn sentinel_of(server: &Self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = unused_port();
        let file = folder.path().join("sentinel.conf");
        let watched = server.port;
        let lines = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor office 127.0.0.1 {watched} 1\n\
             sentinel down-after-milliseconds office 500\nsentinel failover-timeout office 3000\n"
        );
        std::fs::write(&file, lines).unwrap();
        let child = start(Command::new(program()).arg(&file).arg("--sentinel").current_dir(folder.path()));
        let sentinel = Self { child, port, folder, more: Vec::new() };
        sentinel.wait();
        sentinel
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// After [`kill`](Self::kill), with what is on its disk.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.port, self.folder.path(), &self.more);
        self.wait();
    }

    /// After [`kill`](Self::kill), with nothing.
    pub(crate) fn restart_empty(&mut self) {
        self.folder = tempfile::tempdir().unwrap();
        self.restart();
    }

    /// Stops or continues it: SIGSTOP, SIGCONT.
    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Sends one command and returns its answer as text.
    pub(crate) fn command(&self, parts: &[&str]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut packed = format!("*{}\r\n", parts.len());
        for part in parts {
            packed.push_str(&format!("${}\r\n{part}\r\n", part.len()));
        }
        stream.write_all(packed.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end();
        match (line.get(..1), line.get(1..).and_then(|length| length.parse::<usize>().ok())) {
            (Some("$"), Some(length)) => {
                let mut text = vec![0; length];
                reader.read_exact(&mut text).unwrap();
                String::from_utf8_lossy(&text).into_owned()
            }
            _ => line.to_owned(),
        }
    }

    /// What it needs for its data.
    pub(crate) fn used_memory(&self) -> String {
        let info = self.command(&["INFO", "memory"]);
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory_human:"));
        line.unwrap_or("unknown").to_owned()
    }

    fn wait(&self) {
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() || self.command(&["PING"]) != "+PONG" {
            assert!(start.elapsed() < PATIENCE, "redis-server does not answer");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A port that no other server of this run has had. The system gives the ports from 32,768 on to connections and to tests
/// that ask for any port, so one of those may be taken before a server listens there.
pub(crate) fn unused_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let at = (std::process::id() as u16).wrapping_mul(64).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 16_384 + at % 16_384;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed by the test, and it may be stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, folder: &std::path::Path, more: &[String]) -> Child {
    let mut command = Command::new(program());
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(folder);
    command.args(["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"]).args(more);
    start(&mut command)
}

fn program() -> String {
    std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

fn start(command: &mut Command) -> Child {
    let spawned = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    spawned.unwrap_or_else(|error| {
        panic!("{}: {error}. Install redis-server (Debian) or name one in REDIS_SERVER", program())
    })
}

/// A store, and what its hooks receive.
pub(crate) struct Node {
    store: Option<RedisStore>,
    outcomes: Receiver<(Ticket, Result<(), StoreError>)>,
    pub(crate) changed: Receiver<Aor>,
    pub(crate) nodes: Receiver<Vec<NodeEntry>>,
    pub(crate) values: Receiver<(String, Vec<u8>)>,
    pub(crate) usable: Receiver<bool>,
    /// How often it has missed changes that Redis did not keep.
    pub(crate) missed: Arc<AtomicUsize>,
}

/// Options for a test: a short lease and no long pauses.
pub(crate) fn options(server: &Server, name: &str) -> RedisOptions {
    RedisOptions {
        lease: Duration::from_millis(400),
        timeout: Duration::from_millis(500),
        retry: Duration::from_millis(200),
        ..RedisOptions::new(&server.url(), name, &format!("{name}.example:5060"))
    }
}

impl Node {
    /// Opens a store and waits until it accepts changes.
    pub(crate) fn open(server: &Server, name: &str) -> Self {
        let node = Self::begin(options(server, name));
        node.wait_usable();
        node
    }

    /// Opens a store.
    pub(crate) fn begin(options: RedisOptions) -> Self {
        let (done, outcomes) = sync_channel(1 << 20);
        let (change, changed) = sync_channel(1 << 20);
        let (alive, nodes) = sync_channel(1 << 10);
        let (value, values) = sync_channel(1 << 10);
        let (tell, usable) = sync_channel(1 << 10);
        let missed = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&missed);
        let hooks = Hooks {
            done: Box::new(move |group, outcome| {
                for &ticket in group {
                    let _ = done.try_send((ticket, outcome.map_err(Clone::clone)));
                }
            }),
            changed: Box::new(move |outside: OutsideChange<'_>| drop_result(change.try_send(outside.address()))),
            nodes: Box::new(move |entries| drop_result(alive.try_send(entries.to_vec()))),
            value_changed: Box::new(move |name, octets| {
                drop_result(value.try_send((name.to_owned(), octets.to_vec())))
            }),
            usable: Box::new(move |outcome| drop_result(tell.try_send(outcome.is_ok()))),
            missed: Box::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            }),
            ..Hooks::default()
        };
        let store = RedisStore::open(options, hooks).unwrap();
        Self { store: Some(store), outcomes, changed, nodes, values, usable, missed }
    }

    pub(crate) fn store(&self) -> &RedisStore {
        self.store.as_ref().unwrap()
    }

    /// The store and the outcomes of its commits.
    pub(crate) fn into_parts(mut self) -> (RedisStore, Outcomes) {
        let (sender, outcomes) = sync_channel(1 << 20);
        let (store, receiver) = (self.store.take().unwrap(), self.outcomes);
        thread::spawn(move || {
            while let Ok((ticket, outcome)) = receiver.recv() {
                if sender.send((ticket, outcome.is_ok())).is_err() {
                    return;
                }
            }
        });
        (store, outcomes)
    }

    pub(crate) fn wait_usable(&self) {
        while !self.usable.recv_timeout(PATIENCE).expect("the store becomes usable") {}
    }

    pub(crate) fn becomes_usable_within(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        loop {
            match self.usable.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(false) => {}
                other => return other.is_ok(),
            }
        }
    }

    /// The store's time now, nearly.
    pub(crate) fn now(&self) -> Wall {
        self.store().time().unwrap()
    }

    /// The outcome of the next commit.
    pub(crate) fn outcome(&self) -> Result<(), StoreError> {
        self.outcomes.recv_timeout(PATIENCE).expect("an outcome").1
    }

    /// As the core does: loads, applies and commits until it is stored or refused.
    pub(crate) fn register(&self, aor: &Aor, apply: impl Fn(&Record) -> Record) -> Result<(), StoreError> {
        loop {
            let old = self.store().load(aor).unwrap_or_else(|| Record::empty(aor));
            match self.store().commit(old.version(), apply(&old), Ticket { worker: 0, id: 0 }) {
                Commit::Pending => match self.outcome() {
                    Err(StoreError::Conflict) => {}
                    other => return other,
                },
                Commit::Conflict => {}
                Commit::Failed(error) => return Err(error),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The receiver of a hook may be gone.
fn drop_result<T>(_: Result<(), T>) {}

/// Waits until `is_so`, which `what` names.
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        thread::sleep(Duration::from_millis(2));
    }
}
