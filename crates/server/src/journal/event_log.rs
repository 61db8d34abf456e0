//! Turns queued events into log lines for registrations, calls and refusals, and into the call history.
//!
//! Decides wording and level: info for normal operation, warn for what an administrator should look at. Runs on the
//! main thread, so that slow logging delays no message. The events contain all that the lines need: the store is not read.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use location::{Aor, Record, Wall};
use parking_lot::Mutex;
use proxy::{
    AuthenticationFailure, CallEnd, CallRecord, CallSide, ConfigKey, DialogRequest, Event, Flow, Registration,
    TrunkCallOutcome,
};
use tokio::sync::watch;
use tracing::{Level, debug, enabled, error, info, warn};

use super::activity::Activity;
use super::bans;
use super::call_file::CallFile;
use super::calls::{CallHistory, EndedCall};
use super::debug_line::debug_line;
use super::format::{NameFormat, Occurrence, sanitize};
use super::queue::{EventQueue, QueuedEvent};
use super::rate_limit::{RateLimit, RefusalKind};
use super::refusals::{Refusal, Refusals};
use crate::clock;
use crate::defence::Defence;
use crate::metrics::{self, Direction, Name, Series, UnwrittenLine};
use crate::reload::ActiveConfig;
use crate::text::counted;
use crate::text::ending::{Ending, phones_of_call};

/// A line that the rate limit suppressed.
const SUPPRESSED: Series = Series::LineUnwritten { reason: UnwrittenLine::Repeated };

/// Reads the event queues.
pub(crate) struct EventLog {
    queues: Arc<[EventQueue]>,
    calls: Arc<Mutex<CallHistory>>,
    call_file: Option<CallFile>,
    refusals: Arc<Mutex<Refusals>>,
    activity: Arc<Mutex<Activity>>,
    defence: Arc<Defence>,
    active_config: watch::Receiver<Arc<ActiveConfig>>,
    names: NameFormat,
    rate_limit: RateLimit,
    /// Empty between calls; kept for their memory.
    scratch: (Vec<QueuedEvent>, Vec<QueuedEvent>),
}

impl EventLog {
    /// For these event queues and the bans of the server.
    pub(crate) fn new(
        (queues, defence): (Arc<[EventQueue]>, Arc<Defence>),
        (calls, call_file, refusals): (Arc<Mutex<CallHistory>>, Option<CallFile>, Arc<Mutex<Refusals>>),
        activity: Arc<Mutex<Activity>>,
        active_config: watch::Receiver<Arc<ActiveConfig>>,
    ) -> Self {
        let names = NameFormat::new(&active_config.borrow().loaded.config);
        let rate_limit = RateLimit::new(active_config.borrow().loaded.config.limits.refusal_lines.0);
        Self {
            queues,
            calls,
            call_file,
            refusals,
            activity,
            defence,
            active_config,
            names,
            rate_limit,
            scratch: Default::default(),
        }
    }

    /// Logs all queued events.
    pub(crate) fn drain(&mut self) {
        if self.active_config.has_changed().unwrap_or(false) {
            self.names.reconfigure(&self.active_config.borrow_and_update().loaded.config);
        }
        let (mut events, mut batch) = std::mem::take(&mut self.scratch);
        let now = clock::wall();
        for queue in self.queues.iter() {
            let dropped = queue.drain_into(&mut batch);
            dropped
                .into_iter()
                .zip(RefusalKind::ALL)
                .for_each(|(count, kind)| self.rate_limit.count_dropped(kind, count, now));
            events.append(&mut batch);
        }
        // Each queue is ordered, but their concatenation is not.
        events.sort_by_key(|event| event.at);
        events.drain(..).for_each(|event| self.log_event(event));
        self.scratch = (events, batch);
        let (notices, dropped) = self.defence.take_notices();
        bans::log_notices(&notices, dropped, &self.names);
        self.log_summaries(now);
    }

    /// Logs the remaining events and summaries, once the workers have ended, and writes the remaining calls.
    pub(crate) fn finish(&mut self) {
        self.drain();
        self.log_summaries(Wall(u64::MAX));
        if let Some(file) = self.call_file.take() {
            file.close();
        }
    }

