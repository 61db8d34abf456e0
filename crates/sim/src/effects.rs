//! Carries out what a core put into its outbox: sends messages and answers questions from the store and from DNS.

use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use location::{Commit, ConnectionId, Store, Ticket};
use proxy::{Answer, Continuation, Hop, Outbox, Over, Query, Question, Records};

use crate::fault::StoreState;
use crate::net::{InFlight, Sent};
use crate::settings::SERVER;
use crate::sip::Sip;
use crate::state::State;

impl State {
    pub(crate) fn carry_out(&mut self, worker: usize, mut outbox: Outbox) {
        if self.observer.is_none() {
            self.events.append(&mut outbox.events);
        }
        let mut undelivered = Vec::new();
        for transmit in std::mem::take(&mut outbox.transmits) {
            let bytes = Bytes::copy_from_slice(outbox.text(&transmit));
            if !self.transmit(&transmit.hop, &bytes) && transmit.report_failure {
                undelivered.push(Continuation::undelivered(bytes));
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
    fn transmit(&mut self, hop: &Hop, bytes: &Bytes) -> bool {
        assert_eq!(hop.local, SERVER, "sent from an address that is not ours");
        let sip = Rc::new(Sip::parse(bytes));
        let way = self.way(hop);
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

    /// The agent that a message reaches, and the connection that it takes.
    fn way(&mut self, hop: &Hop) -> Option<(usize, u64)> {
        if !hop.transport.is_reliable() {
            return self.listening(hop).map(|agent| (agent, 0));
        }
        let named = hop.connection().map(ConnectionId::get);
        let open = named.filter(|number| self.net.connection(*number).is_some());
        let number = match hop.over {
            Over::ConnectionOnly(_) => open?,
            _ => open.or_else(|| self.net.connection_to(hop.remote)).or_else(|| self.connect(hop))?,
        };
        self.net.connection(number).map(|line| (line.agent, number))
    }

    fn connect(&mut self, hop: &Hop) -> Option<u64> {
        let agent = self.listening(hop).filter(|agent| self.agents[*agent].plugged)?;
        Some(self.net.connect(agent, hop.remote))
    }

    fn listening(&self, hop: &Hop) -> Option<usize> {
        self.agents.iter().position(|agent| agent.transport == hop.transport && agent.source == hop.remote)
    }

    fn ask(&mut self, worker: usize, question: Question, parked: Continuation) {
        let safe = if matches!(question, Question::Commit { .. }) { self.commits } else { 0 };
        let answer = match question {
            _ if self.store_state == StoreState::Broken => Answer::Failed,
            Question::Load(aor) => Answer::Loaded(self.store.load(&aor)),
            Question::Commit { .. } if self.store_state == StoreState::ReadOnly => Answer::Failed,
            Question::Commit { .. } if self.store_state == StoreState::Full => Answer::Full,
            Question::Commit { expected, record } => {
                match self.store.commit(expected, record, Ticket { worker: 0, id: 0 }) {
                    Commit::Done => Answer::Committed,
                    Commit::Conflict => Answer::Conflict,
                    _ => Answer::Failed,
                }
            }
            Question::ChangeRules(..) => Answer::RulesChanged(true),
            Question::Resolve(resolutions) => {
                let look_up = |query: &Query| match query {
                    Query::Addresses(host) => {
                        let found = self.names.get(&**host).into_iter().flatten();
                        Records::Addresses(found.map(SocketAddr::ip).collect())
                    }
                    Query::Naptr(_) | Query::Srv(_) => Records::Addresses(Vec::new()),
                };
                Answer::Resolved(resolutions.into_iter().map(|resolution| resolution.run(look_up)).collect())
            }
        };
        match self.answer_delay + safe {
            0 => self.drive(worker, |core, now, outbox| core.answer(now, parked, answer, outbox)),
            answer_delay => {
                let cause = self.cause.clone();
                self.net.at(self.now + answer_delay, InFlight::Answer { worker, parked, answer, cause });
            }
        }
    }
}
