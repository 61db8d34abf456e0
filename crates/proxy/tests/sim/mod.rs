//! A world for the core: real `proxy::Core`s and a real store, on a clock that jumps and a network made of paper.
//!
//! A scenario reads as a script: `alice.sends(..)`, `bob.expects("INVITE")`. Time passes only while somebody expects
//! or waits, and then at once. All chance comes from one seed, so that a scenario that fails fails again.
//!
//! When a [`World`] ends it runs on until nothing is due and nothing is on its way; a core that then still holds a
//! transaction or a pin fails the scenario.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code outside of test functions, shared by several test programs"
)]

mod agent;
mod digest;
mod net;
mod robots;
mod settings;
mod sip;
mod state;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use parser::Transport;
use proxy::{Event, Load, Settings};

pub(crate) use agent::Agent;
pub(crate) use digest::{Login, challenge, quoted};
pub(crate) use net::{Sent, Weather};
pub(crate) use robots::{Ending, Habits, Storm};
pub(crate) use settings::{DOMAIN, KEYS, at, office, sequential};
pub(crate) use sip::{Sip, param, uri_in};
pub(crate) use state::Mood;

use state::State;

/// Longer than anything in a core may live once nobody speaks to it any more.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);

/// Everything there is: cores, store, clock, network, agents.
pub(crate) struct World {
    state: Rc<RefCell<State>>,
}

impl World {
    /// One worker, no authentication, fair weather.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// One worker with these settings changed.
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::build(1, 1, change)
    }

    /// Several workers on the same address and store.
    pub(crate) fn with_workers(workers: u8, change: impl FnOnce(&mut Settings)) -> Self {
        Self::build(workers, 1, change)
    }

    /// All chance of this world comes from `seed`.
    pub(crate) fn build(workers: u8, seed: u64, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = office();
        change(&mut settings);
        Self { state: Rc::new(RefCell::new(State::new(settings, workers, seed))) }
    }

    /// A phone on UDP, at an address of its own. What stands after a `/` tells several phones of a user apart.
    pub(crate) fn udp(&self, name: &str) -> Agent {
        self.agent(name, Transport::Udp)
    }

    /// A phone on TCP, which listens, and connects when it has something to say.
    pub(crate) fn tcp(&self, name: &str) -> Agent {
        self.agent(name, Transport::Tcp)
    }

    fn agent(&self, name: &str, transport: Transport) -> Agent {
        let id = self.state.borrow_mut().add_agent(name, transport);
        Agent::new(Rc::clone(&self.state), id, name, transport)
    }

    /// Lets time pass.
    pub(crate) fn wait(&self, time: Duration) {
        self.state.borrow_mut().run(time);
    }

    /// Lets this many seconds pass.
    pub(crate) fn seconds(&self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    /// Lets this many milliseconds pass.
    pub(crate) fn millis(&self, millis: u64) {
        self.wait(Duration::from_millis(millis));
    }

    /// Since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_micros(self.state.borrow().now)
    }

    pub(crate) fn weather(&self, weather: Weather) {
        self.state.borrow_mut().net.weather = weather;
    }

    /// What DNS knows of a name.
    pub(crate) fn dns(&self, name: &str, addresses: &[SocketAddr]) {
        self.state.borrow_mut().names.insert(name.to_owned(), addresses.to_vec());
    }

    /// How the store behaves from now on, and how many milliseconds it takes.
    pub(crate) fn store(&self, mood: Mood, millis: u64) {
        let mut state = self.state.borrow_mut();
        state.store_mood = mood;
        state.patience = 1000 * millis;
    }

    /// New settings, as after SIGHUP.
    pub(crate) fn reconfigure(&self, change: impl FnOnce(&mut Settings)) {
        self.state.borrow_mut().reconfigure(change);
    }

    /// How many such events there were since the last question.
    pub(crate) fn saw(&self, which: impl Fn(&Event) -> bool) -> usize {
        let mut state = self.state.borrow_mut();
        let before = state.events.len();
        state.events.retain(|event| !which(event));
        before - state.events.len()
    }

    /// What the core of a worker holds.
    pub(crate) fn load(&self, worker: usize) -> Load {
        self.state.borrow().cores[worker].load()
    }

    /// All that was ever sent, before the weather had its turn.
    pub(crate) fn wire(&self) -> Vec<Sent> {
        self.state.borrow().wire.clone()
    }

    /// Runs on until nothing is due and nothing is on its way; then the cores must be empty.
    pub(crate) fn settle(&self) {
        let mut state = self.state.borrow_mut();
        assert!(state.run_until_quiet(LONGEST_LIFE), "still busy after an hour\n{}", state.transcript());
        for (worker, core) in state.cores.iter().enumerate() {
            let load = Load { nonces: 0, ..core.load() };
            assert_eq!(load, Load::default(), "left in worker {worker}\n{}", state.transcript());
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.settle();
        }
    }
}
