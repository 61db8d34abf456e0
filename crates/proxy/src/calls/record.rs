//! The record of a call that has ended.

use std::net::SocketAddr;

use location::{Aor, Wall};
use strum::{IntoStaticStr, VariantArray};

use super::facts::{CalledPhone, DiversionReason, Offence, TriedPhones};
use crate::config_key::ConfigKey;

/// A call that has ended.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// When its INVITE was received.
    pub began: Wall,
    /// When its first 2xx was forwarded.
    pub answered: Option<Wall>,
    /// When it ended: its BYE or its final response came.
    pub ended: Wall,
    /// The caller, from the From header.
    pub from: Aor,
    /// The called user or foreign address.
    pub to: Aor,
    /// The source address of the INVITE.
    pub source: SocketAddr,
    /// Whether anybody can cause it, in any name: the sender has neither authenticated nor comes from a trusted network or
    /// trunk.
    pub is_of_stranger: bool,
    /// The phones that were tried.
    pub phones: TriedPhones,
    /// What was reached.
    pub reached: Reached,
    /// Why it went to another party, by the rules of the office; the last reason.
    pub forwarded: Option<DiversionReason>,
    /// 200..=699 to the INVITE; `None` if no final response came in time.
    pub status: Option<u16>,
    /// How it ended.
    pub end: CallEnd,
}

/// How a call ended.
#[derive(Clone, Debug)]
pub enum CallEnd {
    /// It was answered, and this side sent the BYE.
    HungUp(CallSide),
    /// It was answered, and no BYE came: its dialog is gone at one side, or there was no request for a long time.
    Lost,
    /// It was not answered.
    Unanswered,
    /// This server refused it.
    Refused(CallRefusal),
}

/// Why this server refused a call.
#[derive(Clone, Debug)]
pub struct CallRefusal {
    /// Reason phrase of the response.
    pub reason: &'static str,
    /// The permission that the sender lacks, if this is why.
    pub offence: Option<Offence>,
    /// The key that decided.
    pub key: Option<ConfigKey>,
}

/// One side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CallSide {
    /// The sender of the INVITE.
    Caller,
    /// The side that answered it.
    Callee,
}

/// Who answered a call, or sent the final response.
#[derive(Clone, Debug, Default)]
pub enum Reached {
    /// Nobody that is known, or several phones.
    #[default]
    Nobody,
    /// A phone: a binding of its user.
    Phone(CalledPhone),
    /// The same in a call that an earlier run of the server has forwarded.
    FormerPhone {
        /// The address of record of the user.
        user: Box<[u8]>,
        /// The User-Agent of the phone; may be empty.
        agent: Box<[u8]>,
    },
    /// A party outside of the office, by the trunk with this name.
    Trunk(Box<str>),
}

impl Reached {
    /// The address of record and the User-Agent of the phone.
    pub fn phone(&self) -> Option<(&[u8], &[u8])> {
        match self {
            Self::Phone(phone) => Some((phone.aor(), phone.user_agent())),
            Self::FormerPhone { user, agent } => Some((user, agent)),
            Self::Nobody | Self::Trunk(_) => None,
        }
    }

    /// The name of the trunk.
    pub fn trunk(&self) -> Option<&str> {
        match self {
            Self::Trunk(name) => Some(name),
            Self::Nobody | Self::Phone(_) | Self::FormerPhone { .. } => None,
        }
    }
}
