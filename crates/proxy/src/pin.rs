//! Pins: the routes of requests that were forwarded without a transaction (RFC 3261 16.11, checklist 81, 82, 85, 121).
//!
//! The location service may change, but a retransmission, the CANCEL and the ACK of a non-2xx must take the route of
//! their request. A pin is not a transaction: it retransmits nothing and answers nothing. The pin of an INVITE is
//! kept until the last retransmission can have come after the final response, or until Timer C has passed without a
//! response of the phone. The log learns earlier that such a call has ended: when its caller has given up (Timer B, or
//! 64·T1 after its CANCEL). The pin of another request is kept until its last retransmission can have come.
//!
//! A request that matches a pin is not authorized again. So only an exact retransmission from the same source
//! matches, or the ACK or CANCEL of the INVITE from there: everybody who has read a request can repeat all parts of
//! its transaction key.

use std::collections::VecDeque;

use hashbrown::DefaultHashBuilder;
use indexmap::IndexMap;
use indexmap::map::Entry;
use parser::Method;

use crate::calls::CallRef;
use crate::clock::Instant;
use crate::connections::Connections;
use crate::event::{CalledPhone, TriedPhones};
use crate::forward::ViaBranch;
use crate::hop::Hop;
use crate::request::{ContentHasher, Request, RequestSource, TransactionKey, checksum};
use crate::route::Plan;
use crate::target::{SentTo, TargetUri};
use crate::timer_queue::{Armed, Timer, TimerQueue};

/// The plan, the next hop and the Via branch that a request was sent with. The pin takes the target of the plan.
type Way<'a> = (&'a mut Plan, &'a Hop, &'a ViaBranch);

/// The route of one request.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    pub(crate) uri: TargetUri,
    pub(crate) hop: Hop,
    over_flow: bool,
    pub(crate) branch: ViaBranch,
    source: RequestSource,
    /// A hash of the octets of the request.
    content: u64,
    /// The pin is kept until this moment.
    until: Instant,
    timer: Armed,
    /// Whether a final response was forwarded, or the request is not an INVITE.
    is_answered: bool,
    /// The [`tag_checksum`] of the last 2xx that was forwarded.
    accepted: Option<u64>,
    /// The same of the last failure. For a request in a dialog, of any final response that may come.
    refused: Option<u64>,
    /// Whether the request was in a dialog.
    in_dialog: bool,
    /// The call that the request begins.
    pub(crate) call: Option<CallRef>,
    setup: Setup,
}

/// What is known about the setup of a call.
#[derive(Clone, Copy, Debug)]
struct Setup {
    /// The caller has given up at this moment, if no response came; after a CANCEL, if no final one came.
    given_up: Instant,
    /// Whether the phone sent any response.
    has_responded: bool,
    has_rung: bool,
    /// Whether the caller sent a CANCEL.
    is_cancelled: bool,
    /// Whether the end of the call was reported.
    is_reported: bool,
}

impl Pin {
    /// Where the request was sent.
    pub(crate) const fn sent_to(&self) -> SentTo<'_> {
        SentTo { uri: &self.uri, hop: &self.hop, over_flow: self.over_flow }
    }

    /// Whether a 2xx was forwarded.
    pub(crate) const fn is_accepted(&self) -> bool {
        self.accepted.is_some()
    }

    /// What an ACK with this To tag acknowledges. A downstream proxy may send a failure and then the 2xx of a phone
    /// that accepted late (RFC 3261 16.7 step 5), and the network may reorder the two.
    pub(crate) fn acknowledged_by(&self, to_tag: &[u8]) -> Acknowledged {
        let sum = Some(tag_checksum(to_tag));
        match (self.accepted, self.refused) {
            (accepted, _) if accepted == sum => Acknowledged::Success,
            (_, refused) if refused == sum => Acknowledged::Refusal,
            // RFC 2543: an ACK without a To tag identifies no dialog.
            (_, Some(_)) if to_tag.is_empty() => Acknowledged::Refusal,
            _ => Acknowledged::Nothing,
        }
    }

    /// The phone, for the log.
    pub(crate) fn phones(&self) -> TriedPhones {
        let Setup { has_responded, has_rung, .. } = self.setup;
        TriedPhones { tried: 1, responded: usize::from(has_responded), rang: usize::from(has_rung) }
    }

    /// Whether the call has not ended, and nothing more comes of it once 64·T1 have passed: no response, or no final one
    /// after a CANCEL.
    const fn is_waited_for(&self) -> bool {
        let Setup { has_responded, is_cancelled, is_reported, .. } = self.setup;
        !self.is_answered && !is_reported && (!has_responded || is_cancelled)
    }

    /// Whether the request was in a dialog. Then the ACK of its failure is, too.
    pub(crate) const fn in_dialog(&self) -> bool {
        self.in_dialog
    }
}

