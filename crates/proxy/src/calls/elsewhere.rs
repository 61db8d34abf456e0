//! The calls of other nodes, as far as this node watches users of them.
//!
//! One table for all workers. Decides what is forgotten: what its node does not tell any more, does not know any more, or
//! cannot tell because it is gone.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use location::{Aor, Node};
use parking_lot::Mutex;

use super::interest::Interest;
use super::table::{CallsChange, NotAllKnown};
use super::view::CallInProgress;
use crate::clock::Instant;

/// Whether calls are a part of all calls, and which: what the receiver knows besides all of them is no longer true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) is_first: bool,
    pub(crate) is_last: bool,
}

/// A call of another node.
#[derive(Clone, Debug)]
pub(crate) struct NodeCall {
    pub(crate) call: CallInProgress,
    pub(crate) has_ended: bool,
    /// A checksum of its octets.
    pub(crate) sum: u64,
}

/// What another node says that it watches.
#[derive(Clone, Debug)]
pub struct NodeWatch {
    pub(crate) node: Node,
    /// The users whose calls are watched there.
    pub(crate) interest: Interest,
    /// The sum of the calls that it knows of this node; `None` to get those of users that were not watched before.
    pub(crate) known: Option<u64>,
    /// The number of the message.
    pub(crate) number: u64,
}

/// The calls of other nodes that an INVITE replaces.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoundCalls {
    pub(crate) calls: Vec<CallInProgress>,
    /// Why there may be more.
    pub(crate) not_all: Option<NotAllKnown>,
}

/// What another node has found.
#[derive(Clone, Debug)]
pub struct FoundAtNode {
    pub(crate) node: Node,
    pub(crate) number: u64,
    pub(crate) found: FoundCalls,
}

/// Calls of other nodes.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere(Mutex<BTreeMap<u16, OfNode>>);

/// The calls of one node, as it has reported them.
#[derive(Debug)]
struct OfNode {
    run: u32,
    /// When its last message arrived.
    received: Instant,
    /// The number of its last message.
    last: u64,
    /// How often it has reported all calls.
    round: u32,
    calls: HashMap<u64, Known>,
}

#[derive(Debug)]
struct Known {
    call: CallInProgress,
    sum: u64,
    round: u32,
}

/// The sender of a message among nodes, its number, and when it arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) by: Node,
    pub(crate) number: u64,
    pub(crate) received: Instant,
}

impl Elsewhere {
    /// The calls that a user takes part in.
    pub(crate) fn of_user(&self, user: &Aor) -> Vec<CallInProgress> {
        let all = self.0.lock();
        let calls = all.values().flat_map(|node| node.calls.values()).map(|known| &known.call);
        calls.filter(|call| call.parties().any(|party| party == user.as_bytes())).cloned().collect()
    }

    /// A node has reported calls. `id`: turns the number of a call there into a number that no other call here has. Returns
    /// the changes, and whether there was room for all calls.
    pub(crate) fn receive(
        &self,
        report: Report,
        (part, calls): (Part, Vec<NodeCall>),
        id: impl Fn(u64) -> u64,
        limit: usize,
    ) -> (Vec<CallsChange>, bool) {
        let (mut changes, mut has_room) = (Vec::new(), true);
        let mut all = self.0.lock();
        let mut len: usize = all.values().map(|node| node.calls.len()).sum();
        let node = all.entry(report.by.number.get()).or_insert_with(|| OfNode::new(&report));
        if node.run != report.by.run {
            changes.extend(std::mem::replace(node, OfNode::new(&report)).end());
        }
        // Somebody may have read it and sends it again.
        if report.number <= node.last {
            return (changes, true);
        }
        (node.received, node.last) = (report.received, report.number);
        node.round = node.round.wrapping_add(part.is_first.into());
        for NodeCall { mut call, has_ended, sum } in calls {
            let number = call.id;
            call.id = id(number);
            if has_ended {
                if node.calls.remove(&number).is_some() {
                    len = len.saturating_sub(1);
                    changes.push(CallsChange::elsewhere(&call, true));
                }
                continue;
            }
            let known = node.calls.get(&number);
            if known.is_none() && len >= limit {
                has_room = false;
                continue;
            }
            len += usize::from(known.is_none());
            if known.is_none_or(|known| known.sum != sum) {
                changes.push(CallsChange::elsewhere(&call, false));
            }
            node.calls.insert(number, Known { call, sum, round: node.round });
        }
        if part.is_last {
            let round = node.round;
            changes.extend(node.remove(|known| known.round != round));
        }
        (changes, has_room)
    }

    /// The sum over the calls that are known of a node. The node compares it with its own one (`node_calls::sum_of`), and
    /// reports all of its calls if they differ; also as long as there is no room for all of them, because calls that have
    /// ended would stay otherwise.
    pub(crate) fn sum_of(&self, node: Node) -> u64 {
        let all = self.0.lock();
        let of_node = all.get(&node.number.get()).filter(|it| it.run == node.run);
        let sums = of_node.into_iter().flat_map(|it| it.calls.values()).map(|known| known.sum);
        sums.fold(0, u64::wrapping_add)
    }

    /// Keeps the calls of these nodes, if a message of theirs has arrived since this moment, and those with a user in this set.
    pub(crate) fn keep(&self, alive: &[Node], since: Instant, interest: &Interest) -> Vec<CallsChange> {
        let mut changes = Vec::new();
        self.0.lock().retain(|number, node| {
            let is_alive = alive.iter().any(|it| (it.number.get(), it.run) == (*number, node.run));
            if is_alive && node.received >= since {
                changes.extend(node.remove(|known| !interest.has_call(&known.call)));
            } else {
                changes.extend(node.remove(|_| true));
            }
            is_alive
        });
        changes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().values().all(|node| node.calls.is_empty())
    }
}

