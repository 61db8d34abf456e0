//! The core: its state, and the methods that the driver calls.
//!
//! Each worker owns one core. Cores share only the settings, the list of open connections and the index of
//! subscribers. The core calls all other modules of this crate, and none of them calls it.

mod acknowledge;
mod admit;
mod alias;
mod calls;
mod cancel;
pub(crate) mod contact;
mod dispatch;
mod emergency;
pub(crate) mod explain;
mod from_node;
pub(crate) mod in_dialog;
mod large_ack;
mod late_registration;
mod node_calls;
mod node_pickup;
mod notifier;
mod pickup;
mod register;
mod respond;
mod responses;
mod send;
mod targets;
mod trunks;

use std::sync::Arc;

use location::Flow;
use parser::Rewrite;

use crate::ask::{Answer, Continuation};
use crate::auth::Authenticator;
use crate::call_writer::Calls;
use crate::calls::CallTable;
use crate::clock::{Instant, Now};
use crate::connections::Connections;
use crate::context::Context;
use crate::dialog::MovedSides;
use crate::event::{Drop, Event};
use crate::mac::Mac;
use crate::node_calls::{Exchange, Finds};
use crate::notifier::Subscriptions;
use crate::outbox::{CoreMessage, Outbox};
use crate::pin::Pins;
use crate::registrar::DateText;
use crate::request::{ContentHasher, Received, RequestMemory, TransactionKey};
use crate::response_context::ResponseContexts;
use crate::route::{Gruus, Search};
use crate::settings::{Keys, Settings};
use crate::subscriber_index::SubscriberIndex;
use crate::timer_queue::{Timer, TimerQueue};
use crate::unreachable::Unreachable;
use crate::waiting::Waiting;

use trunks::TrunkClients;

/// The registrar and proxy of one worker.
pub struct Core {
    settings: Arc<Settings>,
    mac: Mac,
    gruus: Gruus,
    worker: u8,
    authenticator: Authenticator,
    pins: Pins,
    response_contexts: ResponseContexts,
    unreachable: Unreachable,
    waiting: Waiting,
    udp_only: Unreachable,
    moved: MovedSides,
    calls: Calls,
    connections: Arc<Connections>,
    memory: RequestMemory,
    date: DateText,
    subscriptions: Subscriptions,
    timers: TimerQueue,
    trunk_clients: TrunkClients,
    exchange: Exchange,
    finds: Finds,
    /// Searches to begin at the end of the current call of the driver.
    searches: Vec<Search>,
    rewrite: Rewrite,
}

/// How many entries a core holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Response contexts.
    pub transactions: usize,
    /// Pins of INVITEs that were forwarded without a transaction.
    pub pins: usize,
    /// Nonces in use.
    pub nonces: usize,
    /// Subscriptions to calls and registrations.
    pub subscriptions: usize,
    /// Sides of dialogs that have moved since their Record-Route token was written.
    pub moved_dialogs: usize,
}

impl Core {
    /// An empty core. `worker` is its number, which our Via branches name; `seed` is a number that differs at every
    /// start; `watched` is shared by all workers.
    pub fn new(settings: Arc<Settings>, keys: &Keys, worker: u8, seed: u64, watched: Arc<SubscriberIndex>) -> Self {
        let mac = Mac::of(keys);
        let hasher = ContentHasher::default();
        let mut this = Self {
            settings,
            mac,
            gruus: Gruus::new(keys, mac),
            worker,
            authenticator: Authenticator::new(keys, worker, hasher.clone()),
            pins: Pins::new(hasher),
            response_contexts: ResponseContexts::new(seed),
            unreachable: Unreachable::default(),
            waiting: Waiting::default(),
            udp_only: Unreachable::default(),
            moved: MovedSides::default(),
            calls: Calls::new(Arc::clone(&watched)),
            connections: Arc::default(),
            memory: RequestMemory::default(),
            date: DateText::default(),
            subscriptions: Subscriptions::new(watched),
            timers: TimerQueue::default(),
            trunk_clients: TrunkClients::default(),
            exchange: Exchange::default(),
            finds: Finds::default(),
            searches: Vec::new(),
            rewrite: Rewrite::new(),
        };
        this.update_trunks();
        this
    }

