//! Where the workers hand over copies of the messages that they receive and send.
//!
//! Decides how many: nothing at all while nobody looks, and otherwise at most `limits.trace_rate` messages a second and
//! a quarter of `limits.trace_memory` that waits. A worker never waits: what exceeds a limit is lost and counted. Must not
//! look into messages: that is done by the thread that reads the queue.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use location::Flow;
use parking_lot::Mutex;
use parser::Transport;
use tokio::sync::Notify;

use super::traced::Direction;
use crate::clock;

/// What a message in a queue takes besides its octets.
pub(super) const OVERHEAD: usize = 256;

/// The queue between the workers and the thread that traces.
#[derive(Debug)]
pub(crate) struct Tap {
    is_on: AtomicBool,
    rate: usize,
    memory: usize,
    queue: Mutex<Queue>,
    ready: Notify,
}

/// A message as it was received or sent.
#[derive(Debug)]
pub(super) struct RawMessage {
    /// When, in microseconds since 1970 by the clock of the machine.
    pub(super) at: u64,
    pub(super) direction: Direction,
    pub(super) transport: Transport,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) octets: Vec<u8>,
}

/// What was lost since the queue was read before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// More messages than `limits.trace_rate`.
    pub(super) by_rate: u64,
    /// No room in `limits.trace_memory`.
    pub(super) by_memory: u64,
}

#[derive(Debug, Default)]
struct Queue {
    list: Vec<RawMessage>,
    memory: usize,
    /// The second of the clock in which `count` messages came.
    second: u64,
    count: usize,
    lost: Lost,
}

impl Tap {
    /// With room for `rate` messages a second and this much memory.
    pub(crate) fn new(rate: usize, memory: usize) -> Self {
        Self { is_on: AtomicBool::new(false), rate, memory, queue: Mutex::default(), ready: Notify::new() }
    }

    /// A message was received.
    #[inline]
    pub(crate) fn received(&self, flow: &Flow, octets: &[u8]) {
        // One load and one branch for each message while nobody looks.
        if self.is_on.load(Ordering::Relaxed) {
            self.record(Direction::Received, flow.transport, (flow.local, flow.remote), octets);
        }
    }

    /// A message was sent, or queued to be sent at the end of the turn. `path`: its transport, the local and the remote
    /// address.
    #[inline]
    pub(crate) fn sent(&self, octets: &[u8], path: impl FnOnce() -> Option<(Transport, SocketAddr, SocketAddr)>) {
        if self.is_on.load(Ordering::Relaxed) {
            self.record_sent(octets, path);
        }
    }

    #[cold]
    #[inline(never)]
    fn record_sent(&self, octets: &[u8], path: impl FnOnce() -> Option<(Transport, SocketAddr, SocketAddr)>) {
        if let Some((transport, local, remote)) = path() {
            self.record(Direction::Sent, transport, (local, remote), octets);
        }
    }

    #[cold]
    #[inline(never)]
    fn record(
        &self,
        direction: Direction,
        transport: Transport,
        (local, remote): (SocketAddr, SocketAddr),
        octets: &[u8],
    ) {
        let at = clock::machine_micros();
        let second = at / 1_000_000;
        let mut queue = self.queue.lock();
        if queue.second != second {
            (queue.second, queue.count) = (second, 0);
        }
        let memory = queue.memory + octets.len() + OVERHEAD;
        if queue.count >= self.rate {
            queue.lost.by_rate += 1;
        } else if memory > self.memory {
            queue.lost.by_memory += 1;
        } else {
            (queue.memory, queue.count) = (memory, queue.count + 1);
            queue.list.push(RawMessage { at, direction, transport, local, remote, octets: octets.to_vec() });
        }
        drop(queue);
        // It keeps one permit, so this is an atomic operation if the reader has not come yet.
        self.ready.notify_one();
    }

    /// Waits until there may be something to take.
    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Takes the messages that wait, in the order in which they came.
    pub(super) fn take(&self) -> (Vec<RawMessage>, Lost) {
        let mut queue = self.queue.lock();
        queue.memory = 0;
        (std::mem::take(&mut queue.list), std::mem::take(&mut queue.lost))
    }

    /// Whether somebody looks. Without anybody nothing is kept.
    pub(super) fn switch(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
        if !is_on {
            *self.queue.lock() = Queue::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> Option<(Transport, SocketAddr, SocketAddr)> {
        Some((Transport::Udp, ([192, 0, 2, 1], 5060).into(), ([192, 0, 2, 7], 5060).into()))
    }

    fn take(tap: &Tap) -> (usize, Lost) {
        let (list, lost) = tap.take();
        (list.len(), lost)
    }

    #[test]
    fn nothing_is_kept_while_nobody_looks() {
        let tap = Tap::new(1000, 1 << 20);
        tap.sent(b"OPTIONS", path);
        assert_eq!(take(&tap), (0, Lost::default()));
        tap.switch(true);
        tap.sent(b"OPTIONS", path);
        tap.switch(false);
        assert_eq!(take(&tap), (0, Lost::default()), "what waits is dropped when the last one has gone");
        assert_eq!(tap.queue.lock().list.capacity(), 0);
    }

    #[test]
    fn rate_and_memory_are_bounded_and_losses_counted() {
        let tap = Tap::new(usize::MAX, 3 * (OVERHEAD + 100));
        tap.switch(true);
        (0..5).for_each(|_| tap.sent(&[b'x'; 100], path));
        assert_eq!(take(&tap), (3, Lost { by_rate: 0, by_memory: 2 }));
        assert_eq!(take(&tap), (0, Lost::default()));
        let tap = Tap::new(2, 1 << 20);
        tap.switch(true);
        (0..1000).for_each(|_| tap.sent(b"x", path));
        let (kept, lost) = take(&tap);
        // A new second may have begun.
        assert!((2..=4).contains(&kept) && lost.by_rate + kept as u64 == 1000, "{kept} {lost:?}");
    }
}
