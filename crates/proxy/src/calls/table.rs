//! The table of calls, in shards with a lock each.
//!
//! Decides how calls are found and how many there are. Must not decide what a message means for a call.

use std::hash::BuildHasher as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hashbrown::{DefaultHashBuilder, HashMap};
use location::{Aor, Wall};
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::call::{Call, CallRequest, CallResponse, DialogRequest, RequestAnswer, Waits};
use super::elsewhere::Elsewhere;
use super::facts::{DiversionReason, TriedPhones};
use super::index::Name;
use super::interest::Interest;
use super::passing::{PassingRequest, PassingRequests};
use super::record::{CallEnd, CallRecord, CallSide, Reached};
use super::room::{CounterIndex, Room, ShareOf};
use super::shard::{CallRef, SHARDS, Shard, Slot, shard_of};
use super::view::{CallInProgress, DialogEnd};

/// The most calls with one Call-ID that are looked at: a proxy that forks sends several INVITEs with one.
const MAX_OF_CALL_ID: usize = 64;

/// The calls in progress, of all workers; and what is known of those of other nodes.
#[derive(Debug)]
pub struct CallTable {
    shards: Box<[Mutex<Shard>]>,
    /// The calls whose requests wait for a response, by transaction. If the INVITE passed this server twice (a spiral), it
    /// began two calls, and one BYE may end both.
    pending: Box<[Mutex<Pending>]>,
    /// Its random key makes it impossible to find two calls with an equal hash: no hash is ever sent.
    hasher: DefaultHashBuilder,
    room: Room,
    /// When a call was last refused because the table was full, in milliseconds; 0 for never.
    refused_at: AtomicU64,
    elsewhere: Elsewhere,
    passing: PassingRequests,
}

type Pending = HashMap<u64, SmallVec<[CallRef; 1]>>;

/// The identity of a call, as a request within a dialog tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallKey(u64);

/// Why not all calls with some identifiers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NotAllKnown {
    /// None is known, but the table was full when some call began.
    NotKept,
    /// There are too many with the Call-ID to look at, which no honest phone causes.
    TooMany,
}

/// What a change of a call causes.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Effect {
    /// The record of the call, if it has ended.
    pub(crate) record: Option<Box<CallRecord>>,
    /// Who has to be told.
    pub(crate) change: CallsChange,
}

/// A change of a call, for those who watch one of its users.
#[derive(Debug, Default)]
pub(crate) struct CallsChange {
    /// The number of the call, if it is one of this node.
    pub(crate) call: Option<u64>,
    /// The users of the call; empty if nobody watches calls, or no dialog has changed.
    pub(crate) users: Vec<Aor>,
    /// The last state of the call, if it has ended.
    pub(crate) ended: Option<Arc<CallInProgress>>,
}

impl CallsChange {
    /// Of a call of another node. `has_ended`: this is its last state.
    pub(crate) fn elsewhere(call: &CallInProgress, has_ended: bool) -> Self {
        let mut users: Vec<Aor> = call.parties().map(Aor::from_canonical).collect();
        users.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        users.dedup();
        Self { call: None, users, ended: has_ended.then(|| Arc::new(call.clone())) }
    }
}

/// When a change happens, and whether anybody has to be told of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) now: Wall,
    /// The number of subscriptions. It is read after the change, under its lock: a subscriber that has not seen the change
    /// was counted before.
    pub(crate) subscriptions: &'a AtomicUsize,
}

/// What a message has changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    /// The state of a dialog, or who takes part.
    Dialogs,
    /// The call has ended.
    End,
}

impl Change {
    const fn of_dialogs(has_changed: bool) -> Self {
        if has_changed { Self::Dialogs } else { Self::Nothing }
    }
}

