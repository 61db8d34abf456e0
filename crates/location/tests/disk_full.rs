//! A disk that takes no more: commits are told so, what was there stays. The victim runs under a limit on file sizes.

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
    // The signal has to be ignored for the write to fail instead; ignored signals are inherited.
    let script = "trap '' XFSZ; ulimit -f 1024; exec \"$0\" --exact victim --nocapture";
    let victim = Command::new("sh").args(["-c", script]).arg(env::current_exe().unwrap()).env(FILE, &path).output();
    let victim = victim.unwrap();
    let said = String::from_utf8_lossy(&victim.stdout);
    assert!(victim.status.success(), "{said}\n{}", String::from_utf8_lossy(&victim.stderr));
    let kept = said.lines().find_map(|line| line.strip_prefix("safe ")).unwrap().parse().unwrap();

    let (store, told) = open(&path, DiskOptions::new(NOW));
    for number in 0..kept {
        assert_eq!(live(&store, &aor(number), NOW), [(A.to_owned(), 600)], "{number} of {kept}");
    }
    assert!(matches!(commit(&store, &aor(kept), 9, &[(A, 600)], NOW, 7), Commit::Pending));
    assert_eq!(told.recv(), Ok((ticket(7), true)));
}

/// No test by itself: registers users until the disk is full.
#[test]
fn victim() {
    let Some(path) = env::var_os(FILE) else { return };
    let (store, told) = open(Path::new(&path), DiskOptions::new(NOW));
    let enter = |number, cseq, secs| {
        let commit = commit(&store, &aor(number), cseq, &[(A, secs)], NOW, u64::from(number));
        assert!(matches!(commit, Commit::Pending), "{commit:?}");
        let (told, safe) = told.recv().unwrap();
        assert_eq!(told, ticket(u64::from(number)));
        safe
    };
    let safe = (0..100_000).find(|&number| !enter(number, 1, 600)).expect("the limit to be reached");
    assert!(safe > 10, "only {safe}");
    // The new one is not there, a refresh that fails leaves the old binding, and its version is right again.
    assert!(store.load(&aor(safe)).is_none());
    let before = store.load(&aor(0)).unwrap();
    if !enter(0, 2, 900) {
        assert!(store.load(&aor(0)).unwrap().is(&before));
        assert_eq!(live(&store, &aor(0), NOW), [(A.to_owned(), 600)]);
        assert_eq!(store.counts().users, u64::from(safe));
    } else {
        assert!(enter(0, 3, 600));
    }
    println!("\nsafe {safe}");
}
