//! A running baresip phone: started with an account, controlled through its control port, and read by its log.

use std::f32::consts::TAU;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::Process;
use super::server::{fresh_ip, run};
use super::{Authority, PATIENCE, Server, wait_for};

/// Where Debian's package puts the modules, for any architecture.
const MODULES: [&str; 2] = ["/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules"];

/// A running baresip.
#[derive(Debug)]
pub(crate) struct Baresip {
    process: Process,
    folder: TempDir,
    ip: IpAddr,
}

impl Baresip {
    /// Starts a phone of this user, which answers its calls itself, and waits until it is registered.
    #[track_caller]
    pub(crate) fn start(server: &Server, authority: &Authority, user: &str, password: &str, transport: &str) -> Self {
        let at = if transport == "tls" { server.tls() } else { server.address() };
        let more = format!("net_interface IP\nsip_cafile {}\n", authority.file().display());
        Self::launch(at, &more, (user, password, transport), "answermode=auto;audio_codecs=pcmu")
    }

    /// Starts a phone over UDP that subscribes to the voicemail messages of its user (RFC 3842).
    #[track_caller]
    pub(crate) fn start_with_message_lamp(server: &Server, user: &str, password: &str) -> Self {
        let account = account(server.address(), (user, password, "udp"), "answermode=auto;audio_codecs=pcmu;mwi=yes");
        let phone = Self::run("module_app mwi.so\n", "");
        // The module of baresip 1.0 subscribes in an endless loop if the phone registers within a millisecond.
        phone.says("baresip is ready.");
        phone.command("uanew", &account.replace('"', "\\\""));
        phone.says("200 OK");
        phone
    }

    /// Starts a phone over UDP that encrypts its sound as browsers do (ICE, DTLS-SRTP) and rings.
    #[track_caller]
    pub(crate) fn start_for_browsers(server: &Server, user: &str, password: &str) -> Self {
        let more = "module ice.so\nmodule srtp.so\nmodule dtls_srtp.so\nrtcp_mux yes\n";
        let account = "answermode=manual;audio_codecs=pcmu;medianat=ice;mediaenc=dtls_srtp";
        Self::launch(server.address(), more, (user, password, "udp"), account)
    }

    #[track_caller]
    fn launch(server: SocketAddr, more: &str, user: (&str, &str, &str), params: &str) -> Self {
        let phone = Self::run(more, &account(server, user, params));
        phone.says("200 OK");
        phone
    }

    #[track_caller]
    fn run(more: &str, account: &str) -> Self {
        let folder = TempDir::with_prefix("frontdesk-baresip-").expect("a temporary folder");
        let ip = fresh_ip();
        let write = |name: &str, text: &[u8]| fs::write(folder.path().join(name), text).expect("a file");
        let more = more.replace("IP", &ip.to_string());
        write("config", format!("{}{more}", config(ip, folder.path())).as_bytes());
        write("accounts", format!("{account}\n").as_bytes());
        write("contacts", b"");
        write("tone.wav", &tone());
        let mut command = Command::new("baresip");
        command.arg("-f").arg(folder.path());
        Self { process: run(command, folder.path()), folder, ip }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        let read = |name| fs::read(self.folder.path().join(name)).unwrap_or_default();
        format!("{}{}", String::from_utf8_lossy(&read("stdout.log")), String::from_utf8_lossy(&read("stderr.log")))
    }

    /// Waits until its log contains a text.
    #[track_caller]
    pub(crate) fn says(&self, what: &str) {
        let found = wait_for(PATIENCE, || self.log().contains(what).then_some(()));
        assert!(found.is_some(), "no {what:?} in the log of the phone at {}", self.ip);
    }

    /// Sends it a command through its control port.
    pub(crate) fn command(&self, command: &str, parameters: &str) {
        let text = format!(r#"{{"command":"{command}","params":"{parameters}"}}"#);
        let mut stream = TcpStream::connect(SocketAddr::new(self.ip, 4444)).expect("the control port");
        write!(stream, "{}:{text},", text.len()).expect("a command");
    }

    /// How many RTP packets it received, from its own summary at the end of the call.
    #[track_caller]
    pub(crate) fn received(&self) -> u32 {
        self.says("PR=");
        let log = self.log();
        let digits = log.split("PR=").nth(1).unwrap_or_default().split(';').next().unwrap_or_default();
        digits.parse().unwrap_or_else(|_| panic!("no number of packets in:\n{log}"))
    }

    /// Unregisters and ends it.
    #[track_caller]
    pub(crate) fn quit(mut self) {
        self.command("quit", "");
        let status = self.process.wait(PATIENCE).unwrap_or_else(|| panic!("it does not quit:\n{}", self.log()));
        assert!(status.success(), "it ended with {status}:\n{}", self.log());
    }
}

impl Drop for Baresip {
    /// A failed test prints the log of the phone.
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of the phone at {} ---\n{}", self.ip, self.log());
        }
    }
}

fn account(server: SocketAddr, (user, password, transport): (&str, &str, &str), params: &str) -> String {
    format!(
        "<sip:{user}@office.example;transport={transport}>;auth_user={user};auth_pass={password};\
         outbound=\"sip:{server};transport={transport}\";regint=600;{params}"
    )
}

fn config(ip: IpAddr, folder: &Path) -> String {
    let modules = MODULES.iter().map(PathBuf::from).find(|path| path.is_dir());
    let modules = modules.expect("the modules of baresip (Debian package baresip-core)");
    format!(
        "sip_listen {ip}:5060\n\
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
