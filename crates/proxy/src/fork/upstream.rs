//! The side of a response context that faces the caller: its server transaction and the response to send again.

use bytes::Bytes;
use parser::Method;

use crate::amplification;
use crate::clock::Instant;
use crate::context::Context;
use crate::event::{Event, Limit};
use crate::hop::Hop;
use crate::request::{Request, RequestSource};
use crate::settings::{Settings, Timers};
use crate::transaction::{ServerInvite, ServerOther, TimerAction};

/// The server transaction of a forked request.
#[derive(Debug)]
pub(crate) struct Upstream {
    machine: Machine,
    /// Where responses go.
    pub(crate) back: Hop,
    /// Where the request came from: its ACK and its CANCEL come from there too.
    pub(crate) source: RequestSource,
    /// The method, for metrics.
    pub(crate) method: &'static str,
    /// The last response, for retransmissions.
    last: Bytes,
    /// How many octets may still be sent again: a source that has proved nothing gets no more of what is made here and of
    /// copies than `limits.amplification` times what it sent ([`amplification`]).
    allowance: usize,
    /// What a copy of the request adds to that.
    per_copy: usize,
}

#[derive(Debug)]
enum Machine {
    Invite(ServerInvite),
    Other(ServerOther),
}

impl Upstream {
    pub(crate) fn new(request: &Request, settings: &Settings, now: Instant) -> Self {
        let machine = match request.method() {
            Method::Invite => Machine::Invite(ServerInvite::new()),
            _ => Machine::Other(ServerOther::new(request.flow.transport.is_reliable(), &settings.timers, now)),
        };
        let per_copy = amplification::max_len(request, settings);
        let (back, source, method) =
            (request.response_hop.clone(), request.source(), request.method().as_str_or("other"));
        Self { machine, back, source, method, last: Bytes::new(), allowance: per_copy, per_copy }
    }

    /// Whether the machine lets a response pass; the caller sends it and, unless it is the 2xx of an INVITE, has it
    /// kept with [`Upstream::keep`].
    pub(crate) fn check_address(&mut self, status: u16, timers: &Timers, now: Instant) -> bool {
        let reliable = self.back.transport.is_reliable();
        match &mut self.machine {
            Machine::Invite(machine) => machine.send(status, reliable, timers, now),
            Machine::Other(machine) => machine.send(status, reliable, timers, now),
        }
    }

    pub(crate) fn keep(&mut self, text: &[u8]) {
        self.last = Bytes::copy_from_slice(text);
    }

    /// The same for a response made here.
    pub(crate) fn keep_own(&mut self, text: &[u8]) {
        self.allowance = self.allowance.saturating_sub(text.len());
        self.keep(text);
    }

    /// Lets go of a response that will not be sent again.
    pub(crate) fn forget(&mut self) {
        if let Machine::Invite(machine) = &self.machine
            && !machine.must_resend()
        {
            self.last = Bytes::new();
        }
    }

    /// Bytes that it holds.
    pub(crate) fn held(&self) -> usize {
        self.last.len()
    }

    /// The request came again.
    pub(crate) fn retransmitted(&mut self, context: &mut Context<'_>) {
        self.allowance = self.allowance.saturating_add(self.per_copy);
        let again = match &self.machine {
            Machine::Invite(machine) => machine.must_resend(),
            Machine::Other(machine) => machine.must_resend(),
        };
        if again {
            self.resend(context);
        }
    }

    /// Sends the last response again, if its receiver may have so much.
    fn resend(&mut self, context: &mut Context<'_>) {
        match self.allowance.checked_sub(self.last.len()) {
            _ if self.last.is_empty() => {}
            Some(left) => {
                // What has no bound needs none.
                self.allowance = if self.per_copy == usize::MAX { self.allowance } else { left };
                context.outbox.resend(&self.back, false, &self.last);
            }
            None => context.outbox.emit(Event::LimitReached(Limit::Amplification)),
        }
    }

    pub(crate) fn acknowledged(&mut self, timers: &Timers, now: Instant) {
        if let Machine::Invite(machine) = &mut self.machine {
            machine.on_ack(self.back.transport.is_reliable(), timers, now);
        }
    }

    /// Whether a 2xx to an INVITE was sent (RFC 6026 7.1).
    pub(crate) const fn is_accepted(&self) -> bool {
        matches!(&self.machine, Machine::Invite(machine) if machine.is_accepted())
    }

    pub(crate) fn timeout(&mut self, context: &mut Context<'_>) {
        match &mut self.machine {
            Machine::Invite(machine) => {
                if machine.timeout(context.now.mono) == TimerAction::Resend {
                    self.resend(context);
                }
            }
            Machine::Other(machine) => machine.timeout(context.now.mono),
        }
    }

    /// RFC 4320 4.1: a sender that has slowed down its retransmissions is to hear that the request is not lost.
    pub(crate) fn trying_is_due(&mut self, now: Instant) -> bool {
        match &mut self.machine {
            Machine::Invite(_) => false,
            Machine::Other(machine) => machine.trying_is_due(now),
        }
    }

    /// RFC 4320 4.2: a request other than INVITE that nobody answered ends in silence.
    pub(crate) fn end_in_silence(&mut self, timers: &Timers, now: Instant) {
        self.last = Bytes::new();
        if let Machine::Other(machine) = &mut self.machine {
            machine.end_without_response(self.back.transport.is_reliable(), timers, now);
        }
    }

    /// Whether the caller still waits for a final response.
    pub(crate) const fn is_waiting(&self) -> bool {
        match &self.machine {
            Machine::Invite(machine) => machine.is_proceeding(),
            Machine::Other(machine) => machine.is_pending(),
        }
    }

    /// Whether it has done its part, and stays for copies only. A refusal that nobody has acknowledged is sent again.
    pub(crate) const fn is_over(&self) -> bool {
        match &self.machine {
            Machine::Invite(machine) => !machine.must_resend(),
            Machine::Other(machine) => !machine.is_pending(),
        }
    }

    pub(crate) const fn is_invite(&self) -> bool {
        matches!(self.machine, Machine::Invite(_))
    }

    pub(crate) const fn is_terminated(&self) -> bool {
        match &self.machine {
            Machine::Invite(machine) => machine.is_terminated(),
            Machine::Other(machine) => machine.is_terminated(),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.machine {
            Machine::Invite(machine) => machine.deadline(),
            Machine::Other(machine) => machine.deadline(),
        }
    }
}
