//! The only way out of the core: bytes to send, questions to the world, facts for log and metrics.
//!
//! Owned and drained by the driver; the core only appends. Nothing here is read back by the core.

use std::ops::Range;

use bytes::Bytes;

use crate::amplification::Fitted;
use crate::ask::{Continuation, Question};
use crate::event::{Drop, Event, Limit};
use crate::hop::Hop;

/// One message to send: `outbox.bytes[span]` to `hop`.
#[must_use]
#[derive(Clone, Debug)]
pub struct Transmit {
    /// Where to.
    pub hop: Hop,
    /// Which part of [`Outbox::bytes`].
    pub span: Range<usize>,
    /// Whether the core wants its text back, with [`Answer::Undelivered`](crate::Answer::Undelivered), if it cannot be
    /// sent: a request, whose sender is to be told.
    pub report_failure: bool,
    /// Flow-Timer plus grace, in seconds: the driver closes the connection if nothing is received for this long (RFC 5626
    /// 5.4).
    pub silence: Option<u32>,
}

/// Something for the core of another worker.
#[derive(Clone, Debug)]
pub struct Handover {
    /// The worker that it concerns; none: all others.
    pub worker: Option<u8>,
    /// What it must see.
    pub core_message: CoreMessage,
}

/// A message from the core of one worker to that of another; delivered with [`Core::deliver`](crate::Core::deliver).
#[derive(Clone, Debug)]
pub enum CoreMessage {
    /// A request whose credentials only that worker can judge.
    Request(Box<crate::Received>),
    /// A response that matches a transaction there.
    Response(Box<crate::Received>),
    /// A response to a pinned INVITE has passed: it still rings, or the pin may go.
    ResponsePassed {
        /// The pin.
        key: u64,
        /// What it was.
        response: Passed,
    },
    /// One side of a dialog is not where its Record-Route token says.
    DialogMoved {
        /// Which.
        side: crate::dialog::SideOfDialog,
        /// Where it is.
        moved: crate::dialog::Moved,
    },
    /// This AoR has a binding, or a flow, that it did not have before: calls that ring may be joined by it.
    PhoneRegistered(location::Aor),
    /// The bindings of this AoR changed, and the receiving worker may hold subscriptions to it.
    RegistrationChanged(location::Aor),
}

/// A response to a pinned INVITE.
#[derive(Clone, Copy, Debug)]
pub enum Passed {
    /// 101..=199.
    Provisional,
    /// A final one.
    Final {
        /// 200..=699.
        status: u16,
        /// A checksum of its To tag.
        to_tag: u64,
    },
}

/// Everything the core has to say, in the order in which it said it.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The text of all transmits.
    pub bytes: Vec<u8>,
    /// What to send.
    pub transmits: Vec<Transmit>,
    /// What to ask; each is answered by exactly one [`Core::answer`](crate::Core::answer).
    pub questions: Vec<(Question, Continuation)>,
    /// What happened.
    pub events: Vec<Event>,
    /// Messages for the cores of other workers. Must be in their inboxes before any transmit is sent: what a peer sends in
    /// response to it may arrive at one of them.
    pub handovers: Vec<Handover>,
}

impl Outbox {
    /// An empty outbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything but the capacity.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.transmits.clear();
        self.questions.clear();
        self.events.clear();
        self.handovers.clear();
    }

    /// The text of a transmit.
    pub fn text(&self, transmit: &Transmit) -> &[u8] {
        self.bytes.get(transmit.span.clone()).unwrap_or_default()
    }

    /// Appends what `write` writes as one message to `hop`; the text can be kept by the caller.
    pub(crate) fn send(&mut self, hop: &Hop, report_failure: bool, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let span = start..self.bytes.len();
        // An answer that may not be as long as it would have to be.
        if !span.is_empty() {
            self.transmits.push(Transmit { hop: hop.clone(), span: span.clone(), report_failure, silence: None });
        }
        self.bytes.get(span).unwrap_or_default()
    }

    /// The message that was written last.
    pub(crate) fn last(&self) -> &[u8] {
        self.transmits.last().map(|last| self.text(last)).unwrap_or_default()
    }

    /// For how long the peer that was written to last may be silent, in seconds.
    pub(crate) fn bound_silence(&mut self, silence: Option<u32>) {
        if let Some(last) = self.transmits.last_mut() {
            last.silence = silence;
        }
    }

    /// Sends kept text again.
    pub(crate) fn resend(&mut self, hop: &Hop, report_failure: bool, text: &Bytes) {
        self.send(hop, report_failure, |out| out.extend_from_slice(text));
    }

    pub(crate) fn ask(&mut self, question: Question, parked: Continuation) {
        self.questions.push((question, parked));
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Counts an answer that was shortened, or not sent at all. Whether there is one.
    pub(crate) fn emit_fitted(&mut self, fitted: Fitted) -> bool {
        match fitted {
            Fitted::Whole => {}
            Fitted::Shortened => self.emit(Event::LimitReached(Limit::Amplification)),
            Fitted::Discarded => self.emit(Event::Dropped(Drop::Amplification)),
        }
        fitted != Fitted::Discarded
    }
}
