//! The client side of a trunk: it registers this server there (RFC 3261 10.2), or asks it now and then whether it responds
//! (OPTIONS, RFC 3261 11).
//!
//! A state machine for each of the two tasks of a trunk, in one worker. Decides when a request is sent, to which address,
//! and what a response means. The Call-ID follows from the name of the trunk and the CSeq from the time, so that the first
//! request after a restart has the same Call-ID and a higher CSeq, and nothing has to be stored. Must not resolve names.

mod request;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use location::Flow;
use parser::headers::{Contact, Expires, MinExpires, RetryAfter};
use parser::{Message, Uri, equivalent};

use crate::auth::Answerable;
use crate::clock::Instant;
use crate::context::Context;
use crate::event::{Event, TrunkTask};
use crate::forward::NotifyId;
use crate::hop::Hop;
use crate::mac::{Mac, Purpose};
use crate::settings::{Settings, Trunk};
use crate::timer_queue::{Armed, Timer, TimerQueue};
use crate::transaction::{ClientEvent, ClientOther, TimerAction};

/// The expiry that is asked for.
const EXPIRES: u32 = 600;

/// The longest expiry that is asked for, whatever a 423 says.
const MAX_EXPIRES: u32 = 86_400;

/// The first pause after a failure; it doubles with each further one (RFC 5626 4.5).
const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_mins(30);

/// The shortest pause between two registrations, whatever expiry the trunk grants.
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);

/// A moment in the past.
const AT_ONCE: Instant = Instant::from_micros(1);

/// The highest CSeq number (RFC 3261 8.1.1.5).
const MAX_SEQUENCE: u32 = (1 << 31) - 1;

/// So often a challenge may be answered for one request; a trunk could challenge for ever.
const MAX_CHALLENGES: u8 = 2;

/// One task of a trunk.
#[derive(Debug)]
pub(crate) struct TrunkClient {
    trunk: Arc<Trunk>,
    task: TrunkTask,
    /// The same after a restart.
    call_id: u64,
    /// The CSeq number of the last request.
    sequence: u32,
    /// The addresses of the trunk that are still to be tried.
    hops: VecDeque<Hop>,
    phase: Phase,
    challenge: Option<Answerable>,
    /// Challenges answered for the current request.
    answered: u8,
    /// Whether the current attempt has asked for the expiry of a 423. A trunk could want a second more each time.
    obeyed_423: bool,
    /// The attempts that have failed since the last success.
    failures: u32,
    expires: u32,
    /// Until when the trunk has this server registered.
    registered_until: Option<Instant>,
    armed: Armed,
    /// The address of the last request.
    last_hop: Option<Hop>,
}

#[derive(Debug)]
enum Phase {
    /// The next attempt begins at this moment.
    Waiting(Instant),
    /// The addresses of the trunk are being looked up.
    Resolving,
    /// A request waits for its response.
    Sent(Box<Sent>),
    /// The server stops, or the trunk was removed.
    Ended,
}

#[derive(Debug)]
struct Sent {
    hop: Hop,
    text: Bytes,
    client: ClientOther,
    /// Whether it ends the registration.
    is_last: bool,
}

/// What happened to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskEvent {
    /// It works again, or for the first time.
    Works,
    /// It has failed; the status of the trunk, or 408 without response.
    Fails(u16),
}

impl TrunkClient {
    /// A task that begins at once.
    pub(crate) fn new(trunk: Arc<Trunk>, task: TrunkTask, mac: &Mac) -> Self {
        let call_id = mac.sign(Purpose::Notifier, &[b"trunk", trunk.name.as_bytes(), &[task as u8]]);
        Self {
            trunk,
            task,
            call_id,
            sequence: 0,
            hops: VecDeque::new(),
            phase: Phase::Waiting(AT_ONCE),
            challenge: None,
            answered: 0,
            obeyed_423: false,
            failures: 0,
            expires: EXPIRES,
            registered_until: None,
            armed: Armed::default(),
            last_hop: None,
        }
    }

    pub(crate) fn trunk(&self) -> &Arc<Trunk> {
        &self.trunk
    }

    pub(crate) const fn task(&self) -> TrunkTask {
        self.task
    }

