//! A simulation: real `proxy::Core`s and a real store, with a simulated clock and network.
//!
//! A scenario reads like a script: `alice.sends(..)`, `bob.expects("INVITE")`. The clock advances only while the script
//! waits or expects a message, and nothing sleeps. All random numbers come from one seed, so a failure can be repeated.
//!
//! When a [`Simulation`] is dropped, it first runs until no timer is set and nothing is on its way. The scenario fails
//! if a core then still holds a transaction or a pin.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use parser::Transport;
use proxy::{CallInProgress, CallRecord, Event, Keys, Load, Query, Records, Settings};

use crate::agent::Agent;
use crate::behaviour::Observer;
use crate::fault::{Fault, StoreState};
use crate::ladder;
use crate::net::{Impairments, InFlight, NodeMessage, Wire};
use crate::settings::{DOMAIN, default_settings};
use crate::state::{Endpoint, State};

/// Longer than a core keeps any state after the last message.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);

/// The cores, the store, the clock, the network and the agents.
pub struct Simulation {
    state: Rc<RefCell<State>>,
    /// Set after a failure: the state of the cores is not checked at the end.
    final_check_skipped: Cell<bool>,
}

impl Simulation {
    /// One worker, no authentication, an unimpaired network.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// One worker with these settings changed.
    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::build(1, 1, change)
    }

    /// Several workers with the same address and store.
    pub fn with_workers(workers: u8, change: impl FnOnce(&mut Settings)) -> Self {
        Self::build(workers, 1, change)
    }

    /// All random numbers come from `seed`.
    pub fn build(workers: u8, seed: u64, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = default_settings();
        change(&mut settings);
        let state = Rc::new(RefCell::new(State::new(settings, workers, seed)));
        Self { state, final_check_skipped: Cell::new(false) }
    }

    /// Several nodes with the addresses `at(1)`, `at(2)` and so on over one store. An agent reaches the first one, or that
    /// of [`Agent::reaches_node`].
    pub fn with_nodes(nodes: usize, change: impl FnOnce(&mut Settings)) -> Self {
        let sim = Self::build(1, 1, change);
        sim.state.borrow_mut().become_cluster(nodes, 1);
        sim
    }

    /// Ends a node without notice. The others take it for alive until its lease ends.
    pub fn kill_node(&self, index: usize) {
        self.state.borrow_mut().kill_node(index);
    }

    /// From now on the others take a node for dead.
    pub fn lose_lease(&self, index: usize) {
        self.state.borrow_mut().set_lease(index, false);
    }

    /// From now on the others take a node for alive, in the same run.
    pub fn regain_lease(&self, index: usize) {
        self.state.borrow_mut().set_lease(index, true);
    }

    /// Starts a node again, as a new run.
    pub fn start_node(&self, index: usize) {
        self.state.borrow_mut().start_node(index);
    }

    /// From now on nothing that one node sends reaches the other.
    pub fn cut(&self, from: usize, to: usize) {
        self.state.borrow_mut().cluster.as_mut().expect("nodes").cut.insert((from, to));
    }

    /// From now on what one node sends reaches the other again.
    pub fn mend(&self, from: usize, to: usize) {
        self.state.borrow_mut().cluster.as_mut().expect("nodes").cut.remove(&(from, to));
    }

    /// A node sees the changes of others after this time.
    pub fn changes_take(&self, time: Duration) {
        self.state.borrow_mut().cluster.as_mut().expect("nodes").visible_after = micros(time);
    }

    /// What nodes have sent each other since the last call.
    pub fn between_nodes(&self) -> Vec<NodeMessage> {
        std::mem::take(&mut self.state.borrow_mut().cluster.as_mut().expect("nodes").sent)
    }

    /// Gives all nodes these keys.
    pub fn set_keys(&self, keys: Keys) {
        self.state.borrow_mut().set_keys(keys);
    }

    /// Agents that are added from now on are in this network.
    pub fn use_network(&self, network: [u8; 3]) {
        self.state.borrow_mut().network = network;
    }

    /// A phone on UDP with its own address. The name is the user; several phones of a user have names like `bob/desk`.
    pub fn udp(&self, name: &str) -> Agent {
        self.agent(name, Transport::Udp)
    }

    /// A phone on TCP. It listens, and it connects when it sends a request.
    pub fn tcp(&self, name: &str) -> Agent {
        self.agent(name, Transport::Tcp)
    }

    /// A phone on TLS with a `sips:` Contact. The settings must have a listener for it.
    pub fn tls(&self, name: &str) -> Agent {
        self.agent(name, Transport::Tls)
    }

    /// A WebSocket client, which only its own connection leads to. The settings must have a listener for it.
    pub fn wss(&self, name: &str) -> Agent {
        let user = name.split('/').next().unwrap_or_default();
        let agent = self.agent(name, Transport::Wss);
        let host = agent.id();
        agent.named(&format!("sip:{user}@host{host}.invalid;transport=ws"))
    }

    fn agent(&self, name: &str, transport: Transport) -> Agent {
        let id = self.state.borrow_mut().add_agent(name, transport);
        Agent::new(Rc::clone(&self.state), id, name, transport)
    }

    /// Advances the clock.
    pub fn wait(&self, time: Duration) {
        self.state.borrow_mut().run(time);
    }

    /// Advances the clock by so many seconds.
    pub fn seconds(&self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    /// Advances the clock by so many milliseconds.
    pub fn millis(&self, millis: u64) {
        self.wait(Duration::from_millis(millis));
    }

    /// The time since the beginning.
    pub fn elapsed(&self) -> Duration {
        Duration::from_micros(self.state.borrow().now)
    }

    /// How the network treats datagrams from now on.
    pub fn impair(&self, impair: Impairments) {
        self.state.borrow_mut().net.impair = impair;
    }

    /// Adds a name to the simulated DNS.
    pub fn dns(&self, name: &str, addresses: &[SocketAddr]) {
        let addresses = addresses.iter().map(SocketAddr::ip).collect();
        self.dns_records(Query::Addresses(name.into()), Records::Addresses(addresses));
    }

    /// Adds records to the simulated DNS.
    pub fn dns_records(&self, query: Query, records: Records) {
        self.state.borrow_mut().dns.set(query, records);
    }

    /// Each answer of DNS takes a random time, at most this.
    pub fn dns_takes(&self, longest: Duration) {
        self.state.borrow_mut().dns.longest = micros(longest);
    }

    /// How the store behaves from now on, and how many milliseconds it and DNS take to answer.
    pub fn store(&self, store_state: StoreState, millis: u64) {
        let mut state = self.state.borrow_mut();
        state.store_state = store_state;
        state.answer_delay = 1000 * millis;
    }

    /// What is registered for a user.
    pub fn registered(&self, aor: &location::Aor) -> Option<location::Record> {
        location::Store::load(&self.state.borrow().store, aor)
    }

    /// Changes the settings as SIGHUP does.
    pub fn reconfigure(&self, change: impl FnOnce(&mut Settings)) {
        self.state.borrow_mut().reconfigure(change);
    }

    /// Removes a phone of a user, as an administrator can.
    pub fn remove(&self, user: &str, contact: &str) {
        self.state.borrow_mut().remove(user, contact);
    }

    /// How many such events there were since the last call for them.
    pub fn count_events(&self, which: impl Fn(&Event) -> bool) -> usize {
        let mut state = self.state.borrow_mut();
        let before = state.events.len();
        state.events.retain(|event| !which(event));
        before - state.events.len()
    }

    /// The calls in progress.
    pub fn calls(&self) -> Vec<CallInProgress> {
        self.state.borrow().call_tables().into_iter().flat_map(|table| table.all()).collect()
    }

    /// The calls in progress of a user of the office.
    pub fn calls_of(&self, user: &str) -> Vec<CallInProgress> {
        let user = location::Aor::new(user.as_bytes(), DOMAIN.as_bytes());
        let state = self.state.borrow();
        state.call_tables().into_iter().flat_map(|table| table.of_user(&user, usize::MAX)).collect()
    }

    /// The records of the calls that have ended since this was last asked, in the order in which they did.
    pub fn records(&self) -> Vec<CallRecord> {
        let (mut state, mut records) = (self.state.borrow_mut(), Vec::new());
        state.events.retain(|event| match event {
            Event::CallEnded(record) => {
                records.push((**record).clone());
                false
            }
            _ => true,
        });
        records
    }

    /// Does what the server does every few seconds with the calls whose end no message reports.
    pub fn sweep_calls(&self) {
        self.state.borrow_mut().sweep_calls();
    }

    /// How much state the core of a worker holds.
    pub fn load(&self, worker: usize) -> Load {
        self.state.borrow().cores[worker].load()
    }

    /// Messages between workers arrive after this time.
    pub fn core_messages_take(&self, time: Duration) {
        self.state.borrow_mut().core_messages = micros(time);
    }

    /// A change of a registration becomes durable after this time.
    pub fn commits_take(&self, time: Duration) {
        self.state.borrow_mut().commits = micros(time);
    }

    /// Injects a fault after this time.
    pub fn inject(&self, after: Duration, fault: Fault) {
        let mut state = self.state.borrow_mut();
        let at = state.now + micros(after);
        state.net.at(at, InFlight::Fault(fault));
    }

    /// From now on this observer sees all messages.
    pub fn observe_with(&self, observer: impl Observer + 'static) {
        self.state.borrow_mut().observer = Some(Box::new(observer));
    }

    /// Removes all behaviours.
    pub fn stop_agents(&self) {
        self.state.borrow_mut().agents.iter_mut().for_each(|agent| agent.behaviour = None);
    }

    /// Does not check the state of the cores at the end.
    pub fn skip_final_check(&self) {
        self.final_check_skipped.set(true);
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
        let uri = |(user, agent): (&String, &Endpoint)| match &agent.contact {
            Some(named) => named.split(';').next().unwrap_or_default().to_owned(),
            None => format!("sip:{user}@{}", agent.address),
        };
        users.iter().zip(&state.agents).map(uri).collect()
    }

    /// The ladder diagram of the calls whose Call-ID `which` accepts.
    pub fn ladder(&self, which: impl Fn(&str) -> bool) -> String {
        let state = self.state.borrow();
        let wire = state.wire.borrow();
        let sent = wire.iter().filter(|sent| which(sent.sip.value("Call-ID")));
        ladder::draw(sent, |agent| &state.agents[agent].name)
    }

    /// All messages that were sent, now and later.
    pub fn wire(&self) -> Wire {
        Rc::clone(&self.state.borrow().wire)
    }

    /// Restarts the server: it keeps only the store and the long-lived keys.
    pub fn restart(&self) {
        self.state.borrow_mut().restart();
    }

    /// How many messages were sent.
    pub fn messages(&self) -> usize {
        self.state.borrow().wire.borrow().len()
    }

    /// Runs until no timer is set and nothing is on its way. Panics if the cores are not empty then.
    pub fn finish(&self) {
        if let Err(left) = self.run_to_end() {
            panic!("{left}\n{}", self.state.borrow().transcript());
        }
    }

    /// Like [`Simulation::finish`], but returns what is left as an error.
    pub fn run_to_end(&self) -> Result<(), String> {
        let mut state = self.state.borrow_mut();
        if !state.run_until_quiet(LONGEST_LIFE) {
            let timers: Vec<_> = state.cores.iter().map(proxy::Core::next_timeout).collect();
            let wire = state.wire.borrow();
            let last = wire.last().map(|sent| format!("at {} {}", sent.micros, sent.sip));
            let packet = state.net.next();
            return Err(format!("still busy after an hour: {packet:?}, {timers:?}, last {}", last.unwrap_or_default()));
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

impl Drop for Simulation {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.final_check_skipped.get() {
            self.finish();
        }
        // A behaviour has the agent that it acts for, which has the state, which has the behaviour.
        self.stop_agents();
    }
}

impl Default for Simulation {
    fn default() -> Self {
        Self::new()
    }
}
