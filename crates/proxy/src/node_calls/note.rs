//! What nodes tell each other, as octets.
//!
//! Only nodes can send it (`node_link/token.rs`), of this version or another one: what cannot be read is left out.

use crate::calls::{CallInProgress, Interest, NodeCall, NotAllKnown, Part, PassingRequest, RequestAnswer};
use crate::clock::Wall;
use crate::request::checksum;

use super::octets::{Reader, octet_of, read_call, read_side, write_call, write_text};

/// The most octets of calls in one message, but for the last of them. A server takes messages of 32 KiB at least.
const PART: usize = 16 << 10;

/// Something that a node tells another one.
#[derive(Debug)]
pub(crate) enum Note {
    /// These users are watched at the sender, and this is the sum of the calls that it knows of the receiver. `None`: it
    /// wants those of users that were not watched before. The number is that of the message.
    Watch(u64, Box<Interest>, Option<u64>),
    /// Calls that pass the sender, and the number of the message.
    Calls(u64, Part, Vec<NodeCall>),
    /// A request in a dialog has its final response.
    Ended(Box<PassingRequest>, RequestAnswer),
    /// The sender looks for the calls that ring with this Call-ID and these tags.
    Find(FindQuestion, Box<[u8]>, [Box<[u8]>; 2]),
    /// The calls that were found; `None` if there are too many.
    Found(FindQuestion, Result<Vec<NodeCall>, NotAllKnown>),
}

/// A question for calls, and the worker that asks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FindQuestion {
    pub(crate) number: u64,
    pub(crate) worker: u8,
}

/// The most calls in one answer. Nobody needs more, and a message has an end.
pub(crate) const MAX_FOUND: usize = 16;

/// Writes calls, in as many messages as they need. `number`: returns that of each message.
pub(crate) fn calls_in_parts(
    calls: &[CallInProgress],
    has_ended: bool,
    is_all: bool,
    mut number: impl FnMut() -> u64,
) -> Vec<Vec<u8>> {
    let mut parts: Vec<(u16, Vec<u8>)> = Vec::new();
    for call in calls {
        if parts.last().is_none_or(|(_, octets)| octets.len() > PART) {
            parts.push((0, Vec::new()));
        }
        if let Some((count, octets)) = parts.last_mut() {
            *count += 1;
            octets.push(has_ended.into());
            write_call(call, octets);
        }
    }
    if parts.is_empty() {
        parts.push((0, Vec::new()));
    }
    let last = parts.len() - 1;
    let note = |(at, (count, octets)): (usize, (u16, Vec<u8>))| {
        let part = u8::from(is_all && at == 0) | u8::from(is_all && at == last) << 1;
        [&[kind::CALLS, part][..], &number().to_be_bytes(), &count.to_be_bytes(), &octets].concat()
    };
    parts.into_iter().enumerate().map(note).collect()
}

/// The sum of calls, as the node that they pass computes it.
pub(crate) fn sum_of(calls: &[CallInProgress]) -> u64 {
    let mut octets = Vec::new();
    calls.iter().fold(0, |sum: u64, call| {
        octets.clear();
        write_call(call, &mut octets);
        sum.wrapping_add(checksum(&octets))
    })
}

mod kind {
    pub(super) const WATCH: u8 = 1;
    pub(super) const CALLS: u8 = 2;
    pub(super) const ENDED: u8 = 3;
    pub(super) const FIND: u8 = 4;
    pub(super) const FOUND: u8 = 5;
}

/// Writes [`Note::Watch`].
pub(crate) fn watch_note(number: u64, interest: &Interest, known: Option<u64>) -> Vec<u8> {
    let mut out = vec![kind::WATCH, known.is_some().into()];
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&known.unwrap_or_default().to_be_bytes());
    interest.write(&mut out);
    out
}

/// Writes [`Note::Ended`].
pub(crate) fn ended_note(request: &PassingRequest, answer: RequestAnswer, now: Wall) -> Vec<u8> {
    let status = if let RequestAnswer::Final(status) = answer { status } else { 0 };
    let mut out = vec![kind::ENDED];
    out.extend_from_slice(&status.to_be_bytes());
    write_request(request, now, &mut out);
    out
}

/// Writes [`Note::Find`].
pub(crate) fn find_note(question: FindQuestion, call_id: &[u8], [a, b]: [&[u8]; 2]) -> Vec<u8> {
    let mut out = vec![kind::FIND, question.worker];
    out.extend_from_slice(&question.number.to_be_bytes());
    [call_id, a, b].into_iter().for_each(|text| write_text(text, &mut out));
    out
}

/// In place of the number of calls: not all are known.
const TOO_MANY: u16 = u16::MAX;
const NOT_KEPT: u16 = u16::MAX - 1;

