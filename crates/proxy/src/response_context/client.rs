//! The client transactions of a branch: that of its request and, for an INVITE, that of its CANCEL (RFC 3261 9.1,
//! 17.1).
//!
//! Holds what only an INVITE needs apart from what every branch needs. Must not send anything: the branch does.

use bytes::Bytes;

use crate::clock::Instant;
use crate::settings::Timers;
use crate::transaction::{ClientEvent, ClientInvite, ClientOther, TimerAction, sooner};

use super::outcome::CancelCause;

/// The transaction of the request of a branch.
#[derive(Debug)]
pub(super) enum Client {
    Invite(Invite),
    NonInvite(ClientOther),
}

/// The transaction of an INVITE, its ACK and its CANCEL.
#[derive(Debug)]
pub(super) struct Invite {
    pub(super) transaction: ClientInvite,
    pub(super) cancel: Cancel,
    /// The ACK of its failure, for retransmissions of the failure. Empty if there was none, or none can be
    /// retransmitted.
    pub(super) ack: Bytes,
    /// The [`tag_checksum`](crate::pin::tag_checksum) of the To tag in its last 2xx.
    pub(super) accepted: Option<u64>,
}

/// RFC 3261 9.1: a CANCEL waits for a provisional response, and is a transaction of its own.
#[derive(Debug)]
pub(super) enum Cancel {
    NotWanted,
    /// To be sent when a provisional response comes.
    Wanted(CancelCause, Option<Bytes>),
    Sent(Box<SentCancel>),
}

/// A CANCEL that was sent.
#[derive(Debug)]
pub(super) struct SentCancel {
    pub(super) cause: CancelCause,
    /// For retransmissions.
    pub(super) text: Bytes,
    pub(super) transaction: ClientOther,
    /// The INVITE is given up at this moment if its 487 has not come (RFC 3261 9.1: 64·T1).
    pub(super) until: Instant,
}

impl Client {
    /// A transaction whose request is sent now.
    pub(super) fn new(is_invite: bool, reliable: bool, timers: &Timers, now: Instant) -> Self {
        if !is_invite {
            return Self::NonInvite(ClientOther::new(reliable, timers, now));
        }
        let transaction = ClientInvite::new(reliable, timers, now);
        Self::Invite(Invite { transaction, cancel: Cancel::NotWanted, ack: Bytes::new(), accepted: None })
    }

    /// A response to the request came.
    pub(super) fn receive(&mut self, status: u16, reliable: bool, timers: &Timers, now: Instant) -> ClientEvent {
        match self {
            Self::Invite(invite) => invite.transaction.receive(status, reliable, timers, now),
            Self::NonInvite(transaction) => transaction.receive(status, reliable, timers, now),
        }
    }

    /// The CANCEL that was sent, if one was.
    pub(super) fn sent_cancel(&mut self) -> Option<&mut SentCancel> {
        match self {
            Self::Invite(Invite { cancel: Cancel::Sent(cancel), .. }) => Some(cancel),
            _ => None,
        }
    }

    /// The cause of the CANCEL that was sent or waits to be sent.
    pub(super) fn cancel_cause(&self) -> Option<CancelCause> {
        match self {
            Self::Invite(invite) => invite.cancel.cause(),
            Self::NonInvite(_) => None,
        }
    }

    /// The CANCEL that waits for a provisional response: its cause and its Reason.
    pub(super) fn wanted_cancel(&self) -> Option<(CancelCause, Option<Bytes>)> {
        match self {
            Self::Invite(Invite { cancel: Cancel::Wanted(cause, reason), .. }) => Some((*cause, reason.clone())),
            _ => None,
        }
    }

    /// Fires the timers of the request.
    pub(super) fn timeout(&mut self, now: Instant) -> TimerAction {
        match self {
            Self::Invite(invite) => invite.transaction.timeout(now),
            Self::NonInvite(transaction) => transaction.timeout(now),
        }
    }

    /// Ends the transaction: the transport failed, or no response is waited for any more.
    pub(super) fn abandon(&mut self) {
        match self {
            Self::Invite(invite) => invite.transaction.abandon(),
            Self::NonInvite(transaction) => transaction.abandon(),
        }
    }

    /// Whether no final response has come.
    pub(super) const fn is_pending(&self) -> bool {
        match self {
            Self::Invite(invite) => invite.transaction.is_pending(),
            Self::NonInvite(transaction) => transaction.is_pending(),
        }
    }

    /// Whether no response has come to an INVITE.
    pub(super) const fn is_calling(&self) -> bool {
        matches!(self, Self::Invite(invite) if !invite.transaction.is_proceeding())
    }

    pub(super) const fn is_terminated(&self) -> bool {
        match self {
            Self::Invite(Invite { cancel: Cancel::Sent(cancel), .. }) if !cancel.transaction.is_terminated() => false,
            Self::Invite(invite) => invite.transaction.is_terminated(),
            Self::NonInvite(transaction) => transaction.is_terminated(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Invite(Invite { transaction, cancel: Cancel::Sent(cancel), .. }) => {
                let until = transaction.is_proceeding().then_some(cancel.until);
                sooner(transaction.deadline(), sooner(cancel.transaction.deadline(), until))
            }
            Self::Invite(invite) => invite.transaction.deadline(),
            Self::NonInvite(transaction) => transaction.deadline(),
        }
    }

    /// The octets that it holds on the heap.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Invite(Invite { cancel: Cancel::Sent(cancel), ack, .. }) => {
                size_of::<SentCancel>() + cancel.text.len() + ack.len()
            }
            Self::Invite(invite) => invite.ack.len(),
            Self::NonInvite(_) => 0,
        }
    }
}

impl Cancel {
    fn cause(&self) -> Option<CancelCause> {
        match self {
            Self::NotWanted => None,
            Self::Wanted(cause, _) => Some(*cause),
            Self::Sent(cancel) => Some(cancel.cause),
        }
    }

    /// Adds a cause. Returns whether there was one before, so that no other CANCEL is needed.
    pub(super) fn add_cause(&mut self, added: CancelCause) -> bool {
        let cause = match self {
            Self::NotWanted => return false,
            Self::Wanted(cause, _) => cause,
            Self::Sent(cancel) => &mut cancel.cause,
        };
        *cause = added.max(*cause);
        true
    }
}
