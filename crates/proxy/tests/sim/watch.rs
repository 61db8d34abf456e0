//! Who takes part in a world by itself: robots, which act, and a watcher, which judges.

use std::rc::Rc;

use super::sip::Sip;

/// A message that something is a consequence of, and its sender.
pub(crate) type Cause = (usize, Rc<Sip>);

/// What a robot does.
pub(crate) enum Deed {
    Send(Rc<Sip>),
    /// Is woken with this token after so many microseconds.
    Wake {
        micros: u64,
        token: u64,
    },
}

/// A robot's turn: when it is, and what it does in it.
pub(crate) struct Turn {
    /// Microseconds.
    pub(crate) now: u64,
    pub(crate) deeds: Vec<Deed>,
}

impl Turn {
    pub(crate) fn send(&mut self, sip: Sip) {
        self.resend(&Rc::new(sip));
    }

    pub(crate) fn resend(&mut self, sip: &Rc<Sip>) {
        self.deeds.push(Deed::Send(Rc::clone(sip)));
    }

    pub(crate) fn wake(&mut self, micros: u64, token: u64) {
        self.deeds.push(Deed::Wake { micros, token });
    }
}

/// An agent that acts by itself.
pub(crate) trait Robot {
    fn hear(&mut self, sip: &Rc<Sip>, turn: &mut Turn);
    fn wake(&mut self, token: u64, turn: &mut Turn);
}

/// Sees all that the server hears and says. Panics if it should not have.
pub(crate) trait Watcher {
    /// A message of this agent has reached the core that deals with it; what that says comes next.
    fn heard(&mut self, now: u64, agent: usize, sip: &Rc<Sip>);
    /// The server sends this, to an agent or to nobody; whether its transport takes it; because of which message, if it
    /// was no timer.
    fn sent(&mut self, now: u64, agent: Option<usize>, sip: &Rc<Sip>, taken: bool, cause: Option<&Cause>);
    /// The cores have done all there is to do at this step.
    fn settled(&mut self, now: u64);
}
