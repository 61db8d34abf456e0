//! Notifications to the service manager: ready, watchdog, reloading, stopping.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use crate::harness::PATIENCE;
use crate::harness::server::{OPEN, PROGRAM, fresh_ip, run};

/// Waits for a datagram with this text.
#[track_caller]
fn wait_for_notification(manager: &UnixDatagram, what: &str) -> String {
    let mut received = Vec::new();
    for _ in 0..20 {
        let mut buffer = [0; 512];
        let length = manager.recv(&mut buffer).unwrap_or_else(|error| panic!("no {what}, only {received:?}: {error}"));
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.lines().any(|line| line == what) {
            return text;
        }
        received.push(text);
    }
    panic!("no {what}, only {received:?}");
}

#[test]
fn the_service_manager_is_notified() {
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
    wait_for_notification(&manager, "READY=1");
    wait_for_notification(&manager, "WATCHDOG=1");
    wait_for_notification(&manager, "WATCHDOG=1");
    process.signal("HUP");
    let reloading = wait_for_notification(&manager, "RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    wait_for_notification(&manager, "READY=1");
    process.signal("TERM");
    wait_for_notification(&manager, "STOPPING=1");
    assert!(process.wait(Duration::from_secs(5)).expect("it ends").success());
}
