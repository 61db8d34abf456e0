//! The server transaction of a response context, and its last response for retransmissions (RFC 3261 17.2).
//!
//! Must not choose responses.

use bytes::Bytes;
use parser::{Method, Transport};

use crate::amplification;
use crate::clock::Instant;
use crate::connections::Connections;
use crate::context::Context;
use crate::event::{Event, Limit};
use crate::hop::Hop;
use crate::request::{Request, RequestSource};
use crate::settings::{Settings, Timers};
use crate::transaction::{ServerInvite, ServerOther, TimerAction};

/// The server transaction of a forked request.
#[derive(Debug)]
pub(crate) struct Upstream {
    transaction: Transaction,
    /// Where responses are sent.
    back: Hop,
    /// The host name in the Via of a request over TLS.
    sent_by: Option<Box<str>>,
    /// The source of the request, which its ACK and its CANCEL must have, too.
    pub(crate) source: RequestSource,
    /// The method, for metrics.
    pub(crate) method: &'static str,
    /// Whether the request is within a dialog, so that all its responses have the same To tag.
    pub(crate) in_dialog: bool,
    /// The last response, for retransmissions.
    last: Bytes,
    /// How many octets of own responses and retransmissions may still be sent: a source whose address may be forged
    /// gets at most `limits.amplification` times the octets that it sent ([`amplification`]).
    allowance: usize,
    /// The octets that each retransmission of the request adds to the allowance.
    per_copy: usize,
}

#[derive(Debug)]
enum Transaction {
    Invite(ServerInvite),
    Other(ServerOther),
}

impl Upstream {
    pub(crate) fn new(request: &Request, settings: &Settings, now: Instant) -> Self {
        let transaction = match request.method() {
            Method::Invite => Transaction::Invite(ServerInvite::new()),
            _ => Transaction::Other(ServerOther::new(request.flow.transport.is_reliable(), &settings.timers, now)),
        };
        let per_copy = amplification::max_len(request, settings);
        let (back, source, method) =
            (request.response_hop.clone(), request.source(), request.method().as_str_or("other"));
        let sent_by = if back.transport == Transport::Tls { request.sent_by_name().map(Into::into) } else { None };
        Self {
            transaction,
            back,
            sent_by,
            source,
            method,
            in_dialog: request.in_dialog,
            last: Bytes::new(),
            allowance: per_copy,
            per_copy,
        }
    }

    /// Where a response goes now.
    pub(crate) fn hop(&self, connections: &Connections) -> Hop {
        self.back.clone().for_response(self.sent_by.as_deref(), connections)
    }

    /// Whether a response with this status may be sent now. The caller of this method sends it and, unless it is a
    /// 2xx to an INVITE, keeps it with [`Upstream::keep`].
    pub(crate) fn may_send(&mut self, status: u16, timers: &Timers, now: Instant) -> bool {
        let reliable = self.back.transport.is_reliable();
        match &mut self.transaction {
            Transaction::Invite(transaction) => transaction.send(status, reliable, timers, now),
            Transaction::Other(transaction) => transaction.send(status, reliable, timers, now),
        }
    }

    /// Keeps a response that was sent, for retransmissions.
    pub(crate) fn keep(&mut self, text: &[u8]) {
        self.last = Bytes::copy_from_slice(text);
    }

    /// As [`Upstream::keep`], for a response of this server.
    pub(crate) fn keep_own(&mut self, text: &[u8]) {
        self.allowance = self.allowance.saturating_sub(text.len());
        self.keep(text);
    }

    /// Frees the last response if it will not be retransmitted.
    pub(crate) fn forget(&mut self) {
        if let Transaction::Invite(transaction) = &self.transaction
            && !transaction.must_resend()
        {
            self.last = Bytes::new();
        }
    }

    /// The octets that it holds on the heap.
    pub(crate) fn held(&self) -> usize {
        self.last.len()
    }

    /// A retransmission of the request came.
    pub(crate) fn retransmitted(&mut self, context: &mut Context<'_>) {
        self.allowance = self.allowance.saturating_add(self.per_copy);
        let again = match &self.transaction {
            Transaction::Invite(transaction) => transaction.must_resend(),
            Transaction::Other(transaction) => transaction.must_resend(),
        };
        if again {
            self.resend(context);
        }
    }

    /// Sends the last response again, if the allowance is enough.
    fn resend(&mut self, context: &mut Context<'_>) {
        match self.allowance.checked_sub(self.last.len()) {
            _ if self.last.is_empty() => {}
            Some(left) => {
                // A source without a limit keeps its allowance.
                self.allowance = if self.per_copy == usize::MAX { self.allowance } else { left };
                context.outbox.resend(&self.hop(context.connections), false, &self.last);
            }
            None => context.outbox.emit(Event::LimitReached(Limit::Amplification)),
        }
    }

    /// The ACK of a failure came.
    pub(crate) fn acknowledged(&mut self, timers: &Timers, now: Instant) {
        if let Transaction::Invite(transaction) = &mut self.transaction {
            transaction.on_ack(self.back.transport.is_reliable(), timers, now);
        }
    }

    /// Whether a 2xx to an INVITE was sent (RFC 6026 7.1).
    pub(crate) const fn is_accepted(&self) -> bool {
        matches!(&self.transaction, Transaction::Invite(transaction) if transaction.is_accepted())
    }

    /// Fires the timers that are due.
    pub(crate) fn timeout(&mut self, context: &mut Context<'_>) {
        match &mut self.transaction {
            Transaction::Invite(transaction) => {
                if transaction.timeout(context.now.mono) == TimerAction::Resend {
                    self.resend(context);
                }
            }
            Transaction::Other(transaction) => transaction.timeout(context.now.mono),
        }
    }

    /// RFC 4320 4.1: a 100 is due when the sender has slowed down its retransmissions of another request than INVITE.
    pub(crate) fn trying_is_due(&mut self, now: Instant) -> bool {
        match &mut self.transaction {
            Transaction::Invite(_) => false,
            Transaction::Other(transaction) => transaction.trying_is_due(now),
        }
    }

    /// RFC 4320 4.2: a request other than INVITE that no phone answered ends without a final response.
    pub(crate) fn end_without_response(&mut self, timers: &Timers, now: Instant) {
        self.last = Bytes::new();
        if let Transaction::Other(transaction) = &mut self.transaction {
            transaction.end_without_response(self.back.transport.is_reliable(), timers, now);
        }
    }

    /// Whether the caller still waits for a final response.
    pub(crate) const fn is_waiting(&self) -> bool {
        match &self.transaction {
            Transaction::Invite(transaction) => transaction.is_proceeding(),
            Transaction::Other(transaction) => transaction.is_pending(),
        }
    }

    /// Whether it is kept only for retransmissions of the request. A failure without its ACK still has to be
    /// retransmitted.
    pub(crate) const fn is_completed(&self) -> bool {
        match &self.transaction {
            Transaction::Invite(transaction) => !transaction.must_resend(),
            Transaction::Other(transaction) => !transaction.is_pending(),
        }
    }

    pub(crate) const fn is_invite(&self) -> bool {
        matches!(self.transaction, Transaction::Invite(_))
    }

    pub(crate) const fn is_terminated(&self) -> bool {
        match &self.transaction {
            Transaction::Invite(transaction) => transaction.is_terminated(),
            Transaction::Other(transaction) => transaction.is_terminated(),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.transaction {
            Transaction::Invite(transaction) => transaction.deadline(),
            Transaction::Other(transaction) => transaction.deadline(),
        }
    }
}
