//! Subscribers to the calls of a user (RFC 4235). At the end each of them must know the calls that the server knows, or all
//! nodes.
//!
//! Only in seeds without authentication, where the From is enough.

use std::cell::RefCell;
use std::rc::Rc;

use location::Aor;

use crate::judge::{enforce, must};
use crate::{Agent, Behaviour, DOMAIN, DialogView, Reaction, Simulation, Sip};

/// A caller, a user with several phones, and one with a single phone.
const WATCHED: [&str; 3] = ["alice", "bob", "carol"];

/// Seconds: longer than the longest call lasts, and shorter than the longest life of a trial. The last NOTIFY comes then.
const EXPIRES: u64 = 2400;

/// A subscriber.
pub(super) struct Watcher {
    agent: Agent,
    user: Aor,
    view: Rc<RefCell<DialogView>>,
}

/// What it does.
struct Answering {
    agent: Agent,
    view: Rc<RefCell<DialogView>>,
}

impl Behaviour for Answering {
    fn on_message(&mut self, sip: &Rc<Sip>, reaction: &mut Reaction) {
        if sip.what() == "NOTIFY" {
            self.view.borrow_mut().apply(sip);
            reaction.send(self.agent.answer(sip, 200));
        }
    }

    fn on_timer(&mut self, _token: u64, _reaction: &mut Reaction) {}
}

impl Watcher {
    /// The subscribers of a trial, whose first requests are on their way.
    pub(super) fn all(sim: &Simulation, workers: u8) -> Vec<Self> {
        let watchers = WATCHED.into_iter().enumerate();
        let at = |at| at % usize::from(workers);
        watchers.map(|(number, user)| Self::begin(sim, user, "watcher", at(number))).collect()
    }

    /// A subscriber with this name to the calls of a user, at a worker or node. Its first request is on its way.
    pub(super) fn begin(sim: &Simulation, user: &str, name: &str, worker: usize) -> Self {
        let agent = sim.udp(&format!("{user}/{name}"));
        agent.reaches_worker(worker);
        let asked = agent.request("SUBSCRIBE", &agent.aor()).with("Event", "dialog").with("Expires", EXPIRES);
        let view = Rc::new(RefCell::new(DialogView::default()));
        agent.acts_as(Answering { agent: agent.clone(), view: Rc::clone(&view) });
        // The time must not pass before the judge sees the messages of the others.
        agent.sends(&asked);
        Self { agent, user: Aor::new(user.as_bytes(), DOMAIN.as_bytes()), view }
    }

    pub(super) fn id(&self) -> usize {
        self.agent.id()
    }

    /// Whether it knows the calls of all nodes. Returns what is different.
    pub(super) fn knows_all(&self, sim: &Simulation) -> Result<(), String> {
        self.view.borrow().is_of(&self.user, &sim.calls_of(self.agent.user()))
    }

    /// Checks what it knows, if no NOTIFY got lost for good. Returns whether it was checked.
    pub(super) fn check(&self, sim: &Simulation) -> bool {
        let view = self.view.borrow();
        if view.has_ended {
            let calls = sim.calls_of(self.agent.user());
            enforce("a_watcher_knows_the_calls_in_the_end", "", view.is_of(&self.user, &calls));
            enforce("a_watcher_learns_of_calls", "", must(view.partial > 0 || view.last.is_empty(), String::new));
        }
        view.has_ended
    }
}