/// What an ACK acknowledges, by its To tag (RFC 3261 13.2.2.4, 17.1.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// A 2xx: the ACK does not take the route of the pin (RFC 6026 7.1).
    Success,
    /// A failure: the ACK takes the route of the pin.
    Refusal,
    /// No final response that was forwarded.
    Nothing,
}

/// Whether a pin with the transaction key of a request is for that request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// It is: the request is a retransmission of its request, or the ACK or CANCEL of it.
    Same,
    /// It is for another request.
    Other,
    /// There is no pin.
    Unknown,
}

/// A call that ended without a final response.
#[derive(Clone, Debug)]
pub(crate) struct Unanswered {
    pub(crate) call: Option<CallRef>,
    /// 487 after a CANCEL; `None` if the caller has not sent one.
    pub(crate) status: Option<u16>,
    pub(crate) phones: TriedPhones,
    /// The phone, if it did not respond.
    pub(crate) silent: Option<CalledPhone>,
}

/// The pins of one worker.
///
/// A pin whose deadline moves to a later moment keeps its timer, which is armed again when it fires: so a phone that
/// rings costs nothing until Timer C.
#[derive(Debug)]
pub(crate) struct Pins {
    hasher: ContentHasher,
    /// An array in the order of insertion, which is nearly the order of removal: neighbours are used at about the
    /// same time, so they are in the cache together.
    by_key: IndexMap<TransactionKey, Pin, DefaultHashBuilder>,
    /// Answered INVITEs and other requests with the moments at which their pins expire, in the order in which they
    /// may be removed to make room. Some have been removed since.
    answered: VecDeque<(Instant, TransactionKey)>,
}

