//! Traces of messages: `frontdesk trace`, its capture file as tshark and sngrep read it, and the messages of the last calls.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::digest::Credentials;
use crate::harness::http::{self, Answer};
use crate::harness::openapi::Description;
use crate::harness::process::Process;
use crate::harness::server::{self, CLOSED, OPEN, PROGRAM};
use crate::harness::{Dialog, PATIENCE, Phone, Server, wait_for};

/// A running `frontdesk trace`.
struct Tracer {
    process: Process,
    folder: TempDir,
}

impl Tracer {
    /// Starts it, and waits until the server traces.
    #[track_caller]
    fn start(server: &Server, whose: &str) -> Self {
        let folder = TempDir::with_prefix("frontdesk-trace-").expect("a temporary folder");
        // A shell starts its background jobs with SIGINT ignored, which they and these tests would inherit.
        let mut command = Command::new("env");
        command
            .args(["--default-signal=INT", PROGRAM, "trace", whose, "--pcap", "calls.pcap", "--config"])
            .arg(server.path().join("frontdesk.yaml"));
        let process = server::run(command, folder.path());
        server.logs(&format!("a trace of messages began: {whose}"));
        Self { process, folder }
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stdout.log")).unwrap_or_default()
    }

    /// Waits until it has shown this many messages.
    #[track_caller]
    fn shows(&self, count: usize) -> Vec<String> {
        let found = wait_for(PATIENCE, || (self.output().lines().count() >= count).then(|| self.output()));
        let output = found.unwrap_or_else(|| panic!("not {count} messages:\n{}", self.output()));
        output.lines().map(str::to_owned).collect()
    }

    /// Ctrl-C. Returns the path of the capture file.
    #[track_caller]
    fn interrupt(&mut self) -> std::path::PathBuf {
        self.process.signal("INT");
        assert!(self.process.wait(PATIENCE).is_some(), "it does not end");
        self.folder.path().join("calls.pcap")
    }
}

/// The phones of alice, over TCP, and of bob, over UDP.
fn phones(server: &Server) -> (Phone, Phone) {
    (Phone::tcp("alice", server.address()), Phone::udp("bob", server.address()).registered_as("builder"))
}

/// A call of alice, with her password, to bob, from the INVITE to the BYE. Returns its Call-ID.
#[track_caller]
fn call(alice: &mut Phone, bob: &mut Phone) -> String {
    let invite = alice.invite("sip:bob@office.example");
    let sent = alice.authenticated(invite, Credentials::new("alice", "wonderland"));
    let at_bob = bob.expect("INVITE");
    bob.reply(&at_bob, 180);
    alice.response(180);
    bob.reply(&at_bob, 200);
    let ok = alice.response(200);
    let mut caller = Dialog::caller(&sent, &ok);
    alice.send(caller.ack());
    bob.expect("ACK");
    alice.send(caller.request("BYE"));
    let bye = bob.expect("BYE");
    bob.reply(&bye, 200);
    alice.response(200);
    sent.header("Call-ID").to_owned()
}

/// The messages of `call` after its challenge, as they are shown.
const MESSAGES: [(&str, &str); 12] = [
    ("->", "INVITE bob@office.example"),
    ("<-", "INVITE bob@"),
    ("->", "180 As The Test Says (INVITE)"),
    ("<-", "180 As The Test Says (INVITE)"),
    ("->", "200 As The Test Says (INVITE)"),
    ("<-", "200 As The Test Says (INVITE)"),
    ("->", "ACK bob@"),
    ("<-", "ACK bob@"),
    ("->", "BYE bob@"),
    ("<-", "BYE bob@"),
    ("->", "200 As The Test Says (BYE)"),
    ("<-", "200 As The Test Says (BYE)"),
];