    fn log_summaries(&mut self, now: Wall) {
        for (kind, line) in self.rate_limit.summaries(now) {
            match kind {
                RefusalKind::Call => info!("{line}"),
                _ => warn!("{line}"),
            }
        }
    }

    fn log_event(&mut self, QueuedEvent { at, event }: QueuedEvent) {
        if enabled!(Level::DEBUG)
            && let Some(line) = debug_line(&event, &self.names)
        {
            debug!("{line}");
        }
        let kind = RefusalKind::of(&event);
        match event {
            Event::Registration { .. } => self.registration(at, kind, event),
            Event::AuthenticationFailed { reason, method, user, flow, .. } => {
                self.authentication_failed(at, reason, method, &user, flow.remote.ip());
            }
            Event::DialogRequest { outcome: DialogRequest::Challenged, .. } => {}
            Event::DialogRequest { method, flow, .. } => self.dialog_request_refused(at, method, flow.remote.ip()),
            Event::CallAnswered { source } => {
                if let Some(trunk) = self.trunk_at(source.ip()) {
                    count_trunk_call(trunk, Some(200));
                }
            }
            Event::CallEnded(record) => self.call_ended(at, kind, &record),
            Event::RequestRefused { offence, reason, key, method, from, source } => {
                let kind = RefusalKind::of_offence(offence);
                self.request_refused(at, kind, method, (reason, key), &from, source.ip());
            }
            Event::ParseError { flow, .. } => self.parse_error(at, &flow),
            _ => {}
        }
    }

    fn registration(&mut self, at: Wall, kind: Option<RefusalKind>, event: Event) {
        let Event::Registration { outcome, status, reason, aor, before, bindings, expires, flow, record, key, .. } =
            event
        else {
            return;
        };
        match outcome {
            // These have a line at level debug only.
            Registration::Queried | Registration::Challenged => {}
            Registration::Registered => self.registered(&aor, &flow, record.as_ref(), (before, bindings), expires),
            Registration::Unregistered => {
                let (user, from) = (self.names.user(&aor), self.names.address(flow.remote.ip()));
                info!("{user} unregistered from {from}, {} left", counted::phones(bindings as usize));
            }
            Registration::Refused | Registration::Failed => {
                let kind = kind.unwrap_or(RefusalKind::Registration);
                self.register_refused(at, kind, outcome, (status, reason, key), &aor, flow.remote.ip());
            }
        }
    }

    fn registered(
        &self,
        aor: &Aor,
        flow: &Flow,
        record: Option<&Record>,
        (before, bindings): (u32, u32),
        expires: u32,
    ) {
        if !enabled!(Level::INFO) {
            return;
        }
        let (user, from) = (self.names.user(aor), self.names.address(flow.remote.ip()));
        let over = flow.transport.param();
        let device = record.and_then(|record| device_name(record, flow));
        let device = device.map(|name| format!(" ({name})")).unwrap_or_default();
        let expires = humantime::format_duration(Duration::from_secs(u64::from(expires)));
        let others = if bindings > 1 { format!(", {}", counted::phones(bindings as usize)) } else { String::new() };
        if bindings > before {
            info!("{user} registered from {from} over {over}{device}, expires in {expires}{others}");
        } else {
            debug!("{user} refreshed from {from} over {over}{device}, expires in {expires}{others}");
        }
    }

    fn register_refused(
        &mut self,
        at: Wall,
        kind: RefusalKind,
        outcome: Registration,
        (status, reason, key): (u16, &str, Option<ConfigKey>),
        aor: &Aor,
        source: IpAddr,
    ) {
        let why = match status {
            404 if key == Some(ConfigKey::Accounts) => "no such account",
            423 => "the phone asks for too short a time",
            _ => reason,
        };
        let why = format!("{why}{}", hint(key));
        self.keep(kind, Some(aor), source, &why, key, at);
        let (user, from) = (self.names.user(aor), self.names.address(source));
        let Some(time) = self.rate_limit.count(kind, source, Some(aor), at) else { return metrics::count(SUPPRESSED) };
        let time = Occurrence(time);
        match outcome {
            Registration::Failed => error!("registration of {user} failed: {status} {reason}{time} from {from}"),
            _ => warn!("registration of {user} refused: {why}{time} from {from}"),
        }
    }

