//! The dashboard and the rules with a real Prometheus that scrapes a real server under a small load: every query must
//! return data.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_yaml::Value;
use tempfile::TempDir;

use crate::harness::digest::Credentials;
use crate::harness::message::ack_of;
use crate::harness::process::Process;
use crate::harness::server::{CLOSED, fresh_ip, run};
use crate::harness::{Dialog, PATIENCE, Phone, Server, wait_for};
use crate::{files, metrics_in, promised, read};

const CONFIG: &str = "\
location: { store: disk, path: data/location }
foreign: authenticated
limits: { lookup_time: 1s }
groups: [{ user: \"600\", members: [bob] }]
trunks: [{ name: provider, server: \"sip:127.0.0.9:9;transport=tcp\", user: u, password: p, register: true, max_calls: 1 }]
";

/// Metrics without a panel and without an alert, and why nobody needs one.
const NOT_SHOWN: [(&str, &str); 3] = [
    ("frontdesk_moved_dialogs", "a table with a limit; the panel of limits shows when it is full"),
    ("frontdesk_trunks_silent", "the panel of trunks shows which one"),
    ("frontdesk_trunks_unregistered", "the panel of trunks shows which one"),
];

/// A running Prometheus.
struct Prometheus {
    _process: Process,
    folder: TempDir,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts Prometheus with the configuration and rules of this repository, but shorter intervals, and waits until it
    /// answers.
    #[track_caller]
    fn start(target: SocketAddr) -> Self {
        let folder = TempDir::with_prefix("frontdesk-prometheus-").expect("a temporary folder");
        for file in files("deploy/prometheus", ".yml") {
            let text = read(&file).replace(": 15s", ": 1s").replace("127.0.0.1:9090", &target.to_string());
            fs::write(folder.path().join(file.rsplit('/').next().expect("a name")), text).expect("a file");
        }
        let address = SocketAddr::new(fresh_ip(), 9090);
        let mut command = Command::new("prometheus");
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"]);
        command.arg(format!("--web.listen-address={address}"));
        let prometheus = Self { _process: run(command, folder.path()), folder, address };
        let ready = wait_for(PATIENCE * 3, || prometheus.get("/-/ready").filter(|text| text.contains("200 OK")));
        assert!(ready.is_some(), "Prometheus does not start:\n{}", prometheus.log());
        prometheus
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr.log")).unwrap_or_default()
    }

    fn get(&self, target: &str) -> Option<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {target} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// The current values of a query.
    #[track_caller]
    fn query(&self, expression: &str) -> Vec<f64> {
        let escaped: String = expression.bytes().map(|octet| format!("%{octet:02x}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={escaped}")).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP head");
        assert!(head.contains("200 OK"), "{expression}\n{answer}");
        let body: Value = serde_yaml::from_str(body).expect("JSON");
        let series = body["data"]["result"].as_sequence().expect("a list of series");
        series.iter().map(|series| series["value"][1].as_str().expect("a value").parse().expect("a number")).collect()
    }

    /// Whether a query has results and none of them is NaN.
    fn answers(&self, expression: &str) -> bool {
        let values = self.query(expression);
        !values.is_empty() && values.iter().all(|value| !value.is_nan())
    }
}

/// The phones that make the load.
struct Phones {
    server: Server,
    bob: Phone,
    desk: Phone,
    cell: Phone,
    alice: Phone,
}

impl Phones {
    fn open() -> Self {
        let server = Server::start(&format!("{CLOSED}{CONFIG}"));
        let address = server.address();
        let bob = Phone::udp("bob", address).registered_as("builder");
        let desk = Phone::udp("carol", address).registered_as("christmas");
        let cell = Phone::tcp("carol", address).registered_as("christmas");
        Self { bob, desk, cell, alice: Phone::tcp("alice", address).registered_as("wonderland"), server }
    }

    /// Makes one of each kind of event.
    fn work(&mut self) {
        let contact = format!("<{}>", self.bob.contact());
        let refresh = self.bob.register(Some(&contact));
        self.bob.authenticated(refresh, Credentials::new("bob", "builder"));
        self.bob.response(200);
        self.bob.send_raw(b"\r\n\r\n");
        let sent = self.call("sip:bob@office.example");
        let invite = self.bob.expect("INVITE");
        self.bob.reply(&invite, 200);
        let mut dialog = Dialog::caller(&sent, &self.alice.response(200));
        self.alice.send(dialog.ack());
        self.bob.expect("ACK");
        self.alice.send(dialog.request("BYE"));
        let bye = self.bob.expect("BYE");
        self.bob.reply(&bye, 200);
        self.alice.response(200);
        self.call("sip:carol@office.example");
        let ringing = self.desk.expect("INVITE");
        self.desk.reply(&ringing, 180);
        self.alice.response(180);
        let invite = self.cell.expect("INVITE");
        self.cell.reply(&invite, 200);
        self.alice.response(200);
        let cancel = self.desk.expect("CANCEL");
        self.desk.reply(&cancel, 200);
        self.desk.reply(&ringing, 487);
        self.desk.expect("ACK");
        self.call_in_vain("sip:nobody@office.example");
        self.call_in_vain("sip:somebody@nowhere.invalid");
        let mut mallory = Phone::udp("bob", self.server.address());
        let register = mallory.register(Some("<sip:mallory@192.0.2.66>"));
        mallory.authenticated(register, Credentials::new("bob", "guess"));
        mallory.response(401);
        mallory.send_raw(b"garbage");
        self.reload("domains: nonsense\n");
        self.reload(&format!("{CLOSED}{CONFIG}"));
    }

    fn reload(&self, config: &str) {
        let before = self.server.metrics().sum("frontdesk_reloads_total", &[]);
        self.server.rewrite(config);
        self.server.signal("HUP");
        self.server.counts("frontdesk_reloads_total", &[], |count| count > before);
    }

    fn call(&mut self, callee: &str) -> crate::harness::Message {
        let invite = self.alice.invite(callee);
        self.alice.authenticated(invite, Credentials::new("alice", "wonderland"))
    }

    fn call_in_vain(&mut self, callee: &str) {
        let sent = self.call(callee);
        let refused = self.alice.next_final();
        assert!(refused.status() >= Some(400), "{refused}");
        self.alice.send(ack_of(&sent, &refused));
    }
}

/// Every query of the dashboard as Grafana would send it.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_yaml::from_str(&read("deploy/grafana/dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_sequence().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_sequence()).flatten();
    let expressions = targets.map(|target| target["expr"].as_str().expect("a query"));
    let found: Vec<_> =
        expressions.map(|text| text.replace("$instance", ".*").replace("$__rate_interval", "10s")).collect();
    assert!(found.len() > 20 && found.iter().all(|query| !query.contains('$')), "{found:?}");
    found
}

/// The series that the rules select by labels: a misspelt label would select none.
fn selectors() -> Vec<String> {
    let mut found = Vec::new();
    for file in files("deploy/prometheus", "s.yml") {
        let text = read(&file);
        for (at, _) in text.match_indices("frontdesk_") {
            let rest = &text[at..];
            let name =
                rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')).unwrap_or(rest.len());
            if rest[name..].starts_with('{') {
                let end = rest.find('}').expect("an end of the labels");
                found.push(rest[..=end].to_owned());
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn panels_do_not_overlap() {
    let dashboard: Value = serde_yaml::from_str(&read("deploy/grafana/dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_sequence().expect("panels");
    let mut taken = HashSet::new();
    for (at, panel) in panels.iter().enumerate() {
        assert_eq!(panel["id"].as_u64(), Some(at as u64 + 1), "{panel:?}");
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        for x in place("x")..place("x") + place("w") {
            assert!(x < 24, "{panel:?}");
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{panel:?} lies on another");
            }
        }
    }
}

#[test]
fn every_metric_has_a_panel_or_an_alert() {
    let files = [read("deploy/grafana/dashboard.json"), read("deploy/prometheus/alerts.yml")];
    let shown: HashSet<&str> = files.iter().flat_map(|text| metrics_in(text)).collect();
    let is_shown = |name: &str| shown.contains(name) || shown.contains(&*format!("{name}_bucket"));
    let parts = ["_bucket", "_sum", "_count"];
    let metrics = promised().into_iter().filter(|name| !parts.iter().any(|part| name.ends_with(part)));
    let missing: Vec<_> = metrics.filter(|name| !is_shown(name)).collect();
    assert_eq!(missing.iter().map(String::as_str).collect::<HashSet<_>>(), NOT_SHOWN.map(|(name, _)| name).into());
}

#[test]
fn every_query_returns_data() {
    let mut phones = Phones::open();
    let prometheus = Prometheus::start(SocketAddr::new(phones.server.ip(), 9090));
    let mut open: Vec<_> = queries().into_iter().chain(selectors()).collect();
    let done = wait_for(Duration::from_secs(60), || {
        phones.work();
        // Rates need several scrapes, not many requests.
        std::thread::sleep(Duration::from_millis(500));
        open.retain(|query| !prometheus.answers(query));
        open.is_empty().then_some(())
    });
    assert!(done.is_some(), "no answer to\n{}\n{}", open.join("\n"), prometheus.log());
    let rules = prometheus.get("/api/v1/rules").expect("the rules");
    assert!(rules.contains(r#""health":"ok""#) && !rules.contains(r#""health":"err""#), "{rules}");
}
