//! The files around the program: the unit, the rules for Prometheus, the dashboard, the documents. Each is compared
//! with the program or checked by the tool that reads it.
//!
//! Needs the Debian packages `prometheus` and `systemd`; `tests/run` installs them. The Debian package has a test of its
//! own, `tests/deploy/deb`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test that cannot go on must say so and stop"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod checklist;
mod dashboard;
mod documents;
mod rules;
mod unit;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A file of the repository by its path.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// The text of a file of the repository.
#[track_caller]
fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The paths of the files with this ending in a folder of the repository.
#[track_caller]
fn files(folder: &str, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
    let mut found: Vec<_> =
        names.filter(|name| name.ends_with(ending)).map(|name| format!("{folder}/{name}")).collect();
    found.sort();
    assert!(!found.is_empty(), "no {ending} in {folder}");
    found
}

/// Runs a tool that must succeed. Returns its output.
#[track_caller]
fn passes(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?} says\n{said}");
    said
}

/// The words of a text that begin like one of our metrics.
fn metrics_in(text: &str) -> Vec<&str> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'));
    words.filter(|word| word.strip_prefix("frontdesk_").is_some_and(|name| !name.is_empty())).collect()
}

/// The metrics that the README lists, with the series of each histogram.
fn promised() -> Vec<String> {
    let readme = read("README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `frontdesk_"));
    let names = rows.filter_map(|row| row.split_once('`')).map(|(name, _)| format!("frontdesk_{name}"));
    let names: Vec<_> = names.collect();
    assert!(names.len() > 20, "{names:?}");
    let histograms: Vec<_> =
        names.iter().filter(|name| readme.contains(&format!("| `{name}` | histogram"))).cloned().collect();
    let parts = |name: &String| ["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}"));
    names.into_iter().chain(histograms.iter().flat_map(parts)).collect()
}
