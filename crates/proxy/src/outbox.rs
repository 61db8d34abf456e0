//! The output of the core: messages to send, questions for the driver, messages to other cores, events for log and
//! metrics.
//!
//! The driver owns an [`Outbox`] and empties it after each call. The core only appends to it, and must not depend on
//! what an earlier call appended.

use std::ops::Range;

use bytes::Bytes;
use location::ConnectionId;

use crate::amplification::Fitted;
use crate::ask::{Continuation, Question};
use crate::event::{Drop, Event, Limit};
use crate::hop::Hop;

/// One message to send: `outbox.bytes[span]` to `hop`.
#[must_use]
#[derive(Clone, Debug)]
pub struct Transmit {
    /// The next hop.
    pub hop: Hop,
    /// The part of [`Outbox::bytes`] that is the message.
    pub span: Range<usize>,
    /// Whether the message is a request: if it cannot be sent, the core needs its text back with
    /// [`Answer::Undelivered`](crate::Answer::Undelivered), to answer its sender.
    pub report_failure: bool,
    /// Flow-Timer plus grace, in seconds: the driver closes the connection if nothing is received for this long (RFC
    /// 5626 5.4).
    pub silence: Option<u32>,
}

/// A peer offers its connection for requests to it (RFC 5923).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The connection. Its peer has not proved anything as far as the core knows.
    pub connection: ConnectionId,
    /// The port at which the peer would accept another connection.
    pub port: u16,
}

/// A message to the core of another worker.
#[derive(Clone, Debug)]
pub struct Handover {
    /// The worker; `None` for all other workers.
    pub worker: Option<u8>,
    /// The message.
    pub core_message: CoreMessage,
}

/// A message from the core of one worker to that of another; delivered with [`Core::deliver`](crate::Core::deliver).
#[derive(Clone, Debug)]
pub enum CoreMessage {
    /// A request whose credentials only the receiving worker can check: its nonce was issued there.
    Request(Box<crate::Received>),
    /// A response to a request that the receiving worker forwarded.
    Response(Box<crate::Received>),
    /// A response to a pinned INVITE was forwarded, which changes how long the pin is kept.
    ResponsePassed {
        /// The transaction key of the pin.
        key: u64,
        /// The response.
        response: Passed,
        /// Its To tag, for the dialogs of the call; empty if this server has sent it itself.
        to_tag: Box<[u8]>,
    },
    /// One side of a dialog is at another address than the token in its Record-Route says.
    DialogMoved {
        /// The side.
        side: crate::dialog::SideOfDialog,
        /// Its address.
        moved: crate::dialog::Moved,
    },
    /// This AoR has a new binding or a new flow, which may join a call to it.
    PhoneRegistered(location::Aor),
    /// The bindings of this AoR changed, and the receiving worker may hold subscriptions to it.
    RegistrationChanged(location::Aor),
    /// A call of this AoR has changed, and the receiving worker may hold subscriptions to its calls.
    CallsChanged {
        /// The user.
        user: location::Aor,
        /// The last state of the call, if it has ended.
        ended: Option<std::sync::Arc<crate::CallInProgress>>,
    },
    /// A call of this node has changed whose users other nodes may watch. The first worker gets it.
    CallOfNode {
        /// The number of the call.
        call: u64,
        /// The last state of the call, if it has ended.
        ended: Option<std::sync::Arc<crate::CallInProgress>>,
    },
    /// Another node says which users' calls it watches. The first worker gets it.
    NodeWatches(Box<crate::calls::NodeWatch>),
    /// A user is watched that the other nodes do not know to be watched. The first worker gets it.
    WatchAtNodes,
    /// Another node has answered a question of the receiving worker for calls.
    FoundAtNode(Box<crate::calls::FoundAtNode>),
    /// The table of the other nodes has changed. The first worker gets it from the driver.
    NodesChanged,
    /// The calls whose end no message reports are to be ended. One worker gets this from the driver every few seconds.
    SweepCalls,
}

/// A response to a pinned INVITE that was forwarded.
#[derive(Clone, Copy, Debug)]
pub enum Passed {
    /// A provisional response.
    Provisional {
        /// 100..=199.
        status: u16,
    },
    /// A final response.
    Final {
        /// 200..=699.
        status: u16,
        /// A checksum of the To tag; `None` if this server has sent the response itself, because the request could not be
        /// sent: its ACK ends here.
        to_tag: Option<u64>,
    },
}

/// An end of the messages in an outbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    bytes: usize,
    transmits: usize,
}

/// The output of the core, each list in the order in which the core appended.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The messages of all transmits.
    pub bytes: Vec<u8>,
    /// The messages to send.
    pub transmits: Vec<Transmit>,
    /// The questions. The driver answers each by exactly one call of [`Core::answer`](crate::Core::answer).
    pub questions: Vec<(Question, Continuation)>,
    /// Events for log and metrics.
    pub events: Vec<Event>,
    /// Messages for the cores of other workers. Must be in their inboxes before any transmit is sent: what a peer
    /// sends in response to it may arrive at one of them.
    pub handovers: Vec<Handover>,
    /// The connections that their peers offer for requests to them.
    pub aliases: Vec<Alias>,
}

impl Outbox {
    /// An empty outbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes everything and keeps the capacity.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.transmits.clear();
        self.questions.clear();
        self.events.clear();
        self.handovers.clear();
        self.aliases.clear();
    }

    /// The message of a transmit.
    pub fn text(&self, transmit: &Transmit) -> &[u8] {
        self.bytes.get(transmit.span.clone()).unwrap_or_default()
    }

    /// Appends what `write` writes as one message to `hop`; the text can be kept by the caller.
    pub(crate) fn send(&mut self, hop: &Hop, report_failure: bool, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let span = start..self.bytes.len();
        // Nothing is written if the response would be longer than the source may get (`amplification`).
        if !span.is_empty() {
            self.transmits.push(Transmit { hop: hop.clone(), span: span.clone(), report_failure, silence: None });
        }
        self.bytes.get(span).unwrap_or_default()
    }

    /// The present end of the outbox, for [`Outbox::retract`].
    pub(crate) fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), transmits: self.transmits.len() }
    }

    /// The number of octets to send that were appended since then.
    pub(crate) fn len_since(&self, mark: Mark) -> usize {
        self.bytes.len() - mark.bytes
    }

    /// Removes the messages that were appended since then.
    pub(crate) fn retract(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.transmits.truncate(mark.transmits);
    }

    /// The message that was appended last.
    pub(crate) fn last(&self) -> &[u8] {
        self.transmits.last().map(|last| self.text(last)).unwrap_or_default()
    }

    /// Sets how long the connection of the last transmit may be silent, in seconds.
    pub(crate) fn set_flow_timeout(&mut self, silence: Option<u32>) {
        if let Some(last) = self.transmits.last_mut() {
            last.silence = silence;
        }
    }

    /// Appends a kept message again.
    pub(crate) fn resend(&mut self, hop: &Hop, report_failure: bool, text: &Bytes) {
        self.send(hop, report_failure, |out| out.extend_from_slice(text));
    }

    pub(crate) fn ask(&mut self, question: Question, continuation: Continuation) {
        self.questions.push((question, continuation));
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Emits an event if a response was shortened or not sent. Returns whether it was sent.
    pub(crate) fn emit_fitted(&mut self, fitted: Fitted) -> bool {
        match fitted {
            Fitted::Whole => {}
            Fitted::Shortened => self.emit(Event::LimitReached(Limit::Amplification)),
            Fitted::Discarded => self.emit(Event::Dropped(Drop::Amplification)),
        }
        fitted != Fitted::Discarded
    }
}
