//! The processor time and memory of a process (Linux: `/proc`).

use std::fs;
use std::time::Duration;

/// The processor time that the process has used so far, user and system, all its threads (`/proc/PID/task/*/schedstat`,
/// nanoseconds).
pub(crate) fn of(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the server's process");
    let used = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(tasks.filter_map(|task| used(task.ok()?)).sum())
}

/// Its resident memory in octets. A page that several processes use counts as a part for each of them, so that the sum
/// over the processes of a server is right (`Pss`).
pub(crate) fn memory(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("the server's process");
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
