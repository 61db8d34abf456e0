//! Carries out what a core put into its outbox: sends messages and answers questions from the store and from DNS.

use std::rc::Rc;

use bytes::Bytes;
use location::{Commit, Store, Ticket};
use proxy::{Answer, Continuation, Hop, Outbox, Over, Question};

use crate::fault::{DnsState, StoreState};
use crate::net::{InFlight, Sent};
use crate::sip::Sip;
use crate::state::State;

/// When the report that a datagram was not delivered arrives, in microseconds.
const REPORT_DELAY: u64 = 1000;

/// When the resolver gives up, in microseconds: `dns.timeout`.
const GIVES_UP: u64 = 2_000_000;

impl State {
    pub(crate) fn carry_out(&mut self, worker: usize, mut outbox: Outbox) {
        if self.observer.is_none() {
            self.events.append(&mut outbox.events);
        }
        let mut undelivered = Vec::new();
        for transmit in std::mem::take(&mut outbox.transmits) {
            let bytes = Bytes::copy_from_slice(outbox.text(&transmit));
            let is_sent = self.transmit(worker, &transmit.hop, &bytes);
            if !is_sent && transmit.report_failure {
                undelivered.push(Continuation::undelivered(bytes));
            } else if transmit.report_failure && self.is_reported(&transmit.hop) {
                let sip = Rc::new(Sip::parse(&bytes));
                self.net.at(self.now + REPORT_DELAY, InFlight::Refused { worker, bytes, sip });
            }
        }
        for (question, parked) in outbox.questions {
            self.ask(worker, question, parked);
        }
        for parked in undelivered {
            self.drive(worker, |core, now, outbox| core.answer(now, parked, Answer::Undelivered, outbox));
        }
    }

    /// Sends a message. False if the transport reports a failure.
    fn transmit(&mut self, worker: usize, hop: &Hop, bytes: &Bytes) -> bool {
        if matches!(hop.over, Over::Elsewhere(_)) {
            return false;
        }
        assert_eq!(hop.local, self.address(worker), "sent from an address that is not ours");
        if let Some(is_sent) = self.send_to_node(worker, hop, bytes) {
            return is_sent;
        }
        let sip = Rc::new(Sip::parse(bytes));
        let node = self.cluster.as_ref().map_or(0, |_| worker);
        let way = self.way(node, hop);
        let agent = way.map_or_else(|| self.listening(hop), |(agent, _)| Some(agent));
        let delivered = way.is_some() || !hop.transport.is_reliable();
        let cause = self.cause.clone();
        self.observe(|observer, now| observer.on_sent(now, agent, &sip, delivered, cause.as_ref()));
        let Some(agent) = agent else { return delivered };
        let copies = way.map_or(0, |(agent, connection)| {
            self.net.send(self.now, agent, connection, || InFlight::ToAgent { agent, connection, sip: Rc::clone(&sip) })
        });
        self.wire.borrow_mut().push(Sent { micros: self.now, agent, by_server: true, sip, copies });
        delivered
    }

    /// Whether the failure of a datagram is reported later.
    fn is_reported(&self, hop: &Hop) -> bool {
        let agent = self.listening(hop).filter(|_| !hop.transport.is_reliable());
        agent.is_some_and(|agent| !self.agents[agent].plugged && self.agents[agent].reports)
    }

    /// The agent that a message reaches, and the connection that it takes.
    fn way(&mut self, node: usize, hop: &Hop) -> Option<(usize, u64)> {
        if !hop.transport.is_reliable() {
            return self.listening(hop).map(|agent| (agent, 0));
        }
        let open = hop.connection().and_then(|id| self.net.number_of(node, id));
        let number = match hop.over {
            Over::ConnectionOnly(_) => open?,
            Over::Elsewhere(_) => return None,
            _ => open.or_else(|| self.net.connection_to(node, hop.remote)).or_else(|| self.connect(node, hop))?,
        };
        self.net.connection(number).map(|line| (line.agent, number))
    }

    fn connect(&mut self, node: usize, hop: &Hop) -> Option<u64> {
        let agent = self.listening(hop).filter(|agent| self.agents[*agent].plugged)?;
        Some(self.net.connect(node, agent, hop.remote))
    }

    fn listening(&self, hop: &Hop) -> Option<usize> {
        self.agents.iter().position(|agent| agent.transport == hop.transport && agent.source == hop.remote)
    }

    fn ask(&mut self, worker: usize, question: Question, parked: Continuation) {
        let own = match &question {
            Question::Commit { .. } => self.commits,
            Question::Load(_) | Question::ChangeRules(..) => 0,
            Question::Resolve(_) if self.dns.state == DnsState::Silent => GIVES_UP,
            Question::Resolve(_) => {
                let sender = self.cause.as_ref().map(|(agent, _)| *agent);
                self.net.dns_delay(sender, self.dns.longest)
            }
        };
        let answer = match question {
            _ if self.store_state == StoreState::Broken => Answer::Failed,
            Question::Load(aor) if self.cluster.is_some() => Answer::Loaded(self.load_at_node(worker, &aor)),
            Question::Load(aor) => Answer::Loaded(self.store.load(&aor)),
            Question::Commit { .. } if self.store_state == StoreState::ReadOnly => Answer::Failed,
            Question::Commit { .. } if self.store_state == StoreState::Full => Answer::Full,
            Question::Commit { expected, record } if self.cluster.is_some() => {
                self.commit_at_node(worker, expected, &record)
            }
            Question::Commit { expected, record } => {
                match self.store.commit(expected, record, Ticket { worker: 0, id: 0 }) {
                    Commit::Done => Answer::Committed,
                    Commit::Conflict => Answer::Conflict,
                    _ => Answer::Failed,
                }
            }
            Question::ChangeRules(..) => Answer::RulesChanged(true),
            Question::Resolve(resolutions) => self.dns.answer(resolutions),
        };
        match self.answer_delay + own {
            0 => self.drive(worker, |core, now, outbox| core.answer(now, parked, answer, outbox)),
            answer_delay => {
                let cause = self.cause.clone();
                self.net.at(self.now + answer_delay, InFlight::Answer { worker, parked, answer, cause });
            }
        }
    }
}
