//! The tasks at the trunks: one worker registers this server there and asks whether they respond. Must not decide when.

use std::time::Duration;

use parser::{Message, Uri};

use super::Core;
use crate::ask::{Answer, Continuation, Question, Resume};
use crate::clock::{Instant, Now};
use crate::context::Context;
use crate::event::{Drop, Event, TrunkTask};
use crate::forward::NotifyId;
use crate::hop::{Hop, Name};
use crate::outbox::Outbox;
use crate::registration_client::{TaskEvent, TrunkClient};
use crate::resolution::Resolution;
use crate::route::next_hop_of;
use crate::settings::Settings;
use crate::target::NextHop;
use crate::timer_queue::Timer;

use location::Flow;

/// The worker that carries out the tasks.
const WORKER: u8 = 0;

/// The tasks of all trunks.
#[derive(Debug, Default)]
pub(super) struct TrunkClients {
    all: Vec<Task>,
    next: u64,
}

#[derive(Debug)]
struct Task {
    /// For its timer.
    key: u64,
    client: TrunkClient,
    /// The configuration has it no longer: it ends its registration.
    is_removed: bool,
}

impl Core {
    /// Takes over the trunks of new settings.
    pub(super) fn update_trunks(&mut self) {
        if self.worker != WORKER {
            return;
        }
        let settings = &self.settings;
        let wanted = settings.trunks.all.iter().flat_map(|trunk| {
            let register = (trunk.registers && trunk.login.is_some()).then_some(TrunkTask::Register);
            let probe = trunk.probe.map(|_| TrunkTask::Probe);
            register.into_iter().chain(probe).map(move |task| (trunk, task))
        });
        let wanted: Vec<_> = wanted.collect();
        let TrunkClients { all, next } = &mut self.trunk_clients;
        for task in all.iter_mut().filter(|task| !task.is_removed) {
            if !wanted.iter().any(|(trunk, kind)| task.client.is_for(trunk, *kind)) {
                task.is_removed = true;
                settings.trunks.health.forget(&task.client.trunk().name, task.client.task());
                task.client.arm_now(Timer::Trunk(task.key), &mut self.timers);
            }
        }
        for (trunk, kind) in wanted {
            if all.iter().any(|task| !task.is_removed && task.client.is_for(trunk, kind)) {
                continue;
            }
            *next += 1;
            let mut client = TrunkClient::new(trunk.clone(), kind, &self.mac);
            client.arm_now(Timer::Trunk(*next), &mut self.timers);
            // It is used for calls only after it has registered, unless there is no other.
            if kind == TrunkTask::Register {
                settings.trunks.health.begin(&trunk.name, kind);
            }
            all.push(Task { key: *next, client, is_removed: false });
        }
    }

    /// Ends all registrations, as the program stops. Returns whether a response is waited for.
    pub fn stop(&mut self, now: Now, outbox: &mut Outbox) -> bool {
        self.with_trunks(now, outbox, |task, context| {
            task.client.stop(context);
            None
        });
        self.is_stopping()
    }

    /// Whether a trunk has not yet confirmed the end of a registration.
    pub fn is_stopping(&self) -> bool {
        self.trunk_clients.all.iter().any(|task| task.client.is_busy())
    }

    pub(super) fn trunk_timer(&mut self, now: Now, key: u64, at: Instant, outbox: &mut Outbox) {
        let mut name = None;
        self.with_trunk(
            now,
            outbox,
            |task| task.key == key,
            |task, context| {
                if !task.client.fired(at) {
                    return None;
                }
                if std::mem::take(&mut task.is_removed) {
                    task.client.stop(context);
                    return None;
                }
                if task.client.begins(context.now.mono) {
                    let uri = Uri::parse(task.client.trunk().server.as_bytes());
                    let next_hop = uri.ok().and_then(|uri| next_hop_of(uri.sip()?, context.settings).ok());
                    match next_hop {
                        Some(NextHop::Name(host)) => name = Some(host),
                        Some(NextHop::Hop(hop)) => return task.client.resolved([hop], context),
                        None => return task.client.resolved([], context),
                    }
                    return None;
                }
                task.client.timeout(context)
            },
        );
        if let Some(name) = name {
            let resolution = Resolution::new(&name, self.settings.senders(), key);
            let question = Question::Resolve(vec![resolution]);
            outbox.ask(question, Continuation(Resume::Trunk(key, name)));
        }
    }

