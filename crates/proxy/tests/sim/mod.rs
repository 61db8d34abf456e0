//! A world for the core: real `proxy::Core`s and a real store, on a clock that jumps and a network made of paper.
//!
//! A scenario reads as a script: `alice.sends(..)`, `bob.expects("INVITE")`. Time passes only while somebody expects
//! or waits, and then at once. All chance comes from one seed, so that a scenario that fails fails again.
//!
//! When a [`World`] ends it runs on until nothing is due and nothing is on its way; a core that then still holds a
//! transaction or a pin fails the scenario.

#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code outside of test functions, shared by several test programs"
)]

mod agent;
mod digest;
mod effects;
mod ladder;
mod net;
mod settings;
mod sip;
mod state;
mod watch;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use parser::Transport;
use proxy::{Event, Load, Settings};

pub(crate) use agent::Agent;
pub(crate) use agent::{cseq, hop_by_hop};
pub(crate) use digest::{Login, challenge, quoted};
pub(crate) use net::{Dice, Fault, Sent, Weather, Wire};
pub(crate) use settings::{DOMAIN, KEYS, at, office, sequential};
pub(crate) use sip::{Sip, param, uri_in};
pub(crate) use state::Mood;
pub(crate) use watch::{Cause, Robot, Turn, Watcher};

use state::State;

/// Longer than anything in a core may live once nobody speaks to it any more.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);

/// Everything there is: cores, store, clock, network, agents.
pub(crate) struct World {
    state: Rc<RefCell<State>>,
    /// Something went wrong, so nothing is expected of it any more.
    given_up: Cell<bool>,
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
        let state = Rc::new(RefCell::new(State::new(settings, workers, seed)));
        Self { state, given_up: Cell::new(false) }
    }

    /// Agents that are still to come are in this network.
    pub(crate) fn is_in(&self, network: [u8; 3]) {
        self.state.borrow_mut().network = network;
    }

    /// A phone on UDP, at an address of its own. What stands after a `/` tells several phones of a user apart.
    pub(crate) fn udp(&self, name: &str) -> Agent {
        self.agent(name, Transport::Udp)
    }

    /// A phone on TCP, which listens, and connects when it has something to say.
    pub(crate) fn tcp(&self, name: &str) -> Agent {
        self.agent(name, Transport::Tcp)
    }

    /// A phone on TLS, with a `sips:` Contact; the settings need a listener for it.
    pub(crate) fn tls(&self, name: &str) -> Agent {
        self.agent(name, Transport::Tls)
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

    /// What is registered for a user.
    pub(crate) fn registered(&self, aor: &location::Aor) -> Option<location::Record> {
        location::Store::load(&self.state.borrow().store, aor)
    }

    /// New settings, as after SIGHUP.
    pub(crate) fn reconfigure(&self, change: impl FnOnce(&mut Settings)) {
        self.state.borrow_mut().reconfigure(change);
    }

    /// An operator removes a phone of a user.
    pub(crate) fn remove(&self, user: &str, contact: &str) {
        self.state.borrow_mut().remove(user, contact);
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

    /// How long letters from one worker to another are on their way.
    pub(crate) fn letters_take(&self, time: Duration) {
        self.state.borrow_mut().core_messages = micros(time);
    }

    /// How long a change of a registration takes to be safe.
    pub(crate) fn commits_take(&self, time: Duration) {
        self.state.borrow_mut().commits = micros(time);
    }

    /// This befalls the world after so long.
    pub(crate) fn befalls(&self, after: Duration, fault: Fault) {
        let mut state = self.state.borrow_mut();
        let at = state.now + micros(after);
        state.net.at(at, net::Parcel::Fault(fault));
    }

    /// From now on somebody watches.
    pub(crate) fn is_watched_by(&self, watcher: impl Watcher + 'static) {
        self.state.borrow_mut().watcher = Some(Box::new(watcher));
    }

    /// All robots leave.
    pub(crate) fn is_deserted(&self) {
        self.state.borrow_mut().agents.iter_mut().for_each(|agent| agent.robot = None);
    }

    /// Need not settle any more.
    pub(crate) fn give_up(&self) {
        self.given_up.set(true);
    }

    /// How many agents there are.
    pub(crate) fn agents(&self) -> usize {
        self.state.borrow().agents.len()
    }

    /// The user of each agent.
    pub(crate) fn users(&self) -> Vec<String> {
        let user = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
        self.state.borrow().agents.iter().map(|agent| user(&agent.name)).collect()
    }

    /// The Contact of each agent, without parameters.
    pub(crate) fn contacts(&self) -> Vec<String> {
        let users = self.users();
        let state = self.state.borrow();
        users.iter().zip(&state.agents).map(|(user, agent)| format!("sip:{user}@{}", agent.address)).collect()
    }

    /// All that was ever sent in the calls that `which` picks by their Call-ID, and how many messages that are.
    pub(crate) fn ladder(&self, which: impl Fn(&str) -> bool) -> String {
        let state = self.state.borrow();
        let wire = state.wire.borrow();
        let sent = wire.iter().filter(|sent| which(sent.sip.value("Call-ID")));
        ladder::draw(sent, |agent| &state.agents[agent].name)
    }

    /// Everything on the wire, now and later.
    pub(crate) fn wire(&self) -> Wire {
        Rc::clone(&self.state.borrow().wire)
    }

    /// The program ends and starts again: nothing is kept but the store and the long-lived keys.
    pub(crate) fn restart(&self) {
        self.state.borrow_mut().restart();
    }

    /// How many messages were sent.
    pub(crate) fn messages(&self) -> usize {
        self.state.borrow().wire.borrow().len()
    }

    /// Runs on until nothing is due and nothing is on its way; then the cores must be empty.
    pub(crate) fn settle(&self) {
        if let Err(left) = self.settled() {
            panic!("{left}\n{}", self.state.borrow().transcript());
        }
    }

    /// The same; what is left, if anything is.
    pub(crate) fn settled(&self) -> Result<(), String> {
        let mut state = self.state.borrow_mut();
        if !state.run_until_quiet(LONGEST_LIFE) {
            return Err("still busy after an hour".to_owned());
        }
        let load = |core: &proxy::Core| Load { nonces: 0, moved_dialogs: 0, ..core.load() };
        match state.cores.iter().map(load).find(|load| *load != Load::default()) {
            Some(load) => Err(format!("a worker is left with {load:?}")),
            None => Ok(()),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.given_up.get() {
            self.settle();
        }
    }
}
