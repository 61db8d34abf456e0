//! File descriptors: how many the system grants, and how many of them connections of phones may take.
//!
//! Decides that phones never take the last ones: the administrator's HTTP connections, DNS and the store must work while
//! a thousand connections are open, else nobody can look at the server that is being flooded.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// For the event loop of a worker, and its DNS lookups: at most 8 at a time, with a file and a socket each.
const PER_WORKER: usize = 24;

/// For what comes and goes: reading the configuration and accounts, files of the store.
const RESERVE: usize = 32;

/// Raises the limit of open files to what the system allows this process, and says how many that are. Most systems grant
/// 1024 at first, for the sake of programs that still use select(2).
pub(crate) fn raise() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return usize::MAX };
    let raised = soft == hard || setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX)
}

/// How many are open now.
pub(crate) fn open() -> usize {
    // Where there is no /proc, about as many as a small server has.
    std::fs::read_dir("/proc/self/fd").map_or(64, Iterator::count)
}

/// How many connections of phones there may be, of those configured: `limit` files may be open, `open` are before the
/// first connection, `admin` are for HTTP.
pub(crate) fn connections(configured: usize, limit: usize, open: usize, workers: u8, admin: usize) -> usize {
    let reserve = open.saturating_add(admin).saturating_add(PER_WORKER * usize::from(workers) + RESERVE);
    // Where it is too tight for everything, some are better than none.
    configured.min(limit.saturating_sub(reserve).max(limit / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_what_is_allowed() {
        let limit = raise();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        assert!(soft == hard && limit > 0);
        assert!((3..limit).contains(&open()));
    }

    #[test]
    fn connections_leave_something_for_the_others() {
        let table = [
            // limit, expected
            (1_048_576, 10_000),
            (10_100, 10_100 - 20 - 32 - 48 - 32),
            (1024, 1024 - 20 - 32 - 48 - 32),
            (160, 40),
            (64, 16),
        ];
        for (limit, expected) in table {
            assert_eq!(connections(10_000, limit, 20, 2, 32), expected, "{limit}");
        }
        assert_eq!(connections(5, 64, 20, 2, 32), 5);
    }
}
