//! One call and its dialogs: what each message changes.
//!
//! ```text
//! 1xx with a To tag -> early -> 2xx -> confirmed -> BYE and its response, 481, 408 -> terminated
//!                        '---- failure, another 2xx of the branch, CANCEL -------------^
//! ```
//!
//! Must not know where calls are kept.

use std::net::SocketAddr;

use location::{Aor, Wall};
use parser::eq_ignore_case;
use smallvec::SmallVec;

use super::facts::{DiversionReason, TriedPhones};
use super::index::Name;
use super::record::{CallEnd, CallRecord, CallSide, Reached};
use super::room::{CounterIndex, ShareOf};
use super::text::{Piece, Texts, cut};
use super::view::{CallDialog, CallInProgress, DialogEnd, DialogState};

/// The most dialogs of a call that are known. A proxy behind this server can answer an INVITE any number of times.
const MAX_DIALOGS: usize = 16;

/// The INVITE that begins a call.
pub(crate) struct CallRequest<'a> {
    pub(crate) call_id: &'a [u8],
    pub(crate) caller_tag: &'a [u8],
    pub(crate) source: SocketAddr,
    pub(crate) from: &'a Aor,
    pub(crate) caller: &'a Aor,
    pub(crate) share: ShareOf<'a>,
    pub(crate) to: &'a Aor,
    pub(crate) targets: usize,
}

/// A response to that INVITE that was forwarded.
pub(crate) struct CallResponse<'a> {
    /// The branch of the response context; 0 without one.
    pub(crate) branch: u8,
    /// 101..=299.
    pub(crate) status: u16,
    pub(crate) callee_tag: &'a [u8],
    /// The user whose phone sent it; empty if it is not one of this server.
    pub(crate) user: &'a [u8],
}

/// A request within a dialog of a call.
pub(super) struct DialogRequest {
    pub(super) by: CallSide,
    /// Its transaction, if the response may end the dialog.
    pub(super) transaction: Option<u64>,
    pub(super) is_bye: bool,
}

/// Which responses a call waits for after a request.
pub(super) struct Waits {
    /// That to the request, of this transaction.
    pub(super) for_it: Option<u64>,
    /// No longer that of this transaction.
    pub(super) no_longer: Option<u64>,
}

/// The end of a request within a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestAnswer {
    /// The other side sent a final response with this status.
    Final(u16),
    /// The other side sent none, or the request could not be sent.
    Nothing,
}

impl RequestAnswer {
    /// Whether the dialog ends (RFC 3261 12.2.1.2, 15.1.1): by a 2xx to a BYE or no response to it, or by a response that
    /// says that the other side has no such dialog. A request that could not be sent has told the other side nothing; if it
    /// is no BYE, its sender may repeat it. No other failure counts, whatever RFC 5057 5.1 says of it: a side could provoke
    /// one, such as 483 by Max-Forwards, and go on with the call.
    pub(crate) const fn ends_dialog(self, is_bye: bool) -> bool {
        match self {
            Self::Final(408 | 481) => true,
            Self::Final(status) => is_bye && status < 300,
            Self::Nothing => is_bye,
        }
    }
}

#[derive(Debug)]
pub(super) struct Call {
    /// The hash by which requests find it.
    pub(super) key: u64,
    /// The counter of its caller.
    pub(super) counter: CounterIndex,
    texts: Texts,
    call_id: Piece,
    caller_tag: Piece,
    from: Piece,
    caller: Piece,
    to: Piece,
    source: SocketAddr,
    is_of_stranger: bool,
    began: Wall,
    answered: Option<Wall>,
    seen: Wall,
    targets: usize,
    phones: TriedPhones,
    reached: Reached,
    forwarded: Option<DiversionReason>,
    status: Option<u16>,
    dialogs: SmallVec<[Dialog; 1]>,
    /// Who sent the BYE of the dialog that ended last, if there was one, and when it ended.
    end: Option<(Option<CallSide>, Wall)>,
    /// How it ended, if it was not answered.
    setup_end: Option<DialogEnd>,
}

