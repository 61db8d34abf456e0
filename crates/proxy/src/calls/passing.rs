//! Requests within dialogs of calls that this node does not know, until their final response comes: the node that knows the
//! call has to be told of it.
//!
//! One table for all workers, as the response may come to another one than the request.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hashbrown::HashMap;
use location::Wall;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::record::CallSide;
use super::room::{CounterIndex, Room, ShareOf};

/// A request that may end its dialog, with what finds the call at the node that knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PassingRequest {
    pub(crate) call_id: Box<[u8]>,
    pub(crate) caller_tag: Box<[u8]>,
    pub(crate) callee_tag: Box<[u8]>,
    /// The addresses that the caller may have called from.
    pub(crate) sources: SmallVec<[SocketAddr; 1]>,
    /// Who sent it.
    pub(crate) by: CallSide,
    pub(crate) is_bye: bool,
    pub(crate) transaction: u64,
    /// When it came.
    pub(crate) at: Wall,
}

/// The requests that have no final response yet.
#[derive(Debug)]
pub(crate) struct PassingRequests {
    all: Mutex<HashMap<u64, PassingRequest>>,
    /// Counts them by the host of the caller: one that sends BYE to a phone that does not respond leaves room for others.
    room: Room,
}

impl PassingRequests {
    /// For so many requests.
    pub(super) fn new(limit: usize) -> Self {
        Self { all: Mutex::default(), room: Room::new(limit) }
    }

    /// A request has come. False if there is no room for it. Of its retransmissions, the first one counts.
    pub(crate) fn begin(&self, request: PassingRequest) -> bool {
        let mut all = self.all.lock();
        let has_room = all.contains_key(&request.transaction) || self.room.take(self.counter_of(&request));
        if has_room {
            all.entry(request.transaction).or_insert(request);
        }
        has_room
    }

    /// A response has come. Without any request, it costs one atomic load.
    pub(crate) fn end(&self, transaction: u64) -> Option<PassingRequest> {
        if self.room.len() == 0 {
            return None;
        }
        let request = self.all.lock().remove(&transaction)?;
        self.room.release(self.counter_of(&request));
        Some(request)
    }

    /// Those that came before this moment and get no response any more.
    pub(crate) fn end_unanswered(&self, before: Wall) -> Vec<PassingRequest> {
        if self.room.len() == 0 {
            return Vec::new();
        }
        let ended: Vec<_> = self.all.lock().extract_if(|_, request| request.at < before).map(|(_, it)| it).collect();
        ended.iter().for_each(|request| self.room.release(self.counter_of(request)));
        ended
    }

    fn counter_of(&self, request: &PassingRequest) -> CounterIndex {
        let host = request.sources.first().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), SocketAddr::ip);
        self.room.counter_of(ShareOf::Host(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(host: u8, transaction: u64) -> PassingRequest {
        let sources = SmallVec::from_buf([([192, 0, 2, host], 5060).into()]);
        let (call_id, caller_tag, callee_tag) = Default::default();
        let (by, is_bye, at) = (CallSide::Caller, true, Wall(transaction));
        PassingRequest { call_id, caller_tag, callee_tag, sources, by, is_bye, transaction, at }
    }

    #[test]
    fn one_caller_leaves_room_for_the_requests_of_others() {
        let passing = PassingRequests::new(100);
        let begun = |host, from: u64| (from..from + 200).filter(|it| passing.begin(request(host, *it))).count();
        // Of two hosts that have one counter by chance, only one is used.
        let mut hosts: Vec<(u8, CounterIndex)> = Vec::new();
        for (host, counter) in (1..9).map(|host| (host, passing.counter_of(&request(host, 0)))) {
            if !hosts.iter().any(|(_, other)| *other == counter) {
                hosts.push((host, counter));
            }
        }
        let [first, second, third] = [0, 1, 2].map(|at| hosts[at].0);
        assert_eq!((begun(first, 0), begun(second, 1000)), (50, 25));
        assert!(passing.begin(request(first, 7)), "a retransmission");
        assert_eq!((passing.end(7).map(|it| it.transaction), passing.end(7), passing.end(199)), (Some(7), None, None));
        assert_eq!(passing.end_unanswered(Wall(1000)).len(), 49);
        assert_eq!((begun(third, 2000), passing.end_unanswered(Wall(5000)).len()), (25, 50));
        assert_eq!(begun(first, 0), 50);
    }
}
