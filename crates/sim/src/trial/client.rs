//! The client transactions of callers and phones (RFC 3261 17.1): a request is retransmitted until there is a response.

use std::rc::Rc;

use super::credentials::{Credentials, MOST_CHALLENGES};
use crate::judge::{GIVE_UP, T1, T2};
use crate::{Agent, Reaction, Sip};

/// A request with its retransmissions.
pub(super) struct Sending {
    pub(super) request: Rc<Sip>,
    interval: u64,
    spent: u64,
    proceeding: bool,
    over: bool,
    /// How many challenges preceded it.
    challenges: u8,
}

impl Sending {
    pub(super) fn new(request: Sip) -> Self {
        Self { request: Rc::new(request), interval: T1, spent: 0, proceeding: false, over: false, challenges: 0 }
    }

    /// Adds credentials to a request that was not sent yet, if there is a nonce.
    pub(super) fn sign(&mut self, credentials: Option<&mut Credentials>) {
        if !self.has_begun()
            && let Some(signed) = credentials.and_then(|credentials| credentials.sign(&self.request))
        {
            self.request = Rc::new(signed);
        }
    }

    /// RFC 3261 22.2, 22.3: the request that follows a challenge of our server. `None` after too many challenges, or
    /// for the challenge of another server.
    pub(super) fn answer(&self, agent: &Agent, credentials: Option<&mut Credentials>, refused: &Sip) -> Option<Self> {
        let credentials = credentials.filter(|_| self.challenges < MOST_CHALLENGES)?;
        if !matches!(refused.status(), Some(401 | 407)) || !credentials.on_response(refused) {
            return None;
        }
        let request = credentials.sign(&agent.again(&self.request))?;
        Some(Self { challenges: self.challenges + 1, ..Self::new(request) })
    }

    /// Sends or retransmits it. To be called once, and then for each timer with `token`.
    pub(super) fn send(&mut self, reaction: &mut Reaction, token: u64) {
        let invite = self.request.what() == "INVITE";
        let first = self.spent == 0;
        if self.over || self.spent >= GIVE_UP || (invite && self.proceeding) {
            return;
        }
        if first || !self.is_reliable() {
            reaction.resend(&self.request);
        }
        reaction.set_timer(self.interval, token);
        self.spent += self.interval;
        let next = if self.proceeding { T2 } else { self.interval * 2 };
        self.interval = if invite { next } else { next.min(T2) };
    }

    /// A response to it has arrived.
    pub(super) fn on_response(&mut self, status: u16) {
        self.proceeding = true;
        self.over |= status >= 200;
    }

    pub(super) fn is_proceeding(&self) -> bool {
        self.proceeding && !self.over
    }

    pub(super) fn has_begun(&self) -> bool {
        self.spent > 0
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    fn is_reliable(&self) -> bool {
        self.request.value("Via").starts_with("SIP/2.0/TCP")
    }
}

/// What is to be done when a timer fires, by its token.
pub(super) struct TimerTokens<T>(Vec<T>);

impl<T: Copy> TimerTokens<T> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// A token for this.
    pub(super) fn add(&mut self, what: T) -> u64 {
        self.0.push(what);
        self.0.len() as u64 - 1
    }

    /// What a token stands for.
    pub(super) fn what(&self, token: u64) -> T {
        self.0[usize::try_from(token).expect("a token")]
    }
}
