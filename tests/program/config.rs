//! The command line and the configuration: errors name file, line and key, and nothing is overwritten.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::server::{OPEN, PROGRAM, data, fresh_ip};
use crate::harness::{Phone, Server};

fn frontdesk(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder).env_remove("RUST_LOG").output().expect("the program starts")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn folder() -> TempDir {
    TempDir::with_prefix("frontdesk-test-").expect("a temporary folder")
}

/// Runs a server that must not start: its exit code and what it printed.
#[track_caller]
fn fails(folder: TempDir, ip: std::net::IpAddr, config: &str) -> (i32, String, Server) {
    let mut server = Server::launch(folder, ip, config);
    let status = server.wait(Duration::from_secs(10)).unwrap_or_else(|| panic!("it runs:\n{}", server.log()));
    (status.code().expect("an exit code"), server.log(), server)
}

#[test]
fn an_error_names_file_line_and_key() {
    let folder = folder();
    let table = [
        ("domains: [office.example]\nlissten: []\n", 2, "lissten"),
        ("domains: [office.example]\n\nauthentication: perhaps\n", 3, "authentication"),
        ("registrar:\n  min_expires: 60s\n  default_expires: soon\n", 3, "default_expires"),
        ("registrar:\n  min_expires: 60\n", 2, "min_expires"),
        ("listen: [\"udp://0.0.0.0:5060\",\n  \"smoke://0.0.0.0:5060\"]\n", 2, "listen"),
        ("listen: [\"udp://0.0.0.0:99999\"]\n", 1, "listen"),
        ("forking: { strategy: random }\n", 1, "strategy"),
        ("\nlimits:\n  message_size: big\n", 3, "message_size"),
        ("accounts:\n  - { user: alice, password: a }\n  - { user: alice, password: b }\n", 3, "accounts"),
        ("accounts:\n  - { user: alice }\n", 2, "accounts"),
        ("accounts:\n  - { user: alice, ha1: { md5: xyz } }\n", 2, "md5"),
        ("domains: []\n", 1, "domains"),
        ("trusted: [192.0.2.0/40]\n", 1, "trusted"),
        ("digest: { algorithms: [sha-1] }\n", 1, "algorithms"),
        ("metrics: { listen: nowhere }\n", 1, "listen"),
        ("timers: { t1: 5s, t2: 1s }\n", 1, "t2"),
        ("workers: 2\n\tdomains: []\n", 2, ""),
    ];
    for (text, line, key) in table {
        fs::write(folder.path().join("wrong.yaml"), text).expect("a file");
        for verb in ["check", "run"] {
            let output = frontdesk(folder.path(), &[verb, "--config", "wrong.yaml"]);
            let said = said(&output);
            assert_eq!(output.status.code(), Some(2), "{verb} of\n{text}said\n{said}");
            assert!(said.contains(&format!("wrong.yaml:{line}")), "{verb} of\n{text}said\n{said}");
            assert!(said.contains(key), "{verb} of\n{text}said\n{said}");
            assert!(!said.contains("panicked"), "{said}");
        }
    }
    assert!(!data(folder.path()).exists(), "a wrong configuration has made a data folder");
}

