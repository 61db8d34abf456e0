//! Which way a request went that left no transaction (RFC 3261 16.11, checklist 81, 82, 85, 121).
//!
//! The location table changes, but a retransmission, the CANCEL and the ACK of a non-2xx must go the way of their
//! request. A pin is no transaction: it has no timer of its own, resends nothing and answers nothing. That of an INVITE
//! stays until the last copy can have come after the final response, or Timer C has passed without news of the phone;
//! that of another request, until the last copy can have come after it.
//!
//! What goes by a pin is not judged again, so only a copy does: octet by octet the same request from the same place, or the
//! ACK or the CANCEL of the INVITE from there. Whoever has read the request can repeat all that makes its key.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::DefaultHashBuilder;
use indexmap::IndexMap;
use indexmap::map::Entry;
use parser::Method;

use crate::clock::Instant;
use crate::connections::Connections;
use crate::forward::ViaBranch;
use crate::hop::Hop;
use crate::request::{ContentHasher, Request, RequestSource, TransactionKey};
use crate::target::{Target, TargetUri};

/// What a request was sent with.
type Way = (Target, Hop, ViaBranch);

/// The way of one request.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    pub(crate) target: Target,
    pub(crate) hop: Hop,
    pub(crate) branch: ViaBranch,
    source: RequestSource,
    /// A hash of its octets.
    content: u64,
    until: Instant,
    /// Whether no final response is waited for.
    is_answered: bool,
    /// The [`tag_checksum`] of the last 2xx that has passed, if one has.
    accepted: Option<u64>,
    /// The same of the last refusal; of a request in a dialog, of any final that may come.
    refused: Option<u64>,
    /// Whether its request was in a dialog.
    in_dialog: bool,
}

impl Pin {
    /// Whether a 2xx has passed.
    pub(crate) const fn is_accepted(&self) -> bool {
        self.accepted.is_some()
    }

    /// What the ACK with this To tag acknowledges. A proxy below may refuse and then pass on the 2xx of a phone that answered
    /// late (RFC 3261 16.7 step 5), and the network may reorder the two.
    pub(crate) fn acknowledged_by(&self, to_tag: &[u8]) -> Acknowledged {
        let sum = Some(tag_checksum(to_tag));
        match (self.accepted, self.refused) {
            (accepted, _) if accepted == sum => Acknowledged::Success,
            (_, refused) if refused == sum => Acknowledged::Refusal,
            // As RFC 2543 had it. It names no dialog.
            (_, Some(_)) if to_tag.is_empty() => Acknowledged::Refusal,
            _ => Acknowledged::Nothing,
        }
    }

    /// Whether it is of an INVITE that was in a dialog: so is the ACK of its refusal.
    pub(crate) const fn in_dialog(&self) -> bool {
        self.in_dialog
    }
}

/// What an ACK acknowledges, by its To tag (RFC 3261 13.2.2.4, 17.1.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acknowledged {
    /// A 2xx: the ACK does not go by the pin (RFC 6026 7.1).
    Success,
    /// A refusal: it goes by the pin.
    Refusal,
    /// No final that has passed.
    Nothing,
}

/// What a pin is to a request with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// The way of the request that this is a copy of, or belongs to.
    Same,
    /// The way of another request.
    Other,
    /// There is none.
    Unknown,
}

/// The pins of one worker.
///
/// Both lifetimes are constants, so two queues in order of time do for all deadlines. An entry whose pin has another
/// deadline by now is skipped, or put back where that is, so that a phone that rings on costs nothing until Timer C.
#[derive(Debug)]
pub(crate) struct Pins {
    hasher: ContentHasher,
    /// In one row, where they come and go nearly in turn: memory that is read in turn is near when it is wanted.
    by_key: IndexMap<TransactionKey, Pin, DefaultHashBuilder>,
    /// INVITEs, by Timer C.
    silent: VecDeque<(Instant, TransactionKey)>,
    /// INVITEs that were answered and other requests, by 64·T1 and T4.
    answered: VecDeque<(Instant, TransactionKey)>,
}