    /// The same core with the list of open connections. Without it, the core treats every connection as closed.
    #[must_use]
    pub fn with_connections(mut self, connections: Arc<Connections>) -> Self {
        self.connections = connections;
        self
    }

    /// The same core with the calls of all workers. Without it, the core knows no call.
    #[must_use]
    pub fn with_calls(mut self, calls: Arc<CallTable>) -> Self {
        self.calls.set_table(calls);
        self
    }

    /// Processes a message from the network.
    pub fn receive(&mut self, now: Now, received: Received, outbox: &mut Outbox) {
        // RFC 3261 18.2.2 would send the response to port 0.
        if received.flow.remote.port() == 0 {
            outbox.emit(Event::Dropped(Drop::Source));
        } else if received.message.is_request() {
            let request = self.memory.place(received);
            let (method, transport) = (request.method().as_str_or("other"), request.flow.transport);
            outbox.emit(Event::RequestReceived { method, transport });
            alias::note_alias(&request.message, &request.flow, outbox);
            self.dispatch_request(now, request, outbox);
        } else {
            self.dispatch_response(now, received, outbox);
        }
        self.finish_call(now, outbox);
    }

    /// Counts received bytes that are not a SIP message.
    pub fn garbage(&self, flow: &Flow, outbox: &mut Outbox) {
        outbox.emit(Event::ParseError { answered: false, flow: *flow });
        outbox.emit(Event::Dropped(Drop::Garbage));
    }

    /// Processes the answer to a question of this core, or the report that one of its transmits could not be sent.
    pub fn answer(&mut self, now: Now, parked: Continuation, answer: Answer, outbox: &mut Outbox) {
        self.dispatch_answer(now, parked, answer, outbox);
        self.finish_call(now, outbox);
    }

    /// Processes a message from the core of another worker.
    pub fn deliver(&mut self, now: Now, core_message: CoreMessage, outbox: &mut Outbox) {
        match core_message {
            CoreMessage::Request(received) => {
                let request = self.memory.place(*received);
                self.dispatch_request(now, request, outbox);
            }
            CoreMessage::Response(received) => self.dispatch_response(now, *received, outbox),
            CoreMessage::PhoneRegistered(aor) => self.phone_registered(aor, outbox),
            CoreMessage::DialogMoved { side, moved } => self.dialog_moved(side, moved, outbox),
            CoreMessage::RegistrationChanged(aor) => self.registration_changed(now, &aor, outbox),
            CoreMessage::ResponsePassed { key, response, to_tag } => {
                self.response_passed(now, TransactionKey(key), (response, &to_tag), outbox)
            }
            CoreMessage::CallsChanged { user, ended } => self.calls_changed(now, &user, ended.as_deref(), outbox),
            core_message @ (CoreMessage::CallOfNode { .. }
            | CoreMessage::NodeWatches(_)
            | CoreMessage::WatchAtNodes
            | CoreMessage::NodesChanged) => self.publish_to_nodes(now, core_message, outbox),
            CoreMessage::FoundAtNode(answer) => self.question_answered(now, *answer, outbox),
            CoreMessage::SweepCalls => self.sweep_calls(now, outbox),
        }
        self.finish_call(now, outbox);
    }

