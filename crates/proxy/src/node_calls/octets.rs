//! A call as octets, for another node. Has what a watcher may need of it; times and phones are left out.

use location::{Aor, Wall};

use crate::calls::{CallDialog, CallInProgress, CallSide, DialogEnd, DialogState, Reached, TriedPhones};

/// Reads octets from the front of a text.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn octets(&mut self, length: usize) -> Option<&'a [u8]> {
        let (octets, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(octets)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.octets(N)?.try_into().ok()
    }

    pub(super) fn octet(&mut self) -> Option<u8> {
        self.chunk().map(u8::from_be_bytes)
    }

    pub(super) fn short(&mut self) -> Option<u16> {
        self.chunk().map(u16::from_be_bytes)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_be_bytes)
    }

    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.short()?;
        self.octets(length.into())
    }

    /// A value that was written by its `Display`.
    pub(super) fn parsed<T: std::str::FromStr>(&mut self) -> Option<T> {
        std::str::from_utf8(self.text()?).ok()?.parse().ok()
    }
}

/// Appends a text with its length. A longer one than any that is kept of a call is cut.
pub(super) fn write_text(text: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.get(..length.into()).unwrap_or(text));
}

pub(super) fn write_call(call: &CallInProgress, out: &mut Vec<u8>) {
    out.extend_from_slice(&call.id.to_be_bytes());
    out.extend_from_slice(&call.began.millis().to_be_bytes());
    for text in [&*call.call_id, &*call.caller_tag] {
        write_text(text, out);
    }
    for user in [&call.from, &call.caller, &call.to] {
        write_text(user.as_bytes(), out);
    }
    write_text(call.source.to_string().as_bytes(), out);
    out.push(call.answered.is_some().into());
    write_end(call.end, out);
    out.push(u8::try_from(call.dialogs.len()).unwrap_or(u8::MAX));
    for dialog in call.dialogs.iter().take(u8::MAX.into()) {
        write_text(&dialog.callee_tag, out);
        write_text(&dialog.user, out);
        out.push(match dialog.state {
            DialogState::Early => 0,
            DialogState::Confirmed => 1,
            DialogState::Terminated => 2,
        });
        out.push(dialog.was_answered.into());
        write_end(dialog.end, out);
    }
}

pub(super) fn read_call(octets: &mut Reader<'_>) -> Option<CallInProgress> {
    let (id, began) = (octets.number()?, Wall(octets.number()?));
    let (call_id, caller_tag) = (octets.text()?.into(), octets.text()?.into());
    let mut user = || octets.text().map(Aor::from_canonical);
    let (from, caller, to) = (user()?, user()?, user()?);
    let source = octets.parsed()?;
    let answered = (octets.octet()? != 0).then_some(began);
    let end = read_end(octets)?;
    let count = octets.octet()?;
    let dialogs = (0..count).map(|_| read_dialog(octets, began)).collect::<Option<_>>()?;
    let (seen, targets, phones, reached, forwarded) = (began, 0, TriedPhones::default(), Reached::Nobody, None);
    Some(CallInProgress {
        id,
        call_id,
        caller_tag,
        source,
        from,
        caller,
        to,
        began,
        answered,
        seen,
        targets,
        phones,
        reached,
        forwarded,
        status: None,
        dialogs,
        end,
    })
}

fn read_dialog(octets: &mut Reader<'_>, since: Wall) -> Option<CallDialog> {
    let (callee_tag, user) = (octets.text()?.into(), octets.text()?.into());
    let state = match octets.octet()? {
        0 => DialogState::Early,
        1 => DialogState::Confirmed,
        2 => DialogState::Terminated,
        _ => return None,
    };
    let was_answered = octets.octet()? != 0;
    Some(CallDialog { callee_tag, user, state, since, was_answered, end: read_end(octets)? })
}

pub(super) const fn octet_of(side: CallSide) -> u8 {
    match side {
        CallSide::Caller => 0,
        CallSide::Callee => 1,
    }
}

pub(super) fn read_side(octets: &mut Reader<'_>) -> Option<CallSide> {
    [CallSide::Caller, CallSide::Callee].get(usize::from(octets.octet()?)).copied()
}

fn write_end(end: Option<DialogEnd>, out: &mut Vec<u8>) {
    let (kind, value) = match end {
        None => (0, 0),
        Some(DialogEnd::Refused(status)) => (1, status),
        Some(DialogEnd::HungUp(side)) => (2, octet_of(side).into()),
        Some(DialogEnd::Gone) => (3, 0),
        Some(DialogEnd::Silent) => (4, 0),
    };
    out.push(kind);
    out.extend_from_slice(&value.to_be_bytes());
}

fn read_end(octets: &mut Reader<'_>) -> Option<Option<DialogEnd>> {
    Some(match (octets.octet()?, octets.short()?) {
        (0, _) => None,
        (1, status) => Some(DialogEnd::Refused(status)),
        (2, 0) => Some(DialogEnd::HungUp(CallSide::Caller)),
        (2, 1) => Some(DialogEnd::HungUp(CallSide::Callee)),
        (3, _) => Some(DialogEnd::Gone),
        (4, _) => Some(DialogEnd::Silent),
        _ => return None,
    })
}
