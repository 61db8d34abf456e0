//! A REGISTER as the location service sees it (RFC 3261 10.3), the limits, and the reasons for refusal.
//!
//! Defines the types only. Must not decide the outcome: that is [`Record::apply`](crate::Record::apply). The types
//! borrow from the message; nothing is copied here.

use std::net::{Ipv4Addr, SocketAddr};

use parser::Transport;
use smallvec::SmallVec;

use crate::{Flow, FlowId};

/// The parts of a REGISTER that concern bindings.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// Call-ID value; orders together with `cseq` (RFC 3261 10.3 step 7).
    pub call_id: &'a [u8],
    /// CSeq number.
    pub cseq: u32,
    /// A hash of the top Via branch and sent-by: distinguishes a retransmission from another request with the same CSeq.
    pub transaction: u64,
    /// The flow that the request arrived over.
    pub flow: Flow,
    /// Path values, comma-joined, in order (RFC 3327 5.3); empty if there are none.
    pub path: &'a [u8],
    /// User-Agent value; empty if there is none.
    pub user_agent: &'a [u8],
    /// The requested operation.
    pub operation: Operation<'a>,
}

impl<'a> Change<'a> {
    /// A change that no REGISTER requested, but the configuration or an operator. Its Call-ID is empty, so that it does not
    /// affect the CSeq order of the phone's own REGISTERs, and its addresses are unspecified.
    pub fn administrative(operation: Operation<'a>) -> Self {
        let unspecified = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let flow = Flow { transport: Transport::Udp, remote: unspecified, local: unspecified, id: FlowId::None };
        Self { call_id: b"", cseq: 0, transaction: 0, flow, path: b"", user_agent: b"", operation }
    }

    pub(crate) const fn is_administrative(&self) -> bool {
        self.call_id.is_empty()
    }
}

/// The three operations that a REGISTER can request.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "lives on the stack for one call; boxing it would allocate for each REGISTER"
)]
pub enum Operation<'a> {
    /// No Contact: list the bindings (RFC 3261 10.2.3).
    Query,
    /// `Contact: *` with `Expires: 0`: remove all bindings (RFC 3261 10.2.2).
    RemoveAll,
    /// Add, refresh or remove these bindings (RFC 3261 10.2.1, 10.2.2).
    Update(SmallVec<[ContactChange<'a>; 2]>),
}

/// One Contact of a REGISTER.
#[derive(Clone, Copy, Debug)]
pub struct ContactChange<'a> {
    /// The URI without angle brackets, as in the message.
    pub uri: &'a [u8],
    /// Contact parameters to echo, without `expires` and `q`: empty or `;a=b;c`.
    pub params: &'a [u8],
    /// Requested seconds: the Contact's `expires`, else the Expires header, else `None` for the default. 0 removes.
    pub expires: Option<u32>,
    /// Preference in thousandths, 0 to 1000 (more is taken as 1000).
    pub q: Option<u16>,
    /// `+sip.instance` value (RFC 5626 4.1).
    pub instance: Option<&'a [u8]>,
    /// `reg-id` value (RFC 5626 4.2).
    pub reg_id: Option<u32>,
    /// The [`FlowId`] stored in the binding; `None` for that of the request.
    pub flow_id: Option<FlowId>,
}

impl<'a> ContactChange<'a> {
    /// A Contact with a URI and a time, without parameters.
    pub const fn plain(uri: &'a [u8], expires: u32) -> Self {
        Self { uri, params: b"", expires: Some(expires), q: None, instance: None, reg_id: None, flow_id: None }
    }
}

/// Limits of the registrar, in seconds and numbers of bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A shorter requested time is refused, if it is also shorter than an hour.
    pub min_expires: u32,
    /// Granted if the request has no time.
    pub default_expires: u32,
    /// A longer requested time is shortened to this.
    pub max_expires: u32,
    /// Maximum of live bindings of one address of record.
    pub max_contacts: usize,
    /// Maximum of Contacts in one request. Each is compared with each other one, so the cost is quadratic.
    pub max_request_contacts: usize,
    /// Maximum of octets of all text of one binding: URI, parameters, Call-ID, Path, User-Agent and instance. At most
    /// [`MAX_TEXT`](crate::MAX_TEXT).
    pub max_text: usize,
    /// What to do with a new binding above `max_contacts`.
    pub when_full: WhenFull,
    /// The granted time is shortened by up to this percentage, 0 to 100, so that phones that registered at the same time do
    /// not all refresh at the same time. The exact share is derived from the transaction, so a retransmission gets the same.
    pub jitter: u8,
}

impl Limits {
    /// Defaults for an office.
    pub const DEFAULT: Self = Self {
        min_expires: 60,
        default_expires: 3600,
        max_expires: 7200,
        max_contacts: 10,
        max_request_contacts: 64,
        max_text: crate::MAX_TEXT,
        when_full: WhenFull::Refuse,
        jitter: 0,
    };
}

/// What to do with a new binding above `Limits::max_contacts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Refuse the whole request.
    Refuse,
    /// Remove the binding that was refreshed least recently.
    ReplaceOldest,
}

/// Why a change was refused. No part of it was applied (RFC 3261 10.3 step 7: all or nothing).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// 423 with `Min-Expires: min` (RFC 3261 10.3 step 7).
    #[error("expiration is shorter than {min} s")]
    TooBrief {
        /// The shortest time granted, in seconds.
        min: u32,
    },
    /// A binding was set by this Call-ID with the same or a higher CSeq (RFC 3261 10.3 steps 6 and 7).
    #[error("out of order: the same Call-ID has registered with this or a higher CSeq")]
    OutOfOrder,
    /// The same request has already arrived over another path, as a merged request (RFC 3261 8.2.2.2): 482.
    #[error("merged: the same request arrived over another path")]
    Merged,
    /// More live bindings than allowed, or more Contacts in one request.
    #[error("more than {max} contacts")]
    TooManyContacts {
        /// The maximum for one address of record, or for one request.
        max: usize,
    },
    /// URI, parameters, Call-ID, Path, User-Agent and instance of one binding together exceed `max` octets.
    #[error("binding is longer than {max} octets")]
    TooLong {
        /// The maximum of octets of the text of one binding.
        max: usize,
    },
}