impl CallTable {
    /// An empty table for so many calls.
    pub fn new(limit: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            pending: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: DefaultHashBuilder::default(),
            room: Room::new(limit),
            refused_at: AtomicU64::new(0),
            elsewhere: Elsewhere::default(),
            passing: PassingRequests::new(limit),
        }
    }

    /// The number of calls.
    pub fn len(&self) -> usize {
        self.room.len()
    }

    /// Whether there is no call.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All calls, in no order.
    pub fn all(&self) -> Vec<CallInProgress> {
        self.find(|_| true)
    }

    /// The calls with a user in this set, in no order.
    pub(crate) fn of_users(&self, users: &Interest) -> Vec<CallInProgress> {
        self.find(|call| call.users().any(|user| users.has(user)))
    }

    fn find(&self, is_wanted: impl Fn(&Call) -> bool) -> Vec<CallInProgress> {
        let mut found = Vec::new();
        for (number, shard) in self.shards.iter().enumerate() {
            for (index, Slot { generation, call }) in (0..).zip(&shard.lock().slots) {
                let call = call.as_ref().filter(|call| is_wanted(call));
                found.extend(call.map(|call| call.view(CallRef::number_at(number, index, *generation))));
            }
        }
        found
    }

    /// The call with this number, if it goes on.
    pub(crate) fn with_number(&self, number: u64) -> Option<CallInProgress> {
        self.view(CallRef::of_number(number)?)
    }

    /// The calls of other nodes.
    pub(crate) const fn elsewhere(&self) -> &Elsewhere {
        &self.elsewhere
    }

    /// Requests within dialogs of calls that are not here.
    pub(crate) const fn passing(&self) -> &PassingRequests {
        &self.passing
    }

    /// The most calls that are known.
    pub(crate) const fn limit(&self) -> usize {
        self.room.limit()
    }

    /// The calls that a user began, and those that phones of the user take part in: at most so many, the oldest ones that
    /// go on.
    pub fn of_user(&self, user: &Aor, most: usize) -> Vec<CallInProgress> {
        let mut found = Vec::new();
        self.look_for(Name::User(user.as_bytes()), |at, call| {
            found.extend(call.order_for(user.as_bytes()).map(|order| (order, at)));
        });
        found.sort_unstable();
        found.truncate(most);
        found.into_iter().filter_map(|(_, at)| self.view(at)).collect()
    }

    /// The calls with this Call-ID and both of these tags, in any case. Whoever has read the identifiers of a call can begin
    /// another one with them. Calls that began before `since` have ended, also those that the table had no room for.
    pub(crate) fn with_tags(
        &self,
        call_id: &[u8],
        tags: [&[u8]; 2],
        since: Wall,
    ) -> Result<Vec<CallInProgress>, NotAllKnown> {
        let (mut found, mut seen) = (Vec::new(), 0);
        self.look_for(Name::CallId(call_id), |at, call| {
            seen += 1;
            if seen <= MAX_OF_CALL_ID && call.has_identifiers(call_id, tags) {
                found.push(at);
            }
        });
        if seen > MAX_OF_CALL_ID {
            return Err(NotAllKnown::TooMany);
        }
        let is_one_missing = found.is_empty() && self.refused_at.load(Ordering::Acquire) > since.0;
        if is_one_missing {
            Err(NotAllKnown::NotKept)
        } else {
            Ok(found.into_iter().filter_map(|at| self.view(at)).collect())
        }
    }

    /// Looks at the calls with this name, and perhaps a few others.
    fn look_for(&self, name: Name<'_>, mut look: impl FnMut(CallRef, &Call)) {
        for (number, shard) in self.shards.iter().enumerate() {
            for (slot, generation, call) in shard.lock().named(name) {
                CallRef::new(number, slot, generation).into_iter().for_each(|at| look(at, call));
            }
        }
    }

    fn view(&self, at: CallRef) -> Option<CallInProgress> {
        let (shard, slot, generation) = at.parts();
        let mut shard = self.shards.get(shard)?.lock();
        Some(shard.call((slot, generation))?.view(at.number()))
    }

    /// Adds a call that an earlier run of the server has saved. False if it cannot go on here.
    pub fn restore(&self, saved: CallInProgress) -> bool {
        if saved.call_id.is_empty() || saved.caller_tag.is_empty() {
            return false;
        }
        let CallKey(key) = self.key(&saved.call_id, &saved.caller_tag, saved.source);
        let counter = self.room.counter_of(ShareOf::User(saved.caller.as_bytes()));
        Call::restored((key, counter), saved).is_some_and(|call| self.insert((key, counter), || call).is_some())
    }

    /// Ends the calls without a request for `lifetime`, and the dialogs whose BYE got no response for `bye_timeout`. To be
    /// called every few seconds. Returns the records of the calls that have ended, and all changes.
    pub(crate) fn sweep(
        &self,
        moment: Moment<'_>,
        lifetime: Duration,
        bye_timeout: Duration,
    ) -> (Vec<CallRecord>, Vec<CallsChange>) {
        let now = moment.now;
        let is_watched = moment.subscriptions.load(Ordering::Relaxed) > 0;
        let (silent_since, bye_before) = (before(now, lifetime), before(now, bye_timeout));
        let (mut records, mut changed, mut transactions) = (Vec::new(), Vec::new(), Vec::new());
        for (number, shard) in self.shards.iter().enumerate() {
            let mut shard = shard.lock();
            for index in 0..shard.slots.len() {
                let Some(Slot { generation, call: Some(call) }) = shard.slots.get_mut(index) else { continue };
                let has_changed = call.end_unanswered(bye_before, now, &mut transactions);
                let is_silent = call.is_silent_since(silent_since);
                let is_over = is_silent || has_changed && call.is_over();
                if is_silent && !call.is_over() {
                    call.forget_end();
                }
                if is_silent {
                    call.give_up(now);
                }
                if has_changed || is_silent {
                    let id = CallRef::number_at(number, u32::try_from(index).unwrap_or_default(), *generation);
                    changed.push(change_of(call, id, is_over, moment));
                }
                if is_over {
                    transactions.extend(call.transactions());
                    let end = if call.is_answered() { CallEnd::Lost } else { CallEnd::Unanswered };
                    self.room.release(call.counter);
                    records.push(call.record(end, now));
                    shard.remove(index);
                }
            }
            if !is_watched {
                shard.drop_unused_index();
            }
            transactions.drain(..).for_each(|transaction| self.forget(transaction));
        }
        (records, changed)
    }

    /// The identity of a call: by its Call-ID, the tag of the caller, and the source address of its INVITE.
    pub(crate) fn key(&self, call_id: &[u8], caller_tag: &[u8], source: SocketAddr) -> CallKey {
        CallKey(self.hasher.hash_one((call_id, caller_tag, source)))
    }

    /// Adds a call. `None` if there is no room for it.
    pub(crate) fn begin(&self, request: &CallRequest<'_>, now: Wall) -> Option<CallRef> {
        let CallKey(key) = self.key(request.call_id, request.caller_tag, request.source);
        let counter = self.room.counter_of(request.share);
        let begun = self.insert((key, counter), || Call::new((key, counter), request, now));
        if begun.is_none() && self.room.is_full() {
            self.refused_at.store(now.0, Ordering::Release);
        }
        begun
    }

    /// The call with this key; `None` if there are several.
    pub(crate) fn only_one(&self, CallKey(key): CallKey) -> Option<CallRef> {
        let number = shard_of(key);
        let shard = self.shards.get(number)?.lock();
        let (&[slot], 0) = shard.by_key.get(&key).map(|equal| (&*equal.slots, equal.beyond))? else { return None };
        CallRef::new(number, slot, shard.slots.get(slot as usize)?.generation)
    }

    /// A response to the INVITE of a call was forwarded, with a status from 101 to 299.
    pub(crate) fn respond(&self, at: CallRef, response: &CallResponse<'_>, moment: Moment<'_>) -> Effect {
        self.change(at, CallEnd::Lost, moment, |call| Change::of_dialogs(call.respond(response, moment.now)))
    }

    /// A branch of a call has ended.
    pub(crate) fn end_branch(&self, at: CallRef, branch: u8, end: Option<DialogEnd>, moment: Moment<'_>) -> Effect {
        self.change(at, CallEnd::Lost, moment, |call| Change::of_dialogs(call.end_early(branch, end, moment.now)))
    }

    /// A call goes to another party, by the rules of the office.
    pub(crate) fn forward(&self, at: CallRef, reason: DiversionReason, moment: Moment<'_>) {
        let _ = self.change(at, CallEnd::Lost, moment, |call| {
            call.forward(reason);
            Change::Nothing
        });
    }

    /// The setup of a call has ended: with a 2xx, or else the call has ended. `response`: the 2xx, if the call does not know
    /// it yet. Returns the source address of its INVITE too.
    pub(crate) fn set_up(
        &self,
        at: CallRef,
        (status, response): (Option<u16>, Option<&CallResponse<'_>>),
        (phones, reached): (TriedPhones, Reached),
        moment: Moment<'_>,
    ) -> (Effect, Option<SocketAddr>) {
        let mut source = None;
        let effect = self.change(at, CallEnd::Unanswered, moment, |call| {
            source = Some(call.source());
            let has_changed = response.is_some_and(|response| call.respond(response, moment.now));
            match call.set_up(status, phones, reached, moment.now) {
                true => Change::End,
                false => Change::of_dialogs(has_changed),
            }
        });
        (effect, source)
    }

    /// A request of one side within a dialog goes to the other side. `callee_tag`: the tag of the side that did not send the
    /// INVITE. `transaction`: its transaction, if the response may end the dialog. If several calls have the dialog, the
    /// request counts for none of them. Returns whether any call has this key.
    pub(crate) fn request(
        &self,
        CallKey(key): CallKey,
        (by, callee_tag): (CallSide, &[u8]),
        (transaction, is_bye): (Option<u64>, bool),
        now: Wall,
    ) -> bool {
        let request = DialogRequest { by, transaction, is_bye };
        let number = shard_of(key);
        let Some(mut shard) = self.shards.get(number).map(Mutex::lock) else { return false };
        let Shard { slots, by_key, .. } = &mut *shard;
        let with_dialog = |index: &u32| {
            let call = slots.get(*index as usize)?.call.as_ref()?;
            Some((*index, call.position_of(callee_tag)?))
        };
        // Whoever has called twice with the same identifiers must not end one call by a request within the other.
        let Some(equal) = by_key.get(&key) else { return false };
        let mut having = equal.slots.iter().filter_map(with_dialog);
        let (Some((index, dialog)), None, 0) = (having.next(), having.next(), equal.beyond) else { return true };
        let Some(Slot { generation, call: Some(call) }) = slots.get_mut(index as usize) else { return true };
        let Waits { for_it, no_longer } = call.request(dialog, &request, now);
        if let Some(at) = CallRef::new(number, index, *generation)
            && let Some(transaction) = for_it
            && let Some(mut pending) = self.pending(transaction)
        {
            pending.entry(transaction).or_default().push(at);
        }
        no_longer.into_iter().for_each(|transaction| self.forget(transaction));
        true
    }

    /// A request in a dialog has passed another node.
    pub(crate) fn request_passed(&self, passed: &PassingRequest) {
        for source in &passed.sources {
            let key = self.key(&passed.call_id, &passed.caller_tag, *source);
            self.request(key, (passed.by, &passed.callee_tag), (Some(passed.transaction), passed.is_bye), passed.at);
        }
    }

    /// A request within a dialog has its final response, or gets none. `apply` gets what that causes.
    pub(crate) fn request_answered(
        &self,
        transaction: u64,
        answer: RequestAnswer,
        moment: Moment<'_>,
        mut apply: impl FnMut(Effect),
    ) {
        let calls = self.pending(transaction).and_then(|mut pending| pending.remove(&transaction));
        let answered = |call: &mut Call| match call.request_answered(transaction, answer, moment.now) {
            false => Change::Nothing,
            true if call.is_over() => Change::End,
            true => Change::Dialogs,
        };
        calls.into_iter().flatten().for_each(|at| apply(self.change(at, CallEnd::Lost, moment, answered)));
    }

    fn insert(&self, (key, counter): (u64, CounterIndex), call: impl FnOnce() -> Call) -> Option<CallRef> {
        if !self.room.take(counter) {
            return None;
        }
        let number = shard_of(key);
        let inserted = self.shards.get(number).and_then(|shard| shard.lock().insert(key, call));
        if inserted.is_none() {
            self.room.release(counter);
        }
        inserted.and_then(|(slot, generation)| CallRef::new(number, slot, generation))
    }

    /// Changes a call. `end`: how it ended, if it ends by that and no message said how.
    fn change(
        &self,
        at: CallRef,
        end: CallEnd,
        moment: Moment<'_>,
        change: impl FnOnce(&mut Call) -> Change,
    ) -> Effect {
        let (number, index, generation) = at.parts();
        let Some(mut shard) = self.shards.get(number).map(Mutex::lock) else { return Effect::default() };
        let Some(call) = shard.call((index, generation)) else { return Effect::default() };
        let what = change(call);
        let is_end = what == Change::End;
        let change = match what {
            Change::Nothing => CallsChange::default(),
            Change::Dialogs | Change::End => change_of(call, at.number(), is_end, moment),
        };
        if !is_end {
            if what == Change::Dialogs {
                shard.rename(index);
            }
            return Effect { record: None, change };
        }
        call.transactions().for_each(|transaction| self.forget(transaction));
        let record = Some(Box::new(call.record(end, moment.now)));
        self.room.release(call.counter);
        shard.remove(index);
        Effect { record, change }
    }

    fn forget(&self, transaction: u64) {
        self.pending(transaction).map(|mut pending| pending.remove(&transaction));
    }

    /// To be locked after a shard, never before.
    fn pending(&self, transaction: u64) -> Option<MutexGuard<'_, Pending>> {
        self.pending.get(shard_of(transaction)).map(Mutex::lock)
    }
}

