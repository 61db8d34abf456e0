//! The state that the `dialog` package reports: the dialogs of a user, and what changed since an earlier moment (RFC
//! 4235).
//!
//! A dialog is reported until it ends. Its end is a change only for a watcher that was told of the dialog: a dialog that
//! began and ended between two NOTIFYs is not reported at all. A watcher learns the identifiers of a dialog only if it may
//! use them, since whoever has them can ask a phone to replace the call (RFC 3891 8).
//!
//! Must not know when a NOTIFY is sent, nor where the dialogs come from.

mod dialog_info;
mod from_calls;

use location::{Aor, Wall};
use smallvec::SmallVec;

use super::subscriber::CallAccess;
use crate::calls::CallInProgress;
use crate::context::Context;

use dialog_info::Document;
use from_calls::Observation;

/// The most dialogs in one document. A user with more calls, such as a gateway, is as busy as with these.
const MAX_DIALOGS: usize = 32;

/// The most calls that are read. A call may have a dialog of the user that has ended, and go on with another phone.
const MAX_CALLS: usize = 2 * MAX_DIALOGS;

/// How often each subscription checks that it has missed no change.
const CHECK_MILLIS: u64 = 10_000;

/// The dialogs of one user at one moment, as one watcher may see them.
#[derive(Debug)]
pub(super) struct Dialogs {
    dialogs: Vec<UserDialog>,
    /// How dialogs have ended since then, by their ids.
    ends: Vec<(u64, End)>,
    /// The number of changes before; `None` to read the dialogs again in any case.
    version: Option<u32>,
    at: Wall,
}

/// One dialog of a user (RFC 4235 4.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UserDialog {
    /// Stays the same as long as the dialog does, and is different for each side.
    pub(super) id: u64,
    pub(super) direction: Direction,
    pub(super) state: DialogState,
    /// When the INVITE came.
    pub(super) since: Wall,
    pub(super) remote: Identity,
    /// `None` if the watcher may not learn them.
    pub(super) identifiers: Option<Identifiers>,
}

/// Whether the user called or was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// It called.
    Initiator,
    /// It was called.
    Recipient,
}

/// How a side of a dialog is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uri: Box<[u8]>,
    /// May be empty.
    pub(super) display: Box<[u8]>,
}

/// What a Replaces header needs (RFC 3891 6.1). A tag that is not known yet is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identifiers {
    pub(super) call_id: Box<[u8]>,
    pub(super) local_tag: Box<[u8]>,
    pub(super) remote_tag: Box<[u8]>,
}

/// The state of a dialog (RFC 4235 3.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DialogState {
    /// The INVITE has no response with a tag yet: `trying` or `proceeding`, between which phones make no difference.
    Trying,
    /// It has a provisional response with a tag.
    Early,
    /// It is accepted.
    Confirmed,
    /// The dialog has ended.
    Terminated(End),
}

/// How a dialog ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct End {
    /// `None` if that is not known.
    pub(super) event: Option<EndEvent>,
    /// The final response to the INVITE, if that ended the dialog.
    pub(super) status: Option<u16>,
}

/// The event that ended a dialog (RFC 4235 3.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndEvent {
    Cancelled,
    Rejected,
    LocalBye,
    RemoteBye,
    Error,
    Timeout,
}

impl EndEvent {
    /// The value of the attribute `event` (RFC 4235 4.4).
    const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::LocalBye => "local-bye",
            Self::RemoteBye => "remote-bye",
            Self::Error => "error",
            Self::Timeout => "timeout",
        }
    }
}

impl DialogState {
    /// The value of the element `state` (RFC 4235 4.4).
    const fn as_str(self) -> &'static str {
        match self {
            Self::Trying => "trying",
            Self::Early => "early",
            Self::Confirmed => "confirmed",
            Self::Terminated(_) => "terminated",
        }
    }

    /// How the dialog ended; `None` if it has not.
    pub(super) const fn end(&self) -> Option<End> {
        if let Self::Terminated(end) = self { Some(*end) } else { None }
    }
}

impl Dialogs {
    /// The dialogs of now.
    pub(super) fn now(user: &Aor, access: CallAccess, context: &Context<'_>) -> Self {
        // Before the calls: a change after this is not missed.
        let version = Some(version_of(user, context));
        let mut dialogs = Vec::new();
        let table = context.calls.table();
        for call in table.of_user(user, MAX_CALLS).iter().chain(&table.elsewhere().of_user(user)) {
            Observation { call, user, access }.add_dialogs(context, &mut dialogs);
        }
        Self { dialogs, ends: Vec::new(), version, at: context.now.wall }
    }

    /// Whether nothing has changed since they were read. Cheaper than to read them.
    pub(super) fn check(&mut self, user: &Aor, context: &Context<'_>) -> bool {
        let is_current = self.version == Some(version_of(user, context));
        if is_current {
            self.at = context.now.wall;
        }
        is_current
    }