impl Pins {
    pub(crate) fn new(hasher: ContentHasher) -> Self {
        Self { hasher, by_key: IndexMap::default(), answered: VecDeque::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn find(&self, key: TransactionKey) -> Option<&Pin> {
        self.by_key.get(&key)
    }

    /// The pin for this request.
    pub(crate) fn find_for(&self, request: &Request, connections: &Connections) -> Result<&Pin, Match> {
        let pin = self.by_key.get(&request.key).ok_or(Match::Unknown)?;
        let belongs = matches!(request.method(), Method::Ack | Method::Cancel);
        let same = pin.source.is_same_as(&request.source(), connections)
            && (belongs || pin.content == request.content(&self.hasher));
        if same { Ok(pin) } else { Err(Match::Other) }
    }

    /// Adds the pin of an INVITE, which is kept until the second moment if no response comes. At the first one the caller
    /// has given up. It comes with the call that it begins.
    pub(crate) fn insert(
        &mut self,
        request: (&Request, Option<CallRef>),
        way: Way<'_>,
        ends: (Instant, Instant),
        timers: &mut TimerQueue,
    ) {
        self.insert_until(request, way, ends, false, timers);
    }

    /// Adds the pin of another request, which is kept until this moment for retransmissions.
    pub(crate) fn insert_brief(&mut self, request: &Request, way: Way<'_>, until: Instant, timers: &mut TimerQueue) {
        if self.insert_until((request, None), way, (until, until), true, timers) {
            self.answered.push_back((until, request.key));
        }
    }

    /// Adds a pin. False if there is one with this key, or the plan has no target.
    fn insert_until(
        &mut self,
        (request, call): (&Request, Option<CallRef>),
        (plan, hop, branch): Way<'_>,
        (given_up, until): (Instant, Instant),
        is_answered: bool,
        timers: &mut TimerQueue,
    ) -> bool {
        let (source, content) = (request.source(), request.content(&self.hasher));
        let Entry::Vacant(slot) = self.by_key.entry(request.key) else { return false };
        let Some(target) = plan.take_single() else { return false };
        let in_dialog = request.in_dialog;
        // RFC 3261 12.2.2: a final response to a request in a dialog has the To tag of the request.
        let [_, to_tag] = request.tags();
        let refused = in_dialog.then(|| tag_checksum(to_tag));
        let mut timer = Armed::default();
        timer.arm(Some(given_up.min(until)), Timer::Pin(request.key), timers);
        slot.insert(Pin {
            uri: target.uri,
            hop: hop.clone(),
            over_flow: target.over_flow,
            branch: *branch,
            source,
            content,
            until,
            timer,
            is_answered,
            accepted: None,
            refused,
            in_dialog,
            call,
            setup: Setup { given_up, has_responded: false, has_rung: false, is_cancelled: false, is_reported: false },
        });
        true
    }

    /// A provisional response was forwarded: the pin of an INVITE without a final response is kept until this moment.
    pub(crate) fn proceeds(&mut self, key: TransactionKey, status: u16, until: Instant) -> Option<&Pin> {
        let pin = self.by_key.get_mut(&key).filter(|pin| !pin.is_answered)?;
        pin.setup.has_responded = true;
        pin.setup.has_rung |= TriedPhones::is_ringing(status);
        // RFC 3261 16.7 step 2: a 100 is hop by hop and does not say that the phone rings.
        if status > 100 {
            pin.until = until;
        }
        Some(pin)
    }

    /// The CANCEL of an INVITE was forwarded. RFC 3261 9.1: its caller waits for the final response until this moment.
    pub(crate) fn cancelled(&mut self, key: TransactionKey, until: Instant, timers: &mut TimerQueue) {
        let open = |pin: &&mut Pin| !pin.is_answered && !pin.setup.is_cancelled;
        if let Some(pin) = self.by_key.get_mut(&key).filter(open) {
            (pin.setup.is_cancelled, pin.setup.given_up) = (true, until);
            pin.timer.arm(Some(until.min(pin.until)), Timer::Pin(key), timers);
        }
    }

    /// A final response was forwarded, whose To tag has this [`tag_checksum`] unless it is of this server: the pin is kept
    /// until this moment. Returns the pin, and whether the setup of the call ends by it.
    pub(crate) fn answered(
        &mut self,
        key: TransactionKey,
        (status, to_tag): (u16, Option<u64>),
        until: Instant,
        timers: &mut TimerQueue,
    ) -> Option<(&Pin, bool)> {
        let pin = self.by_key.get_mut(&key)?;
        if let Some(to_tag) = to_tag {
            *(if status < 300 { &mut pin.accepted } else { &mut pin.refused }) = Some(to_tag);
        }
        if pin.is_answered {
            return Some((pin, false));
        }
        (pin.is_answered, pin.until) = (true, until);
        pin.setup.has_responded |= to_tag.is_some();
        pin.setup.has_rung |= TriedPhones::is_ringing(status) && to_tag.is_some();
        pin.timer.arm(Some(until), Timer::Pin(key), timers);
        self.answered.push_back((until, key));
        let is_reported = std::mem::replace(&mut pin.setup.is_reported, true);
        Some((pin, !is_reported))
    }

    /// Removes the pin that has been kept only for retransmissions for longest; false if there is none.
    pub(crate) fn make_room(&mut self) -> bool {
        while let Some((until, key)) = self.answered.pop_front() {
            if let Entry::Occupied(pin) = self.by_key.entry(key)
                && pin.get().until == until
            {
                pin.swap_remove();
                return true;
            }
        }
        false
    }

    /// The timer of a pin that was armed for `at` has fired. Removes the pin if it has expired. Returns the call, if it has
    /// ended by that.
    pub(crate) fn timeout(
        &mut self,
        key: TransactionKey,
        at: Instant,
        now: Instant,
        timers: &mut TimerQueue,
    ) -> Option<Unanswered> {
        while self.answered.pop_front_if(|(until, _)| *until <= now).is_some() {}
        let Entry::Occupied(mut entry) = self.by_key.entry(key) else { return None };
        let pin = entry.get_mut();
        if !pin.timer.fired(at) {
            return None;
        }
        let has_expired = pin.until <= now;
        let has_given_up = pin.is_waited_for() && pin.setup.given_up <= now;
        let has_ended = has_given_up || has_expired && !pin.is_answered && !pin.setup.is_reported;
        let ended = has_ended.then(|| Unanswered {
            call: pin.call,
            status: pin.setup.is_cancelled.then_some(487),
            phones: pin.phones(),
            silent: if pin.setup.has_responded { None } else { pin.uri.phone() },
        });
        pin.setup.is_reported |= has_ended;
        if has_expired {
            entry.swap_remove();
        } else {
            let next = if pin.is_waited_for() { pin.until.min(pin.setup.given_up) } else { pin.until };
            pin.timer.arm(Some(next), Timer::Pin(key), timers);
        }
        ended
    }

    /// Whether the timer of a pin is armed for `at`.
    pub(crate) fn is_armed(&self, key: TransactionKey, at: Instant) -> bool {
        self.by_key.get(&key).is_some_and(|pin| pin.timer.is_at(at))
    }
}

/// The [`checksum`] of a To tag. A collision affects only the caller whose ACK has that tag.
pub(crate) fn tag_checksum(to_tag: &[u8]) -> u64 {
    checksum(to_tag)
}