    /// Until when the trunk has this server registered.
    pub(crate) const fn registered_until(&self) -> Option<Instant> {
        self.registered_until
    }

    /// Whether it is the same task for these settings of the trunk.
    pub(crate) fn is_for(&self, trunk: &Trunk, task: TrunkTask) -> bool {
        let own = &self.trunk;
        self.task == task
            && own.name == trunk.name
            && own.server == trunk.server
            && own.login == trunk.login
            && own.probe == trunk.probe
    }

    /// Whether a request is under way.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(&self.phase, Phase::Sent(sent) if sent.client.is_pending())
    }

    /// Whether the attempt begins now; then its addresses are needed.
    pub(crate) fn begins(&mut self, now: Instant) -> bool {
        let begins = matches!(self.phase, Phase::Waiting(at) if at <= now);
        if begins {
            self.phase = Phase::Resolving;
            (self.answered, self.obeyed_423) = (0, false);
        }
        begins
    }

    /// The addresses of the trunk, in the order in which they are tried.
    pub(crate) fn resolved(
        &mut self,
        hops: impl IntoIterator<Item = Hop>,
        context: &mut Context<'_>,
    ) -> Option<TaskEvent> {
        if !matches!(self.phase, Phase::Resolving) {
            return None;
        }
        self.hops = hops.into_iter().collect();
        self.next_address(408, None, context)
    }

    /// Tries the next address, or fails with the status of the last one.
    fn next_address(&mut self, status: u16, pause: Option<Duration>, context: &mut Context<'_>) -> Option<TaskEvent> {
        match self.hops.pop_front() {
            Some(hop) => {
                self.send(hop, false, context);
                None
            }
            None => self.failed(status, pause, context),
        }
    }

    fn send(&mut self, hop: Hop, is_last: bool, context: &mut Context<'_>) {
        let seconds = u32::try_from(context.now.wall.millis() / 1000).unwrap_or(u32::MAX);
        // RFC 3261 8.1.1.5: below 2^31.
        self.sequence = seconds.min(MAX_SEQUENCE).max(self.sequence.saturating_add(1).min(MAX_SEQUENCE));
        self.last_hop = Some(hop.clone());
        let expires = if is_last { 0 } else { self.expires };
        let id = self.id(context.mac);
        let (settings, worker) = (context.settings, context.worker);
        let cnonce = context.mac.sign(Purpose::Notifier, &[b"cnonce", &id.subscription.to_be_bytes()]);
        let parts = request::Parts {
            trunk: &self.trunk,
            task: self.task,
            call_id: self.call_id,
            sequence: self.sequence,
            expires,
            hop: &hop,
            branch: (worker, id),
            cnonce,
        };
        let challenge = self.challenge.as_mut();
        let text = context.outbox.send(&hop, true, |out| request::write(&parts, challenge, settings, out));
        let text = Bytes::copy_from_slice(text);
        let client = ClientOther::new(hop.transport.is_reliable(), &settings.timers, context.now.mono);
        self.phase = Phase::Sent(Box::new(Sent { hop, text, client, is_last }));
    }

    /// Identifies the last request in its branch. Random for others, so that only the trunk can answer it.
    fn id(&self, mac: &Mac) -> NotifyId {
        let subscription = mac.sign(Purpose::Notifier, &[&self.call_id.to_be_bytes(), &self.sequence.to_be_bytes()]);
        NotifyId { subscription, sequence: self.sequence }
    }

    /// Whether this is the branch of its last request.
    pub(crate) fn has_sent(&self, id: NotifyId, mac: &Mac) -> bool {
        matches!(self.phase, Phase::Sent(_)) && self.id(mac) == id
    }

    /// Processes a response to the last request.
    pub(crate) fn receive(
        &mut self,
        response: &Message,
        source: &Flow,
        context: &mut Context<'_>,
    ) -> Option<TaskEvent> {
        let Phase::Sent(sent) = &mut self.phase else { return None };
        let same_host = sent.hop.transport == source.transport && sent.hop.remote.ip() == source.remote.ip();
        // RFC 3261 17.1.3: the branch and the method of the CSeq identify the transaction.
        if (!same_host && !sent.hop.is_source_of(source)) || response.method() != request::method(self.task) {
            return None;
        }
        let status = response.status().unwrap_or(500);
        let (reliable, timers) = (sent.hop.transport.is_reliable(), &context.settings.timers);
        match sent.client.receive(status, reliable, timers, context.now.mono) {
            ClientEvent::Success | ClientEvent::Failure => self.answered(status, response, context),
            _ => None,
        }
    }

    fn answered(&mut self, status: u16, response: &Message, context: &mut Context<'_>) -> Option<TaskEvent> {
        let Phase::Sent(sent) = &self.phase else { return None };
        let (hop, is_last) = (sent.hop.clone(), sent.is_last);
        if matches!(status, 401 | 407) && self.may_answer(response) {
            context.outbox.emit(Event::TrunkChallenged { trunk: self.trunk.name.clone() });
            self.send(hop, is_last, context);
            return None;
        }
        if is_last {
            self.registered_until = None;
            self.phase = Phase::Ended;
            return None;
        }
        match (self.task, status) {
            // RFC 3261 11.2: any response shows that the trunk is there, unless it says that it is not.
            (TrunkTask::Probe, 200..=407 | 409..=502 | 504..) => self.works(self.interval(), context),
            (TrunkTask::Register, 200..=299) => match self.granted(response, &hop, context.settings) {
                Some(granted) => {
                    let granted_time = Duration::from_secs(granted.into());
                    self.registered_until = Some(context.now.mono + granted_time);
                    // Before the expiry, with room for a few retransmissions, and not all trunks at once.
                    let part = 70 + self.random(context.mac) % 20;
                    self.works((granted_time.saturating_mul(part) / 100).max(SHORTEST_PAUSE), context)
                }
                // Somebody else's Contact, or an expiry of 0.
                None => self.failed(status, None, context),
            },
            // RFC 3261 10.2.8
            (TrunkTask::Register, 423)
                if let Ok(Some(min)) = response.header::<MinExpires>()
                    && min.0 > self.expires
                    && min.0 <= MAX_EXPIRES
                    && !self.obeyed_423 =>
            {
                (self.expires, self.obeyed_423) = (min.0, true);
                self.send(hop, false, context);
                None
            }
            // RFC 3263 4.3
            (_, 408 | 500..=599) => self.next_address(status, retry_after(response), context),
            _ => self.failed(status, retry_after(response), context),
        }
    }

    /// Whether a challenge is answered: not again if the credentials were wrong.
    fn may_answer(&mut self, response: &Message) -> bool {
        let Some(challenge) = Answerable::of(response).filter(|_| self.trunk.login.is_some()) else { return false };
        let was_used = self.challenge.as_ref().is_some_and(|last| last.has_nonce_of(&challenge));
        let may = self.answered < MAX_CHALLENGES && (!was_used || challenge.is_stale);
        if may {
            self.answered += 1;
            self.challenge = Some(challenge);
        }
        may
    }

    /// The expiry of our Contact in a 200 (RFC 3261 10.2.4). A trunk that lists no Contact grants what was asked for.
    fn granted(&self, response: &Message, hop: &Hop, settings: &Settings) -> Option<u32> {
        let whole = response.header::<Expires>().ok().flatten().map(|expires| expires.0);
        let own = request::contact(&self.trunk, hop, settings);
        let own = Uri::parse(&own).ok()?;
        let mut lists_any = false;
        for contact in response.headers::<Contact<'_>>().flatten() {
            let Some(address) = contact.address() else { continue };
            lists_any = true;
            if equivalent(&address.uri, &own) {
                let expires = contact.binding().expires().or(whole).unwrap_or(self.expires);
                return Some(expires).filter(|expires| *expires > 0);
            }
        }
        whole.or(Some(self.expires)).filter(|expires| *expires > 0 && !lists_any)
    }

    fn works(&mut self, pause: Duration, context: &Context<'_>) -> Option<TaskEvent> {
        self.failures = 0;
        self.phase = Phase::Waiting(context.now.mono + pause);
        Some(TaskEvent::Works)
    }

    /// The attempt has failed. `pause`: at least this long until the next one.
    fn failed(&mut self, status: u16, pause: Option<Duration>, context: &Context<'_>) -> Option<TaskEvent> {
        self.failures = self.failures.saturating_add(1);
        // The next challenge may be another one.
        self.challenge = None;
        let pause = match self.task {
            TrunkTask::Probe => self.interval(),
            TrunkTask::Register => {
                let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.saturating_sub(1).min(10));
                // RFC 5626 4.5: at random between a half and the whole of it.
                let part = 50 + self.random(context.mac) % 50;
                (doubled.min(LONGEST_PAUSE).saturating_mul(part) / 100)
                    .max(pause.unwrap_or_default().min(LONGEST_PAUSE))
            }
        };
        self.phase = Phase::Waiting(context.now.mono + pause);
        // A registration that is still valid counts.
        let is_registered = self.registered_until.is_some_and(|until| until > context.now.mono + pause);
        (!is_registered).then_some(TaskEvent::Fails(status))
    }

    fn interval(&self) -> Duration {
        self.trunk.probe.unwrap_or(FIRST_PAUSE)
    }

    /// A number that others cannot guess, which differs for each request.
    fn random(&self, mac: &Mac) -> u32 {
        let hash = mac.sign(Purpose::Notifier, &[b"pause", &self.call_id.to_be_bytes(), &self.sequence.to_be_bytes()]);
        u32::try_from(hash & 0xffff).unwrap_or_default()
    }

    /// The last request could not be sent.
    pub(crate) fn undelivered(&mut self, context: &mut Context<'_>) -> Option<TaskEvent> {
        let Phase::Sent(sent) = &mut self.phase else { return None };
        sent.client.abandon();
        if sent.is_last {
            self.phase = Phase::Ended;
            return None;
        }
        self.next_address(503, None, context)
    }

    /// Fires the timers of the last request.
    pub(crate) fn timeout(&mut self, context: &mut Context<'_>) -> Option<TaskEvent> {
        let Phase::Sent(sent) = &mut self.phase else { return None };
        match sent.client.timeout(context.now.mono) {
            TimerAction::Resend => {
                context.outbox.resend(&sent.hop, true, &sent.text);
                None
            }
            TimerAction::TimedOut if sent.is_last => {
                self.phase = Phase::Ended;
                None
            }
            TimerAction::TimedOut => self.next_address(408, None, context),
            TimerAction::Nothing => None,
        }
    }

    /// Removes the registration, if there is one (RFC 3261 10.2.2), or if a request for one waits for its response. The
    /// credentials of the last request are used again.
    pub(crate) fn stop(&mut self, context: &mut Context<'_>) {
        let is_registered = self.registered_until.take().is_some_and(|until| until > context.now.mono);
        let may_become_so = self.task == TrunkTask::Register && self.is_busy();
        self.answered = 0;
        match self.last_hop.clone().filter(|_| is_registered || may_become_so) {
            Some(hop) => self.send(hop, true, context),
            None => self.phase = Phase::Ended,
        }
    }

    /// Arms the timer for its next deadline.
    pub(crate) fn arm(&mut self, timer: Timer, context: &mut Context<'_>) {
        let deadline = match &self.phase {
            Phase::Waiting(at) => Some(*at),
            Phase::Resolving | Phase::Ended => None,
            Phase::Sent(sent) => sent.client.deadline(),
        };
        self.armed.arm(deadline, timer, context.timers);
    }

    /// Arms the timer for the next call of the driver.
    pub(crate) fn arm_now(&mut self, timer: Timer, timers: &mut TimerQueue) {
        self.armed.arm(Some(AT_ONCE), timer, timers);
    }

    /// Whether nothing is left to do.
    pub(crate) const fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// The timer for this moment has fired. Returns whether it was the armed one.
    pub(crate) fn fired(&mut self, at: Instant) -> bool {
        self.armed.fired(at)
    }

    /// Whether the entry for this moment is the armed one.
    pub(crate) fn is_armed(&self, at: Instant) -> bool {
        self.armed.is_at(at)
    }
}

/// The Retry-After of a refusal (RFC 3261 20.33).
fn retry_after(response: &Message) -> Option<Duration> {
    let seconds = response.header::<RetryAfter<'_>>().ok()??.seconds;
    Some(Duration::from_secs(seconds.into()))
}
