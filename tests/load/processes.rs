//! All processes of a server.

use std::fs;
use std::time::Duration;

use crate::usage;

/// A process, its children, their children and so on.
pub(crate) struct Processes(Vec<u32>);

impl Processes {
    /// Those that run now.
    pub(crate) fn of(pid: u32) -> Self {
        let entries = fs::read_dir("/proc").expect("/proc");
        let running = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let parents: Vec<_> = running.filter_map(|pid| Some((pid, parent(pid)?))).collect();
        let (mut found, mut at) = (vec![pid], 0);
        while let Some(parent) = found.get(at).copied() {
            found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
            at += 1;
        }
        Self(found)
    }

    /// The processor time that they have used.
    pub(crate) fn time(&self) -> Duration {
        self.0.iter().map(|pid| usage::of(*pid)).sum()
    }

    /// Their resident memory in octets.
    pub(crate) fn memory(&self) -> u64 {
        self.0.iter().map(|pid| memory(*pid)).sum()
    }
}

/// proc(5): the fields after the name, which may contain spaces and parentheses, are the state and the parent.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The resident memory of a process in octets. A page that several processes use counts as a part for each of them, so that the sum
/// over the processes of a server is right (`Pss`).
fn memory(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the server's process");
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