impl Pins {
    pub(crate) fn new(hasher: ContentHasher) -> Self {
        let by_key = IndexMap::default();
        Self { hasher, by_key, silent: VecDeque::new(), answered: VecDeque::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn find(&self, key: TransactionKey) -> Option<&Pin> {
        self.by_key.get(&key)
    }

    /// The pin of the request that this is a copy of, or the ACK or CANCEL of.
    pub(crate) fn find_for(&self, request: &Request, connections: &Connections) -> Result<&Pin, Match> {
        let pin = self.by_key.get(&request.key).ok_or(Match::Unknown)?;
        let belongs = matches!(request.method(), Method::Ack | Method::Cancel);
        let same = pin.source.is_same_as(&request.source(), connections)
            && (belongs || pin.content == request.content(&self.hasher));
        if same { Ok(pin) } else { Err(Match::Other) }
    }

    /// Keeps the way of an INVITE for at most `most`.
    pub(crate) fn insert(&mut self, request: &Request, way: Way, now: Instant, most: Duration) {
        let key = request.key;
        if self.insert_until(request, way, now + most, false) {
            self.silent.push_back((now + most, key));
            // Most are answered long before: their entries are not to outgrow the pins.
            if self.silent.len() > 2 * self.by_key.len() + 1024 {
                self.silent.retain(|(_, key)| self.by_key.get(key).is_some_and(|pin| !pin.is_answered));
            }
        }
    }

    /// Keeps the way of another request for `rest`: nothing follows it but copies.
    pub(crate) fn insert_brief(&mut self, request: &Request, way: Way, now: Instant, rest: Duration) {
        if self.insert_until(request, way, now + rest, true) {
            self.answered.push_back((now + rest, request.key));
        }
    }

    /// False if there is one.
    fn insert_until(&mut self, request: &Request, way: Way, until: Instant, is_answered: bool) -> bool {
        let (source, content) = (request.source(), request.content(&self.hasher));
        let Entry::Vacant(slot) = self.by_key.entry(request.key) else { return false };
        let ((target, hop, branch), in_dialog) = (way, request.in_dialog);
        // RFC 3261 12.2.2: a final to a request in a dialog has the tag that the request has.
        let [_, to_tag] = request.tags();
        let refused = in_dialog.then(|| tag_checksum(to_tag));
        slot.insert(Pin {
            target,
            hop,
            branch,
            source,
            content,
            until,
            is_answered,
            accepted: None,
            refused,
            in_dialog,
        });
        true
    }

    /// A provisional response has passed: the pin of an INVITE that waits for its final stays until then.
    pub(crate) fn rings(&mut self, key: TransactionKey, until: Instant) {
        if let Some(pin) = self.by_key.get_mut(&key).filter(|pin| !pin.is_answered) {
            pin.until = until;
        }
    }

    /// A final response has passed, whose To tag has this [`tag_checksum`]: the pin goes after `rest`. Returns the target
    /// that it came from if it is the first.
    pub(crate) fn answered(
        &mut self,
        key: TransactionKey,
        (status, to_tag): (u16, u64),
        now: Instant,
        rest: Duration,
    ) -> Option<&TargetUri> {
        let pin = self.by_key.get_mut(&key)?;
        *(if status < 300 { &mut pin.accepted } else { &mut pin.refused }) = Some(to_tag);
        if pin.is_answered {
            return None;
        }
        pin.is_answered = true;
        pin.until = now + rest;
        self.answered.push_back((pin.until, key));
        Some(&pin.target.uri)
    }

    /// Drops the pin that waits for copies only, and has done so for longest; false if there is none.
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

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let soonest = |queue: &VecDeque<(Instant, TransactionKey)>| queue.front().map(|(until, _)| *until);
        match (soonest(&self.silent), soonest(&self.answered)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Drops what is due; says of which no final response has passed.
    pub(crate) fn timeout(&mut self, now: Instant, mut unanswered: impl FnMut(TransactionKey)) {
        while let Some((_, key)) = self.silent.pop_front_if(|(until, _)| *until <= now) {
            let Entry::Occupied(pin) = self.by_key.entry(key) else { continue };
            let Pin { until, is_answered, .. } = *pin.get();
            if is_answered {
                continue;
            }
            if until > now {
                let place = self.silent.partition_point(|(other, _)| *other <= until);
                self.silent.insert(place, (until, key));
            } else {
                pin.swap_remove();
                unanswered(key);
            }
        }
        while let Some((_, key)) = self.answered.pop_front_if(|(until, _)| *until <= now) {
            self.by_key.swap_remove(&key);
        }
    }
}

/// A checksum of a To tag (FNV-1a), the same at every worker. Tags with the same one harm nobody but the caller that sends its
/// ACK.
pub(crate) fn tag_checksum(to_tag: &[u8]) -> u64 {
    to_tag.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &octet| (sum ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3))
}