    fn authentication_failed(
        &mut self,
        at: Wall,
        reason: AuthenticationFailure,
        method: &str,
        user: &Aor,
        source: IpAddr,
    ) {
        let known = self.active_config.borrow().loaded.accounts.find(user).is_some();
        let why = match reason {
            AuthenticationFailure::Credentials if known => "wrong password",
            AuthenticationFailure::Credentials => "no such account",
            AuthenticationFailure::Replay => "its credentials were used before",
            AuthenticationFailure::Stale | AuthenticationFailure::Identity => return,
        };
        self.keep(RefusalKind::Credentials, Some(user), source, why, None, at);
        let Some(time) = self.rate_limit.count(RefusalKind::Credentials, source, Some(user), at) else {
            return metrics::count(SUPPRESSED);
        };
        let request = in_words(method);
        let (user, from) = (self.names.user(user), self.names.address(source));
        warn!("{request} of {user} refused: {why}{} from {from}", Occurrence(time));
    }

    fn dialog_request_refused(&mut self, at: Wall, method: &str, source: IpAddr) {
        self.keep(RefusalKind::Dialog, None, source, "not a side of that call", None, at);
        let Some(time) = self.rate_limit.count(RefusalKind::Dialog, source, None, at) else {
            return metrics::count(SUPPRESSED);
        };
        let from = self.names.address(source);
        warn!("{method} in a call refused: {from} is not a side of that call{}", Occurrence(time));
    }

    fn request_refused(
        &mut self,
        at: Wall,
        kind: RefusalKind,
        method: &str,
        (reason, key): (&str, Option<ConfigKey>),
        user: &Aor,
        source: IpAddr,
    ) {
        let why = format!("{reason}{}", hint(key));
        self.keep(kind, Some(user), source, &why, key, at);
        let Some(time) = self.rate_limit.count(kind, source, Some(user), at) else { return metrics::count(SUPPRESSED) };
        let (user, from) = (self.names.user(user), self.names.address(source));
        let request = in_words(method);
        warn!("{request} of {user} refused: {why}{} from {from}", Occurrence(time));
    }

    fn parse_error(&mut self, at: Wall, flow: &Flow) {
        let source = flow.remote.ip();
        self.keep(RefusalKind::Garbage, None, source, "not a SIP message", None, at);
        let Some(time) = self.rate_limit.count(RefusalKind::Garbage, source, None, at) else {
            return metrics::count(SUPPRESSED);
        };
        info!(
            "unreadable message over {}{} from {}",
            flow.transport.param(),
            Occurrence(time),
            self.names.address(source)
        );
    }

    /// Logs a call at its end, and keeps its record.
    fn call_ended(&mut self, at: Wall, kind: Option<RefusalKind>, record: &CallRecord) {
        let trunk = self.trunk_at(record.source.ip());
        let ended = EndedCall::of(record, trunk.as_deref());
        let is_logged = match &record.end {
            CallEnd::Refused(refusal) => {
                let why = ended.refusal.as_ref().map_or("", |(why, _)| why);
                self.log_refused_call(at, kind, record, (why, refusal.key))
            }
            _ => {
                if enabled!(Level::INFO) {
                    info!("{}", self.line_of_call(record, &ended));
                }
                true
            }
        };
        if record.answered.is_none() {
            metrics::count(Series::CallEnded { ending: ended.ending });
        }
        self.activity.lock().call_ended(at, ended.ending);
        if let Some(talked) = ended.talked() {
            metrics::call_ended(talked);
        }
        if let Some(trunk) = trunk.filter(|_| record.answered.is_none()) {
            count_trunk_call(trunk, record.status);
        }
        // Anybody can have calls refused, as many as fill the disk.
        if ended.is_of_stranger && !is_logged {
            return;
        }
        if let Some(file) = &self.call_file {
            file.add(&ended);
        }
        if self.active_config.borrow().loaded.config.calls.keep.0.is_some() {
            self.calls.lock().push(Arc::new(ended));
        }
    }

