//! A live trace: the messages that match, as the body of an HTTP response, one JSON object on each line.
//!
//! Decides how many messages may wait for a reader. A reader that is too slow loses messages and is told how many. Ends
//! when the client closes the connection or takes nothing for a while, or the server stops.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use parking_lot::Mutex;
use parser::Message;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, interval, sleep_until};

use super::Trace;
use super::entry::{Entry, TraceLine};
use super::filter::{Filter, Whose};
use super::traced::TracedMessage;
use crate::text::printable;

/// Messages that wait for one reader.
const MAX_WAITING: usize = 1024;

/// Interval of empty lines, with which a connection that is gone is noticed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// A trace ends when its client has taken nothing for this long. With [`KEEP_ALIVE_INTERVAL`] there is something to take.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The part of the memory that one reader may have. So one that does not read leaves room for the others.
const SHARE_OF_ONE: usize = 4;

/// What a reader and the thread that traces share.
#[derive(Debug)]
struct Shared {
    lost: AtomicU64,
    /// The memory of its messages that wait.
    waiting: AtomicUsize,
    /// When the connection took something last.
    taken_at: Mutex<Instant>,
}

/// Whether the client of a [`LiveTrace`] takes what it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Shared>);

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
    let shared = Shared { lost: AtomicU64::new(0), waiting: AtomicUsize::new(0), taken_at: Mutex::new(Instant::now()) };
    let shared = Arc::new(shared);
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
        let (of_all, own) = (self.waiting.load(Ordering::Relaxed), self.shared.waiting.load(Ordering::Relaxed));
        // One message may be larger than the share.
        let has_share = own == 0 || own + size <= memory / SHARE_OF_ONE;
        let has_room = has_share && of_all + size <= memory;
        let is_queued = has_room && self.messages.try_send(Arc::clone(traced)).is_ok();
        if is_queued {
            self.waiting.fetch_add(size, Ordering::Relaxed);
            self.shared.waiting.fetch_add(size, Ordering::Relaxed);
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
    /// Whether its client takes what it is sent.
    pub(crate) fn progress(&self) -> Progress {
        Progress(Arc::clone(&self.shared))
    }

    fn release(&self, traced: &TracedMessage) {
        self.waiting.fetch_sub(traced.memory(), Ordering::Relaxed);
        self.shared.waiting.fetch_sub(traced.memory(), Ordering::Relaxed);
    }

    fn frame(&self, line: Bytes) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        *self.shared.taken_at.lock() = Instant::now();
        Poll::Ready(Some(Ok(Frame::data(line))))
    }
}

impl Progress {
    /// Returns when the client has taken nothing for too long.
    pub(crate) async fn stalled(self) {
        loop {
            let until = *self.0.taken_at.lock() + STALL_TIMEOUT;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

impl Body for LiveTrace {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            return self.frame(line(&TraceLine::Lost { lost }));
        }
        if let Poll::Ready(traced) = self.messages.poll_recv(cx) {
            let Some(traced) = traced else { return Poll::Ready(None) };
            self.release(&traced);
            return self.frame(line(&TraceLine::Message(Box::new(Entry::new(&traced)))));
        }
        match self.keep_alive.poll_tick(cx) {
            Poll::Ready(_) => self.frame(Bytes::from_static(b"\n")),
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::super::traced::Direction;
    use super::super::traced::tests::{raw, request};
    use super::*;
    use crate::config::Config;

    const MEMORY: usize = 64 << 10;

    /// A reader of all messages, beside others.
    fn reader(waiting: &Arc<AtomicUsize>) -> (Reader, LiveTrace) {
        open(Trace::new(&Config::default()), 0, Whose::All, Arc::clone(waiting))
    }

    fn offer(reader: &mut Reader, text: &str) -> bool {
        let (traced, message) = TracedMessage::new(raw(Direction::Received, text));
        reader.offer(&Arc::new(traced), message.as_ref(), MEMORY)
    }

    async fn next(live: &mut LiveTrace) -> String {
        let frame = live.frame().await.and_then(Result::ok).and_then(|frame| frame.into_data().ok());
        String::from_utf8_lossy(&frame.expect("a line")).into_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_does_not_read_takes_nothing_from_the_others() {
        let waiting = Arc::default();
        let ((mut stopped, of_stopped), (mut busy, mut of_busy)) = (reader(&waiting), reader(&waiting));
        let message = request("OPTIONS", &"x".repeat(500));
        for _ in 0..200 {
            offer(&mut stopped, &message);
            assert!(offer(&mut busy, &message));
            assert!(next(&mut of_busy).await.contains("OPTIONS"));
        }
        let of_all = waiting.load(Ordering::Relaxed);
        assert!((1..=MEMORY / SHARE_OF_ONE).contains(&of_all), "{of_all}");
        // A message above the share is shown if nothing else waits.
        let large = request("OPTIONS", &"x".repeat(MEMORY / 2));
        assert!(offer(&mut busy, &large) && !offer(&mut busy, &message));
        drop((of_stopped, of_busy));
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_noticed() {
        let (_reader, mut live) = reader(&Arc::default());
        let (began, progress) = (Instant::now(), live.progress());
        let stalled = tokio::spawn(progress.stalled());
        // Nothing is traced, but the empty lines are taken.
        while began.elapsed() < 3 * STALL_TIMEOUT {
            assert_eq!(next(&mut live).await, "\n");
        }
        assert!(!stalled.is_finished());
        let taken_at = Instant::now();
        stalled.await.expect("noticed");
        assert_eq!(taken_at.elapsed().as_secs(), STALL_TIMEOUT.as_secs());
    }
}
