//! Takes the copies of messages from the workers, and gives them to everybody who looks: live traces, the kept calls, the
//! capture server.
//!
//! Runs on the main thread, so that no worker waits. Decides when nobody looks any more.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use parking_lot::Mutex;

use super::filter::Whose;
use super::hep::HepSender;
use super::kept::KeptCalls;
use super::live::{self, LiveTrace, Reader};
use super::tap::{Lost, RawMessage, Tap};
use super::traced::TracedMessage;
use crate::config::{Capture, Config};
use crate::metrics::{self, DriverLimit, Series};

/// The parts of `limits.trace_memory`: for the queue of the workers, for the messages that wait for readers, and the rest
/// for the kept calls.
const SHARE_OF_QUEUE: usize = 4;
const SHARE_OF_READERS: usize = 4;
const SHARE_OF_CALLS: usize = 2;

/// Everybody who looks at messages.
#[derive(Debug)]
pub(crate) struct Trace {
    tap: Arc<Tap>,
    readers_memory: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    readers: Vec<Reader>,
    next_number: u64,
    /// The memory of the messages that wait for readers.
    waiting: Arc<AtomicUsize>,
    kept: KeptCalls,
    capture: Option<HepSender>,
}

impl Trace {
    /// By the configuration.
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        let (rate, memory) = (config.limits.trace_rate.0, config.limits.trace_memory.0);
        let kept = KeptCalls::new(memory / SHARE_OF_CALLS);
        let state = State { readers: Vec::new(), next_number: 0, waiting: Arc::default(), kept, capture: None };
        let trace = Arc::new(Self {
            tap: Arc::new(Tap::new(rate, memory / SHARE_OF_QUEUE)),
            readers_memory: memory / SHARE_OF_READERS,
            state: Mutex::new(state),
        });
        trace.reconfigure(config);
        trace
    }

    /// Where the workers hand over messages.
    pub(crate) const fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    /// After a reload.
    pub(crate) fn reconfigure(&self, config: &Config) {
        let mut state = self.state.lock();
        state.kept.set_max_calls(config.trace.calls.0);
        state.set_capture(&config.capture);
        self.switch(&state);
    }

    /// Opens a live trace.
    pub(crate) fn open(self: &Arc<Self>, whose: Whose) -> LiveTrace {
        let mut state = self.state.lock();
        let (number, name) = (state.next_number, whose.to_string());
        state.next_number += 1;
        let (reader, live) = live::open(Arc::clone(self), number, whose, Arc::clone(&state.waiting));
        state.readers.push(reader);
        self.switch(&state);
        // From now on no message is missed.
        tracing::info!("a trace of messages began: {name}");
        live
    }

    /// A live trace has ended.
    pub(super) fn close(&self, number: u64) {
        let mut state = self.state.lock();
        state.readers.retain(|reader| reader.number != number);
        self.switch(&state);
        tracing::info!("a trace of messages ended");
    }

    /// The kept calls.
    pub(crate) fn kept<T>(&self, read: impl FnOnce(&KeptCalls) -> T) -> T {
        read(&self.state.lock().kept)
    }

    /// Passes on messages until the task is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.tap.ready().await;
            let (messages, lost) = self.tap.take();
            self.pass_on(messages, lost);
            // Other tasks of this thread have to go on under load, and meanwhile more messages come, which costs less.
            tokio::task::yield_now().await;
        }
    }

    fn pass_on(&self, messages: Vec<RawMessage>, lost: Lost) {
        let mut state = self.state.lock();
        let State { readers, kept, capture, .. } = &mut *state;
        let missing = lost.by_rate + lost.by_memory;
        let mut without_memory = lost.by_memory;
        let mut uncaptured = if capture.is_some() { missing } else { 0 };
        for raw in messages {
            let (traced, message) = TracedMessage::new(raw);
            let traced = Arc::new(traced);
            let is_kept = kept.keep(&traced, message.as_ref());
            uncaptured += capture.as_ref().map_or(0, |capture| capture.send(&traced, message.as_ref()));
            let offer = |reader: &mut Reader| reader.offer(&traced, message.as_ref(), self.readers_memory);
            let refused = readers.iter_mut().map(offer).filter(|is_queued| !is_queued).count();
            without_memory += u64::from(!is_kept || refused > 0);
        }
        if missing > 0 {
            readers.iter().for_each(|reader| reader.lose(missing));
        }
        drop(state);
        metrics::count_many(DriverLimit::TraceRate, lost.by_rate);
        metrics::count_many(DriverLimit::TraceMemory, without_memory);
        metrics::count_many(Series::CaptureLost, uncaptured);
    }

    fn switch(&self, state: &State) {
        self.tap.switch(!state.readers.is_empty() || state.kept.is_on() || state.capture.is_some());
    }
}

impl State {
    fn set_capture(&mut self, Capture { hep, id }: &Capture) {
        let Some((to, id)) = hep.map(|hep| (hep.0, id.0)) else {
            self.capture = None;
            return;
        };
        if self.capture.as_ref().is_some_and(|capture| capture.is_for(to, id)) {
            return;
        }
        self.capture = HepSender::open(to, id)
            .inspect_err(|error| tracing::error!("messages cannot be sent to capture.hep at {to}: {error}"))
            .ok();
    }
}