/// Writes [`Note::Found`].
pub(crate) fn found_note(question: FindQuestion, calls: Result<&[CallInProgress], NotAllKnown>) -> Vec<u8> {
    let mut out = vec![kind::FOUND, question.worker];
    out.extend_from_slice(&question.number.to_be_bytes());
    let count = match calls {
        Ok(calls) if calls.len() <= MAX_FOUND => u16::try_from(calls.len()).unwrap_or(TOO_MANY),
        Ok(_) | Err(NotAllKnown::TooMany) => TOO_MANY,
        Err(NotAllKnown::NotKept) => NOT_KEPT,
    };
    out.extend_from_slice(&count.to_be_bytes());
    for call in calls.ok().filter(|_| count < NOT_KEPT).unwrap_or_default() {
        out.push(false.into());
        write_call(call, &mut out);
    }
    out
}

impl Note {
    /// Reads a message that has arrived now.
    pub(crate) fn read(octets: &[u8], now: Wall) -> Option<Self> {
        let octets = &mut Reader(octets);
        let note = match (octets.octet()?, octets.octet()?) {
            (kind::WATCH, has_sum) => {
                let (number, sum) = (octets.number()?, octets.number()?);
                let interest = Interest::read(octets.octets(Interest::LENGTH)?)?;
                Self::Watch(number, Box::new(interest), (has_sum != 0).then_some(sum))
            }
            (kind::CALLS, part) => {
                let part = Part { is_first: part & 1 != 0, is_last: part & 2 != 0 };
                Self::Calls(octets.number()?, part, read_calls(octets)?)
            }
            (kind::ENDED, status) => {
                let status = u16::from_be_bytes([status, octets.octet()?]);
                let answer = if status == 0 { RequestAnswer::Nothing } else { RequestAnswer::Final(status) };
                Self::Ended(Box::new(read_request(octets, now)?), answer)
            }
            (kind::FIND, worker) => {
                let question = FindQuestion { number: octets.number()?, worker };
                let mut text = || octets.text().map(Box::from);
                Self::Find(question, text()?, [text()?, text()?])
            }
            (kind::FOUND, worker) => {
                let question = FindQuestion { number: octets.number()?, worker };
                let not_all = match octets.0.try_into().map(u16::from_be_bytes) {
                    Ok(TOO_MANY) => Some(NotAllKnown::TooMany),
                    Ok(NOT_KEPT) => Some(NotAllKnown::NotKept),
                    _ => None,
                };
                Self::Found(question, not_all.map_or_else(|| read_calls(octets).map(Ok), |it| Some(Err(it)))?)
            }
            _ => return None,
        };
        Some(note)
    }
}

fn read_calls(octets: &mut Reader<'_>) -> Option<Vec<NodeCall>> {
    let count = octets.short()?;
    let read = |_| {
        let has_ended = octets.octet()? != 0;
        let before = octets.0;
        let call = read_call(octets)?;
        let length = before.len() - octets.0.len();
        Some(NodeCall { call, has_ended, sum: checksum(before.get(..length)?) })
    };
    (0..count).map(read).collect()
}

/// Has how long ago the request came: the clock of the receiver may be another one.
fn write_request(request: &PassingRequest, now: Wall, out: &mut Vec<u8>) {
    let PassingRequest { call_id, caller_tag, callee_tag, sources, by, is_bye, transaction, at } = request;
    out.extend_from_slice(&[octet_of(*by), (*is_bye).into()]);
    out.extend_from_slice(&transaction.to_be_bytes());
    out.extend_from_slice(&now.millis_since(*at).to_be_bytes());
    [call_id, caller_tag, callee_tag].into_iter().for_each(|text| write_text(text, out));
    out.push(u8::try_from(sources.len()).unwrap_or(u8::MAX));
    sources.iter().take(u8::MAX.into()).for_each(|source| write_text(source.to_string().as_bytes(), out));
}

