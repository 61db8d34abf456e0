//! File descriptors: the limit of the system, and how many of them SIP connections may use.
//!
//! Decides how many are reserved for the admin API, DNS and the store: these must work while an attacker holds SIP
//! connections open, because the administrator then needs the admin API.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Per worker: its event loop.
const PER_WORKER: usize = 8;

/// For temporary files: the configuration, accounts, the store.
const RESERVE: usize = 32;

/// Raises the soft limit of open files to the hard limit, and returns the limit. The soft limit is often 1024 for the
/// sake of programs that use select(2).
pub(crate) fn raise() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return usize::MAX };
    let raised = soft == hard || setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX)
}

/// The number of open descriptors.
pub(crate) fn open() -> usize {
    // An estimate for systems without /proc.
    std::fs::read_dir("/proc/self/fd").map_or(64, Iterator::count)
}

/// The limit of DNS queries at a time, if `limit` open files are allowed. Each has a socket for A and one for AAAA.
pub(crate) fn dns_queries(limit: usize) -> usize {
    (limit / 64).clamp(4, 256)
}

/// The limit of SIP connections: `configured`, or lower if `limit` open files are allowed, `open` are in use before
/// the first connection, and `admin` are reserved for HTTP.
pub(crate) fn connections(configured: usize, limit: usize, open: usize, workers: u8, admin: usize) -> usize {
    let reserve =
        open.saturating_add(admin).saturating_add(PER_WORKER * usize::from(workers) + RESERVE + 2 * dns_queries(limit));
    // If the limit is too low for everything, some connections are still allowed.
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
    fn connections_leave_the_reserve() {
        let table = [
            // limit, expected
            (1_048_576, 10_000),
            (10_200, 10_200 - 20 - 32 - 16 - 32 - 318),
            (1024, 1024 - 20 - 32 - 16 - 32 - 32),
            (160, 52),
            (64, 16),
        ];
        for (limit, expected) in table {
            assert_eq!(connections(10_000, limit, 20, 2, 32), expected, "{limit}");
        }
        assert_eq!(connections(5, 64, 20, 2, 32), 5);
    }
}
