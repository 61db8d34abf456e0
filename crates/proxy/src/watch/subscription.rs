//! One subscription: when its record is looked at, and what is told of it (RFC 6665 4.2.2, RFC 3680 4.7, 4.10).
//!
//! Decides pace and end: the first NOTIFY after a SUBSCRIBE at once and with all there is, others no closer than the interval
//! and with what has changed; one at a time, and the last one says why. Must not know what differs (`contacts.rs`).

use std::time::Duration;

use location::{Aor, Flow, Record};
use parser::{Message, write_decimal};

use crate::ask::{Answer, Continuation, Question, Resume};
use crate::clock::Instant;
use crate::connections::Connections;
use crate::context::Context;
use crate::event::{Event, Notification};
use crate::forward::{NotifyId, ViaBranch};
use crate::hop;
use crate::reject::Reject;
use crate::request::{Request, RequestSource, TransactionKey};
use crate::resolution::Resolution;
use crate::settings::Settings;
use crate::target::NextHop;
use crate::transaction::{is_due, sooner};

use super::contacts::{Contact, Contacts, Happening};
use super::dialog::{Dialog, Notice, write_answer};
use super::notify::{Ended, Notify};
use super::reginfo::Document;
use super::request::{InitialSubscribe, granted};
use super::table::LocalTag;
use super::watcher::Watcher;

/// ```text
///   SUBSCRIBE               Expires: 0, expired, not allowed any more
///  -----------> Active ------------------------------> Leaving
///                 |                                      | the last NOTIFY is sent
///                 '--------------> Over <----------------'
///                   a NOTIFY failed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Active,
    /// Its next NOTIFY says that it has ended, and why (RFC 6665 4.1.3).
    Leaving(&'static [u8]),
    /// Nothing more is told. It stays for copies of its SUBSCRIBE.
    Over,
}

const TIMEOUT: &[u8] = b"timeout";
const REJECTED: &[u8] = b"rejected";

/// One watcher of one user.
#[derive(Debug)]
pub(crate) struct Subscription {
    aor: Aor,
    watcher: Watcher,
    dialog: Dialog,
    /// Where its last SUBSCRIBE came from.
    source: RequestSource,
    phase: Phase,
    answered: Answered,
    expires_at: Instant,
    /// Until then a copy of its SUBSCRIBE may come (Timer J).
    copies_until: Instant,
    /// NOTIFYs sent: the next one's version, and one less than its CSeq number.
    sent: u32,
    told: Contacts,
    /// Whether the next NOTIFY says all there is.
    full: bool,
    /// When the record is to be looked at.
    look_at: Option<Instant>,
    /// Whether a question about it is open.
    asking: bool,
    /// RFC 3680 4.10
    not_before: Instant,
    under_way: Option<Notify>,
}

/// The SUBSCRIBE that was answered last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    key: TransactionKey,
    granted: u32,
}

impl Answered {
    /// Answers the SUBSCRIBE, for the first time or again.
    pub(crate) fn answer(self, tag: LocalTag, request: &Request, settings: &Settings, context: &mut Context<'_>) {
        let mut text = Vec::with_capacity(LocalTag::LENGTH);
        tag.write(&mut text);
        context.reply_as(request, &text, 200, b"OK", |reply| write_answer(reply, request, self.granted, settings));
    }
}

impl Subscription {
    /// What an initial SUBSCRIBE has asked for; it is answered, and the look at the record is under way.
    pub(crate) fn begin(
        (aor, watcher): (Aor, Watcher),
        request: &Request,
        asked: InitialSubscribe,
        settings: &Settings,
        context: &mut Context<'_>,
    ) -> Self {
        let now = context.now.mono;
        let mut subscription = Self {
            aor,
            watcher,
            dialog: asked.dialog,
            source: request.source(),
            phase: Phase::Active,
            answered: Answered { key: request.key, granted: asked.granted },
            expires_at: now,
            copies_until: now,
            sent: 0,
            told: Contacts::default(),
            full: true,
            look_at: None,
            asking: false,
            not_before: now,
            under_way: None,
        };
        subscription.grant(request, settings, context);
        subscription
    }

    /// Whose registrations it is about, and who watches them.
    pub(crate) const fn parties(&self) -> (&Aor, &Watcher) {
        (&self.aor, &self.watcher)
    }

    /// Whether a SUBSCRIBE within its dialog comes from where the last one came from. Whoever has read that one knows all
    /// that names the dialog.
    pub(crate) fn is_from(&self, source: &RequestSource, connections: &Connections) -> bool {
        self.source.is_same_as(source, connections)
    }

