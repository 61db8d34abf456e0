//! The CSV file of calls (`calls.file`): appended by a thread of its own, so that a slow disk delays neither the log nor the
//! supervision of the workers.
//!
//! Decides when the file is renamed. The file is opened for each batch of lines, so it may be renamed or removed at any
//! time. Lines that wait are bounded; a line that finds no room, or that cannot be written, is counted.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::libc::O_NONBLOCK;

use super::calls::EndedCall;
use super::csv;
use crate::clock;
use crate::error::CliError;
use crate::metrics::{self, Series};

/// The most lines that are written at once.
const MAX_BATCH: usize = 1000;

/// How long the end of the server waits for the last lines.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Where records go that are written to the file.
#[derive(Debug)]
pub(crate) struct CallFile {
    lines: SyncSender<String>,
    thread: JoinHandle<()>,
}

impl CallFile {
    /// Starts the thread. `rotate`: the size at which the file is renamed; `waiting`: the lines that may wait.
    pub(crate) fn start(path: PathBuf, rotate: usize, waiting: usize) -> Result<Self, CliError> {
        // Mistakes in the path are found at the start and not when the first call ends.
        write(&path, &[], rotate).map_err(|source| CliError::File { path: path.clone(), source })?;
        let (lines, received) = sync_channel(waiting);
        let thread = thread::Builder::new().name("calls-file".to_owned());
        let thread = thread.spawn(move || run(&path, rotate, &received)).map_err(CliError::Thread)?;
        Ok(Self { lines, thread })
    }

    /// Adds the line of a call.
    pub(crate) fn add(&self, call: &EndedCall) {
        let mut line = String::new();
        csv::append(&mut line, call);
        if self.lines.try_send(line).is_err() {
            metrics::count(Series::CallUnwritten);
        }
    }

