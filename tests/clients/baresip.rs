//! Two baresip phones: they register with digest, one calls the other through the server, they exchange audio for some
//! seconds, and one hangs up. The result is taken from the logs of the phones.

use std::f32::consts::TAU;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::process::Process;
use crate::harness::server::{CLOSED, fresh_ip, run};
use crate::harness::{Authority, PATIENCE, Server, wait_for};

/// Where Debian's package puts the modules, for any architecture.
const MODULES: [&str; 2] = ["/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules"];

/// How long the call lasts: one RTCP report, which is sent every 5 s, must fall into it.
const TALK: Duration = Duration::from_secs(7);

/// A running baresip.
struct Baresip {
    process: Process,
    folder: TempDir,
    ip: IpAddr,
}

impl Baresip {
    /// Starts a phone of this user and waits until it is registered.
    #[track_caller]
    fn start(server: &Server, authority: &Authority, user: &str, password: &str, transport: &str) -> Self {
        let folder = TempDir::with_prefix("frontdesk-baresip-").expect("a temporary folder");
        let ip = fresh_ip();
        let write = |name: &str, text: &[u8]| fs::write(folder.path().join(name), text).expect("a file");
        let config = format!("{}sip_cafile {}\n", config(ip, folder.path()), authority.file().display());
        write("config", config.as_bytes());
        let server = if transport == "tls" { server.tls() } else { server.address() };
        let account = format!(
            "<sip:{user}@office.example;transport={transport}>;auth_user={user};auth_pass={password};\
             outbound=\"sip:{server};transport={transport}\";regint=600;answermode=auto;audio_codecs=pcmu\n"
        );
        write("accounts", account.as_bytes());
        write("contacts", b"");
        write("tone.wav", &tone());
        let mut command = Command::new("baresip");
        command.arg("-f").arg(folder.path());
        let phone = Self { process: run(command, folder.path()), folder, ip };
        phone.says("200 OK");
        phone
    }

    /// What it has logged.
    fn log(&self) -> String {
        let read = |name| fs::read(self.folder.path().join(name)).unwrap_or_default();
        format!("{}{}", String::from_utf8_lossy(&read("stdout.log")), String::from_utf8_lossy(&read("stderr.log")))
    }

    /// Waits until its log contains a text.
    #[track_caller]
    fn says(&self, what: &str) {
        let found = wait_for(PATIENCE, || self.log().contains(what).then_some(()));
        assert!(found.is_some(), "no {what:?} in the log of the phone at {}:\n{}", self.ip, self.log());
    }

