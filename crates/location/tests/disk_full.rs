//! A full disk: commits fail, existing bindings stay. The child process runs with a limit on file sizes.

#[path = "support/mod.rs"]
mod support;

use std::env;
use std::path::Path;
use std::process::Command;

use location::{Commit, DiskOptions, Store, Wall};

use support::{aor, commit, live, open, ticket};

const NOW: Wall = Wall(1_000_000);
const FILE: &str = "FRONTDESK_FULL_TEST_FILE";
const A: &str = "sip:a@192.0.2.7";

#[test]
fn a_write_that_fails_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("location");
    // With SIGXFSZ ignored, the write fails instead of killing the process; ignored signals are inherited.
    let script = "trap '' XFSZ; ulimit -f 1024; exec \"$0\" --exact child --nocapture";
    let child = Command::new("sh").args(["-c", script]).arg(env::current_exe().unwrap()).env(FILE, &path).output();
    let child = child.unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{output}\n{}", String::from_utf8_lossy(&child.stderr));
    let kept = output.lines().find_map(|line| line.strip_prefix("durable ")).unwrap().parse().unwrap();

    let (store, outcomes) = open(&path, DiskOptions::new(NOW));
    for number in 0..kept {
        assert_eq!(live(&store, &aor(number), NOW), [(A.to_owned(), 600)], "{number} of {kept}");
    }
    assert!(matches!(commit(&store, &aor(kept), 9, &[(A, 600)], NOW, 7), Commit::Pending));
    assert_eq!(outcomes.recv(), Ok((ticket(7), true)));
}

/// Not a test: the process that registers users until the disk is full.
#[test]
fn child() {
    let Some(path) = env::var_os(FILE) else { return };
    let (store, outcomes) = open(Path::new(&path), DiskOptions::new(NOW));
    let register = |number, cseq, secs| {
        let commit = commit(&store, &aor(number), cseq, &[(A, secs)], NOW, u64::from(number));
        assert!(matches!(commit, Commit::Pending), "{commit:?}");
        let (answered, is_durable) = outcomes.recv().unwrap();
        assert_eq!(answered, ticket(u64::from(number)));
        is_durable
    };
    let count = (0..100_000).find(|&number| !register(number, 1, 600)).expect("the limit to be reached");
    assert!(count > 10, "only {count}");
    // The new record does not exist, and a failed refresh leaves the old record.
    assert!(store.load(&aor(count)).is_none());
    let before = store.load(&aor(0)).unwrap();
    if !register(0, 2, 900) {
        assert_eq!(store.load(&aor(0)).unwrap().version(), before.version());
        assert_eq!(live(&store, &aor(0), NOW), [(A.to_owned(), 600)]);
        assert_eq!(store.counts().users, u64::from(count));
    } else {
        assert!(register(0, 3, 600));
    }
    println!("\ndurable {count}");
}
