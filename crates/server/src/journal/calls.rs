//! The records of the calls that have ended, for the status page, the API and the CSV file.
//!
//! Decides what a record says and how many are kept. Calls in progress are in `proxy::CallTable`.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use location::{Aor, Wall};
use parser::reason_phrase;
use proxy::{CallEnd, CallInProgress, CallRecord, CallSide, ConfigKey, TriedPhones};
use serde::{Deserialize, Serialize};

use super::format::sanitize;
use crate::clock;
use crate::text::ending::Ending;

/// Records that are kept.
pub(crate) const MAX_ENDED: usize = 1000;

/// The most records of one caller that may take the place of others: a phone that dials again and again must not remove the
/// records of everybody else.
const MAX_OF_CALLER: usize = MAX_ENDED / 4;

/// The longest name that is kept, in octets. A message may have one of 64 KiB.
const MAX_NAME: usize = 256;

/// The records that are kept.
#[derive(Debug, Default)]
pub(crate) struct CallHistory {
    /// The last one at the end.
    ended: VecDeque<Arc<EndedCall>>,
    count: RecordCount,
}

/// How many records there are of whom. Without it, each new record would look at all others.
#[derive(Debug, Default)]
struct RecordCount {
    of_caller: HashMap<String, usize>,
    /// The callers with the whole share of one.
    busy_callers: usize,
    of_strangers: usize,
}

/// A call that has ended. Its times are the server's own.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct EndedCall {
    /// When its INVITE was received, in milliseconds.
    pub(crate) began: u64,
    /// When it was answered.
    pub(crate) answered: Option<u64>,
    /// When its BYE or its final response came.
    pub(crate) ended: u64,
    /// The caller by From: the address of record.
    pub(crate) from: String,
    /// The called user or foreign address.
    pub(crate) to: String,
    /// The trunk that it came from.
    pub(crate) trunk: Option<String>,
    /// The user whose phone was reached, or the trunk.
    pub(crate) reached: Option<String>,
    /// The phone that sent the final response, or the only one that was called and did not respond.
    pub(crate) by: Option<String>,
    /// The phones that were called, that responded, and that rang.
    pub(crate) phones: [usize; 3],
    /// Why it went to another party, by the rules of the office.
    pub(crate) forwarded: Option<Cow<'static, str>>,
    /// How it ended; an answered call also if somebody hung up.
    pub(crate) ending: Ending,
    /// Who hung up.
    pub(crate) hung_up: Option<HungUp>,
    /// The status of the final response; `None` if there was none.
    pub(crate) status: Option<u16>,
    /// Why this server refused it, in words, and the key that decided.
    pub(crate) refusal: Option<(String, Option<Cow<'static, str>>)>,
    /// Whether this server refused it to somebody who is no user: anybody can cause such records.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_of_stranger: bool,
    /// The address of a caller who is no user and whom the server let call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stranger_at: Option<String>,
}

/// Who hung up an answered call.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HungUp {
    Caller,
    Callee,
}

/// What a record must have to be found.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallSearch {
    /// A part of the name of somebody who took part, in lower case.
    pub(crate) user: String,
    /// Digits of a number that took part.
    pub(crate) number: String,
    /// The day on which it began: `2026-12-01`.
    pub(crate) day: String,
    /// How many minutes the clock of that day is ahead of UTC.
    pub(crate) ahead: i64,
}

impl EndedCall {
    /// The record of a call that came from this trunk.
    pub(crate) fn of(record: &CallRecord, trunk: Option<&str>) -> Self {
        let CallRecord { began, answered, ended, from, to, phones, reached, forwarded, status, end, .. } = record;
        let (is_of_stranger, is_refused) = (record.is_of_stranger, matches!(end, CallEnd::Refused(_)));
        let (ending, hung_up, refusal) = match end {
            CallEnd::HungUp(side) => (Ending::Answered, Some(HungUp::from(*side)), None),
            CallEnd::Lost => (Ending::Lost, None, None),
            CallEnd::Unanswered => (Ending::of_call(*status, *phones), None, None),
            CallEnd::Refused(refusal) => {
                let ending = Ending::refused(status.unwrap_or_default());
                (ending, None, Some(refusal_in_words(ending, *status, refusal.reason, refusal.key)))
            }
        };
        let by = reached.phone().filter(|(_, agent)| !agent.is_empty());
        let user = reached.phone().map(|(user, _)| user).filter(|user| !user.is_empty());
        Self {
            began: began.0,
            answered: answered.map(|at| at.0),
            ended: ended.0,
            from: name(from),
            to: name(to),
            trunk: trunk.map(str::to_owned),
            reached: user.map(text).or_else(|| reached.trunk().map(str::to_owned)),
            by: by.map(|(_, agent)| sanitize(agent)),
            phones: [phones.tried, phones.responded, phones.rang],
            forwarded: forwarded.map(|reason| Cow::Borrowed(reason.into())),
            ending,
            hung_up,
            status: *status,
            refusal,
            is_of_stranger: is_of_stranger && is_refused,
            stranger_at: (is_of_stranger && !is_refused).then(|| record.source.ip().to_string()),
        }
    }