#[derive(Clone, Copy, Debug)]
struct Dialog {
    /// Its To tag. Of tags that are equal up to the length that is kept, only the call of those who chose them is affected.
    callee_tag: Piece,
    user: Piece,
    branch: u8,
    state: DialogState,
    since: Wall,
    was_answered: bool,
    end: Option<DialogEnd>,
    /// The last request within it, until its response comes.
    pending: Option<Pending>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    transaction: u64,
    /// Who sent it, and when, if it is a BYE.
    bye: Option<(CallSide, Wall)>,
}

impl Call {
    pub(super) fn new((key, counter): (u64, CounterIndex), request: &CallRequest<'_>, now: Wall) -> Self {
        let mut texts = Texts::default();
        let (call_id, caller_tag) = (texts.add_whole(request.call_id), texts.add_whole(request.caller_tag));
        let (from, to) = (texts.add(request.from.as_bytes()), texts.add(request.to.as_bytes()));
        let caller = if request.caller == request.from { from } else { texts.add(request.caller.as_bytes()) };
        Self {
            key,
            counter,
            texts,
            call_id,
            caller_tag,
            from,
            caller,
            to,
            source: request.source,
            is_of_stranger: matches!(request.share, ShareOf::Host(_)),
            began: now,
            answered: None,
            seen: now,
            targets: request.targets,
            phones: TriedPhones::default(),
            reached: Reached::Nobody,
            forwarded: None,
            status: None,
            dialogs: SmallVec::new(),
            end: None,
            setup_end: None,
        }
    }

    /// A call that an earlier run of the server has saved. `None` if it was not answered: what could have ended it is gone.
    pub(super) fn restored(place: (u64, CounterIndex), saved: CallInProgress) -> Option<Self> {
        saved.answered?;
        let request = CallRequest {
            call_id: &saved.call_id,
            caller_tag: &saved.caller_tag,
            source: saved.source,
            from: &saved.from,
            caller: &saved.caller,
            share: ShareOf::User(saved.caller.as_bytes()),
            to: &saved.to,
            targets: saved.targets,
        };
        let mut this = Self::new(place, &request, saved.began);
        for CallDialog { callee_tag, user, state, since, was_answered, end } in saved.dialogs.iter().take(MAX_DIALOGS) {
            let (callee_tag, user) = (this.texts.add(callee_tag), this.texts.add(user));
            let (state, since, was_answered, end) = (*state, *since, *was_answered, *end);
            let (branch, pending) = (0, None);
            this.dialogs.push(Dialog { callee_tag, user, branch, state, since, was_answered, end, pending });
        }
        (this.answered, this.seen, this.phones) = (saved.answered, saved.seen, saved.phones);
        (this.reached, this.forwarded, this.status) = (saved.reached, saved.forwarded, saved.status);
        Some(this)
    }