    /// The settings have changed, and with them perhaps what the watcher may see.
    pub(super) const fn outdate(&mut self) {
        self.version = None;
    }

    /// Remembers how the dialogs of a call have ended, which the table does not know any more.
    pub(super) fn note_end(&mut self, call: &CallInProgress, user: &Aor, context: &Context<'_>) {
        let mut dialogs = Vec::new();
        Observation { call, user, access: CallAccess::Watch }.add_dialogs(context, &mut dialogs);
        let reported = |dialog: &UserDialog| self.live().any(|it| it.id == dialog.id);
        let ends = dialogs.iter().filter(|dialog| reported(dialog));
        let ends: Vec<_> = ends.filter_map(|dialog| Some((dialog.id, dialog.state.end()?))).collect();
        self.ends.extend(ends);
    }

    /// When it is to be checked that no change was missed: the message of another worker may have been lost.
    pub(super) fn check_at(&self) -> Wall {
        self.at.plus_millis(CHECK_MILLIS)
    }

    /// No dialogs.
    pub(super) const fn none(at: Wall) -> Self {
        Self { dialogs: Vec::new(), ends: Vec::new(), version: None, at }
    }

    /// Appends the document with the changes since `previous`, or with all dialogs if that is `None`. Returns whether
    /// there is any change.
    pub(super) fn write(&self, previous: Option<&Self>, aor: &Aor, version: u32, out: &mut Vec<u8>) -> bool {
        let ended: SmallVec<[UserDialog; 1]> = previous.map(|previous| self.ended_since(previous)).unwrap_or_default();
        // A phone may show the last state of a document as that of the user. So a document in which a dialog ends has all
        // that go on, after it.
        let is_known = |dialog: &UserDialog| previous.is_some_and(|previous| previous.live().any(|it| it == dialog));
        let live = self.live().filter(|dialog| !ended.is_empty() || !is_known(dialog));
        let dialogs: SmallVec<[&UserDialog; 8]> = ended.iter().chain(live).collect();
        if dialogs.is_empty() && previous.is_some() {
            // RFC 4235 3.3: a document without any dialog is one of full state. This one is for the last NOTIFY.
            self.write(None, aor, version, out);
            return false;
        }
        Document { aor, version, full: previous.is_none(), dialogs: &dialogs, at: self.at }.write(out);
        !dialogs.is_empty()
    }

    /// The dialogs that have not ended, as many as are reported.
    fn live(&self) -> impl Iterator<Item = &UserDialog> {
        self.dialogs.iter().filter(|dialog| dialog.state.end().is_none()).take(MAX_DIALOGS)
    }

    /// The dialogs that were reported before and have ended since then.
    fn ended_since(&self, previous: &Self) -> SmallVec<[UserDialog; 1]> {
        let gone = previous.live().filter(|old| !self.live().any(|new| new.id == old.id));
        gone.map(|old| {
            let noted = previous.ends.iter().find(|(id, _)| *id == old.id).map(|(_, end)| *end);
            let end = self.dialogs.iter().find(|new| new.id == old.id).and_then(|new| new.state.end()).or(noted);
            UserDialog { state: DialogState::Terminated(end.unwrap_or_default()), ..old.clone() }
        })
        .collect()
    }
}

