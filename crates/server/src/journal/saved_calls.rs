//! The calls in the data folder, if the location store is on disk: the records that are kept, and the calls in progress, so
//! that their BYE finds them after a restart.
//!
//! Decides when the file is written: every few seconds if anything has changed, and at the end. So a crash loses the changes
//! of the last seconds. A file that cannot be read is not used, and is replaced.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use location::{Aor, Wall};
use parking_lot::{Mutex, MutexGuard};
use proxy::{CallDialog, CallInProgress, CallTable, DialogState, Reached, TriedPhones};
use serde::{Deserialize, Serialize};

use super::calls::{CallHistory, EndedCall};
use crate::data::files::replace_private;

/// The name of the file in the data folder.
const FILE: &str = "calls.json";

/// The form of the file. Another form is not read.
const VERSION: u32 = 1;

/// Writes the file.
#[derive(Debug)]
pub(crate) struct SavedCalls {
    path: PathBuf,
    table: Arc<CallTable>,
    history: Arc<Mutex<CallHistory>>,
    hasher: RandomState,
    /// A hash of what was written last.
    written: Mutex<Option<u64>>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Content {
    version: u32,
    in_progress: Vec<Saved>,
    ended: Vec<EndedCall>,
}

/// A call in progress.
#[derive(Debug, Deserialize, Serialize)]
struct Saved {
    call_id: String,
    caller_tag: String,
    source: SocketAddr,
    from: String,
    /// Not there if it is `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caller: Option<String>,
    to: String,
    began: u64,
    answered: Option<u64>,
    seen: u64,
    targets: usize,
    phones: [usize; 3],
    reached: Option<SavedReached>,
    status: Option<u16>,
    dialogs: Vec<SavedDialog>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum SavedReached {
    Phone { user: String, agent: String },
    Trunk(String),
}

#[derive(Debug, Deserialize, Serialize)]
struct SavedDialog {
    callee_tag: String,
    user: String,
    is_confirmed: bool,
    since: u64,
}

impl SavedCalls {
    /// Reads the file of this data folder into the table. Returns the records too. The calls that rang end: their
    /// transactions are gone.
    pub(crate) fn restore(folder: &Path, table: Arc<CallTable>) -> Self {
        let path = folder.join(FILE);
        let content = read(&path).unwrap_or_else(|error| {
            tracing::warn!("{}: the calls of the last run cannot be read: {error}", path.display());
            Content { version: VERSION, in_progress: Vec::new(), ended: Vec::new() }
        });
        let mut ended = content.ended;
        for saved in content.in_progress {
            let call = saved.into_call();
            if !table.restore(call.clone()) {
                ended.push(EndedCall::interrupted(&call));
            }
        }
        let history = Arc::new(Mutex::new(CallHistory::restored(ended)));
        Self { path, table, history, hasher: RandomState::new(), written: Mutex::default() }
    }

    /// The records.
    pub(crate) fn history(&self) -> Arc<Mutex<CallHistory>> {
        Arc::clone(&self.history)
    }

    /// Writes the file if anything has changed. Waits for the disk.
    pub(crate) fn save(&self) {
        self.save_after(self.written.lock());
    }

    /// The same, unless it is being written. So threads do not gather while a disk hangs.
    pub(crate) fn save_unless_busy(&self) {
        if let Some(written) = self.written.try_lock() {
            self.save_after(written);
        }
    }

    fn save_after(&self, mut written: MutexGuard<'_, Option<u64>>) {
        let ended = self.history.lock().all();
        let content = Content {
            version: VERSION,
            in_progress: self.table.all().iter().filter_map(Saved::of).collect(),
            ended: ended.iter().map(|call| (**call).clone()).collect(),
        };
        let Ok(text) = serde_json::to_string(&content) else { return };
        let hash = self.hasher.hash_one(&text);
        if *written == Some(hash) {
            return;
        }
        match replace_private(&self.path, &text) {
            Ok(()) => *written = Some(hash),
            Err(error) => tracing::error!("{}: the calls cannot be saved: {error}", self.path.display()),
        }
    }
}

fn read(path: &Path) -> io::Result<Content> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Content { version: VERSION, in_progress: Vec::new(), ended: Vec::new() });
        }
        read => read?,
    };
    let content: Content = serde_json::from_str(&text)?;
    if content.version == VERSION { Ok(content) } else { Err(io::Error::other("it is of another version")) }
}

impl Saved {
    /// `None` if its identifiers are not text: then its BYE would not find it.
    fn of(call: &CallInProgress) -> Option<Self> {
        let exact = |octets: &[u8]| String::from_utf8(octets.to_vec()).ok();
        let dialog = |dialog: &CallDialog| {
            Some(SavedDialog {
                callee_tag: exact(&dialog.callee_tag)?,
                user: lossy(&dialog.user),
                is_confirmed: dialog.state == DialogState::Confirmed,
                since: dialog.since.0,
            })
        };
        let phone = call.reached.phone();
        let phone = phone.map(|(user, agent)| SavedReached::Phone { user: lossy(user), agent: lossy(agent) });
        let trunk = || call.reached.trunk().map(|name| SavedReached::Trunk(name.to_owned()));
        Some(Self {
            call_id: exact(&call.call_id)?,
            caller_tag: exact(&call.caller_tag)?,
            source: call.source,
            from: lossy(call.from.as_bytes()),
            caller: (call.caller != call.from).then(|| lossy(call.caller.as_bytes())),
            to: lossy(call.to.as_bytes()),
            began: call.began.0,
            answered: call.answered.map(|at| at.0),
            seen: call.seen.0,
            targets: call.targets,
            phones: [call.phones.tried, call.phones.responded, call.phones.rang],
            reached: phone.or_else(trunk),
            status: call.status,
            dialogs: call.dialogs.iter().filter(|it| it.state != DialogState::Terminated).filter_map(dialog).collect(),
        })
    }