fn read_request(octets: &mut Reader<'_>, now: Wall) -> Option<PassingRequest> {
    let (by, is_bye) = (read_side(octets)?, octets.octet()? != 0);
    let (transaction, at) = (octets.number()?, Wall(now.millis().saturating_sub(octets.number()?)));
    let mut text = || octets.text().map(Box::from);
    let (call_id, caller_tag, callee_tag) = (text()?, text()?, text()?);
    let count = octets.octet()?;
    let sources = (0..count).map(|_| octets.parsed()).collect::<Option<_>>()?;
    Some(PassingRequest { call_id, caller_tag, callee_tag, sources, by, is_bye, transaction, at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::{CallDialog, CallSide, call};

    /// Each shorter text is refused.
    fn read(octets: &[u8]) -> Note {
        for length in 0..octets.len() {
            assert!(Note::read(&octets[..length], NOW).is_none(), "{length} of {octets:?}");
        }
        Note::read(octets, NOW).expect("a note")
    }

    const NOW: Wall = Wall(90_000);

    #[test]
    fn calls_are_read_back_and_have_the_same_sum() {
        let calls = [call(1), call(2)];
        for (has_ended, is_all) in [(false, true), (true, false)] {
            let [octets] = &calls_in_parts(&calls, has_ended, is_all, || 9)[..] else { panic!("two short calls") };
            let Note::Calls(number, part, told) = read(octets) else { panic!("{octets:?}") };
            assert_eq!((number, part), (9, Part { is_first: is_all, is_last: is_all }));
            assert_eq!(told.iter().map(|it| it.has_ended).collect::<Vec<_>>(), [has_ended; 2]);
            assert_eq!(told.iter().fold(0, |sum: u64, it| sum.wrapping_add(it.sum)), sum_of(&calls));
            let told: Vec<_> = told.into_iter().map(|it| it.call).collect();
            assert_eq!(format!("{told:?}"), format!("{calls:?}"));
        }
    }

    #[test]
    fn many_calls_are_told_in_parts_that_fit_into_a_message() {
        let calls: Vec<_> = (0..1000).map(call).collect();
        let mut numbers = 0..;
        let parts = calls_in_parts(&calls, false, true, || numbers.next().unwrap_or(0));
        assert!(parts.len() > 5 && parts.iter().all(|octets| octets.len() < 17 << 10));
        let mut ids = Vec::new();
        for (at, octets) in parts.iter().enumerate() {
            let Some(Note::Calls(number, part, told)) = Note::read(octets, NOW) else { panic!("{octets:?}") };
            assert_eq!((number, part), (at as u64, Part { is_first: at == 0, is_last: at + 1 == parts.len() }));
            ids.extend(told.iter().map(|it| it.call.id));
        }
        assert_eq!(ids, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn the_longest_message_has_less_than_32_kib() {
        let longest = |call: CallInProgress, dialogs| {
            let text = [b'x'; crate::calls::MAX_PIECE];
            let aor = location::Aor::from_canonical(&text);
            let dialog = CallDialog { callee_tag: text.into(), user: text.into(), ..call.dialogs[0].clone() };
            let (call_id, caller_tag) = (text.into(), text.into());
            let (from, caller, to, dialogs) = (aor.clone(), aor.clone(), aor, vec![dialog; dialogs]);
            CallInProgress { call_id, caller_tag, from, caller, to, dialogs, ..call }
        };
        // A call has 16 dialogs at most, and one of them is picked up.
        let told: Vec<_> = (0..10).map(|id| longest(call(id), 16)).collect();
        let found: Vec<_> = (0..16).map(|id| longest(call(id), 1)).collect();
        let mut all = calls_in_parts(&told, false, true, || 1);
        all.push(found_note(FindQuestion { number: 1, worker: 0 }, Ok(&found)));
        // With the head of the message.
        assert!(all.iter().all(|octets| octets.len() < 31 << 10), "{:?}", all.iter().map(Vec::len).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_watched_is_read_back() {
        let interest = Interest::of_buckets([3, 4095].into_iter());
        for known in [None, Some(7)] {
            let note = read(&watch_note(9, &interest, known));
            assert!(matches!(note, Note::Watch(9, read, sum) if *read == interest && sum == known));
        }
    }

    #[test]
    fn the_end_of_a_dialog_is_read_back() {
        let request = PassingRequest {
            call_id: (*b"1@a").into(),
            caller_tag: (*b"x").into(),
            callee_tag: Box::default(),
            sources: [([192, 0, 2, 7], 5060).into(), "[2001:db8::1]:7".parse().unwrap()].into_iter().collect(),
            by: CallSide::Callee,
            is_bye: true,
            transaction: 77,
            at: Wall(5),
        };
        // The clock of the sender is another one.
        let expected = PassingRequest { at: Wall(NOW.0 - 300), ..request.clone() };
        for answer in [RequestAnswer::Nothing, RequestAnswer::Final(481)] {
            let note = read(&ended_note(&request, answer, Wall(305)));
            assert!(matches!(note, Note::Ended(read, end) if *read == expected && end == answer));
        }
    }

    #[test]
    fn a_question_and_its_answer_are_read_back() {
        let question = FindQuestion { number: 77, worker: 3 };
        let note = read(&find_note(question, b"1@a", [b"x", b""]));
        assert!(matches!(note, Note::Find(asked, call_id, tags)
            if asked == question && *call_id == *b"1@a" && tags == [(*b"x").into(), Box::default()]));
        let (none, many) = (Err(NotAllKnown::NotKept), Err(NotAllKnown::TooMany));
        for (count, found) in [(Ok(0), Ok(0)), (Ok(16), Ok(16)), (Ok(17), many), (none, none), (many, many)] {
            let calls = count.map(|count: u64| (0..count).map(call).collect::<Vec<_>>());
            let note = read(&found_note(question, calls.as_deref().map_err(|not_all| *not_all)));
            let Note::Found(asked, calls) = note else { panic!("{note:?}") };
            assert_eq!((asked, calls.map(|calls| calls.len() as u64)), (question, found));
        }
    }

    #[test]
    fn what_another_version_may_tell_is_not_read() {
        assert!(Note::read(b"", NOW).is_none() && Note::read(&[99, 0, 0, 0], NOW).is_none());
    }
}