    /// A call that rang when the server stopped: what becomes of it is not known.
    pub(crate) fn interrupted(call: &CallInProgress) -> Self {
        let CallInProgress { began, seen, from, to, source, phones, forwarded, status, .. } = call;
        let (began, ended, source) = (*began, *seen, *source);
        let (from, to, phones, forwarded) = (from.clone(), to.clone(), *phones, *forwarded);
        let (reached, end) = (call.reached.clone(), CallEnd::Lost);
        let record = CallRecord {
            began,
            answered: call.answered,
            ended,
            from,
            to,
            source,
            is_of_stranger: false,
            phones,
            reached,
            forwarded,
            status: *status,
            end,
        };
        Self::of(&record, None)
    }

    /// Whom it is counted for: a caller who is no user can call itself anything.
    fn counted_for(&self) -> &str {
        self.stranger_at.as_deref().unwrap_or(&self.from)
    }

    /// The phones that were called.
    pub(crate) const fn tried(&self) -> TriedPhones {
        let [tried, responded, rang] = self.phones;
        TriedPhones { tried, responded, rang }
    }

    /// From the INVITE to the answer or the end.
    pub(crate) fn setup(&self) -> Duration {
        Duration::from_millis(self.answered.unwrap_or(self.ended).saturating_sub(self.began))
    }

    /// From the answer to the end.
    pub(crate) fn talked(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.ended.saturating_sub(self.answered?)))
    }

    /// How it ended, as one word for programs: who hung up, or why nobody talked.
    pub(crate) fn ending_word(&self) -> &'static str {
        match self.hung_up {
            Some(HungUp::Caller) => "caller_hung_up",
            Some(HungUp::Callee) => "callee_hung_up",
            None => self.ending.as_str(),
        }
    }

    fn is_found_by(&self, search: &CallSearch) -> bool {
        let parties = || [Some(&self.from), Some(&self.to), self.reached.as_ref()].into_iter().flatten();
        let has_user = || parties().any(|name| name.to_lowercase().contains(&search.user));
        let has_number = || parties().any(|name| digits(name).contains(&search.number));
        (search.user.is_empty() || has_user())
            && (search.number.is_empty() || has_number())
            && clock::rfc3339(Wall(self.began.saturating_add_signed(search.ahead * 60_000))).starts_with(&search.day)
    }
}

impl From<CallSide> for HungUp {
    fn from(side: CallSide) -> Self {
        match side {
            CallSide::Caller => Self::Caller,
            CallSide::Callee => Self::Callee,
        }
    }
}

impl CallSearch {
    /// For the parameters of a request.
    pub(crate) fn new(user: &str, number: &str, (day, ahead): (&str, i64)) -> Self {
        Self { user: user.trim().to_lowercase(), number: digits(number), day: day.trim().to_owned(), ahead }
    }
}

impl CallHistory {
    /// The records of an earlier run, the last one at the end.
    pub(crate) fn restored(records: Vec<EndedCall>) -> Self {
        let mut this = Self::default();
        records.into_iter().map(Arc::new).for_each(|ended| this.push(ended));
        this
    }

    /// Adds a record. If there are too many, drops the oldest one of a stranger, or else of a caller with its whole share,
    /// or else the oldest. One of a stranger takes the place of no other: a scanner would remove all records within seconds.
    pub(crate) fn push(&mut self, ended: Arc<EndedCall>) {
        if self.ended.len() == MAX_ENDED {
            if self.count.of_strangers == 0 && ended.is_of_stranger {
                return;
            }
            let dropped = self.ended.remove(self.place_of_new());
            dropped.iter().for_each(|dropped| self.count.remove(dropped));
        }
        self.count.add(&ended);
        self.ended.push_back(ended);
    }

    /// The position of the record whose place a new one takes.
    fn place_of_new(&self) -> usize {
        let RecordCount { of_caller, busy_callers, of_strangers } = &self.count;
        let is_of_busy =
            |kept: &EndedCall| of_caller.get(kept.counted_for()).is_some_and(|count| *count >= MAX_OF_CALLER);
        let place = match (of_strangers, busy_callers) {
            (0, 0) => None,
            (0, _) => self.ended.iter().position(|kept| is_of_busy(kept)),
            _ => self.ended.iter().position(|kept| kept.is_of_stranger),
        };
        place.unwrap_or(0)
    }

