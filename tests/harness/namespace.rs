//! A network namespace for a test: the test runs itself again inside a new one, where only loopback exists and every
//! address and port is free.
//!
//! Needs root (or unprivileged user namespaces with mapping), `unshare` (util-linux) and `ip` (iproute2). If they are
//! missing the test fails and says so, because a skipped test shows nothing.

use std::process::Command;

const INSIDE: &str = "FRONTDESK_TEST_NAMESPACE";

/// Runs `body` in a network namespace that has `addresses` (with prefix length) on its loopback. `test` is the full
/// name of the calling test, as `cargo test` prints it.
pub(crate) fn inside(test: &str, addresses: &[&str], body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some_and(|name| name == test) {
        return body();
    }
    let mut script = "ip link set lo up".to_owned();
    for address in addresses {
        script.push_str(&format!(" && ip addr add {address} dev lo"));
    }
    script.push_str(" && exec \"$0\" --exact \"$1\" --nocapture");
    let program = std::env::current_exe().expect("the path of this test program");
    let mut command = Command::new("unshare");
    command.args(rights()).args(["--net", "--", "sh", "-c", &script]).arg(program).arg(test).env(INSIDE, test);
    let output = command.output().expect("unshare (util-linux) is needed to make a network namespace");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && text.contains("1 passed"),
        "the test failed in its network namespace (run as root, with iproute2 installed):\n{text}"
    );
}

/// Root can create a namespace at once; other users need a user namespace around it.
pub(crate) fn rights() -> &'static [&'static str] {
    let plain = Command::new("unshare").args(["--net", "true"]).output();
    if plain.is_ok_and(|output| output.status.success()) { &[] } else { &["--map-root-user"] }
}