    /// A response to the INVITE was forwarded. Returns whether the state of a dialog has changed.
    pub(super) fn respond(&mut self, response: &CallResponse<'_>, now: Wall) -> bool {
        let is_success = response.status >= 200;
        if is_success && self.answered.is_none() {
            (self.answered, self.status) = (Some(now), Some(response.status));
        }
        if response.callee_tag.is_empty() {
            return false;
        }
        let state = if is_success { DialogState::Confirmed } else { DialogState::Early };
        let known = self.position_of(response.callee_tag);
        let at = match known {
            Some(at) => at,
            None => {
                let Some(at) = self.place_for_dialog(is_success) else { return false };
                let (callee_tag, user) = (self.texts.add(response.callee_tag), self.user(response.user));
                let branch = response.branch;
                let (since, was_answered, end, pending) = (now, is_success, None, None);
                let dialog = Dialog { callee_tag, user, branch, state, since, was_answered, end, pending };
                match self.dialogs.get_mut(at) {
                    Some(place) => *place = dialog,
                    None => self.dialogs.push(dialog),
                }
                at
            }
        };
        // Another worker, which does not know whose phone it is, may have reported the dialog first.
        let has_user = self.dialogs.get(at).is_some_and(|dialog| !self.texts.at(dialog.user).is_empty());
        let new_user = (!has_user && !response.user.is_empty()).then(|| self.user(response.user));
        let Some(dialog) = self.dialogs.get_mut(at) else { return false };
        dialog.user = new_user.unwrap_or(dialog.user);
        // RFC 6228: a 199 says that the early dialog has ended.
        let state = if response.status == 199 { DialogState::Terminated } else { state };
        let is_progress = match dialog.state {
            DialogState::Early => state != DialogState::Early,
            DialogState::Confirmed => false,
            // Another phone accepts with the tag of one that does not ring any more.
            DialogState::Terminated => is_success && !dialog.was_answered,
        };
        if is_progress {
            (dialog.state, dialog.since, dialog.was_answered) = (state, now, is_success);
        }
        let has_changed = is_progress || new_user.is_some() || known.is_none();
        if is_success && has_changed {
            self.end_early(response.branch, None, now);
        }
        has_changed
    }

    /// The user whose phone sent a response, which mostly is the called one.
    fn user(&mut self, user: &[u8]) -> Piece {
        if self.texts.at(self.to) == user { self.to } else { self.texts.add(user) }
    }

    /// The index for one more dialog. A 2xx takes the place of one that is not confirmed, if there is no other; but not of
    /// one that waits for a response, which the table would not forget.
    fn place_for_dialog(&self, is_success: bool) -> Option<usize> {
        if self.dialogs.len() < MAX_DIALOGS {
            return Some(self.dialogs.len());
        }
        let may_go = |dialog: &Dialog| dialog.state != DialogState::Confirmed && dialog.pending.is_none();
        self.dialogs.iter().position(may_go).filter(|_| is_success)
    }

    /// A branch has failed or was accepted: no early dialog of it goes on. Returns whether there was one.
    pub(super) fn end_early(&mut self, branch: u8, end: Option<DialogEnd>, now: Wall) -> bool {
        let mut has_changed = false;
        for dialog in &mut self.dialogs {
            if dialog.branch == branch && dialog.state == DialogState::Early {
                dialog.terminate(end, now);
                has_changed = true;
            }
        }
        has_changed
    }

    /// The setup of the call has ended with this status. Returns whether the call has.
    pub(super) fn set_up(&mut self, status: Option<u16>, phones: TriedPhones, reached: Reached, now: Wall) -> bool {
        if matches!(self.reached, Reached::Nobody) {
            (self.phones, self.reached) = (phones, reached);
        }
        if self.answered.is_none() {
            self.status = status;
            self.end_setup(status.map_or(DialogEnd::Silent, DialogEnd::Refused), now);
        }
        self.answered.is_none()
    }

    /// The source address of its INVITE.
    pub(super) const fn source(&self) -> SocketAddr {
        self.source
    }

    /// The call goes to another party, by the rules of the office.
    pub(super) const fn forward(&mut self, reason: DiversionReason) {
        self.forwarded = Some(reason);
    }

    /// Whether it has this Call-ID and a dialog with these tags, in any order.
    pub(super) fn has_identifiers(&self, call_id: &[u8], [a, b]: [&[u8]; 2]) -> bool {
        let caller_tag = self.texts.at(self.caller_tag);
        let has = |tag| self.dialogs.iter().any(|it| is_tag(self.texts.at(it.callee_tag), tag));
        !call_id.is_empty()
            && self.texts.at(self.call_id) == call_id
            && (is_tag(caller_tag, a) && has(b) || is_tag(caller_tag, b) && has(a))
    }

    /// The index of its dialog with this To tag.
    pub(super) fn position_of(&self, callee_tag: &[u8]) -> Option<usize> {
        self.dialogs.iter().position(|dialog| self.texts.at(dialog.callee_tag) == cut(callee_tag))
    }

