//! What a service manager is told over its socket: ready, alive, reloading, stopping.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use crate::harness::PATIENCE;
use crate::harness::server::{OPEN, PROGRAM, fresh_ip, run};

/// Waits for a datagram that says this.
#[track_caller]
fn hears(manager: &UnixDatagram, what: &str) -> String {
    let mut heard = Vec::new();
    for _ in 0..20 {
        let mut buffer = [0; 512];
        let length = manager.recv(&mut buffer).unwrap_or_else(|error| panic!("no {what}, only {heard:?}: {error}"));
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.lines().any(|line| line == what) {
            return text;
        }
        heard.push(text);
    }
    panic!("no {what}, only {heard:?}");
}

#[test]
fn it_is_told_what_happens() {
    let (folder, ip) = (tempfile::tempdir().expect("a folder"), fresh_ip());
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let config = format!(
        "{OPEN}listen: [\"udp://{ip}:5060\"]\nmetrics: {{ listen: \"{ip}:9090\" }}\nlocation: {{ store: memory }}\n"
    );
    fs::write(folder.path().join("frontdesk.yaml"), config).expect("a file");
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--config", "frontdesk.yaml"]);
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "5000000");
    let mut process = run(command, folder.path());
    hears(&manager, "READY=1");
    hears(&manager, "WATCHDOG=1");
    hears(&manager, "WATCHDOG=1");
    process.signal("HUP");
    let reloading = hears(&manager, "RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    hears(&manager, "READY=1");
    process.signal("TERM");
    hears(&manager, "STOPPING=1");
    assert!(process.wait(Duration::from_secs(5)).expect("it ends").success());
}