    /// Fires the timers that are due. To be called at [`Core::next_timeout`]; an early or late call is harmless.
    pub fn timeout(&mut self, now: Now, outbox: &mut Outbox) {
        // A timer that becomes due only by this loop is left to the next call, so that no owner can delay the others.
        for _ in 0..self.timers.len() {
            let Some((at, timer)) = self.timers.pop_due(now.mono) else { break };
            match timer {
                Timer::ResponseContext(id) => {
                    let (response_contexts, mut context) = self.split(now, outbox);
                    response_contexts.timeout(id, at, &mut context);
                }
                Timer::Pin(key) => {
                    if let Some(ended) = self.pins.timeout(key, at, now.mono, &mut self.timers) {
                        self.call_unanswered(now, ended, outbox);
                    }
                }
                Timer::Subscription(id) => {
                    let (subscriptions, mut context) = self.notifier(now, outbox);
                    subscriptions.timeout(id, at, &mut context);
                }
                Timer::Trunk(key) => self.trunk_timer(now, key, at, outbox),
                Timer::Nodes => self.nodes_timer(now, at, outbox),
                Timer::Find(number) => self.find_timeout(now, number, at, outbox),
            }
        }
        self.finish_call(now, outbox);
        self.bound_timers();
    }

    /// Continues what the methods above have begun, before they return to the driver.
    fn finish_call(&mut self, now: Now, outbox: &mut Outbox) {
        self.begin_searches(now, outbox);
        if self.calls.has_changed() {
            self.announce_calls(now, outbox);
            self.tell_passed(now, outbox);
        }
    }

    /// When [`Core::timeout`] has to be called next.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Removes the stale timers if there are many: a flood of requests whose pins are evicted leaves one for each.
    fn bound_timers(&mut self) {
        let (pins, response_contexts, subscriptions) = (&self.pins, &self.response_contexts, &self.subscriptions);
        let (trunk_clients, exchange, finds) = (&self.trunk_clients, &self.exchange, &self.finds);
        if self.timers.is_crowded(pins.len() + response_contexts.len() + subscriptions.len()) {
            self.timers.retain(|at, timer| match timer {
                Timer::ResponseContext(id) => response_contexts.is_armed(id, at),
                Timer::Pin(key) => pins.is_armed(key, at),
                Timer::Subscription(id) => subscriptions.is_armed(id, at),
                Timer::Trunk(key) => Self::has_trunk_timer(trunk_clients, key, at),
                Timer::Nodes => exchange.is_armed(at),
                Timer::Find(number) => finds.is_armed(number, at),
            });
        }
    }

    /// Replaces the settings for new requests; response contexts keep the settings that they started with.
    pub fn reconfigure(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
        self.subscriptions.on_new_settings(&mut self.timers);
        self.update_trunks();
    }

    /// Replaces the keys that outlive this run. Nonces keep theirs.
    pub fn set_keys(&mut self, keys: &Keys) {
        self.mac = self.mac.with_keys(keys);
        self.gruus = Gruus::new(keys, self.mac);
    }

    /// How many entries the core holds.
    pub fn load(&self) -> Load {
        let (transactions, pins, nonces) = (self.response_contexts.len(), self.pins.len(), self.authenticator.nonces());
        let (subscriptions, moved_dialogs) = (self.subscriptions.len(), self.moved.len());
        Load { transactions, pins, nonces, subscriptions, moved_dialogs }
    }

    /// The response contexts, and the context for their methods.
    fn split<'a>(&'a mut self, now: Now, outbox: &'a mut Outbox) -> (&'a mut ResponseContexts, Context<'a>) {
        let (response_contexts, _, context) = self.parts(now, outbox);
        (response_contexts, context)
    }

    /// The response contexts, the subscriptions, and the context for their methods.
    fn parts<'a>(
        &'a mut self,
        now: Now,
        outbox: &'a mut Outbox,
    ) -> (&'a mut ResponseContexts, &'a mut Subscriptions, Context<'a>) {
        let context = Context {
            now,
            mac: &self.mac,
            worker: self.worker,
            settings: &self.settings,
            connections: &self.connections,
            rewrite: &mut self.rewrite,
            timers: &mut self.timers,
            unreachable: &mut self.unreachable,
            udp_only: &mut self.udp_only,
            calls: &mut self.calls,
            searches: &mut self.searches,
            outbox,
        };
        (&mut self.response_contexts, &mut self.subscriptions, context)
    }
}