/// The number of changes of the calls of this user and of a few other ones.
fn version_of(user: &Aor, context: &Context<'_>) -> u32 {
    context.calls.watched().version(user, context.mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Wall = Wall(100_000);

    fn dialog(id: u64, state: DialogState) -> UserDialog {
        let remote = Identity { uri: (*b"sip:a@b").into(), display: Box::default() };
        let since = Wall(98_500);
        UserDialog { id, direction: Direction::Recipient, state, since, remote, identifiers: None }
    }

    fn dialogs(all: &[UserDialog]) -> Dialogs {
        Dialogs { dialogs: all.to_vec(), ..Dialogs::none(AT) }
    }

    /// The document, and whether it has any change.
    fn written(now: &Dialogs, previous: Option<&Dialogs>) -> (String, bool) {
        let mut out = Vec::new();
        let changed = now.write(previous, &Aor::new(b"bob", b"office.example"), 7, &mut out);
        (String::from_utf8(out).unwrap(), changed)
    }

    /// The ids and states in a document.
    fn states(document: &str) -> Vec<(u64, &str)> {
        document
            .split("<dialog id=\"")
            .skip(1)
            .map(|dialog| {
                let (id, rest) = dialog.split_at(16);
                let (_, state) = rest.split_once("<state").unwrap();
                let (state, _) = state.split_once("</state>").unwrap();
                (u64::from_str_radix(id, 16).unwrap(), state.trim_start_matches('>').trim_start())
            })
            .collect()
    }

    #[test]
    fn a_document_without_dialogs_is_well_formed() {
        let document = "<?xml version=\"1.0\"?>\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"7\" \
                        state=\"full\" entity=\"sip:bob@office.example\">\n</dialog-info>\n";
        assert_eq!(written(&dialogs(&[]), None), (document.to_owned(), false));
    }

    #[test]
    fn a_dialog_has_its_identifiers_and_both_sides() {
        let text = |text: &[u8]| -> Box<[u8]> { text.into() };
        let mut ringing = dialog(1, DialogState::Early);
        ringing.remote = Identity { uri: text(b"sip:a&b@c;x=\"<"), display: text(b"Al \"<&>' \xff\n") };
        let (call_id, local_tag, remote_tag) = (text(b"1\"2'@<3>"), text(b"l"), Box::default());
        ringing.identifiers = Some(Identifiers { call_id, local_tag, remote_tag });
        let (document, _) = written(&dialogs(&[ringing]), None);
        let (_, body) = document.split_once("office.example\">\n").unwrap();
        assert_eq!(
            body,
            "<dialog id=\"0000000000000001\" call-id=\"1&quot;2&apos;@&lt;3&gt;\" local-tag=\"l\" \
             direction=\"recipient\">\n<state>early</state>\n<duration>1</duration>\n<local>\
             <identity>sip:bob@office.example</identity><target uri=\"sip:bob@office.example\"/></local>\n<remote>\
             <identity display=\"Al &quot;&lt;&amp;&gt;&apos; \u{FFFD}&#10;\">sip:a&amp;b@c;x=&quot;&lt;</identity>\
             <target uri=\"sip:a&amp;b@c;x=&quot;&lt;\"/></remote>\n</dialog>\n</dialog-info>\n"
        );
    }

    #[test]
    fn an_ended_dialog_has_both_sides() {
        let (document, _) = written(&dialogs(&[]), Some(&dialogs(&[dialog(1, DialogState::Early)])));
        let (_, body) = document.split_once("office.example\">\n").unwrap();
        assert_eq!(
            body,
            "<dialog id=\"0000000000000001\" direction=\"recipient\">\n<state>terminated</state>\n<local>\
             <identity>sip:bob@office.example</identity><target uri=\"sip:bob@office.example\"/></local>\n<remote>\
             <identity>sip:a@b</identity><target uri=\"sip:a@b\"/></remote>\n</dialog>\n</dialog-info>\n"
        );
    }

    #[test]
    fn only_what_changed_is_reported() {
        use DialogState::{Confirmed, Early, Terminated, Trying};
        const BUSY: DialogState = Terminated(End { event: Some(EndEvent::Rejected), status: Some(486) });
        const UNKNOWN: DialogState = Terminated(End { event: None, status: None });
        let now = |all: &[(u64, DialogState)]| {
            dialogs(&all.iter().map(|(id, state)| dialog(*id, *state)).collect::<Vec<_>>())
        };
        type Row = (&'static [(u64, DialogState)], &'static [(u64, DialogState)], &'static [(u64, &'static str)]);
        let rows: [Row; 9] = [
            (&[], &[(1, Trying)], &[(1, "trying")]),
            (&[(1, Trying)], &[(1, Early)], &[(1, "early")]),
            (&[(1, Early)], &[(1, Early)], &[]),
            (&[(1, Early)], &[(1, Early), (2, Confirmed)], &[(2, "confirmed")]),
            (&[(1, Early)], &[(1, BUSY)], &[(1, "event=\"rejected\" code=\"486\">terminated")]),
            // Its end is not known any more; the calls that go on come after it.
            (&[(1, Early), (2, Early)], &[(2, Early)], &[(1, "terminated"), (2, "early")]),
            (&[(1, Early), (2, Trying)], &[(2, Early)], &[(1, "terminated"), (2, "early")]),
            // It began and ended since the last NOTIFY.
            (&[], &[(1, BUSY)], &[]),
            (&[(1, UNKNOWN)], &[(1, UNKNOWN)], &[]),
        ];
        for (before, after, reported) in rows {
            let (document, changed) = written(&now(after), Some(&now(before)));
            assert_eq!(
                (document.contains(" state=\"partial\" "), changed),
                (!reported.is_empty(), !reported.is_empty())
            );
            let (full, _) = written(&now(after), None);
            let reported = if changed { reported.to_vec() } else { states(&full) };
            assert_eq!(states(&document), reported, "{before:?}");
        }
        let (document, _) = written(&now(&[(1, BUSY), (2, Early)]), None);
        assert_eq!(states(&document), [(2, "early")]);
    }

    #[test]
    fn a_document_has_a_bounded_number_of_dialogs() {
        let all: Vec<_> = (0..100).map(|id| dialog(id, DialogState::Confirmed)).collect();
        let before = dialogs(&all);
        let (document, _) = written(&before, None);
        assert_eq!(states(&document).len(), MAX_DIALOGS);
        // One that was not reported takes the place of one that ended.
        let (document, _) = written(&dialogs(&all[1..]), Some(&before));
        let reported = states(&document);
        assert_eq!((reported[0], reported.len()), ((0, "terminated"), MAX_DIALOGS + 1));
        assert_eq!(reported[MAX_DIALOGS], (MAX_DIALOGS as u64, "confirmed"));
    }
}