    fn into_call(self) -> CallInProgress {
        let [tried, responded, rang] = self.phones;
        let dialog = |dialog: SavedDialog| CallDialog {
            callee_tag: dialog.callee_tag.into_bytes().into(),
            user: dialog.user.into_bytes().into(),
            state: if dialog.is_confirmed { DialogState::Confirmed } else { DialogState::Early },
            since: Wall(dialog.since),
            was_answered: dialog.is_confirmed,
            end: None,
        };
        CallInProgress {
            id: 0,
            caller: aor(self.caller.as_ref().unwrap_or(&self.from)),
            call_id: self.call_id.into_bytes().into(),
            caller_tag: self.caller_tag.into_bytes().into(),
            source: self.source,
            from: aor(&self.from),
            to: aor(&self.to),
            began: Wall(self.began),
            answered: self.answered.map(Wall),
            seen: Wall(self.seen),
            targets: self.targets,
            phones: TriedPhones { tried, responded, rang },
            reached: match self.reached {
                Some(SavedReached::Phone { user, agent }) => {
                    Reached::FormerPhone { user: user.into_bytes().into(), agent: agent.into_bytes().into() }
                }
                Some(SavedReached::Trunk(name)) => Reached::Trunk(name.into()),
                None => Reached::Nobody,
            },
            forwarded: None,
            status: self.status,
            dialogs: self.dialogs.into_iter().map(dialog).collect(),
            end: None,
        }
    }
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn aor(text: &str) -> Aor {
    let (user, domain) = text.rsplit_once('@').unwrap_or((text, ""));
    Aor::new(user.as_bytes(), domain.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::calls::tests::ended;
    use super::*;

    fn call(answered: Option<Wall>) -> CallInProgress {
        let dialog = CallDialog {
            callee_tag: (*b"b1").into(),
            user: (*b"101@office.example").into(),
            state: if answered.is_some() { DialogState::Confirmed } else { DialogState::Early },
            since: Wall(7),
            was_answered: answered.is_some(),
            end: None,
        };
        CallInProgress {
            id: 0,
            caller: aor("102@office.example"),
            call_id: (*b"x@host").into(),
            caller_tag: (*b"a1").into(),
            source: ([192, 0, 2, 7], 5060).into(),
            from: aor("102@office.example"),
            to: aor("101@office.example"),
            began: Wall(1),
            answered,
            seen: Wall(9),
            targets: 1,
            phones: TriedPhones { tried: 1, responded: 1, rang: 1 },
            reached: Reached::FormerPhone { user: (*b"101@office.example").into(), agent: (*b"Snom").into() },
            forwarded: None,
            status: answered.map(|_| 200),
            dialogs: vec![dialog],
            end: None,
        }
    }

    #[test]
    fn an_answered_call_and_the_records_survive_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let table = Arc::new(CallTable::new(10));
        let saved = SavedCalls::restore(folder.path(), Arc::clone(&table));
        assert!(table.restore(call(Some(Wall(5)))));
        saved.history().lock().push(Arc::new(ended(3, 4)));
        saved.save();
        let table = Arc::new(CallTable::new(10));
        let saved = SavedCalls::restore(folder.path(), Arc::clone(&table));
        // It is another call for the table.
        let restored: Vec<_> = table.all().into_iter().map(|call| CallInProgress { id: 0, ..call }).collect();
        assert_eq!(format!("{restored:?}"), format!("{:?}", [call(Some(Wall(5)))]));
        assert_eq!(saved.history().lock().all(), [Arc::new(ended(3, 4))]);
    }

    #[test]
    fn a_call_that_rang_ends_at_the_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let content =
            Content { version: VERSION, in_progress: vec![Saved::of(&call(None)).expect("text")], ended: Vec::new() };
        let text = serde_json::to_string(&content).expect("JSON");
        replace_private(&folder.path().join(FILE), &text).expect("written");
        let table = Arc::new(CallTable::new(10));
        let records = SavedCalls::restore(folder.path(), Arc::clone(&table)).history().lock().all();
        assert_eq!((table.len(), records.len(), records[0].ending_word()), (0, 1, "lost"));
    }

    #[test]
    fn while_the_file_is_written_nobody_waits_to_write_it_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let saved = SavedCalls::restore(folder.path(), Arc::new(CallTable::new(10)));
        // As a thread has it that waits for the disk.
        let busy = saved.written.lock();
        saved.save_unless_busy();
        assert!(!folder.path().join(FILE).exists());
        drop(busy);
        saved.save_unless_busy();
        assert!(folder.path().join(FILE).exists());
    }

    #[test]
    fn a_file_that_is_no_json_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        std::fs::write(&path, "{\"version\": 1, ").expect("written");
        let saved = SavedCalls::restore(folder.path(), Arc::new(CallTable::new(10)));
        assert_eq!(saved.history().lock().all().len(), 0);
        saved.save();
        assert!(read(&path).is_ok());
    }
}
