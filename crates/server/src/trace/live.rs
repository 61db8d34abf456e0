//! A live trace: the messages that match, as the body of an HTTP response, one JSON object on each line.
//!
//! Decides how many messages may wait for a reader. A reader that is too slow loses messages and is told how many. Ends
//! when the client closes the connection or the server stops.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use parser::Message;
use tokio::sync::mpsc;
use tokio::time::{Interval, interval};

use super::Trace;
use super::entry::{Entry, TraceLine};
use super::filter::{Filter, Whose};
use super::traced::TracedMessage;
use crate::text::printable;

/// Messages that wait for one reader.
const MAX_WAITING: usize = 1024;

/// Interval of empty lines, with which a connection that is gone is noticed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// What a reader and the thread that traces share.
#[derive(Debug, Default)]
struct Shared {
    lost: AtomicU64,
}

/// The other end of a [`LiveTrace`].
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) number: u64,
    filter: Filter,
    messages: mpsc::Sender<Arc<TracedMessage>>,
    shared: Arc<Shared>,
    /// The memory of the messages that wait, of all readers.
    waiting: Arc<AtomicUsize>,
}

/// A live trace. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct LiveTrace {
    trace: Arc<Trace>,
    number: u64,
    messages: mpsc::Receiver<Arc<TracedMessage>>,
    shared: Arc<Shared>,
    waiting: Arc<AtomicUsize>,
    keep_alive: Interval,
}

/// Both ends. `waiting`: the memory of the messages that wait, of all readers.
pub(super) fn open(trace: Arc<Trace>, number: u64, whose: Whose, waiting: Arc<AtomicUsize>) -> (Reader, LiveTrace) {
    let (sender, messages) = mpsc::channel(MAX_WAITING);
    let shared = Arc::<Shared>::default();
    let filter = Filter::new(whose);
    let reader =
        Reader { number, filter, messages: sender, shared: Arc::clone(&shared), waiting: Arc::clone(&waiting) };
    let keep_alive = interval(KEEP_ALIVE_INTERVAL);
    (reader, LiveTrace { trace, number, messages, shared, waiting, keep_alive })
}

impl Reader {
    /// Queues a message if it matches and `memory` has room for it. False if it is lost.
    pub(super) fn offer(&mut self, traced: &Arc<TracedMessage>, message: Option<&Message>, memory: usize) -> bool {
        if !self.filter.shows(traced, message) {
            return true;
        }
        let size = traced.memory();
        let has_room = self.waiting.load(Ordering::Relaxed) + size <= memory;
        let is_queued = has_room && self.messages.try_send(Arc::clone(traced)).is_ok();
        if is_queued {
            self.waiting.fetch_add(size, Ordering::Relaxed);
        } else {
            self.lose(1);
        }
        is_queued
    }

    /// Tells the reader that messages are missing, which may have been some that match.
    pub(super) fn lose(&self, count: u64) {
        self.shared.lost.fetch_add(count, Ordering::Relaxed);
    }
}

impl LiveTrace {
    fn release(&self, traced: &TracedMessage) {
        self.waiting.fetch_sub(traced.memory(), Ordering::Relaxed);
    }
}

impl Body for LiveTrace {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = |line: Bytes| Poll::Ready(Some(Ok(Frame::data(line))));
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            return frame(line(&TraceLine::Lost { lost }));
        }
        if let Poll::Ready(traced) = self.messages.poll_recv(cx) {
            let Some(traced) = traced else { return Poll::Ready(None) };
            self.release(&traced);
            return frame(line(&TraceLine::Message(Box::new(Entry::new(&traced)))));
        }
        match self.keep_alive.poll_tick(cx) {
            Poll::Ready(_) => frame(Bytes::from_static(b"\n")),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for LiveTrace {
    fn drop(&mut self) {
        self.trace.close(self.number);
        self.messages.close();
        while let Ok(traced) = self.messages.try_recv() {
            self.release(&traced);
        }
    }
}

fn line(line: &TraceLine) -> Bytes {
    let mut text = printable::escape_json(serde_json::to_vec(line).unwrap_or_default());
    text.push(b'\n');
    text.into()
}