    /// A SUBSCRIBE within its dialog.
    pub(crate) fn refresh(
        &mut self,
        request: &Request,
        settings: &Settings,
        context: &mut Context<'_>,
    ) -> Result<(), Reject> {
        if request.key == self.answered.key {
            self.answered.answer(self.dialog.tag, request, settings, context);
            return Ok(());
        }
        if self.phase != Phase::Active || !self.dialog.is_of(&request.message) {
            return Err(Reject::Subscription);
        }
        // RFC 3261 12.2.2
        if request.sequence <= self.dialog.sequence {
            return Err(Reject::LateInDialog);
        }
        if !self.watcher.may_watch(&self.aor, settings) {
            self.leave(REJECTED, context);
            return Err(Reject::Watcher);
        }
        let granted = granted(request, settings)?;
        self.dialog.refresh(request, settings)?;
        self.source = request.source();
        self.answered = Answered { key: request.key, granted };
        self.grant(request, settings, context);
        Ok(())
    }

    /// Something about the user may have changed.
    pub(crate) fn changed(&mut self, context: &mut Context<'_>) {
        if self.phase == Phase::Active {
            self.look_at = sooner(self.look_at, Some(self.not_before.max(context.now.mono)));
            self.proceed(context);
        }
    }

    /// The settings are others: they may concern what is told.
    pub(super) fn reconfigured(&mut self) {
        if self.phase == Phase::Active {
            self.look_at = sooner(self.look_at, Some(self.not_before));
        }
    }

    /// What DNS says of the host that its NOTIFYs were to go to when it was asked.
    pub(crate) fn reached(
        &mut self,
        host: &hop::Name,
        answer: &Answer,
        settings: &Settings,
        context: &mut Context<'_>,
    ) {
        if !matches!(&self.dialog.way, NextHop::Name(name) if name == host) {
            return;
        }
        self.asking = false;
        match self.dialog.hop_to(host, answer, settings) {
            _ if self.phase == Phase::Over => {}
            Some(hop) => {
                self.dialog.way = NextHop::Hop(hop);
                self.look(context);
            }
            None => self.fail(Notification::Unanswered, context),
        }
    }

    /// The record is here; none if the store does not answer.
    pub(crate) fn looked(&mut self, record: Option<Option<Record>>, settings: &Settings, context: &mut Context<'_>) {
        self.asking = false;
        let is = match (self.phase, record) {
            (Phase::Over, _) => return,
            (Phase::Active, None) => {
                self.look_at = Some(context.now.mono + settings.watching.interval);
                return;
            }
            (Phase::Leaving(_), None) => {
                self.phase = Phase::Over;
                return;
            }
            // RFC 6665 5.4.7: who may not watch is told that there is nothing.
            _ if !self.watcher.may_watch(&self.aor, settings) => {
                (self.phase, self.full) = (Phase::Leaving(REJECTED), true);
                Contacts { at: context.now.wall, ..Contacts::default() }
            }
            (_, Some(registered)) => {
                let configured = settings.accounts.contacts(&self.aor).cloned();
                Contacts { registered, configured, at: context.now.wall }
            }
        };
        let was = std::mem::replace(&mut self.told, is.clone());
        let happenings = if self.full { is.all(context.mac) } else { is.since(&was, context.mac) };
        if self.full || self.phase != Phase::Active || !happenings.is_empty() {
            let state = match (is.is_active(), was.is_active() && !self.full) {
                (true, _) => "active",
                (false, true) => "terminated",
                (false, false) => "init",
            };
            self.notify(&happenings, state, settings, context);
        }
        self.await_expiry(context);
        self.proceed(context);
    }

    /// A response to one of its NOTIFYs.
    pub(crate) fn heard(
        &mut self,
        sequence: u32,
        response: &Message,
        source: &Flow,
        settings: &Settings,
        context: &mut Context<'_>,
    ) {
        let own = |notify: &&mut Notify| notify.is(sequence) && notify.is_answered_from(source);
        let Some(notify) = self.under_way.as_mut().filter(own) else { return };
        match notify.heard(response, &settings.timers, context.now.mono) {
            Some(Ended::Well) => self.go_on(Notification::Answered, context),
            Some(Ended::Badly) => {
                // The next one makes up for it.
                self.full = true;
                self.go_on(Notification::Refused, context);
            }
            Some(Ended::ForGood) => self.fail(Notification::Refused, context),
            None => {}
        }
    }

    /// One of its NOTIFYs could not be sent.
    pub(crate) fn undelivered(&mut self, sequence: u32, context: &mut Context<'_>) {
        if self.under_way.as_ref().is_some_and(|notify| notify.is(sequence)) {
            self.fail(Notification::Unanswered, context);
        }
    }

    pub(crate) fn timeout(&mut self, context: &mut Context<'_>) {
        match self.under_way.as_mut().and_then(|notify| notify.timeout(context)) {
            Some(_) => self.fail(Notification::Unanswered, context),
            None => self.proceed(context),
        }
    }