    pub(super) fn trunk_resolved(&mut self, now: Now, key: u64, name: &Name, answer: Answer, outbox: &mut Outbox) {
        let endpoints = if let Answer::Resolved(endpoints) = answer { endpoints } else { Vec::new() };
        let endpoints = endpoints.into_iter().next().unwrap_or_default();
        self.with_trunk(
            now,
            outbox,
            |task| task.key == key,
            |task, context| {
                let settings = context.settings;
                let hop = |endpoint| hop_to(name, endpoint, settings);
                task.client.resolved(endpoints.iter().copied().filter_map(hop).collect::<Vec<_>>(), context)
            },
        );
    }

    pub(super) fn trunk_answered(
        &mut self,
        now: Now,
        id: NotifyId,
        response: &Message,
        source: &Flow,
        outbox: &mut Outbox,
    ) {
        let mac = self.mac;
        let is_known = self.with_trunk(
            now,
            outbox,
            |task| task.client.has_sent(id, &mac),
            |task, context| task.client.receive(response, source, context),
        );
        if !is_known {
            outbox.emit(Event::Dropped(Drop::StrayResponse));
        }
    }

    pub(super) fn trunk_undelivered(&mut self, now: Now, id: NotifyId, outbox: &mut Outbox) {
        let mac = self.mac;
        self.with_trunk(
            now,
            outbox,
            |task| task.client.has_sent(id, &mac),
            |task, context| task.client.undelivered(context),
        );
    }

    /// Whether the timer of a task is armed for this moment.
    pub(super) fn has_trunk_timer(clients: &TrunkClients, key: u64, at: Instant) -> bool {
        clients.all.iter().any(|task| task.key == key && task.client.is_armed(at))
    }

    /// Calls a method of one task. False if there is no such task.
    fn with_trunk(
        &mut self,
        now: Now,
        outbox: &mut Outbox,
        which: impl Fn(&Task) -> bool,
        call: impl FnOnce(&mut Task, &mut Context<'_>) -> Option<TaskEvent>,
    ) -> bool {
        let mut call = Some(call);
        let mut found = false;
        self.with_trunks(now, outbox, |task, context| {
            let call = call.take_if(|_| which(task))?;
            found = true;
            call(task, context)
        });
        found
    }

    fn with_trunks(
        &mut self,
        now: Now,
        outbox: &mut Outbox,
        mut call: impl FnMut(&mut Task, &mut Context<'_>) -> Option<TaskEvent>,
    ) {
        let mut clients = std::mem::take(&mut self.trunk_clients);
        let health = std::sync::Arc::clone(&self.settings.trunks.health);
        let (_, mut context) = self.split(now, outbox);
        for task in &mut clients.all {
            if let Some(event) = call(task, &mut context) {
                note(task, event, &health, &mut context);
            }
            task.client.arm(Timer::Trunk(task.key), &mut context);
        }
        clients.all.retain(|task| !task.client.has_ended());
        self.trunk_clients = clients;
    }
}

/// Notes what happened; only a change is an event.
fn note(task: &Task, event: TaskEvent, health: &crate::settings::TrunkHealth, context: &mut Context<'_>) {
    let (trunk, kind, until) = (task.client.trunk(), task.client.task(), task.client.registered_until());
    let status = match event {
        TaskEvent::Works => None,
        TaskEvent::Fails(status) => Some(status),
    };
    let now = context.now;
    let until = until.map(|until| now.wall.plus_millis(millis(until.since(now.mono))));
    let (is_new, task) = (health.set((&trunk.name, kind), status, until, now.wall), kind);
    // The first failure to register is no change of the state.
    if is_new || (status.is_some() && task == TrunkTask::Register) {
        context.outbox.emit(Event::Trunk { trunk: trunk.name.clone(), task, status });
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn hop_to(name: &Name, endpoint: crate::hop::Endpoint, settings: &Settings) -> Option<Hop> {
    let local = settings.local_for(endpoint.transport, endpoint.address.ip())?;
    Some(Hop::to_endpoint(name, endpoint, local))
}
