//! A server process with its folder; it is ended when dropped.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Where registrations are kept.
#[derive(Clone, Copy)]
pub(crate) enum Store {
    Memory,
    Disk,
    /// In the Redis at this port, as the node with this name.
    Redis(u16, &'static str),
}

/// The processors of a server.
#[derive(Clone, Copy)]
pub(crate) enum Layout {
    /// One worker, on processor 0.
    Pinned,
    /// As installed: one worker for each processor.
    Free,
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Server {
    /// Starts a server and waits for its first response. Returns how long that took.
    pub(crate) fn start(program: &Path, store: Store, layout: Layout) -> (Self, Duration) {
        let folder = TempDir::with_prefix("frontdesk-growth-").expect("a temporary folder");
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        // It was free a moment ago, and nothing else takes ports here.
        let address = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).expect("a port");
        socket.connect(address).expect("an address");
        let path = folder.path().join("frontdesk.yaml");
        fs::write(&path, config(address, store, layout)).expect("the configuration file");
        let mut command = Command::new("taskset");
        let processors = match layout {
            Layout::Pinned => "0",
            Layout::Free => "0,1",
        };
        command.args(["-c", processors]).arg(program).args(["run", "--config"]).arg(path);
        command.current_dir(&folder).env_remove("RUST_LOG").stdin(Stdio::null()).stderr(Stdio::null());
        let begin = Instant::now();
        let child = command.spawn().expect("taskset(1), and the program");
        let server = Self { child, address, _folder: folder };
        server.wait(&socket, begin);
        (server, begin.elapsed())
    }

    /// Sends requests until there is a response; a port without a socket reports an error at once.
    fn wait(&self, socket: &UdpSocket, begin: Instant) {
        let own = socket.local_addr().expect("an address");
        let request = format!(
            "OPTIONS sip:office.example SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKready\r\nMax-Forwards: 70\r\n\
             From: <sip:probe@office.example>;tag=p\r\nTo: <sip:office.example>\r\nCall-ID: ready\r\nCSeq: 1 OPTIONS\r\n\
             Content-Length: 0\r\n\r\n"
        );
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        let mut answer = [0; 2048];
        while socket.send(request.as_bytes()).is_err() || socket.recv(&mut answer).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(20), "the server does not answer");
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory in octets.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("the process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(address: SocketAddr, store: Store, layout: Layout) -> String {
    let location = match store {
        Store::Memory => "{ store: memory }".to_owned(),
        Store::Disk => "{ store: disk, path: data/location }".to_owned(),
        Store::Redis(port, node) => format!(
            "{{ store: redis, url: \"redis://127.0.0.1:{port}/0\" }}\n\
             cluster: {{ node: {node}, advertise: \"{address}\", lease: 3s }}"
        ),
    };
    let workers = match layout {
        Layout::Pinned => "workers: 1\n",
        Layout::Free => "",
    };
    format!(
        "domains: [office.example]\nlisten: [\"udp://{address}\", \"tcp://{address}\"]\nauthentication: off\n{workers}\
         location: {location}\nmetrics: {{ listen: \"127.0.0.1:0\" }}\n\
         forking: {{ ring_time: 3m }}\nlimits: {{ users: 2000000 }}\nlog: {{ level: warn }}\n"
    )
}