    /// Drops the records of calls that ended so long ago; all, if none are kept.
    pub(crate) fn sweep(&mut self, now: Wall, keep: Option<Duration>) {
        let oldest =
            keep.map_or(u64::MAX, |keep| now.0.saturating_sub(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX)));
        let Self { ended, count } = self;
        ended.retain(|kept| {
            let is_kept = kept.ended >= oldest;
            if !is_kept {
                count.remove(kept);
            }
            is_kept
        });
    }

    /// All records, the last one at the end.
    pub(crate) fn all(&self) -> Vec<Arc<EndedCall>> {
        self.ended.iter().cloned().collect()
    }

    /// The records that a search finds; the call that began last is the first.
    pub(crate) fn find(&self, search: &CallSearch) -> Vec<Arc<EndedCall>> {
        let mut found: Vec<_> = self.ended.iter().rev().filter(|ended| ended.is_found_by(search)).cloned().collect();
        // The page shows when they began. The sort is stable.
        found.sort_by_key(|ended| std::cmp::Reverse(ended.began));
        found
    }
}

impl RecordCount {
    fn add(&mut self, record: &EndedCall) {
        self.of_strangers += usize::from(record.is_of_stranger);
        let count = self.of_caller.entry_ref(record.counted_for()).or_default();
        *count += 1;
        self.busy_callers += usize::from(*count == MAX_OF_CALLER);
    }