#[test]
fn a_missing_file_is_named() {
    let folder = folder();
    let output = frontdesk(folder.path(), &["check", "--config", "absent.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("absent.yaml"), "{}", said(&output));
}

#[test]
fn a_valid_file_is_reported_as_valid() {
    let folder = folder();
    fs::write(folder.path().join("good.yaml"), OPEN).expect("a file");
    let output = frontdesk(folder.path(), &["check", "--config", "good.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/frontdesk.yaml");
    let shipped = shipped.to_str().expect("a path in UTF-8");
    let output = frontdesk(folder.path(), &["check", "--config", shipped]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!data(folder.path()).exists(), "a check has made a data folder");
}

#[test]
fn help_and_usage_errors_are_printed() {
    let folder = folder();
    let help = frontdesk(folder.path(), &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for word in ["run", "check", "account", "bindings", "explain", "reload", "--config", "--version"] {
        assert!(said(&help).contains(word), "no {word} in {}", said(&help));
    }
    let version = frontdesk(folder.path(), &["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(said(&version).contains(env!("CARGO_PKG_VERSION")), "{}", said(&version));
    for wrong in [&["--fast"][..], &["dance"], &["run", "--config"], &["check", "extra"]] {
        let output = frontdesk(folder.path(), wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?} said {}", said(&output));
    }
}

#[test]
fn a_port_in_use_is_reported() {
    let ip = fresh_ip();
    let _taken = UdpSocket::bind((ip, 5060)).expect("a port of our own");
    let (code, said, _) = fails(folder(), ip, OPEN);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("{ip}:5060")), "{said}");
}

#[test]
fn a_metrics_port_in_use_does_not_stop_the_server() {
    // Prometheus uses port 9090. If something else has it already, that serves as well.
    let _taken = std::net::TcpListener::bind("127.0.0.1:9090");
    let server = Server::start(&format!("{OPEN}metrics: {{ listen: \"127.0.0.1:9090\" }}\n"));
    assert!(server.log().contains("metrics take a free port"), "{}", server.log());
    Phone::udp("bob", server.address()).registered();
}

#[test]
fn a_second_server_does_not_share_the_port() {
    let server = Server::start(OPEN);
    let metrics = "metrics: { listen: off }\n";
    let (code, said, _second) = fails(folder(), server.ip(), &format!("{OPEN}{metrics}"));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("{}:5060", server.ip())), "{said}");
    Phone::udp("bob", server.address()).registered();
}

#[test]
fn an_impossible_data_folder_is_reported() {
    let folder = folder();
    // Root may write anywhere, but not below a file.
    fs::write(folder.path().join("data"), "a file").expect("a file");
    let config = format!("{OPEN}location: {{ store: disk, path: data/location }}\n");
    let (code, said, server) = fails(folder, fresh_ip(), &config);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("data"), "{said}");
    assert_eq!(fs::read(data(server.path())).expect("the file is still there"), b"a file");
}

/// Every file of the data folder, with its content.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let content = fs::read(&path).expect("a file");
            found.push((path, content));
        }
    }
    found.sort();
    found
}

#[test]
fn a_damaged_store_is_not_changed() {
    let config = format!("{OPEN}location: {{ store: disk, path: data/location }}\n");
    let ip = fresh_ip();
    let server = Server::start_in(folder(), ip, &config);
    for number in 0..200 {
        Phone::udp(&format!("user{number}"), server.address()).registered();
    }
    let mut folder = server.stop();
    // At the beginning of the file, and in the middle of its contents.
    for place in [0, 1, 2] {
        let good = contents(&data(folder.path()));
        let store = good
            .iter()
            .filter(|(path, content)| path.starts_with(data(folder.path()).join("location")) && content.len() > 4096);
        let (path, content) = store.max_by_key(|(_, content)| content.len()).cloned().expect("the store's file");
        let mut damaged = content.clone();
        let at = content.len() / 3 * place;
        for octet in &mut damaged[at..at + 2048] {
            *octet = octet.wrapping_add(0x5b);
        }
        fs::write(&path, &damaged).expect("the store's file");
        let (code, said, server) = fails(folder, ip, &config);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("location"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        assert_eq!(fs::read(&path).expect("the store's file"), damaged, "a damaged store was changed");
        folder = server.kill();
        fs::write(&path, &content).expect("the store's file");
    }
    let server = Server::start_in(folder, ip, &config);
    assert_eq!(Phone::udp("user7", server.address()).bindings().len(), 1);
}

#[test]
fn a_store_is_opened_by_one_server_only() {
    let shared = folder();
    let path = shared.path().join("location");
    let config = format!("{OPEN}location: {{ store: disk, path: {} }}\n", path.display());
    let first = Server::start_in(folder(), fresh_ip(), &config);
    let (code, said, _) = fails(folder(), fresh_ip(), &config);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("location"), "{said}");
    Phone::udp("bob", first.address()).registered();
}