    fn line_of_call(&self, record: &CallRecord, ended: &EndedCall) -> String {
        let (from, to) = (self.names.user(&record.from), self.names.user(&record.to));
        let (phones, setup) = (phones_of_call(ended.tried()), whole_seconds(ended.setup()));
        let is_of_callee = record.reached.phone().is_some_and(|(user, _)| user == record.to.as_bytes());
        let by = ended.by.as_ref().filter(|_| is_of_callee);
        let begin = format!("call {from} -> {to}: {phones}");
        let Some(talked) = ended.talked().map(whole_seconds) else {
            let by = match (by, ended.ending) {
                (Some(name), Ending::Declined) => format!(" by {to}'s {name}"),
                (Some(name), _) => format!(" ({to}'s {name})"),
                (None, _) => String::new(),
            };
            return format!("{begin}, {}{by} after {setup}", ended.ending.words(ended.status));
        };
        let by = by.map(|name| format!(" by {to}'s {name}")).unwrap_or_default();
        let end = match record.end {
            CallEnd::HungUp(CallSide::Caller) => format!("{from} hung up after {talked}"),
            CallEnd::HungUp(CallSide::Callee) => format!("the called party hung up after {talked}"),
            _ => format!("its end is not known, nothing came for {talked}"),
        };
        format!("{begin}, answered{by} after {setup}, {end}")
    }

    /// Returns whether the rate limit permitted the line.
    fn log_refused_call(
        &mut self,
        at: Wall,
        kind: Option<RefusalKind>,
        record: &CallRecord,
        (why, key): (&str, Option<ConfigKey>),
    ) -> bool {
        let (kind, source) = (kind.unwrap_or(RefusalKind::Call), record.source.ip());
        if self.rate_limit.count(kind, source, Some(&record.from), at).is_none() {
            metrics::count(SUPPRESSED);
            return false;
        }
        let (from, to) = (self.names.user(&record.from), self.names.user(&record.to));
        info!("call {from} -> {to} refused: {why}{}, from {}", hint(key), self.names.address(source));
        true
    }

    /// Adds a refusal to those that the page shows.
    fn keep(&self, kind: RefusalKind, user: Option<&Aor>, source: IpAddr, why: &str, key: Option<ConfigKey>, at: Wall) {
        let (user, why) = (user.cloned(), why.to_owned());
        self.activity.lock().refused(at);
        self.refusals.lock().add(Refusal { kind, user, source, why, key, count: 1, first: at, last: at });
    }

    /// The trunk that a call from this address comes from.
    fn trunk_at(&self, source: IpAddr) -> Option<Box<str>> {
        self.active_config.borrow().settings.trunk_at(source).map(|trunk| trunk.name.clone())
    }
}

/// Counts a call that came from a trunk.
fn count_trunk_call(trunk: Box<str>, status: Option<u16>) {
    let outcome = match status {
        Some(200..=299) => TrunkCallOutcome::Answered,
        Some(487) => TrunkCallOutcome::Cancelled,
        Some(500..=599) => TrunkCallOutcome::Failed,
        _ => TrunkCallOutcome::Refused,
    };
    metrics::count(Series::TrunkCall { trunk: Name(trunk), direction: Direction::In, outcome });
}

fn in_words(method: &str) -> &str {
    match method {
        "REGISTER" => "registration",
        "INVITE" => "call",
        other => other,
    }
}

/// As text, rounded.
fn whole_seconds(time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    humantime::format_duration(Duration::from_secs(millis.saturating_add(500) / 1000)).to_string()
}

/// The User-Agent of the phone that registered over this flow.
fn device_name(record: &Record, flow: &Flow) -> Option<String> {
    let same_address = record.bindings().iter().filter(|binding| binding.flow().remote == flow.remote);
    printable(same_address.max_by_key(|binding| binding.registered_at())?.user_agent())
}

/// A User-Agent in a log line; `None` if the phone sent none.
fn printable(user_agent: &[u8]) -> Option<String> {
    (!user_agent.is_empty()).then(|| sanitize(user_agent))
}

/// The keys that an administrator can change, in a log line.
fn hint(key: Option<ConfigKey>) -> String {
    match key {
        Some(ConfigKey::Strangers) => " (see strangers, trusted)".to_owned(),
        Some(ConfigKey::Domains) => " (see domains, aliases)".to_owned(),
        Some(key) => format!(" (see {})", key.as_str()),
        None => String::new(),
    }
}