    /// A request within the dialog with this index was accepted.
    pub(super) fn request(&mut self, at: usize, request: &DialogRequest, now: Wall) -> Waits {
        self.seen = now;
        let nothing = Waits { for_it: None, no_longer: None };
        let Some(transaction) = request.transaction else { return nothing };
        let Some(dialog) = self.dialogs.get_mut(at) else { return nothing };
        let before = dialog.pending;
        match before {
            // The response to the BYE tells more than that to any other request.
            Some(Pending { bye: Some(_), .. }) if !request.is_bye => return nothing,
            // A retransmission: the first one counts.
            Some(before) if before.transaction == transaction => return nothing,
            _ => {}
        }
        let bye = request.is_bye.then_some((request.by, now));
        dialog.pending = Some(Pending { transaction, bye });
        Waits { for_it: Some(transaction), no_longer: before.map(|before| before.transaction) }
    }

    /// A request within a dialog has its final response. Returns whether that dialog has ended.
    pub(super) fn request_answered(&mut self, transaction: u64, answer: RequestAnswer, now: Wall) -> bool {
        let is_it = |dialog: &&mut Dialog| dialog.pending.is_some_and(|pending| pending.transaction == transaction);
        let Some(dialog) = self.dialogs.iter_mut().find(is_it) else { return false };
        let bye = dialog.pending.take().and_then(|pending| pending.bye);
        if !answer.ends_dialog(bye.is_some()) {
            return false;
        }
        self.end = Some(bye.map_or((None, now), |(side, at)| (Some(side), at)));
        dialog.terminate(Some(bye.map_or(DialogEnd::Gone, |(side, _)| DialogEnd::HungUp(side))), now);
        true
    }

    /// Ends the dialogs whose BYE came before this moment and got no response. Returns whether there was one, and appends
    /// the transactions of the BYEs.
    pub(super) fn end_unanswered(&mut self, before: Wall, now: Wall, transactions: &mut Vec<u64>) -> bool {
        let mut has_changed = false;
        for dialog in &mut self.dialogs {
            if let Some(Pending { transaction, bye: Some((side, at)) }) = dialog.pending
                && at < before
            {
                dialog.pending = None;
                dialog.terminate(Some(DialogEnd::HungUp(side)), now);
                self.end = Some((Some(side), at));
                transactions.push(transaction);
                has_changed = true;
            }
        }
        has_changed
    }

    /// Its early dialogs have ended like its setup.
    fn end_setup(&mut self, end: DialogEnd, now: Wall) {
        self.setup_end = Some(end);
        self.dialogs.iter_mut().filter(|it| it.state == DialogState::Early).for_each(|it| it.terminate(Some(end), now));
    }

    /// It is given up: no request has come for too long.
    pub(super) fn give_up(&mut self, now: Wall) {
        if self.answered.is_none() {
            self.setup_end = Some(DialogEnd::Silent);
        }
        let live = self.dialogs.iter_mut().filter(|it| it.state != DialogState::Terminated);
        live.for_each(|it| it.terminate(Some(DialogEnd::Silent), now));
    }

    /// Whether no request has come since this moment.
    pub(super) fn is_silent_since(&self, moment: Wall) -> bool {
        self.seen < moment
    }

    /// Whether a 2xx was forwarded.
    pub(super) const fn is_answered(&self) -> bool {
        self.answered.is_some()
    }

    /// Whether it was answered and none of its dialogs goes on.
    pub(super) fn is_over(&self) -> bool {
        self.answered.is_some()
            && self.end.is_some()
            && !self.dialogs.iter().any(|it| it.state == DialogState::Confirmed)
    }

    /// How a dialog of it has ended is not how the call has: another dialog goes on, as far as is known.
    pub(super) fn forget_end(&mut self) {
        self.end = None;
    }

    /// The transactions whose responses it waits for.
    pub(super) fn transactions(&self) -> impl Iterator<Item = u64> {
        self.dialogs.iter().filter_map(|dialog| Some(dialog.pending?.transaction))
    }