/// What tshark reads in a capture file: source, target, the first line of the message, whether all checksums are right.
#[track_caller]
pub(super) fn tshark(file: &Path) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(file).args(["-Y", "sip", "-T", "fields"]);
    command.args(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]);
    for field in ["ip.src", "udp.srcport", "ip.dst", "udp.dstport", "udp.checksum.status"] {
        command.args(["-e", field]);
    }
    command.args(["-e", "sip.Request-Line", "-e", "sip.Status-Line", "-e", "sip.Call-ID"]);
    let output = command.output().expect("tshark (Debian package tshark)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// Without a password of alice or bob, and without anything that depends on one.
#[track_caller]
fn has_no_credentials(text: &str) {
    let responses: Vec<_> = text.match_indices("response=\"").map(|(at, mark)| &text[at + mark.len()..]).collect();
    assert!(!responses.is_empty(), "no credentials in\n{text}");
    for response in responses {
        let value = response.split('"').next().expect("a value");
        assert!(value.len() >= 32 && value.bytes().all(|octet| octet == b'x'), "{value}");
    }
}

#[test]
fn a_call_is_shown_while_it_happens() {
    let server = Server::start(CLOSED);
    let (mut alice, mut bob) = phones(&server);
    call(&mut alice, &mut bob);
    let mut tracer = Tracer::start(&server, "bob");
    let mut of_alice = Tracer::start(&server, "alice");
    let query = bob.register(None);
    bob.authenticated(query, Credentials::new("bob", "builder"));
    bob.response(200);
    let call_id = call(&mut alice, &mut bob);
    let _carol = Phone::udp("carol", server.address()).registered_as("christmas");
    // REGISTER, 401, REGISTER, 200; INVITE, 407, ACK; the call.
    let lines = tracer.shows(4 + 3 + MESSAGES.len());
    for (line, (arrow, summary)) in lines.iter().skip(7).zip(MESSAGES) {
        assert!(line.contains(&format!(" {arrow} here  [2] {summary}")), "{summary} in {line}");
    }
    assert!(lines[0].contains("udp") && lines[0].contains("] REGISTER office.example"), "{}", lines[0]);
    assert!(lines[5].contains("tcp") && lines[5].ends_with("407 Proxy Authentication Required (INVITE)"), "{lines:?}");
    // Neither what came before nor what others do; the whole call, but not the registration, for its other side.
    assert!(!tracer.output().contains("carol") && !of_alice.output().contains("REGISTER"), "{}", of_alice.output());
    assert_eq!(lines.len(), 7 + MESSAGES.len());
    of_alice.shows(3 + MESSAGES.len());
    of_alice.interrupt();

    let file = tracer.interrupt();
    let packets = tshark(&file);
    assert_eq!(packets.len(), lines.len(), "{packets:?}");
    let (ip, port) = (server.address().ip().to_string(), server.address().port().to_string());
    for (packet, line) in packets.iter().zip(&lines) {
        let [source, source_port, target, target_port, checksum, request, status, id] = packet.as_slice() else {
            panic!("{packet:?}")
        };
        let (peer, own) = match line.contains("-> here") {
            true => ((source, source_port), (target, target_port)),
            false => ((target, target_port), (source, source_port)),
        };
        assert_eq!((own.0, own.1, checksum.as_str()), (&ip, &port, "1"), "{packet:?}");
        assert!(line.contains(&format!("  {}:{} ", peer.0, peer.1)), "{packet:?} is not {line}");
        let first = format!("{request}{status}");
        let word = if request.is_empty() { first.split(' ').nth(1) } else { first.split(' ').next() };
        assert!(line.contains(word.expect("a word")), "{first} is not {line}");
        assert!(line.contains("[1]") || *id == call_id, "{packet:?}");
    }
    let octets = std::fs::read(&file).expect("the file");
    has_no_credentials(&String::from_utf8_lossy(&octets));

    // sngrep reads it as well: it writes the calls that it found to another file.
    let copy = file.with_file_name("copy.pcap");
    let mut sngrep = Command::new("timeout");
    sngrep.args(["20", "sngrep", "-N", "-q", "-c", "-I"]).arg(&file).arg("-O").arg(&copy);
    let sngrep = sngrep.env("TERM", "xterm").output().expect("sngrep (Debian package sngrep)");
    assert!(sngrep.status.success(), "{sngrep:?}");
    let copied = tshark(&copy);
    assert!(copied.len() >= MESSAGES.len() && copied.iter().any(|packet| packet[7] == call_id), "{copied:?}");

    // Nobody looks any more.
    let ended = || (server.log().matches("a trace of messages ended").count() == 2).then_some(());
    assert!(wait_for(PATIENCE, ended).is_some(), "{}", server.log());
}

#[test]
fn on_a_terminal_the_server_and_each_peer_have_a_column() {
    let server = Server::start(OPEN);
    let folder = TempDir::with_prefix("frontdesk-terminal-").expect("a temporary folder");
    let config = server.path().join("frontdesk.yaml");
    let traced = format!("stty cols 110; exec {PROGRAM} trace all --config {}", config.display());
    let mut terminal = Command::new("script");
    terminal.args(["-qfc", &traced, "terminal.log"]);
    let _process = server::run(terminal, folder.path());
    server.logs("a trace of messages began: all");
    let mut alice = Phone::udp("alice", server.address());
    let request = alice.request("OPTIONS", "sip:office.example");
    alice.ask(request);
    let shown = || std::fs::read_to_string(folder.path().join("terminal.log")).unwrap_or_default();
    let found = wait_for(PATIENCE, || shown().contains("|<---- [1] 200 OK (OPTIONS) ----|").then(shown));
    let shown = found.unwrap_or_else(shown);
    let heads = shown.lines().find(|line| line.contains("frontdesk") && line.contains(" udp"));
    let heads = heads.unwrap_or_else(|| panic!("no heads in {shown}"));
    assert!(heads.contains(&format!("{} udp", alice.local())), "{shown}");
    assert!(shown.contains("|- [1] OPTIONS office.example ->|") && shown.contains("200 OK"), "{shown}");
}

/// Messages over every kind of connection, what the server answers itself, and what is not SIP.
#[test]
fn messages_of_all_transports_are_shown() {
    let server = Server::start(OPEN);
    let tracer = Tracer::start(&server, "all");
    let mut alice = Phone::websocket("alice", server.websocket());
    let request = alice.request("OPTIONS", "sip:office.example");
    alice.ask(request);
    // Over a connection that the server opens.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a TCP port");
    let desk_address = listener.local_addr().expect("a bound socket");
    let mut desk = Phone::udp("bob", server.address());
    let register = desk.register(Some(&format!("<sip:bob@{desk_address};transport=tcp>")));
    desk.ask(register);
    let invite = alice.invite("sip:bob@office.example");
    alice.send(invite);
    let mut bob = Phone::accept("bob", server.address(), &listener);
    let at_bob = bob.expect("INVITE");
    bob.reply(&at_bob, 486);
    alice.response(486);
    // Without Content-Length, and no SIP at all.
    let mut carol = Phone::tcp("carol", server.address());
    let request = carol.request("OPTIONS", "sip:office.example");
    let text = String::from_utf8(carol.stamp(request).bytes()).expect("text").replace("Content-Length: 0\r\n", "");
    carol.send_raw(text.as_bytes());
    carol.response(400);
    desk.send_raw(b"hello");
    let lines = tracer.shows(11);
    let has = |peer: String, arrow: &str, summary: &str| {
        let is_one = |line: &&String| line.contains(&peer) && line.contains(arrow) && line.contains(summary);
        assert!(lines.iter().any(|line| is_one(&line)), "{summary} {arrow} {peer} in {lines:#?}");
    };
    has(format!("{} ws", alice.local()), "->", "OPTIONS office.example");
    has(format!("{} ws", alice.local()), "<-", "200 OK (OPTIONS)");
    has(format!("{desk_address} tcp"), "<-", "INVITE bob@127.0.0.1");
    has(format!("{desk_address} tcp"), "->", "486 As The Test Says (INVITE)");
    has(format!("{} tcp", carol.local()), "->", "OPTIONS office.example");
    has(format!("{} tcp", carol.local()), "<-", "400 ");
    has(format!("{} udp", desk.local()), "->", "not readable, 5 octets");
}

fn get(server: &Server, path: &str) -> Answer {
    let address = server.http();
    http::send(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nX-Frontdesk: test\r\n"))
}

#[test]
fn a_trace_needs_the_rights_of_the_api() {
    let server = Server::start(&format!("{OPEN}admin: {{ token: 0123456789abcdef }}\ntrace: {{ calls: 1 }}\n"));
    for path in [
        "/api/v1/trace",
        "/api/v1/%74race",
        "/api/v1/trace/calls",
        "/api/v1/%74%72ace/calls",
        "/api/v1/calls/0/messages",
        "/api/v1/%63alls/0/%6dessages",
        "/api/v1/calls/0/pcap",
        "/api/v1/calls/0/pca%70",
    ] {
        assert_eq!(get(&server, path).status, 401, "{path}");
        let address = server.http();
        let token = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer 0123456789abcdef\r\n");
        // A page of another origin cannot set the other header.
        assert_eq!(http::send(address, &token).status, 403, "{path}");
        if !path.ends_with("race") {
            let status = http::send(address, &format!("{token}X-Frontdesk: test\r\n")).status;
            assert_eq!(status, if path.contains("/0/") { 404 } else { 200 });
        }
    }
    let (output, code) = super::commands::frontdesk(server.path(), "trace @nowhere");
    assert!(code == 1 && output.contains("expected a user, a number"), "{output}");
    let (output, code) = super::commands::frontdesk(server.path(), "trace bob --pcap nowhere/a.pcap");
    assert!(code == 1 && output.contains("nowhere/a.pcap: "), "{output}");
}

/// A reader that does not read loses messages and is told how many; the server does not wait for it.
#[test]
fn a_slow_reader_slows_nobody() {
    let server = Server::start(&format!("{OPEN}limits: {{ trace_memory: 128KiB }}\n"));
    let mut reader = TcpStream::connect(server.http()).expect("a connection");
    let head = format!("GET /api/v1/trace?user=all HTTP/1.1\r\nHost: {}\r\nX-Frontdesk: test\r\n\r\n", server.http());
    reader.write_all(head.as_bytes()).expect("a request");
    server.logs("a trace of messages began: all");
    let mut alice = Phone::udp("alice", server.address());
    let body = "x".repeat(20_000);
    // More than the buffers of the connection take.
    for _ in 0..400 {
        let request = alice.request("OPTIONS", "sip:office.example").body("text/plain", body.as_str());
        alice.send(request);
        alice.response(200);
    }
    server.counts("frontdesk_limits_reached_total", &[("limit", "trace_memory")], |count| count > 0.0);
    reader.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let (mut text, mut buffer) = (String::new(), vec![0; 1 << 16]);
    while !text.contains("{\"lost\":") {
        let count = reader.read(&mut buffer).expect("more lines");
        assert!(count > 0, "it has ended");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    drop(reader);
    server.logs("a trace of messages ended");
}

/// More messages a second than `limits.trace_rate` are not traced, and the reader is told.
#[test]
fn the_rate_of_a_trace_is_bounded() {
    let server = Server::start(&format!("{OPEN}limits: {{ trace_rate: 5 }}\n"));
    let tracer = Tracer::start(&server, "all");
    let mut alice = Phone::udp("alice", server.address());
    for _ in 0..50 {
        let request = alice.request("OPTIONS", "sip:office.example");
        alice.send(request);
        alice.response(200);
    }
    server.counts("frontdesk_limits_reached_total", &[("limit", "trace_rate")], |count| count > 0.0);
    let lost = wait_for(PATIENCE, || tracer.output().contains("missing here").then_some(()));
    assert!(lost.is_some(), "{}", tracer.output());
}

#[test]
fn the_messages_of_the_last_calls_are_kept() {
    let server = Server::start(&format!("{CLOSED}trace: {{ calls: 2 }}\n"));
    let (mut alice, mut bob) = phones(&server);
    let ids: Vec<_> = (0..3).map(|_| call(&mut alice, &mut bob)).collect();
    let whole = |calls: &serde_json::Value| calls["calls"][0]["messages"] == 3 + MESSAGES.len();
    let calls = wait_for(PATIENCE, || Some(get(&server, "/api/v1/trace/calls").json()).filter(whole));
    let calls = calls.unwrap_or_else(|| panic!("{}", get(&server, "/api/v1/trace/calls").body));
    let list = calls["calls"].as_array().expect("a list");
    assert_eq!((list.len(), &calls["max"]), (2, &2.into()));
    assert_eq!((&list[0]["from"], &list[0]["to"]), (&"alice@office.example".into(), &"bob@office.example".into()));
    let path =
        |call: &serde_json::Value, what: &str| format!("/api/v1/calls/{}/{what}", call["id"].as_str().expect("an id"));
    let answer = get(&server, &path(&list[0], "messages"));
    let messages = answer.json();
    let description = Description::read();
    description.check("GET", "/api/v1/calls/{id}/messages", &answer);
    description.check("GET", "/api/v1/trace/calls", &get(&server, "/api/v1/trace/calls"));
    let text =
        messages["messages"].as_array().expect("a list").iter().map(|one| one["message"].as_str().expect("text"));
    let text: String = text.collect();
    has_no_credentials(&text);
    assert!(text.contains(&ids[2]) && !text.contains(&ids[1]), "{text}");
    for (entry, (arrow, summary)) in messages["messages"].as_array().expect("a list").iter().skip(3).zip(MESSAGES) {
        let direction = if arrow == "->" { "received" } else { "sent" };
        assert_eq!(entry["direction"], direction, "{entry}");
        assert!(entry["summary"].as_str().expect("text").starts_with(summary), "{entry}");
    }
    // The capture file has the same messages.
    let capture = raw(&server, &path(&list[1], "pcap"));
    let file = server.path().join("call.pcap");
    std::fs::write(&file, &capture).expect("a file");
    let packets = tshark(&file);
    assert!(packets.len() == 3 + MESSAGES.len() && packets.iter().all(|packet| packet[7] == ids[1]), "{packets:?}");

    // After a reload without it nothing is left.
    server.rewrite(CLOSED);
    server.signal("HUP");
    let gone = || (get(&server, &path(&list[0], "messages")).status == 404).then_some(());
    assert!(wait_for(PATIENCE, gone).is_some(), "still there");
    call(&mut alice, &mut bob);
    assert_eq!(get(&server, "/api/v1/trace/calls").json(), serde_json::json!({ "max": 0, "calls": [] }));
}

/// A flood of calls takes no more memory than `limits.trace_memory`.
#[test]
fn kept_calls_are_bounded() {
    let server = Server::start(&format!("{OPEN}trace: {{ calls: 1000 }}\nlimits: {{ trace_memory: 256KiB }}\n"));
    let mut alice = Phone::udp("alice", server.address());
    for _ in 0..200 {
        let invite = alice.invite("sip:nobody@office.example");
        alice.send(invite);
        alice.response(480);
    }
    server.counts("frontdesk_limits_reached_total", &[("limit", "trace_memory")], |count| count > 0.0);
    let calls = get(&server, "/api/v1/trace/calls").json();
    let kept = calls["calls"].as_array().expect("a list").len();
    assert!((10..100).contains(&kept), "{kept}");
}

/// The body of a response that is not text.
fn raw(server: &Server, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.http()).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let host = server.http();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Frontdesk: test\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    answer.split_off(end + 4)
}

/// HEP version 3, as Debian's sngrep receives it and tshark reads what sngrep wrote.
#[test]
fn a_capture_server_gets_all_messages() {
    let folder = TempDir::with_prefix("frontdesk-sngrep-").expect("a temporary folder");
    let ip = server::fresh_ip();
    let mut command = Command::new("timeout");
    command.args(["60", "sngrep", "-N", "-q", "-L", &format!("udp:{ip}:9060"), "-O", "hep.pcap"]);
    command.env("TERM", "xterm");
    let mut sngrep = server::run(command, folder.path());
    let listens = || std::net::UdpSocket::bind((ip, 9060)).is_err().then_some(());
    assert!(wait_for(PATIENCE, listens).is_some(), "sngrep (Debian package sngrep) does not listen");
    let server = Server::start(&format!("{CLOSED}capture: {{ hep: \"udp://{ip}:9060\", id: 7 }}\n"));
    let (mut alice, mut bob) = phones(&server);
    let call_id = call(&mut alice, &mut bob);
    let file = folder.path().join("hep.pcap");
    // sngrep keeps the messages of calls only, and writes them when it ends.
    std::thread::sleep(Duration::from_millis(500));
    sngrep.signal("INT");
    assert!(sngrep.wait(PATIENCE).is_some(), "sngrep does not end");
    let packets: Vec<_> = tshark(&file).into_iter().filter(|packet| packet[7] == call_id).collect();
    assert_eq!(packets.len(), 3 + MESSAGES.len(), "{packets:?}");
    let (invite, to_bob) = (&packets[0], &packets[4]);
    let own = server.address();
    assert_eq!((&invite[2], &invite[3]), (&own.ip().to_string(), &own.port().to_string()));
    assert_eq!((&to_bob[0], &to_bob[3]), (&own.ip().to_string(), &bob.local().port().to_string()));
    assert!(to_bob[5].starts_with("INVITE sip:bob@"), "{packets:?}");
    has_no_credentials(&String::from_utf8_lossy(&std::fs::read(&file).expect("the file")));

    // Nobody is there any more: the server goes on, and counts.
    let register = bob.register(None);
    bob.authenticated(register, Credentials::new("bob", "builder"));
    bob.response(200);
    server.counts("frontdesk_capture_lost_total", &[], |count| count > 0.0);
}

/// The chunks of a datagram that are numbers or addresses, and the message.
fn chunks(mut datagram: &[u8]) -> std::collections::BTreeMap<u16, Vec<u8>> {
    assert_eq!(&datagram[..4], b"HEP3");
    datagram = &datagram[6..];
    let mut chunks = std::collections::BTreeMap::new();
    while !datagram.is_empty() {
        let number = |at: usize| u16::from_be_bytes([datagram[at], datagram[at + 1]]);
        let (chunk, rest) = datagram.split_at(usize::from(number(4)));
        assert!(chunks.insert(number(2), chunk[6..].to_vec()).is_none());
        datagram = rest;
    }
    chunks
}

/// Over IPv6 and of messages over IPv6, and after a reload to another server. Debian's sngrep has no IPv6 there.
#[test]
fn a_capture_server_may_have_ipv6_and_may_change() {
    let open = || std::net::UdpSocket::bind("[::1]:0").expect("a port");
    let (first, second) = (open(), open());
    let capture = |socket: &std::net::UdpSocket| {
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        format!("{OPEN}capture: {{ hep: \"udp://{}\" }}\n", socket.local_addr().expect("an address"))
    };
    let receive = |socket: &std::net::UdpSocket| {
        let mut buffer = [0; 2048];
        let count = socket.recv(&mut buffer).expect("a message");
        chunks(&buffer[..count])
    };
    let (server, address) = Server::start_v6(&capture(&first));
    let mut alice = Phone::udp("alice", address);
    let request = alice.request("OPTIONS", "sip:office.example");
    let sent = alice.send(request);
    alice.response(200);
    let (asked, answered) = (receive(&first), receive(&first));
    let one = [&[0; 15][..], &[1]].concat();
    assert_eq!((&asked[&1], &asked[&2], &asked[&5], &asked[&6]), (&vec![10], &vec![17], &one, &one));
    let ports = (alice.local().port().to_be_bytes().to_vec(), address.port().to_be_bytes().to_vec());
    assert_eq!((&asked[&7], &asked[&8]), (&ports.0, &ports.1));
    assert_eq!((&answered[&7], &answered[&8]), (&ports.1, &ports.0));
    assert_eq!((&asked[&11], &asked[&12]), (&vec![1], &2001_u32.to_be_bytes().to_vec()));
    assert_eq!((&asked[&17], &answered[&17]), (&sent.header("Call-ID").as_bytes().to_vec(), &asked[&17]));
    assert!(
        asked[&15].starts_with(b"OPTIONS sip:office.example SIP/2.0\r\n") && answered[&15].starts_with(b"SIP/2.0 200 ")
    );

    let port = address.port();
    let listen = format!("listen: [\"udp://[::1]:{port}\", \"tcp://[::1]:{port}\"]\n");
    server.rewrite(&format!("{}{listen}", capture(&second)));
    server.signal("HUP");
    second.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let is_used = wait_for(PATIENCE, || {
        let request = alice.request("OPTIONS", "sip:office.example");
        alice.send(request);
        alice.response(200);
        second.recv(&mut [0; 2048]).ok()
    });
    assert!(is_used.is_some(), "{}", server.log());
    first.set_nonblocking(true).expect("a socket");
    while first.recv(&mut [0; 2048]).is_ok() {}
    let request = alice.request("OPTIONS", "sip:office.example");
    alice.send(request);
    alice.response(200);
    second.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    (0..3).for_each(|_| drop(receive(&second)));
    assert!(first.recv(&mut [0; 64]).is_err(), "the first one gets nothing after the reload");
}
