//! Behaviours, which act for agents, and the observer, which sees all messages.

use std::rc::Rc;

use crate::sip::Sip;

/// The message that caused something, and the agent that sent it.
pub type Cause = (usize, Rc<Sip>);

/// What a behaviour does.
pub enum Action {
    /// Sends this message to the server.
    Send(Rc<Sip>),
    /// Calls [`Behaviour::on_timer`] later.
    SetTimer {
        /// The delay in microseconds.
        micros: u64,
        /// Passed to [`Behaviour::on_timer`].
        token: u64,
    },
}

/// What a behaviour does because of one message or timer.
pub struct Reaction {
    /// The time in microseconds since the beginning.
    pub now: u64,
    /// What it does, in order.
    pub actions: Vec<Action>,
}

impl Reaction {
    /// Sends a message.
    pub fn send(&mut self, sip: Sip) {
        self.resend(&Rc::new(sip));
    }

    /// Sends a message that is kept for retransmission.
    pub fn resend(&mut self, sip: &Rc<Sip>) {
        self.actions.push(Action::Send(Rc::clone(sip)));
    }

    /// Calls [`Behaviour::on_timer`] with this token after so many microseconds.
    pub fn set_timer(&mut self, micros: u64, token: u64) {
        self.actions.push(Action::SetTimer { micros, token });
    }
}

/// Acts for an agent.
pub trait Behaviour {
    /// A message has arrived.
    fn on_message(&mut self, sip: &Rc<Sip>, reaction: &mut Reaction);
    /// The delay of [`Reaction::set_timer`] is over.
    fn on_timer(&mut self, token: u64, reaction: &mut Reaction);
}

/// Sees all messages that the server receives and sends. Panics if one of them is wrong.
pub trait Observer {
    /// A message of this agent has reached the core that handles it. The messages that the core sends because of it
    /// follow.
    fn on_received(&mut self, now: u64, agent: usize, sip: &Rc<Sip>);
    /// The server sends a message, to an agent or to an address where no agent is. `taken` says whether the transport
    /// accepts it. `cause` is the message that caused it, or `None` for a timer.
    fn on_sent(&mut self, now: u64, agent: Option<usize>, sip: &Rc<Sip>, taken: bool, cause: Option<&Cause>);
    /// The transport reports that this message, which it had accepted, was not delivered.
    fn on_refused(&mut self, now: u64, sip: &Rc<Sip>);
    /// The cores have finished everything that they do in this step.
    fn on_step_end(&mut self, now: u64);
}