    /// When [`Subscription::timeout`] wants to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if let Some(notify) = &self.under_way {
            return notify.deadline();
        }
        match self.phase {
            _ if self.asking => None,
            Phase::Active => sooner(self.look_at, Some(self.ends_at())),
            Phase::Leaving(_) => self.look_at,
            Phase::Over => Some(self.copies_until),
        }
    }

    /// Whom it is about.
    pub(super) const fn aor(&self) -> &Aor {
        &self.aor
    }

    /// Whether it tells nothing any more.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether nobody needs it any more.
    pub(super) fn is_terminated(&self, now: Instant) -> bool {
        self.is_over() && self.under_way.is_none() && self.copies_until <= now
    }

    /// The SUBSCRIBE that was answered last: a copy of it is answered again.
    pub(crate) const fn answered(&self) -> Answered {
        self.answered
    }

    /// Answers a SUBSCRIBE with the time that it has, and sees that all there is is told at once (RFC 6665 4.2.2).
    fn grant(&mut self, request: &Request, settings: &Settings, context: &mut Context<'_>) {
        let (now, Answered { granted, .. }) = (context.now.mono, self.answered);
        self.answered.answer(self.dialog.tag, request, settings, context);
        self.expires_at = now + Duration::from_secs(granted.into());
        self.copies_until = if request.flow.transport.is_reliable() { now } else { now + settings.timers.give_up() };
        self.full = true;
        if granted == 0 {
            self.phase = Phase::Leaving(TIMEOUT);
        }
        match &self.dialog.way {
            NextHop::Hop(_) => self.look(context),
            NextHop::Name(name) => {
                self.asking = true;
                let resolution = Resolution::new(name, settings.senders(), self.dialog.tag.id);
                let names = [resolution].into_iter().collect();
                context.outbox.ask(
                    Question::Resolve(names),
                    Continuation(Resume::NotifyTarget(self.dialog.tag.id, name.clone())),
                );
            }
        }
    }

    /// What is due, if nothing is under way.
    fn proceed(&mut self, context: &mut Context<'_>) {
        let now = context.now.mono;
        if self.asking || self.under_way.is_some() {
            return;
        }
        if self.phase == Phase::Active && self.ends_at() <= now {
            self.leave(TIMEOUT, context);
        } else if self.phase != Phase::Over && is_due(self.look_at, now) {
            self.look(context);
        }
    }

    /// Not before the last NOTIFY is so old that another one may follow.
    fn ends_at(&self) -> Instant {
        self.expires_at.max(self.not_before)
    }

    fn leave(&mut self, reason: &'static [u8], context: &mut Context<'_>) {
        self.phase = Phase::Leaving(reason);
        self.look(context);
    }

    fn look(&mut self, context: &mut Context<'_>) {
        self.asking = true;
        self.look_at = None;
        context.outbox.ask(Question::Load(self.aor.clone()), Continuation(Resume::Notify(self.dialog.tag.id)));
    }

    fn notify(
        &mut self,
        happenings: &[(Contact<'_>, Happening)],
        state: &'static str,
        settings: &Settings,
        context: &mut Context<'_>,
    ) {
        let NextHop::Hop(hop) = self.dialog.way.clone() else { return };
        let (now, sequence) = (context.now.mono, self.sent.wrapping_add(1));
        let (aor, version, full, at) = (&self.aor, self.sent, self.full, context.now.wall);
        let mut body = Vec::new();
        Document { aor, version, full, state, happenings, at }.write(context.mac, &mut body);
        let LocalTag { worker, id } = self.dialog.tag;
        let branch = ViaBranch::Notify { worker, id: NotifyId { subscription: id, sequence } };
        let standing = self.standing(now);
        let notice = Notice { hop: &hop, branch, sequence, state: &standing, body: &body };
        let text = context.outbox.send(&hop, true, |out| self.dialog.write(&notice, settings, out));
        // One that is still under way is not waited for: this one says all that it did.
        self.under_way = Some(Notify::sent(sequence, hop, text, &settings.timers, now));
        self.sent = sequence;
        self.full = false;
        self.not_before = now + settings.watching.interval;
        if let Phase::Leaving(_) = self.phase {
            self.phase = Phase::Over;
        }
    }

    /// The value of Subscription-State.
    fn standing(&self, now: Instant) -> Vec<u8> {
        let mut text = Vec::new();
        if let Phase::Leaving(reason) = self.phase {
            text.extend_from_slice(b"terminated;reason=");
            text.extend_from_slice(reason);
        } else {
            let left = self.expires_at.since(now).as_millis().div_ceil(1000);
            text.extend_from_slice(b"active;expires=");
            write_decimal(&mut text, u64::try_from(left).unwrap_or(u64::MAX));
        }
        text
    }

    /// A binding that expires says nothing: the record is looked at then.
    fn await_expiry(&mut self, context: &Context<'_>) {
        let left = self.told.expires_at().map(|end| Duration::from_millis(end.millis_since(context.now.wall)));
        let at = left.map(|left| self.not_before.max(context.now.mono + left));
        self.look_at = sooner(self.look_at, at);
    }

    fn go_on(&mut self, outcome: Notification, context: &mut Context<'_>) {
        context.outbox.emit(Event::Notified { outcome });
        self.under_way = None;
        self.proceed(context);
    }

    fn fail(&mut self, outcome: Notification, context: &mut Context<'_>) {
        context.outbox.emit(Event::Notified { outcome });
        self.under_way = None;
        self.phase = Phase::Over;
    }
}
