//! The client transactions of robots (RFC 3261 17.1): a request sent again until it is answered.

use std::rc::Rc;

use super::credentials::{Credentials, MOST_CHALLENGES};
use crate::judge::{GIVE_UP, T1, T2};
use crate::{Agent, Sip, Turn};

/// A request under way.
pub(super) struct Sending {
    pub(super) request: Rc<Sip>,
    interval: u64,
    spent: u64,
    proceeding: bool,
    over: bool,
    /// How many challenges led to it.
    challenges: u8,
}

impl Sending {
    pub(super) fn new(request: Sip) -> Self {
        Self { request: Rc::new(request), interval: T1, spent: 0, proceeding: false, over: false, challenges: 0 }
    }

    /// Puts credentials into what was not sent yet, if there is a nonce for them.
    pub(super) fn sign(&mut self, credentials: Option<&mut Credentials>) {
        if !self.has_begun()
            && let Some(signed) = credentials.and_then(|credentials| credentials.sign(&self.request))
        {
            self.request = Rc::new(signed);
        }
    }

    /// RFC 3261 22.2, 22.3: what to send after a challenge of ours; none if that was tried often enough, or if it is
    /// somebody else's.
    pub(super) fn answer(&self, agent: &Agent, credentials: Option<&mut Credentials>, refused: &Sip) -> Option<Self> {
        let credentials = credentials.filter(|_| self.challenges < MOST_CHALLENGES)?;
        if !matches!(refused.status(), Some(401 | 407)) || !credentials.learn(refused) {
            return None;
        }
        let request = credentials.sign(&agent.again(&self.request))?;
        Some(Self { challenges: self.challenges + 1, ..Self::new(request) })
    }

    /// Sends it, again if it was sent before; to be called once, and then whenever `token` wakes.
    pub(super) fn send(&mut self, turn: &mut Turn, token: u64) {
        let invite = self.request.what() == "INVITE";
        let first = self.spent == 0;
        if self.over || self.spent >= GIVE_UP || (invite && self.proceeding) {
            return;
        }
        if first || !self.is_reliable() {
            turn.resend(&self.request);
        }
        turn.wake(self.interval, token);
        self.spent += self.interval;
        let next = if self.proceeding { T2 } else { self.interval * 2 };
        self.interval = if invite { next } else { next.min(T2) };
    }

    /// A response to it came.
    pub(super) fn heard(&mut self, status: u16) {
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

/// What a robot has to do later, by token.
pub(super) struct Agenda<T>(Vec<T>);

impl<T: Copy> Agenda<T> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The token for something to do.
    pub(super) fn note(&mut self, what: T) -> u64 {
        self.0.push(what);
        self.0.len() as u64 - 1
    }

    /// What a token stands for.
    pub(super) fn what(&self, token: u64) -> T {
        self.0[usize::try_from(token).expect("a token")]
    }
}
