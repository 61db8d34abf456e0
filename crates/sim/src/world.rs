//! A world for the core: real `proxy::Core`s and a real store, on a clock that jumps and a network made of paper.
//!
//! A scenario reads as a script: `alice.sends(..)`, `bob.expects("INVITE")`. Time passes only while somebody expects
//! or waits, and then at once. All chance comes from one seed, so that a scenario that fails fails again.
//!
//! When a [`World`] ends it runs on until nothing is due and nothing is on its way; a core that then still holds a
//! transaction or a pin fails the scenario.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use parser::Transport;
use proxy::{Event, Load, Settings};

use crate::agent::Agent;
use crate::ladder;
use crate::net::{Fault, Parcel, Weather, Wire};
use crate::settings::office;
use crate::state::{Mood, State};
use crate::watch::Watcher;

/// Longer than anything in a core may live once nobody speaks to it any more.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);

/// Everything there is: cores, store, clock, network, agents.
pub struct World {
    state: Rc<RefCell<State>>,
    /// Something went wrong, so nothing is expected of it any more.
    given_up: Cell<bool>,
}

impl World {
    /// One worker, no authentication, fair weather.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// One worker with these settings changed.
    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::build(1, 1, change)
    }

    /// Several workers on the same address and store.
    pub fn with_workers(workers: u8, change: impl FnOnce(&mut Settings)) -> Self {
        Self::build(workers, 1, change)
    }

    /// All chance of this world comes from `seed`.
    pub fn build(workers: u8, seed: u64, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = office();
        change(&mut settings);
        let state = Rc::new(RefCell::new(State::new(settings, workers, seed)));
        Self { state, given_up: Cell::new(false) }
    }

    /// Agents that are still to come are in this network.
    pub fn is_in(&self, network: [u8; 3]) {
        self.state.borrow_mut().network = network;
    }

    /// A phone on UDP, at an address of its own. What stands after a `/` tells several phones of a user apart.
    pub fn udp(&self, name: &str) -> Agent {
        self.agent(name, Transport::Udp)
    }

    /// A phone on TCP, which listens, and connects when it has something to say.
    pub fn tcp(&self, name: &str) -> Agent {
        self.agent(name, Transport::Tcp)
    }

    /// A phone on TLS, with a `sips:` Contact; the settings need a listener for it.
    pub fn tls(&self, name: &str) -> Agent {
        self.agent(name, Transport::Tls)
    }

    fn agent(&self, name: &str, transport: Transport) -> Agent {
        let id = self.state.borrow_mut().add_agent(name, transport);
        Agent::new(Rc::clone(&self.state), id, name, transport)
    }

    /// Lets time pass.
    pub fn wait(&self, time: Duration) {
        self.state.borrow_mut().run(time);
    }

    /// Lets this many seconds pass.
    pub fn seconds(&self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    /// Lets this many milliseconds pass.
    pub fn millis(&self, millis: u64) {
        self.wait(Duration::from_millis(millis));
    }

    /// Since the beginning.
    pub fn elapsed(&self) -> Duration {
        Duration::from_micros(self.state.borrow().now)
    }

    /// How the network treats datagrams from now on.
    pub fn weather(&self, weather: Weather) {
        self.state.borrow_mut().net.weather = weather;
    }

    /// What DNS knows of a name.
    pub fn dns(&self, name: &str, addresses: &[SocketAddr]) {
        self.state.borrow_mut().names.insert(name.to_owned(), addresses.to_vec());
    }

    /// How the store behaves from now on, and how many milliseconds it takes.
    pub fn store(&self, mood: Mood, millis: u64) {
        let mut state = self.state.borrow_mut();
        state.store_mood = mood;
        state.patience = 1000 * millis;
    }

    /// What is registered for a user.
    pub fn registered(&self, aor: &location::Aor) -> Option<location::Record> {
        location::Store::load(&self.state.borrow().store, aor)
    }

    /// New settings, as after SIGHUP.
    pub fn reconfigure(&self, change: impl FnOnce(&mut Settings)) {
        self.state.borrow_mut().reconfigure(change);
    }

    /// An operator removes a phone of a user.
    pub fn remove(&self, user: &str, contact: &str) {
        self.state.borrow_mut().remove(user, contact);
    }

    /// How many such events there were since the last question.
    pub fn saw(&self, which: impl Fn(&Event) -> bool) -> usize {
        let mut state = self.state.borrow_mut();
        let before = state.events.len();
        state.events.retain(|event| !which(event));
        before - state.events.len()
    }

    /// What the core of a worker holds.
    pub fn load(&self, worker: usize) -> Load {
        self.state.borrow().cores[worker].load()
    }

    /// How long letters from one worker to another are on their way.
    pub fn letters_take(&self, time: Duration) {
        self.state.borrow_mut().core_messages = micros(time);
    }

    /// How long a change of a registration takes to be safe.
    pub fn commits_take(&self, time: Duration) {
        self.state.borrow_mut().commits = micros(time);
    }

    /// This befalls the world after so long.
    pub fn befalls(&self, after: Duration, fault: Fault) {
        let mut state = self.state.borrow_mut();
        let at = state.now + micros(after);
        state.net.at(at, Parcel::Fault(fault));
    }

    /// From now on somebody watches.
    pub fn is_watched_by(&self, watcher: impl Watcher + 'static) {
        self.state.borrow_mut().watcher = Some(Box::new(watcher));
    }

    /// All robots leave.
    pub fn is_deserted(&self) {
        self.state.borrow_mut().agents.iter_mut().for_each(|agent| agent.robot = None);
    }

    /// Need not settle any more.
    pub fn give_up(&self) {
        self.given_up.set(true);
    }

    /// How many agents there are.
    pub fn agents(&self) -> usize {
        self.state.borrow().agents.len()
    }

    /// The user of each agent.
    pub fn users(&self) -> Vec<String> {
        let user = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
        self.state.borrow().agents.iter().map(|agent| user(&agent.name)).collect()
    }

    /// The Contact of each agent, without parameters.
    pub fn contacts(&self) -> Vec<String> {
        let users = self.users();
        let state = self.state.borrow();
        users.iter().zip(&state.agents).map(|(user, agent)| format!("sip:{user}@{}", agent.address)).collect()
    }

    /// All that was ever sent in the calls that `which` picks by their Call-ID, and how many messages that are.
    pub fn ladder(&self, which: impl Fn(&str) -> bool) -> String {
        let state = self.state.borrow();
        let wire = state.wire.borrow();
        let sent = wire.iter().filter(|sent| which(sent.sip.value("Call-ID")));
        ladder::draw(sent, |agent| &state.agents[agent].name)
    }

    /// Everything on the wire, now and later.
    pub fn wire(&self) -> Wire {
        Rc::clone(&self.state.borrow().wire)
    }

    /// The program ends and starts again: nothing is kept but the store and the long-lived keys.
    pub fn restart(&self) {
        self.state.borrow_mut().restart();
    }

    /// How many messages were sent.
    pub fn messages(&self) -> usize {
        self.state.borrow().wire.borrow().len()
    }

    /// Runs on until nothing is due and nothing is on its way; then the cores must be empty.
    pub fn settle(&self) {
        if let Err(left) = self.settled() {
            panic!("{left}\n{}", self.state.borrow().transcript());
        }
    }

    /// The same; what is left, if anything is.
    pub fn settled(&self) -> Result<(), String> {
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