    /// Everybody whose calls it is one of: the caller, and those whose phones take part, as [`CallInProgress::parties`].
    pub(super) fn users(&self) -> impl Iterator<Item = &[u8]> {
        let phones = self.dialogs.iter().map(|dialog| dialog.user);
        let users = std::iter::once(self.caller).chain(phones).map(|user| self.texts.at(user));
        users.filter(|user| !user.is_empty())
    }

    /// The names under which the index has this call.
    pub(super) fn names(&self) -> impl Iterator<Item = Name<'_>> {
        let call_id = Some(self.texts.at(self.call_id)).filter(|call_id| !call_id.is_empty());
        self.users().map(Name::User).chain(call_id.map(Name::CallId))
    }

    /// Where it stands in a list of the calls of this user: those that go on for the user come first, the oldest at the
    /// beginning. `None` if it is none of them.
    pub(super) fn order_for(&self, user: &[u8]) -> Option<impl Ord + use<>> {
        let is_caller = self.texts.at(self.caller) == user;
        let mut phones = self.dialogs.iter().filter(|dialog| self.texts.at(dialog.user) == user).peekable();
        let is_called = phones.peek().is_some();
        let goes_on = is_caller || phones.any(|dialog| dialog.state != DialogState::Terminated);
        (is_caller || is_called).then_some((!goes_on, self.began))
    }

    /// The record, at its end. `end`: how it ended, if no message said so.
    pub(super) fn record(&mut self, end: CallEnd, now: Wall) -> CallRecord {
        let (end, ended) = match self.end {
            Some((Some(side), at)) => (CallEnd::HungUp(side), at),
            Some((None, at)) => (CallEnd::Lost, at),
            None => (end, now),
        };
        CallRecord {
            began: self.began,
            answered: self.answered,
            ended,
            from: Aor::from_canonical(self.texts.at(self.from)),
            to: Aor::from_canonical(self.texts.at(self.to)),
            source: self.source,
            is_of_stranger: self.is_of_stranger,
            phones: self.phones,
            reached: std::mem::take(&mut self.reached),
            forwarded: self.forwarded,
            status: self.status,
            end,
        }
    }

    /// What others may see of it.
    pub(super) fn view(&self, id: u64) -> CallInProgress {
        let dialog = |dialog: &Dialog| CallDialog {
            callee_tag: self.texts.whole_at(dialog.callee_tag).into(),
            user: self.texts.at(dialog.user).into(),
            state: dialog.state,
            since: dialog.since,
            was_answered: dialog.was_answered,
            end: dialog.end,
        };
        CallInProgress {
            id,
            call_id: self.texts.at(self.call_id).into(),
            caller_tag: self.texts.at(self.caller_tag).into(),
            source: self.source,
            from: Aor::from_canonical(self.texts.at(self.from)),
            caller: Aor::from_canonical(self.texts.at(self.caller)),
            to: Aor::from_canonical(self.texts.at(self.to)),
            began: self.began,
            answered: self.answered,
            seen: self.seen,
            targets: self.targets,
            phones: self.phones,
            reached: self.reached.clone(),
            forwarded: self.forwarded,
            status: self.status,
            dialogs: self.dialogs.iter().map(dialog).collect(),
            end: self.setup_end,
        }
    }
}

/// Whether a tag in Replaces is the tag of a side. Tags are tokens, which are compared without case (RFC 3261 7.3.1); a zero
/// is that of a side without a tag too (RFC 3891 3).
pub(crate) fn is_tag(of_side: &[u8], tag: &[u8]) -> bool {
    eq_ignore_case(of_side, tag) || of_side.is_empty() && tag == b"0"
}

impl Dialog {
    fn terminate(&mut self, end: Option<DialogEnd>, now: Wall) {
        (self.state, self.since, self.end) = (DialogState::Terminated, now, end);
    }
}