    /// Sends it a command through its control port.
    fn command(&self, command: &str, parameters: &str) {
        let text = format!(r#"{{"command":"{command}","params":"{parameters}"}}"#);
        let mut stream = TcpStream::connect(SocketAddr::new(self.ip, 4444)).expect("the control port");
        write!(stream, "{}:{text},", text.len()).expect("a command");
    }

    /// How many RTP packets it received, from its own summary at the end of the call.
    #[track_caller]
    fn received(&self) -> u32 {
        self.says("PR=");
        let log = self.log();
        let digits = log.split("PR=").nth(1).unwrap_or_default().split(';').next().unwrap_or_default();
        digits.parse().unwrap_or_else(|_| panic!("no number of packets in:\n{log}"))
    }

    /// Unregisters and ends it.
    #[track_caller]
    fn quit(mut self) {
        self.command("quit", "");
        let status = self.process.wait(PATIENCE).unwrap_or_else(|| panic!("it does not quit:\n{}", self.log()));
        assert!(status.success(), "it ended with {status}:\n{}", self.log());
    }
}

fn config(ip: IpAddr, folder: &Path) -> String {
    let modules = MODULES.iter().map(PathBuf::from).find(|path| path.is_dir());
    let modules = modules.expect("the modules of baresip (Debian package baresip-core)");
    format!(
        "sip_listen {ip}:5060\n\
         net_interface {ip}\n\
         rtp_ports 10000-10100\n\
         call_local_timeout 60\n\
         call_max_calls 4\n\
         audio_path {folder}\n\
         audio_source aufile,{folder}/tone.wav\n\
         audio_player aubridge,player\n\
         audio_alert aubridge,alert\n\
         module_path {modules}\n\
         module g711.so\n\
         module aufile.so\n\
         module aubridge.so\n\
         module rtcpsummary.so\n\
         module ctrl_tcp.so\n\
         module_tmp uuid.so\n\
         module_tmp account.so\n\
         module_app menu.so\n\
         ctrl_tcp_listen {ip}:4444\n",
        folder = folder.display(),
        modules = modules.display(),
    )
}

/// A tone as a WAV file: 8 kHz, one channel, 16 bits. Longer than any call here, since baresip hangs up at its end.
fn tone() -> Vec<u8> {
    let second: Vec<_> =
        (0..8_000_u16).map(|at| ((f32::from(at) * TAU * 440.0 / 8_000.0).sin() * 8_000.0) as i16).collect();
    let samples = std::iter::repeat_n(second, 60).flatten();
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let size = u32::try_from(data.len()).expect("a small file");
    let mut wav = Vec::with_capacity(44 + data.len());
    wav.extend(b"RIFF");
    wav.extend((36 + size).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(8_000_u32.to_le_bytes());
    wav.extend(16_000_u32.to_le_bytes());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend(size.to_le_bytes());
    wav.extend(data);
    wav
}

/// alice calls bob, they exchange audio, and one of them hangs up.
#[track_caller]
fn call_with_audio(alice_over: &str, bob_over: &str, hangs_up: &str) {
    let (authority, address) = (Authority::new(), fresh_ip());
    // The phones connect to the address.
    let certificate = authority.issue("server", &["office.example", &address.to_string()]);
    let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let config = format!("{CLOSED}{}", authority.config(&certificate, ""));
    let server = Server::start_in(folder, address, &config);
    let bob = Baresip::start(&server, &authority, "bob", "builder", bob_over);
    let alice = Baresip::start(&server, &authority, "alice", "wonderland", alice_over);
    server.counts("frontdesk_bindings", &[], |count| count == 2.0);
    // baresip 1.0 gives up at SHA-256 and tries again after half a minute. Its User-Agent identifies it, so each phone
    // gets one challenge and responds to it.
    for outcome in ["challenged", "registered"] {
        server.counts("frontdesk_registrations_total", &[("outcome", outcome)], |count| count == 2.0);
    }

    alice.command("dial", "sip:bob@office.example");
    alice.says("Call established: sip:bob@office.example");
    bob.says("Call established: sip:alice@office.example");
    std::thread::sleep(TALK);
    let (first, second) = if hangs_up == "alice" { (&alice, &bob) } else { (&bob, &alice) };
    first.command("hangup", "");
    first.says("terminated (duration:");
    second.says("terminated (duration:");

    for phone in [&alice, &bob] {
        let received = phone.received();
        assert!(received > 100, "{received} RTP packets only:\n{}", phone.log());
    }
    server.counts("frontdesk_requests_forwarded_total", &[("method", "BYE")], |count| count == 1.0);
    alice.quit();
    bob.quit();
    server.counts("frontdesk_bindings", &[], |count| count == 0.0);
}

#[test]
fn two_phones_talk_over_udp() {
    call_with_audio("udp", "udp", "alice");
}

#[test]
fn two_phones_talk_over_tcp_and_the_callee_hangs_up() {
    call_with_audio("tcp", "tcp", "bob");
}

#[test]
fn two_phones_talk_from_udp_to_tcp() {
    call_with_audio("udp", "tcp", "bob");
}

#[test]
fn two_phones_talk_over_tls() {
    call_with_audio("tls", "tls", "bob");
}

#[test]
fn two_phones_talk_from_tls_to_udp() {
    call_with_audio("tls", "udp", "alice");
}
