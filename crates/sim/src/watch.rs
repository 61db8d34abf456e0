//! Who takes part in a world by itself: robots, which act, and a watcher, which judges.

use std::rc::Rc;

use crate::sip::Sip;

/// A message that something is a consequence of, and its sender.
pub type Cause = (usize, Rc<Sip>);

/// What a robot does.
pub enum Deed {
    /// Sends this message to the server.
    Send(Rc<Sip>),
    /// Is woken with this token after so many microseconds.
    Wake {
        /// The delay in microseconds.
        micros: u64,
        /// Passed to [`Robot::wake`].
        token: u64,
    },
}

/// A robot's turn: when it is, and what it does in it.
pub struct Turn {
    /// Microseconds.
    pub now: u64,
    /// What the robot does, in order.
    pub deeds: Vec<Deed>,
}

impl Turn {
    /// Sends a message.
    pub fn send(&mut self, sip: Sip) {
        self.resend(&Rc::new(sip));
    }

    /// Sends a message that is kept for retransmission.
    pub fn resend(&mut self, sip: &Rc<Sip>) {
        self.deeds.push(Deed::Send(Rc::clone(sip)));
    }

    /// Calls [`Robot::wake`] with this token after so many microseconds.
    pub fn wake(&mut self, micros: u64, token: u64) {
        self.deeds.push(Deed::Wake { micros, token });
    }
}

/// An agent that acts by itself.
pub trait Robot {
    /// A message has arrived.
    fn hear(&mut self, sip: &Rc<Sip>, turn: &mut Turn);
    /// The delay of [`Turn::wake`] is over.
    fn wake(&mut self, token: u64, turn: &mut Turn);
}

/// Sees all that the server hears and says. Panics if it should not have.
pub trait Watcher {
    /// A message of this agent has reached the core that deals with it; what that says comes next.
    fn heard(&mut self, now: u64, agent: usize, sip: &Rc<Sip>);
    /// The server sends this, to an agent or to nobody; whether its transport takes it; because of which message, if it
    /// was no timer.
    fn sent(&mut self, now: u64, agent: Option<usize>, sip: &Rc<Sip>, taken: bool, cause: Option<&Cause>);
    /// The cores have done all there is to do at this step.
    fn settled(&mut self, now: u64);
}
