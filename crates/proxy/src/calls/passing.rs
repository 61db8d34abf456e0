//! Requests within dialogs of calls that this node does not know, until their final response comes: the node that knows the
//! call has to be told of it.
//!
//! One table for all workers, as the response may come to another one than the request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashMap;
use location::Wall;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::record::CallSide;

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
#[derive(Debug, Default)]
pub(crate) struct PassingRequests {
    all: Mutex<HashMap<u64, PassingRequest>>,
    /// Their number: without any, a response costs one atomic load.
    len: AtomicUsize,
}

impl PassingRequests {
    /// A request has come. False if there are `limit` already. Of its retransmissions, the first one counts.
    pub(crate) fn begin(&self, request: PassingRequest, limit: usize) -> bool {
        let mut all = self.all.lock();
        let has_room = all.len() < limit;
        if has_room {
            all.entry(request.transaction).or_insert(request);
        }
        self.len.store(all.len(), Ordering::Release);
        has_room
    }

    /// A response has come.
    pub(crate) fn end(&self, transaction: u64) -> Option<PassingRequest> {
        if self.len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut all = self.all.lock();
        let request = all.remove(&transaction);
        self.len.store(all.len(), Ordering::Release);
        request
    }

    /// Those that came before this moment and get no response any more.
    pub(crate) fn end_unanswered(&self, before: Wall) -> Vec<PassingRequest> {
        if self.len.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let mut all = self.all.lock();
        let ended = all.extract_if(|_, request| request.at < before).map(|(_, request)| request).collect();
        self.len.store(all.len(), Ordering::Release);
        ended
    }
}
