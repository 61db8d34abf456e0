//! The messages of the last calls, for the status page (`trace.calls`).
//!
//! Decides which calls and messages are kept: those of the calls whose INVITE came last, up to `trace.calls`, in half of
//! `limits.trace_memory`. The calls that began first are dropped first. One call takes at most a quarter of the memory,
//! so that a flood in one call does not remove the others.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use parser::headers::{From, To};
use parser::{Message, Method, NameAddr};

use super::traced::{CallKey, TracedMessage};

/// What a call takes besides its messages.
const CALL_OVERHEAD: usize = 512;

/// The part of the memory that one call may take.
const SHARE_OF_CALL: usize = 4;

/// Longest name of a party, in octets.
const MAX_PARTY: usize = 128;

/// The kept calls.
#[derive(Debug)]
pub(crate) struct KeptCalls {
    max_calls: usize,
    max_memory: usize,
    memory: usize,
    calls: HashMap<CallKey, KeptCall>,
    /// In the order of their first messages.
    order: VecDeque<CallKey>,
}

/// A kept call.
#[derive(Clone, Debug)]
pub(crate) struct KeptCall {
    /// The caller, by From.
    pub(crate) from: String,
    /// The callee, by To.
    pub(crate) to: String,
    /// When its first message came, in microseconds since 1970.
    pub(crate) began: u64,
    /// Its messages.
    pub(crate) messages: Vec<Arc<TracedMessage>>,
    /// The number of messages that are not kept, because the call is too long.
    pub(crate) not_kept: usize,
    memory: usize,
}

impl KeptCalls {
    /// None yet, and room for none.
    pub(crate) fn new(max_memory: usize) -> Self {
        Self { max_calls: 0, max_memory, memory: 0, calls: HashMap::new(), order: VecDeque::new() }
    }

    /// Sets the number of calls.
    pub(crate) fn set_max_calls(&mut self, max_calls: usize) {
        self.max_calls = max_calls;
        while self.order.len() > max_calls {
            self.drop_oldest();
        }
    }

    /// Whether any call is kept.
    pub(crate) const fn is_on(&self) -> bool {
        self.max_calls > 0
    }

    /// The limit.
    pub(crate) const fn max_calls(&self) -> usize {
        self.max_calls
    }

    /// Keeps a message if it belongs to a call. False if there was no memory for it, or other calls had to be dropped for it.
    pub(crate) fn keep(&mut self, traced: &Arc<TracedMessage>, message: Option<&Message>) -> bool {
        let (true, Some(key), Some(message)) = (self.is_on(), traced.call, message) else { return true };
        let is_invite = message.is_request() && message.method() == Method::Invite;
        if !self.calls.contains_key(&key) {
            if !is_invite {
                return true;
            }
            if self.order.len() >= self.max_calls {
                self.drop_oldest();
            }
            self.calls.insert(key, KeptCall::new(message, traced.at));
            self.order.push_back(key);
            self.memory += CALL_OVERHEAD;
        }
        let size = traced.memory();
        let Some(call) = self.calls.get_mut(&key) else { return true };
        if call.memory + size > self.max_memory / SHARE_OF_CALL {
            call.not_kept += 1;
            return false;
        }
        call.memory += size;
        call.messages.push(Arc::clone(traced));
        self.memory += size;
        let mut has_room = true;
        while self.memory > self.max_memory && self.order.len() > 1 {
            self.drop_oldest();
            has_room = false;
        }
        has_room
    }

    /// The calls, the last one first.
    pub(crate) fn list(&self) -> impl Iterator<Item = (CallKey, &KeptCall)> {
        self.order.iter().rev().filter_map(|key| Some((*key, self.calls.get(key)?)))
    }

    /// The call with this id.
    pub(crate) fn find(&self, id: &str) -> Option<&KeptCall> {
        self.list().find(|(key, _)| key.text() == id).map(|(_, call)| call)
    }

    fn drop_oldest(&mut self) {
        if let Some(call) = self.order.pop_front().and_then(|key| self.calls.remove(&key)) {
            self.memory -= call.memory + CALL_OVERHEAD;
        }
    }
}

impl KeptCall {
    fn new(invite: &Message, began: u64) -> Self {
        let from = invite.header::<From<'_>>().ok().flatten().map(|from| party(&from.address));
        let to = invite.header::<To<'_>>().ok().flatten().map(|to| party(&to.address));
        let [from, to] = [from, to].map(Option::unwrap_or_default);
        Self { from, to, began, messages: Vec::new(), not_kept: 0, memory: 0 }
    }
}

/// `user@domain`.
fn party(address: &NameAddr<'_>) -> String {
    let mut text = Vec::new();
    match address.uri.sip() {
        Some(uri) => {
            uri.user.iter().for_each(|user| text.extend_from_slice(&[user, &b"@"[..]].concat()));
            uri.host.write(&mut text);
        }
        None => text.extend_from_slice(address.uri.as_bytes()),
    }
    text.truncate(MAX_PARTY);
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::traced::Direction;
    use super::super::traced::tests::{raw, request};
    use super::*;

    fn keep(kept: &mut KeptCalls, text: &str) -> bool {
        let (traced, message) = TracedMessage::new(raw(Direction::Received, text));
        kept.keep(&Arc::new(traced), message.as_ref())
    }

    fn counts(kept: &KeptCalls) -> Vec<(usize, usize)> {
        kept.list().map(|(_, call)| (call.messages.len(), call.not_kept)).collect()
    }

    #[test]
    fn the_last_calls_are_kept_whole() {
        let mut kept = KeptCalls::new(1 << 20);
        assert!(keep(&mut kept, &request("INVITE", "a")) && counts(&kept).is_empty(), "off");
        kept.set_max_calls(2);
        for (method, call) in [("INVITE", "a"), ("OPTIONS", "x"), ("INVITE", "b"), ("BYE", "a"), ("garbage", "")] {
            assert!(keep(&mut kept, &request(method, call)));
        }
        assert_eq!(counts(&kept), [(1, 0), (2, 0)]);
        assert!(keep(&mut kept, &request("INVITE", "c")));
        assert_eq!(counts(&kept), [(1, 0), (1, 0)]);
        assert!(kept.find(&CallKey::of(b"a").text()).is_none());
        let call = kept.find(&CallKey::of(b"c").text()).expect("kept");
        assert_eq!((&*call.from, &*call.to), ("102@office.example", "100@office.example"));
        kept.set_max_calls(0);
        assert_eq!((counts(&kept).len(), kept.memory), (0, 0));
    }

    #[test]
    fn memory_is_bounded() {
        let size = {
            let (traced, _) = TracedMessage::new(raw(Direction::Received, &request("INVITE", "10")));
            traced.memory()
        };
        let mut kept = KeptCalls::new(4 * (2 * size + CALL_OVERHEAD));
        kept.set_max_calls(1000);
        // One call takes a quarter.
        assert_eq!((0..5).filter(|_| keep(&mut kept, &request("INVITE", "10"))).count(), 3);
        assert_eq!(counts(&kept), [(3, 2)]);
        // The calls that began first are dropped.
        let all_kept: Vec<_> = (11..31).map(|at| keep(&mut kept, &request("INVITE", &at.to_string()))).collect();
        assert!(all_kept.first() == Some(&true) && all_kept.last() == Some(&false));
        assert!(kept.memory <= kept.max_memory && kept.find(&CallKey::of(b"10").text()).is_none());
        let sum: usize = kept.list().map(|(_, call)| call.memory + CALL_OVERHEAD).sum();
        assert_eq!(sum, kept.memory);
    }
}