/// The change for those who watch calls, if there is anybody.
fn change_of(call: &Call, id: u64, is_over: bool, moment: Moment<'_>) -> CallsChange {
    if moment.subscriptions.load(Ordering::Acquire) == 0 {
        return CallsChange::default();
    }
    let mut users: Vec<Aor> = Vec::new();
    for user in call.users() {
        if !users.iter().any(|known| known.as_bytes() == user) {
            users.push(Aor::from_canonical(user));
        }
    }
    CallsChange { call: Some(id), users, ended: is_over.then(|| Arc::new(call.view(id))) }
}

/// The moment that is so long before another one.
pub(crate) fn before(now: Wall, time: Duration) -> Wall {
    Wall(now.0.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall(100_000);

    fn aor(user: &str) -> Aor {
        Aor::new(user.as_bytes(), b"office.example")
    }

    fn begin(table: &CallTable, call_id: &str, caller: &str, now: Wall) -> Option<CallRef> {
        let (caller, to) = (aor(caller), aor("600"));
        let (call_id, source) = (call_id.as_bytes(), ([192, 0, 2, 7], 5060).into());
        let (from, caller, to) = (&caller, &caller, &to);
        let share = ShareOf::User(caller.as_bytes());
        table.begin(
            &CallRequest { call_id, caller_tag: b"1928301774", source, from, caller, share, to, targets: 1 },
            now,
        )
    }

    /// How many calls are looked at.
    fn steps(table: &CallTable, name: Name<'_>) -> usize {
        let mut steps = 0;
        table.look_for(name, |_, _| steps += 1);
        steps
    }

    fn indexed(table: &CallTable) -> usize {
        table.shards.iter().filter(|shard| shard.lock().index.is_some()).count()
    }

    #[test]
    fn whoever_looks_for_calls_does_not_look_at_those_of_others() {
        let (table, subscriptions) = (CallTable::new(45_000), AtomicUsize::new(1));
        let moment = Moment { now: NOW, subscriptions: &subscriptions };
        let calls: Vec<_> = (0..45_000)
            .filter_map(|call| begin(&table, &format!("call-{call}"), &format!("u{}", call % 1000), NOW))
            .collect();
        assert_eq!((calls.len(), indexed(&table)), (45_000, 0), "nobody looks");
        let (u7, bob) = (aor("u7"), aor("bob"));
        assert_eq!(steps(&table, Name::User(u7.as_bytes())), 45);
        assert_eq!(steps(&table, Name::CallId(b"call-7")), 1);
        assert_eq!(steps(&table, Name::User(aor("600").as_bytes())), 0, "no phone of that user takes part");
        let (at, callee_tag) = (calls[7], &b"314159"[..]);
        let rings = CallResponse { branch: 0, status: 180, callee_tag, user: bob.as_bytes() };
        assert!(table.respond(at, &rings, moment).record.is_none());
        assert_eq!((steps(&table, Name::User(bob.as_bytes())), table.of_user(&bob, 1).len()), (1, 1));
        assert!(
            table.set_up(at, (Some(486), None), (TriedPhones::default(), Reached::Nobody), moment).0.record.is_some()
        );
        assert_eq!(steps(&table, Name::User(bob.as_bytes())), 0);
        assert_eq!(steps(&table, Name::User(u7.as_bytes())), 44);
        assert!(begin(&table, "call-7", "u7", NOW).is_some());
        assert_eq!(steps(&table, Name::User(u7.as_bytes())), 45);
        // While there are subscriptions, the index is not made again and again.
        let sweep = || table.sweep(moment, Duration::from_secs(3600), Duration::from_secs(32));
        (0..3).for_each(|_| _ = sweep());
        assert_eq!(indexed(&table), SHARDS);
        subscriptions.store(0, Ordering::Relaxed);
        sweep();
        assert_eq!(table.of_user(&u7, 100).len(), 45);
        sweep();
        assert_eq!(indexed(&table), SHARDS, "somebody has looked since the last time");
        sweep();
        assert_eq!(indexed(&table), 0);
    }

    #[test]
    fn the_oldest_calls_that_go_on_come_first() {
        let (table, subscriptions) = (CallTable::new(1000), AtomicUsize::new(0));
        let moment = Moment { now: NOW, subscriptions: &subscriptions };
        let bob = aor("bob");
        for number in (0..100_u64).rev() {
            let at = begin(&table, &number.to_string(), "alice", Wall(number)).expect("room");
            let mut rings = CallResponse { branch: 0, status: 180, callee_tag: b"1", user: bob.as_bytes() };
            let _ = table.respond(at, &rings, moment);
            if number < 50 {
                // bob's phone does not ring any more.
                rings.status = 199;
                let _ = table.respond(at, &rings, moment);
            }
        }
        let began: Vec<_> = table.of_user(&bob, 60).iter().map(|call| call.began.0).collect();
        assert_eq!(began, (50..100).chain(0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_request_is_waited_for_no_longer_than_its_call_lasts() {
        let (table, subscriptions) = (CallTable::new(10), AtomicUsize::new(0));
        let moment = Moment { now: NOW, subscriptions: &subscriptions };
        let at = begin(&table, "1", "alice", NOW).expect("room");
        let respond = |status, tag: usize| {
            let callee_tag = tag.to_string().into_bytes();
            let _ = table.respond(at, &CallResponse { branch: 0, status, callee_tag: &callee_tag, user: b"" }, moment);
        };
        // A proxy behind this server has many phones that ring, and a request goes to each.
        (0..16).for_each(|tag| respond(180, tag));
        let key = table.key(b"1", b"1928301774", ([192, 0, 2, 7], 5060).into());
        for tag in 0..16 {
            let callee_tag = tag.to_string().into_bytes();
            assert!(table.request(key, (CallSide::Caller, &callee_tag), (Some(tag), false), NOW));
        }
        // More phones accept the call than it may have dialogs.
        (16..48).for_each(|tag| respond(200, tag));
        table.sweep(Moment { now: Wall(2 * NOW.0), ..moment }, Duration::from_secs(50), Duration::from_secs(32));
        let pending = table.pending.iter().map(|pending| pending.lock().len()).sum::<usize>();
        assert_eq!((table.len(), pending), (0, 0));
    }

    #[test]
    fn calls_with_one_call_id_are_looked_at_up_to_a_limit() {
        let table = CallTable::new(1000);
        let tags: [&[u8]; 2] = [b"1928301774", b"314159"];
        let found = |call_id| table.with_tags(call_id, tags, Wall(0)).map(|calls| calls.len());
        assert_eq!(found(b"1"), Ok(0));
        for number in 0..=MAX_OF_CALL_ID {
            assert!(found(b"1").is_ok(), "{number}");
            assert!(begin(&table, "1", "alice", NOW).is_some());
        }
        assert_eq!((found(b"1"), found(b"2")), (Err(NotAllKnown::TooMany), Ok(0)));
    }

    #[test]
    fn a_full_table_does_not_know_all_calls() {
        let table = CallTable::new(4);
        let found = |since| table.with_tags(b"9", [b"1928301774", b"314159"], Wall(since)).map(|calls| calls.len());
        for (number, caller) in [(0, "alice"), (1, "alice"), (2, "alice"), (3, "bob")] {
            assert_eq!(begin(&table, &number.to_string(), caller, NOW).is_some(), number != 2, "{number}");
        }
        assert_eq!(found(0), Ok(0), "a caller with more than its share has no room, but others have");
        assert!(begin(&table, "4", "carol", NOW).is_some() && begin(&table, "5", "dave", NOW).is_none());
        assert_eq!((found(NOW.0 - 1), found(NOW.0)), (Err(NotAllKnown::NotKept), Ok(0)));
    }
}