    /// Writes the lines that wait.
    pub(crate) fn close(self) {
        drop(self.lines);
        let began = std::time::Instant::now();
        while !self.thread.is_finished() && began.elapsed() < CLOSE_TIMEOUT {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn run(path: &Path, rotate: usize, lines: &Receiver<String>) {
    let mut was_written = true;
    while let Ok(first) = lines.recv() {
        let batch: Vec<_> = std::iter::once(first).chain(lines.try_iter().take(MAX_BATCH - 1)).collect();
        let mut waiting = &batch[..];
        let written = loop {
            match write(path, waiting, rotate) {
                Ok([]) => break Ok(()),
                Ok(rest) => waiting = rest,
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = &written {
            waiting.iter().for_each(|_| metrics::count(Series::CallUnwritten));
            if was_written {
                tracing::error!("{}: calls cannot be written: {error}", path.display());
            }
        } else if !was_written {
            tracing::info!("{}: calls are written again", path.display());
        }
        was_written = written.is_ok();
    }
}

/// Appends lines, after the header if the file is new, as far as there is room in the file; at least one. Renames the file
/// first if it has no room. Returns the lines that are left.
fn write<'l>(path: &Path, lines: &'l [String], rotate: usize) -> io::Result<&'l [String]> {
    let length = fs::metadata(path).map(|metadata| usize::try_from(metadata.len()).unwrap_or(usize::MAX)).unwrap_or(0);
    let first = lines.first().map_or(0, String::len);
    let is_full = length > csv::HEADER.len() && length.saturating_add(first) > rotate;
    if is_full {
        fs::rename(path, rotated(path))?;
    }
    let mut length = if is_full { 0 } else { length }.max(csv::HEADER.len()).saturating_add(first);
    let further = lines.iter().skip(1).take_while(|line| {
        length = length.saturating_add(line.len());
        length <= rotate
    });
    let (now, rest) = lines.split_at_checked(lines.len().min(1) + further.count()).unwrap_or((lines, &[]));
    // Who called whom is for the user of the server only, as in the data folder. A pipe that nobody reads is not waited for.
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(O_NONBLOCK).open(path)?;
    let length = file.metadata()?.len();
    let header = if length == 0 { csv::HEADER } else { "" };
    let written = file.write_all([header, &now.concat()].concat().as_bytes());
    // A full disk takes a part of it, and the next line would be the rest of that one.
    written.inspect_err(|_| _ = file.set_len(length))?;
    Ok(rest)
}

/// The name of a file that is full: `calls.csv` becomes `calls-20261201T103000Z.csv`, or the next free name.
fn rotated(path: &Path) -> PathBuf {
    let time = clock::rfc3339(clock::wall()).replace(['-', ':'], "");
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().map(|it| format!(".{}", it.to_string_lossy())).unwrap_or_default();
    let named = |suffix: &str| path.with_file_name(format!("{stem}-{time}{suffix}{extension}"));
    let mut name = named("");
    // A busy server fills a small file several times in a second.
    for number in 1_u32.. {
        if !name.exists() {
            break;
        }
        name = named(&format!("-{number}"));
    }
    name
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::calls::tests::ended;
    use super::*;

    fn files(folder: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .map(|path| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path))
            .map(|(name, path)| (name, fs::read_to_string(path).expect("a file")))
            .collect();
        files.sort();
        files
    }

    #[test]
    fn lines_are_appended_below_one_header_also_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("calls.csv");
        for _ in 0..2 {
            let file = CallFile::start(path.clone(), 1 << 20, 10).expect("a file");
            file.add(&ended(0, 1));
            file.close();
        }
        let text = fs::read_to_string(&path).expect("a file");
        assert_eq!((text.lines().count(), text.matches("start,answer").count()), (3, 1), "{text}");
    }

    #[test]
    fn a_new_file_is_for_the_user_of_the_server_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("calls.csv");
        write(&path, &[], 1 << 20).expect("written");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_full_file_is_renamed_and_no_line_is_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("calls.csv");
        let mut line = String::new();
        csv::append(&mut line, &ended(0, 1));
        // Room for two lines.
        let rotate = csv::HEADER.len() + 2 * line.len();
        let lines = vec![line; 5];
        let mut left = &lines[..];
        while !left.is_empty() {
            left = write(&path, left, rotate).expect("written");
        }
        let files = files(folder.path());
        assert_eq!(files.len(), 3, "{files:?}");
        assert!(files.iter().all(|(name, text)| name.starts_with("calls") && text.starts_with(csv::HEADER)));
        let lines: usize = files.iter().map(|(_, text)| text.lines().count() - 1).sum();
        assert_eq!(lines, 5);
    }

    #[test]
    fn a_part_of_a_line_is_removed_when_there_is_no_room_for_the_rest() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("calls.csv");
        // No file is longer than this: there is room for a part of a line, as on a disk that is nearly full.
        let file = fs::File::create(&path).expect("a file");
        let longest = (0..63).rev().fold(0, |length, bit| {
            let longer = length | 1 << bit;
            if file.set_len(longer).is_ok() { longer } else { length }
        });
        file.set_len(longest - 20).expect("a length");
        let line = "x".repeat(100);
        assert!(write(&path, std::slice::from_ref(&line), usize::MAX).is_err());
        assert_eq!(fs::metadata(&path).expect("a file").len(), longest - 20);
        file.set_len(longest - 200).expect("a length");
        write(&path, &[line], usize::MAX).expect("written");
        assert_eq!(fs::metadata(&path).expect("a file").len(), longest - 100);
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_an_error_and_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("calls.csv");
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
        assert!(made.success());
        assert!(matches!(CallFile::start(path, 1 << 20, 10), Err(CliError::File { .. })));
    }

    #[test]
    fn a_path_that_cannot_be_written_is_an_error_at_the_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing").join("calls.csv");
        assert!(matches!(CallFile::start(missing, 1 << 20, 10), Err(CliError::File { .. })));
    }
}
