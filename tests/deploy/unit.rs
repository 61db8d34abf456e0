//! The systemd unit, checked by systemd. `tests/deploy/deb` tests that it starts, reloads and restarts.

use std::fs;
use std::process::Command;

use crate::harness::server::PROGRAM;
use crate::{passes, path, read};

const UNIT: &str = "deploy/systemd/frontdesk.service";

#[test]
fn the_unit_restricts_the_program() {
    // The exposure in tenths: at most 2.0 of 10.
    let arguments = ["security", "--offline=true", "--threshold=20", "--no-pager"];
    passes(Command::new("systemd-analyze").args(arguments).arg(path(UNIT)));
}

#[test]
fn systemd_accepts_the_unit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let unit = folder.path().join("frontdesk.service");
    // systemd looks for the program, which is not installed here.
    fs::write(&unit, read(UNIT).replace("=frontdesk ", &format!("={PROGRAM} "))).expect("a file");
    let said = passes(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    assert!(!said.contains("frontdesk.service"), "{said}");
}
