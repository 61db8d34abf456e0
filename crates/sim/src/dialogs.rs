//! What a subscriber to dialogs knows, by its NOTIFYs (RFC 4235 4.3), and what it should know.

use std::collections::BTreeMap;

use location::Aor;
use proxy::CallInProgress;

use crate::Sip;

/// One dialog, as the last document that has it describes it. What is not there is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShownDialog {
    /// `initiator` or `recipient`.
    pub direction: String,
    /// Its state.
    pub state: String,
    /// The event that ended it.
    pub event: String,
    /// The response that ended it.
    pub code: String,
    /// Its Call-ID.
    pub call_id: String,
    /// The tag of the observed user.
    pub local_tag: String,
    /// The other tag.
    pub remote_tag: String,
    /// The URI of the other side.
    pub remote: String,
}

/// The dialogs that a subscriber knows.
#[derive(Debug, Default)]
pub struct DialogView {
    version: Option<u32>,
    /// By the id of each. Those that have ended are not there.
    pub dialogs: BTreeMap<String, ShownDialog>,
    /// Those in the last document, in its order.
    pub last: Vec<ShownDialog>,
    /// The number of documents with changes only.
    pub partial: usize,
    /// Whether the subscription has ended.
    pub has_ended: bool,
}

impl DialogView {
    /// Processes a NOTIFY; false if it is a copy. Panics if it does not fit what is known.
    pub fn apply(&mut self, notify: &Sip) -> bool {
        assert_eq!((notify.value("Event"), notify.value("Content-Type")), ("dialog", "application/dialog-info+xml"));
        let (_, document) = notify.body.split_once("<dialog-info").unwrap_or_default();
        let (head, rest) = document.split_once('>').unwrap_or_default();
        let version = attribute(head, "version").parse().ok();
        if version <= self.version {
            return false;
        }
        let is_full = attribute(head, "state") == "full";
        let follows = self.version.is_some_and(|last| version == Some(last + 1));
        assert!(is_full || follows, "a change without the state before it\n{notify}");
        self.version = version;
        self.has_ended = notify.value("Subscription-State").starts_with("terminated");
        self.partial += usize::from(!is_full);
        if is_full {
            self.dialogs.clear();
        }
        self.last.clear();
        for dialog in rest.split("<dialog").skip(1) {
            let (id, shown) = read(dialog);
            self.last.push(shown.clone());
            if shown.state != "terminated" {
                self.dialogs.insert(id, shown);
            } else if self.dialogs.remove(&id).is_none() {
                panic!("the end of what never was\n{notify}");
            }
        }
        true
    }

    /// The direction and state of each dialog.
    pub fn states(&self) -> Vec<(&str, &str)> {
        let mut states: Vec<_> = self.dialogs.values().map(|it| (&*it.direction, &*it.state)).collect();
        states.sort_unstable();
        states
    }

    /// Whether it is what these calls of a user are.
    pub fn is_of(&self, user: &Aor, calls: &[CallInProgress]) -> Result<(), String> {
        let mut truth = Vec::new();
        for call in calls {
            let confirmed = call.dialogs.iter().filter(|dialog| dialog.state == proxy::DialogState::Confirmed).count();
            if call.caller == *user {
                truth.extend((0..confirmed).map(|_| ("initiator", "confirmed")));
                if call.answered.is_none() {
                    truth.push(("initiator", if call.dialogs.is_empty() { "trying" } else { "early" }));
                }
            }
            let own = call.dialogs.iter().filter(|dialog| *dialog.user == *user.as_bytes());
            let live = own.filter(|dialog| dialog.state != proxy::DialogState::Terminated);
            truth.extend(live.map(|dialog| ("recipient", dialog.state.into())));
        }
        truth.sort_unstable();
        let shown = self.states();
        if shown == truth { Ok(()) } else { Err(format!("{user:?}: {shown:?} instead of {truth:?}")) }
    }
}

/// The id of a dialog element, and what it has.
fn read(element: &str) -> (String, ShownDialog) {
    let (tag, content) = element.split_once('>').unwrap_or_default();
    let (_, state) = content.split_once("<state").unwrap_or_default();
    let (state_tag, state) = state.split_once('>').unwrap_or_default();
    let (_, remote) = content.split_once("<remote>").unwrap_or_default();
    let remote = remote.split_once("</identity>").unwrap_or_default().0.rsplit('>').next().unwrap_or_default();
    let shown = ShownDialog {
        direction: attribute(tag, "direction"),
        state: state.split('<').next().unwrap_or_default().to_owned(),
        event: attribute(state_tag, "event"),
        code: attribute(state_tag, "code"),
        call_id: attribute(tag, "call-id"),
        local_tag: attribute(tag, "local-tag"),
        remote_tag: attribute(tag, "remote-tag"),
        remote: remote.to_owned(),
    };
    (attribute(tag, "id"), shown)
}

fn attribute(tag: &str, name: &str) -> String {
    let (_, value) = tag.split_once(&format!(" {name}=\"")).unwrap_or_default();
    value.split('"').next().unwrap_or_default().to_owned()
}
