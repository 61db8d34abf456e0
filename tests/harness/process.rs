//! A child process that ends with its test, by signals to its own process id.

use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use super::wait_for;

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts it.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        assert!(status.expect("kill(1)").success(), "cannot send {name} to {}", self.id());
    }

    /// How it ended, if it did within `patience`.
    pub(crate) fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        wait_for(patience, || self.child.try_wait().expect("a child of ours"))
    }

    /// `kill -9`, and waits for its end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its standard input, once.
    pub(crate) fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