    fn remove(&mut self, record: &EndedCall) {
        self.of_strangers -= usize::from(record.is_of_stranger);
        let EntryRef::Occupied(mut count) = self.of_caller.entry_ref(record.counted_for()) else { return };
        self.busy_callers -= usize::from(*count.get() == MAX_OF_CALLER);
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

fn name(aor: &Aor) -> String {
    text(aor.as_bytes())
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets.get(..MAX_NAME).unwrap_or(octets)).into_owned()
}

/// Why this server refused a call, in words, and the key that decided.
fn refusal_in_words(
    ending: Ending,
    status: Option<u16>,
    reason: &'static str,
    key: Option<ConfigKey>,
) -> (String, Option<Cow<'static, str>>) {
    // The words of the ending say as much as a standard reason phrase, and without terms of SIP.
    let is_precise = matches!(ending, Ending::Forbidden | Ending::Failed)
        || matches!(ending, Ending::Unregistered | Ending::Unknown)
            && reason != reason_phrase(status.unwrap_or_default());
    let why = if is_precise { reason.to_owned() } else { ending.words(status) };
    (why, key.map(|key| Cow::Borrowed(key.as_str())))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn ended(began: u64, ended: u64) -> EndedCall {
        EndedCall {
            began,
            answered: None,
            ended,
            from: "102@office.example".to_owned(),
            to: "+4989123451@office.example".to_owned(),
            trunk: None,
            reached: None,
            by: None,
            phones: [1, 1, 1],
            forwarded: None,
            ending: Ending::Busy,
            hung_up: None,
            status: Some(486),
            refusal: None,
            is_of_stranger: false,
            stranger_at: None,
        }
    }

    /// Issue 18: "Last calls" is sorted by end while it shows the start.
    #[test]
    fn ended_calls_are_sorted_by_the_time_that_is_shown() {
        let mut calls = CallHistory::default();
        for (began, at) in [(10, 90), (50, 60), (20, 30)] {
            calls.push(Arc::new(ended(began, at)));
        }
        let found = calls.find(&CallSearch::default());
        assert_eq!(found.iter().map(|call| call.began).collect::<Vec<_>>(), [50, 20, 10]);
    }

    #[test]
    fn the_number_and_the_age_of_records_are_limited() {
        let mut calls = CallHistory::default();
        (0..1500).for_each(|at| calls.push(Arc::new(ended(at, at))));
        assert_eq!((calls.all().len(), calls.all().first().map(|call| call.ended)), (1000, Some(500)));
        calls.sweep(Wall(2_000), Some(Duration::from_millis(600)));
        assert_eq!(calls.all().first().map(|call| call.ended), Some(1400));
        calls.sweep(Wall(2_000), None);
        assert_eq!(calls.all().len(), 0);
        let restored = CallHistory::restored((0..1200).map(|at| ended(at, at)).collect());
        assert_eq!(restored.all().first().map(|call| call.ended), Some(200));
    }

    #[test]
    fn calls_of_strangers_push_out_no_others() {
        let mut calls = CallHistory::default();
        let of_stranger = |at| Arc::new(EndedCall { is_of_stranger: true, ..ended(at, at) });
        (0..5000).for_each(|at| calls.push(of_stranger(at)));
        (5000..5900).for_each(|at| calls.push(Arc::new(ended(at, at))));
        (5900..9000).for_each(|at| calls.push(of_stranger(at)));
        let all = calls.all();
        let strangers = all.iter().filter(|call| call.is_of_stranger).map(|call| call.ended);
        assert_eq!((all.len(), strangers.collect::<Vec<_>>()), (1000, (8900..9000).collect()));
        (9000..9200).for_each(|at| calls.push(Arc::new(ended(at, at))));
        calls.push(of_stranger(9200));
        let all = calls.all();
        assert!(all.iter().all(|call| !call.is_of_stranger));
        let ends = [all.first(), all.last()].map(|call| call.map(|call| call.ended));
        assert_eq!((all.len(), ends), (1000, [Some(5100), Some(9199)]));
    }

    #[test]
    fn a_stranger_with_many_names_is_one_caller() {
        let mut calls = CallHistory::default();
        let of = |name: String, stranger_at: Option<&str>, at| {
            Arc::new(EndedCall { from: name, stranger_at: stranger_at.map(str::to_owned), ..ended(at, at) })
        };
        (0..1000).for_each(|at| calls.push(of(format!("{at}@office.example"), None, at)));
        (1000..4000).for_each(|at| calls.push(of(format!("{at}@evil.example"), Some("192.0.2.66"), at)));
        let strangers = calls.all().iter().filter(|call| call.stranger_at.is_some()).count();
        assert_eq!((strangers, calls.all().len()), (MAX_OF_CALLER, MAX_ENDED));
        (4000..5000).for_each(|at| calls.push(of("1@office.example".to_owned(), None, at)));
        assert!(calls.all().iter().filter(|call| call.stranger_at.is_some()).count() < MAX_OF_CALLER);
    }

    #[test]
    fn calls_of_one_caller_push_out_a_share_of_the_others() {
        let mut calls = CallHistory::default();
        let of = |caller: &str, at| Arc::new(EndedCall { from: format!("{caller}@office.example"), ..ended(at, at) });
        let count = |calls: &CallHistory, caller: &str| {
            let all = calls.all();
            let ends: Vec<_> = all.iter().filter(|call| call.from.starts_with(caller)).map(|call| call.ended).collect();
            (ends.len(), ends.first().copied(), ends.last().copied())
        };
        (0..900).for_each(|at| calls.push(of(&at.to_string(), at)));
        (1000..9000).for_each(|at| calls.push(of("door", at)));
        assert_eq!(calls.all().len(), MAX_ENDED);
        assert_eq!(count(&calls, "door"), (250, Some(8750), Some(8999)));
        assert_eq!(calls.all().first().map(|call| call.ended), Some(150), "the oldest ones of all others");
        // While there is room, one caller may have all of it, and a record of anybody else takes the place of one of that caller.
        let mut calls = CallHistory::default();
        (0..1500).for_each(|at| calls.push(of("door", at)));
        (1500..1510).for_each(|at| calls.push(of("desk", at)));
        assert_eq!((count(&calls, "door").0, count(&calls, "desk").0), (990, 10));
        calls.sweep(Wall(2_000), Some(Duration::from_millis(500)));
        assert_eq!((calls.all().len(), calls.count.of_caller.len()), (10, 1));
        calls.sweep(Wall(2_000), None);
        let RecordCount { of_caller, busy_callers, of_strangers } = &calls.count;
        assert_eq!((of_caller.len(), *busy_callers, *of_strangers), (0, 0, 0));
    }

    #[test]
    fn calls_are_found_by_user_number_and_day() {
        let mut calls = CallHistory::default();
        let day = 86_400_000;
        calls.push(Arc::new(ended(10 * day, 10 * day)));
        calls.push(Arc::new(EndedCall { reached: Some("Bob@office.example".to_owned()), ..ended(11 * day, 11 * day) }));
        let found = |user: &str, number: &str, day: &str| {
            let found = calls.find(&CallSearch::new(user, number, (day, 0)));
            found.iter().map(|call| call.began / 86_400_000).collect::<Vec<_>>()
        };
        assert_eq!(found("", "", ""), [11, 10]);
        assert_eq!(found("bob", "", ""), [11]);
        assert_eq!(found("102@", "", ""), [11, 10]);
        assert_eq!(found("", "89 12-34", ""), [11, 10]);
        assert_eq!(found("", "777", ""), Vec::<u64>::new());
        assert_eq!(found("", "", &clock::rfc3339(Wall(10 * day))[..10]), [10]);
        // By the clock of the person who looks it began on another day. Other tests set the clock of the process.
        let by_clock = |ahead: i64| clock::rfc3339(Wall((10 * day).saturating_add_signed(ahead * 60_000)));
        let search = |ahead: i64| CallSearch::new("", "", (&by_clock(0)[..10], ahead));
        for ahead in [0, 60, -300, 840, -840] {
            let is_found = calls.find(&search(ahead)).iter().any(|call| call.began == 10 * day);
            assert_eq!(is_found, by_clock(ahead)[..10] == by_clock(0)[..10], "{ahead}");
        }
    }
}