impl OfNode {
    fn new(report: &Report) -> Self {
        Self { run: report.by.run, received: report.received, last: 0, round: 0, calls: HashMap::new() }
    }

    /// Removes some calls. How they have ended is not known.
    fn remove(&mut self, is_gone: impl Fn(&Known) -> bool) -> Vec<CallsChange> {
        let gone = self.calls.extract_if(|_, known| is_gone(known));
        gone.map(|(_, known)| CallsChange::elsewhere(&known.call, false)).collect()
    }

    fn end(mut self) -> Vec<CallsChange> {
        self.remove(|_| true)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;
    use std::time::Duration;

    use super::*;
    use crate::calls::view::tests::call;

    const ROOM: usize = 3;

    /// The message of the first node with this number, a millisecond after the one before.
    fn report(run: u32, number: u64) -> Report {
        let by = Node { number: NonZeroU16::MIN, run };
        Report { by, number, received: Instant::from_micros(number * 1000) }
    }

    /// The number of changes, and whether there was room.
    fn receive(elsewhere: &Elsewhere, report: Report, part: Part, calls: &[(u64, bool)]) -> (usize, bool) {
        let node_call = |(id, has_ended): &(u64, bool)| NodeCall { call: call(*id), has_ended: *has_ended, sum: *id };
        let (changes, has_room) =
            elsewhere.receive(report, (part, calls.iter().map(node_call).collect()), |id| id + 1000, ROOM);
        (changes.len(), has_room)
    }

    fn ids(elsewhere: &Elsewhere) -> Vec<u64> {
        let mut ids: Vec<_> = elsewhere.of_user(&call(1).caller).iter().map(|call| call.id).collect();
        ids.sort_unstable();
        ids
    }

    const SOME: Part = Part { is_first: false, is_last: false };
    const FIRST: Part = Part { is_first: true, is_last: false };
    const LAST: Part = Part { is_first: false, is_last: true };

    #[test]
    fn a_call_is_known_until_its_node_says_that_it_has_ended() {
        let all = Elsewhere::default();
        assert_eq!(receive(&all, report(7, 1), SOME, &[(1, false), (2, false)]), (2, true));
        assert_eq!(receive(&all, report(7, 2), SOME, &[(1, false)]), (0, true), "nothing has changed");
        assert_eq!(ids(&all), [1001, 1002]);
        assert_eq!((all.sum_of(report(7, 0).by), all.sum_of(report(6, 0).by)), (3, 0));
        assert_eq!(receive(&all, report(7, 3), SOME, &[(1, true), (5, true)]), (1, true));
        assert_eq!(ids(&all), [1002]);
    }

    #[test]
    fn what_is_missing_in_all_parts_is_gone() {
        let all = Elsewhere::default();
        receive(&all, report(7, 1), SOME, &[(1, false), (2, false)]);
        assert_eq!(receive(&all, report(7, 2), FIRST, &[(2, false)]), (0, true));
        assert_eq!(receive(&all, report(7, 3), LAST, &[(3, false)]), (2, true));
        assert_eq!(ids(&all), [1002, 1003]);
        let both = Part { is_first: true, is_last: true };
        assert_eq!(receive(&all, report(7, 4), both, &[]), (2, true));
        assert!(all.is_empty());
    }

    #[test]
    fn a_copy_of_an_earlier_message_changes_nothing() {
        let all = Elsewhere::default();
        receive(&all, report(7, 5), SOME, &[(1, false)]);
        for number in [4, 5] {
            assert_eq!(receive(&all, report(7, number), SOME, &[(1, true)]), (0, true));
        }
        assert_eq!(ids(&all), [1001]);
    }

    #[test]
    fn the_calls_of_an_earlier_run_are_gone() {
        let all = Elsewhere::default();
        receive(&all, report(7, 5), SOME, &[(1, false)]);
        assert_eq!(receive(&all, report(8, 6), SOME, &[(2, false)]), (2, true));
        assert_eq!(ids(&all), [1002]);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let all = Elsewhere::default();
        assert_eq!(receive(&all, report(7, 1), SOME, &[(1, false), (2, false), (3, false), (4, false)]), (3, false));
        assert_eq!(all.sum_of(report(7, 0).by), 6, "it is compared: what has ended meanwhile would stay");
        assert_eq!(receive(&all, report(7, 2), SOME, &[(1, true), (4, false)]), (2, true));
    }

    #[test]
    fn only_what_is_watched_at_nodes_that_are_alive_is_kept() {
        let all = Elsewhere::default();
        let interest = Interest::of_buckets(call(1).parties().map(Interest::bucket_of));
        let (alive, at) = (report(7, 0).by, report(7, 0).received);
        let mut number = 0;
        let mut keeps = |alive: &[Node], since: Instant, interest: &Interest| {
            number += 1;
            receive(&all, Report { number, ..report(7, 0) }, SOME, &[(1, false)]);
            let gone = all.keep(alive, since, interest).len();
            assert_eq!(gone == 0, ids(&all) == [1001]);
            gone == 0
        };
        assert!(keeps(&[alive], at, &interest));
        assert!(!keeps(&[alive], at + Duration::from_micros(1), &interest));
        assert!(!keeps(&[alive], at, &Interest::EMPTY));
        assert!(!keeps(&[report(8, 0).by], at, &interest));
    }
}
