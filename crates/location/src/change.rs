//! What a REGISTER asks for, in the words of RFC 3261 10.3, and what it can be refused for.
//!
//! Decides the shape of a request to the location service and its limits. Must not decide the outcome: that is
//! [`Record::apply`](crate::Record::apply). Borrowing from the message, nothing is copied here.

use std::net::{Ipv4Addr, SocketAddr};

use parser::Transport;
use smallvec::SmallVec;

use crate::Flow;

/// One REGISTER, as far as bindings are concerned.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// Call-ID value; orders together with `cseq` (RFC 3261 10.3 step 7).
    pub call_id: &'a [u8],
    /// CSeq number.
    pub cseq: u32,
    /// A hash of top Via branch and sent-by: tells a retransmission from a CSeq number used twice.
    pub transaction: u64,
    /// How the request came.
    pub flow: Flow,
    /// Path values, comma-joined, in order (RFC 3327 5.3); empty if there are none.
    pub path: &'a [u8],
    /// User-Agent value; empty if there is none.
    pub user_agent: &'a [u8],
    /// What is to be done.
    pub ask: Ask<'a>,
}

impl<'a> Change<'a> {
    /// What is asked without a REGISTER, by the configuration or an operator: under no phone's Call-ID, so that the order
    /// of its own REGISTERs stays as it was, and from nowhere.
    pub fn administrative(ask: Ask<'a>) -> Self {
        let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let flow = Flow { transport: Transport::Udp, remote: nowhere, local: nowhere, connection: 0 };
        Self { call_id: b"", cseq: 0, transaction: 0, flow, path: b"", user_agent: b"", ask }
    }

    pub(crate) const fn is_administrative(&self) -> bool {
        self.call_id.is_empty()
    }
}

/// The three things that a REGISTER can ask.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "lives on the stack for one call; boxing it would allocate for each REGISTER"
)]
pub enum Ask<'a> {
    /// No Contact: what is there? RFC 3261 10.2.3.
    Query,
    /// `Contact: *` with `Expires: 0`. RFC 3261 10.2.2.
    RemoveAll,
    /// Add, refresh or remove these. RFC 3261 10.2.1, 10.2.2.
    Update(SmallVec<[ContactChange<'a>; 2]>),
}

/// One Contact of a REGISTER.
#[derive(Clone, Copy, Debug)]
pub struct ContactChange<'a> {
    /// The URI without angle brackets, as it stands in the message.
    pub uri: &'a [u8],
    /// Contact parameters to echo, without `expires` and `q`: empty or `;a=b;c`.
    pub params: &'a [u8],
    /// Seconds asked for: the Contact's `expires`, else the Expires header, else `None` for the default. 0 removes.
    pub expires: Option<u32>,
    /// Preference in thousandths, 0 to 1000 (more is taken as 1000).
    pub q: Option<u16>,
    /// `+sip.instance` value (RFC 5626 4.1).
    pub instance: Option<&'a [u8]>,
    /// `reg-id` value (RFC 5626 4.2).
    pub reg_id: Option<u32>,
    /// The `connection` of the flow that its binding keeps, where that is not the one of the request.
    pub connection: Option<u64>,
}

impl<'a> ContactChange<'a> {
    /// A URI and a time, and nothing else said.
    pub const fn plain(uri: &'a [u8], expires: u32) -> Self {
        Self { uri, params: b"", expires: Some(expires), q: None, instance: None, reg_id: None, connection: None }
    }
}

/// What the registrar allows. Seconds and numbers of bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Asking for less than this (and less than an hour) is refused.
    pub min_expires: u32,
    /// Granted when nothing is asked for.
    pub default_expires: u32,
    /// More than this is shortened to it.
    pub max_expires: u32,
    /// Live bindings that one address of record may have.
    pub max_contacts: usize,
    /// Contacts that one request may name. They are compared with one another, which costs the square of their number.
    pub max_request_contacts: usize,
    /// Octets of text that one binding may have together: URI, parameters, Call-ID, Path, User-Agent and instance. More than
    /// [`MAX_TEXT`](crate::MAX_TEXT) is taken as that.
    pub max_text: usize,
    /// What becomes of a binding too many.
    pub when_full: WhenFull,
    /// By how many percent at most the time granted is shortened, 0 to 100, so that phones that came at once do not come
    /// back at once. By how much is a matter of the transaction, and a retransmission's is the same.
    pub jitter: u8,
}

impl Limits {
    /// What suits an office.
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

/// What becomes of a binding that is more than `Limits::max_contacts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused, with all that came with it.
    Refuse,
    /// It takes the place of the one that has not been refreshed for longest.
    ReplaceOldest,
}

/// Why a change was refused. Nothing of it was applied (RFC 3261 10.3 step 7: all or nothing).
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
    #[error("out of order: Call-ID with this or a higher CSeq was seen")]
    OutOfOrder,
    /// A binding was set by this very request a moment ago, but it came another way (RFC 3261 8.2.2.2): 482.
    #[error("merged: the same request came another way")]
    Merged,
    /// More live bindings than allowed, or more Contacts in one request.
    #[error("more than {max} contacts")]
    TooManyContacts {
        /// How many an address of record may have, or one request.
        max: usize,
    },
    /// URI, parameters, Call-ID, Path, User-Agent and instance of one binding together exceed `max` octets.
    #[error("binding is longer than {max} octets")]
    TooLong {
        /// The most octets that the text of one binding may have.
        max: usize,
    },
}
