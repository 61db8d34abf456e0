//! The processor time of a process (Linux: `/proc`).

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
